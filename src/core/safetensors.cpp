#include "core/safetensors.h"

#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <set>
#include <tuple>
#include <utility>

#include "core/check.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/json_read.h"

namespace fci {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr size_t max_header = 100'000'000;
constexpr std::string_view checksum_key = "checksum", checksum_kind = "xxh64:", metadata_key = "__metadata__",
                           checksum_start = R"({"__metadata__":{"checksum":"xxh64:)", no_digits = "0000000000000000";
constexpr const char* use_another = "use another copy of it";

// A name from a file, for a message: shortened, without control characters.
std::string named(std::string_view name) {
    std::string s = "'";
    for (const char c : name.substr(0, 60))
        s += c >= ' ' && c <= '~' ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return s + (name.size() > 60 ? "...'" : "'");
}

[[noreturn]] void refuse(const std::string& path, uint64_t at, std::string_view what) {
    fail(Exit::bad_data, "{}: {} (at byte {}); {}", path, what, at, use_another);
}

// False on overflow.
bool size_of(const std::vector<int64_t>& shape, size_t number, uint64_t& bytes) {
    bytes = number;
    for (const int64_t n : shape)
        if (n < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(n), &bytes)) return false;
    return true;
}

struct Entry {
    StoredTensor tensor;
    uint64_t begin, end;
    size_t at; // byte of the file that names it
};

// The JSON of the header. Every value is visited, as simdjson's ondemand checks only what is.
class Header {
public:
    Header(const std::string& path, std::string_view text) : path_(path), json_(text) {
        if (!json_.data()) throw std::bad_alloc();
    }

    void read() {
        simdjson::ondemand::parser parser;
        auto document = parser.iterate(json_);
        expect_memory(document.error());
        try {
            read_all(document.value());
        } catch (const simdjson::simdjson_error& error) {
            // simdjson finds bad UTF-8 and open strings first, and without a position.
            const char* at = json_.data() + (document.error() ? 0 : json_.size());
            if (const char* here; !document.current_location().get(here)) at = here;
            refuse(at, "the header is not valid JSON: {}", error.what());
        }
    }

    std::deque<Entry> entries; // which grows without a copy
    Metadata metadata;
    size_t metadata_at = 8;

private:
    using Value = simdjson::ondemand::value;
    using Keys = std::set<std::string, std::less<>>;

    template <class... Args>
    [[noreturn]] void refuse(const char* at, fmt::format_string<Args...> what, Args&&... args) {
        fci::refuse(path_, byte(at), fmt::format(what, std::forward<Args>(args)...));
    }
    size_t byte(const char* at) const {
        return 8 + static_cast<size_t>(std::clamp(at, json_.data(), json_.data() + json_.size()) - json_.data());
    }

    // Members stay results until they are read: unescaped_key() of a field wants an argument in newer simdjson.
    using Field = simdjson::simdjson_result<simdjson::ondemand::field>;
    static const char* opening_quote(Field& of) {
        const simdjson::ondemand::raw_json_string key = of.key();
        return key.raw() - 1;
    }

    // Calls each(key, value, where the key is) for every member.
    template <class Each>
    void members(simdjson::ondemand::object object, const std::string& of, Each each) {
        Keys seen;
        for (auto field : object) {
            const char* at = opening_quote(field);
            const std::string key(std::string_view(field.unescaped_key()));
            if (!seen.insert(key).second) refuse(at, "{} has {} twice", of, named(key));
            each(key, field.value(), at);
        }
    }

    [[noreturn]] void refuse_twice(const std::string& name, const char* at) {
        refuse(at, "the header has {} twice", named(name));
    }

    void read_all(simdjson::ondemand::document& document) {
        bool has_metadata = false;
        for (auto field : document.get_object()) {
            const char* at = opening_quote(field);
            const std::string name(std::string_view(field.unescaped_key()));
            if (name != metadata_key)
                read_tensor(name, field.value(), at);
            else if (std::exchange(has_metadata, true))
                refuse_twice(name, at);
            else
                read_metadata(field.value(), at);
        }
        // A set of the names would take as much memory as the rest.
        std::vector<const Entry*> by_name;
        by_name.reserve(entries.size());
        for (const Entry& e : entries) by_name.push_back(&e);
        std::sort(by_name.begin(), by_name.end(), [](const Entry* a, const Entry* b) {
            return std::pair<const std::string&, size_t>(a->tensor.name, a->at) <
                   std::pair<const std::string&, size_t>(b->tensor.name, b->at);
        });
        const auto twice = std::adjacent_find(by_name.begin(), by_name.end(), [](const Entry* a, const Entry* b) {
            return a->tensor.name == b->tensor.name;
        });
        if (twice != by_name.end()) refuse_twice((*twice)->tensor.name, json_.data() + twice[1]->at - 8);
        if (const char* after; !document.current_location().get(after)) refuse(after, "the header's JSON ends early");
    }

    void read_metadata(Value value, const char* at) {
        metadata_at = byte(at);
        simdjson::ondemand::object object;
        if (value.get_object().get(object)) refuse(at, "'__metadata__' is not an object");
        members(object, "'__metadata__'", [&](const std::string& key, Value text, const char* key_at) {
            std::string_view s;
            if (text.get_string().get(s)) refuse(key_at, "metadata {} is not a string", named(key));
            metadata.emplace(key, s);
        });
    }

    void read_tensor(const std::string& name, Value value, const char* at) {
        const std::string who = "tensor " + named(name);
        Entry e{{name, {}, {}, nullptr, 0}, 0, 0, byte(at)};
        simdjson::ondemand::object object;
        if (value.get_object().get(object)) refuse(at, "{} is not an object", who);
        Keys missing = {"dtype", "shape", "data_offsets"};
        members(object, who, [&](const std::string& key, Value v, const char* key_at) {
            missing.erase(key);
            if (key == "dtype") {
                std::string_view s;
                if (v.get_string().get(s)) refuse(key_at, "{}: dtype is not a string", who);
                if (!dtype_bytes(s)) refuse(key_at, "{}: dtype {} is unknown", who, named(s));
                e.tensor.dtype = s;
            } else if (key == "shape") {
                e.tensor.shape = integers(v, key_at, who, "shape");
            } else if (key == "data_offsets") {
                const std::vector<int64_t> offsets = integers(v, key_at, who, "data_offsets");
                if (offsets.size() != 2 || offsets[0] > offsets[1])
                    refuse(key_at, "{}: data_offsets [{}] are not [begin,end]", who, fmt::join(offsets, ","));
                e.begin = static_cast<uint64_t>(offsets[0]), e.end = static_cast<uint64_t>(offsets[1]);
            } else {
                refuse(key_at, "{}: key {} is unknown", who, named(key));
            }
        });
        if (!missing.empty()) refuse(at, "{} has no {}", who, *missing.begin());

        uint64_t bytes;
        if (!size_of(e.tensor.shape, dtype_bytes(e.tensor.dtype), bytes))
            refuse(at, "{}: shape [{}] is too large", who, fmt::join(e.tensor.shape, ","));
        if (e.end - e.begin != bytes)
            refuse(at, "{}: {} [{}] takes {} bytes, data_offsets [{},{}] give {}", who, e.tensor.dtype,
                   fmt::join(e.tensor.shape, ","), bytes, e.begin, e.end, e.end - e.begin);
        e.tensor.bytes = bytes;
        entries.push_back(std::move(e));
    }

    std::vector<int64_t> integers(Value value, const char* at, const std::string& who, const char* what) {
        simdjson::ondemand::array array;
        std::vector<int64_t> numbers;
        if (value.get_array().get(array)) refuse(at, "{}: {} is not a list", who, what);
        for (Value element : array) {
            uint64_t n;
            const auto error = element.get_uint64().get(n);
            if (error || n > INT64_MAX) refuse(at, "{}: {} is not a list of non-negative integers", who, what);
            numbers.push_back(static_cast<int64_t>(n));
        }
        return numbers;
    }

    const std::string& path_;
    simdjson::padded_string json_;
};

// Puts the tensors in the order of their data, of which the file has `size` - `start` bytes, and gives each its place.
std::vector<StoredTensor> laid_out(const std::string& path, Header& header, uint64_t start, uint64_t size) {
    const uint64_t available = size - start;
    std::sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
        return std::tuple(a.begin, a.end, a.at) < std::tuple(b.begin, b.end, b.at);
    });
    uint64_t end = 0;
    std::vector<StoredTensor> tensors;
    tensors.reserve(header.entries.size());
    for (Entry& e : header.entries) {
        const std::string who = "tensor " + named(e.tensor.name);
        if (e.begin != end)
            refuse(path, e.at,
                   fmt::format("{} begins at {} of the data, {} {}", who, e.begin,
                               e.begin < end ? "inside the one before, which ends at" : "after a hole from", end));
        if (e.end > available)
            refuse(path, size, fmt::format("{} ends at {} of the data, the file at {}", who, e.end, available));
        end = e.end;
        e.tensor.at = start + e.begin;
        tensors.push_back(std::move(e.tensor));
    }
    if (end != available) refuse(path, start + end, fmt::format("{} bytes follow the last tensor", available - end));
    return tensors;
}

// The bytes of the header, by the file's first 8 (or fewer, if it has no more).
uint64_t header_length(const std::string& path, std::string_view first, uint64_t size) {
    uint64_t length;
    if (first.size() < sizeof length)
        refuse(path, size, fmt::format("the file ends after {} bytes, before the header", size));
    std::memcpy(&length, first.data(), sizeof length);
    if (length > max_header)
        refuse(path, 0,
               fmt::format("the header's length is {}, more than {}: not a safetensors file", length, max_header));
    if (length > size - sizeof length)
        refuse(path, size, fmt::format("the header has {} bytes, the file holds {}", length, size - sizeof length));
    return length;
}

// Without the spaces behind it.
std::string_view header_text(const std::string& path, std::string_view text) {
    if (text.empty() || text.front() != '{')
        refuse(path, 8, "the header does not begin with '{': not a safetensors file");
    text = text.substr(0, text.find_last_not_of(' ') + 1);
    if (text.back() != '}') refuse(path, 8 + text.size() - 1, "the header does not end with '}' and spaces");
    return text;
}

} // namespace

size_t dtype_bytes(std::string_view dtype) {
    static constexpr std::pair<std::string_view, size_t> known[] = {
        {"F32", 4},     {"F64", 8},     {"I32", 4},     {"I64", 8},  {"U32", 4},  {"U64", 8},
        {"U8", 1},      {"I8", 1},      {"I16", 2},     {"U16", 2},  {"BF16", 2}, {"F16", 2},
        {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"BOOL", 1}, {"C64", 8}};
    for (const auto& [name, bytes] : known)
        if (name == dtype) return bytes;
    return 0;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : SafetensorsFile(path, read_file(path)) {}

SafetensorsFile::SafetensorsFile(std::string path, std::string bytes)
    : path_(std::move(path)), bytes_(std::move(bytes)) {
    const auto refuse = [&](size_t at, const std::string& what) { fci::refuse(path_, at, what); };
    const uint64_t length = header_length(path_, std::string_view(bytes_).substr(0, sizeof length), bytes_.size());
    const std::string_view text = header_text(path_, std::string_view(bytes_).substr(sizeof length, length));
    Header header(path_, text);
    header.read();
    tensors_ = laid_out(path_, header, sizeof length + length, bytes_.size());
    for (StoredTensor& t : tensors_) t.data = bytes_.data() + t.at;

    // Last: an error that can be named is named before.
    metadata_ = std::move(header.metadata);
    has_checksum_ = text.starts_with(checksum_start);
    const auto digits = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    for (const auto& [key, value] : metadata_) {
        const bool whole = value.size() == checksum_kind.size() + no_digits.size() &&
                           std::all_of(value.begin() + checksum_kind.size(), value.end(), digits);
        if (!has_checksum_ && key == checksum_key && value.starts_with(checksum_kind) && whole)
            fail(Exit::bad_data,
                 "{}: it was saved again by another program, which kept the checksum of fci's file (at byte {}); save "
                 "it without {} in its metadata, then it can be read",
                 path_, header.metadata_at, named(key));
        const bool is_ours = has_checksum_ && value.size() == checksum_kind.size() + no_digits.size();
        if (value.starts_with(checksum_kind) != (key == checksum_key) || (key == checksum_key && !is_ours))
            refuse(header.metadata_at, fmt::format("metadata {} is not a checksum as fci writes it", named(key)));
    }
    if (!has_checksum_) return;
    const auto checksum = metadata_.extract(std::string(checksum_key));
    char* const at = bytes_.data() + sizeof length + checksum_start.size();
    std::copy(no_digits.begin(), no_digits.end(), at);
    const std::string found = fmt::format("{}{:016x}", checksum_kind, hash64(bytes_));
    if (checksum.mapped() != found)
        refuse(
            static_cast<size_t>(at - bytes_.data()),
            fmt::format("the checksum is {}, the contents give {}: saved again by another program that kept 'checksum' "
                        "in its metadata, or changed or damaged after it was written",
                        named(checksum.mapped()), found));
}

uint64_t SafetensorsFile::hash() const { return hash64(bytes_); }

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
    for (const StoredTensor& t : tensors_)
        if (t.name == name) return &t;
    return nullptr;
}

const StoredTensor& SafetensorsFile::require(std::string_view name, std::string_view dtype,
                                             const std::vector<int64_t>& shape) const {
    const StoredTensor* t = find(name);
    if (!t) fail(Exit::bad_data, "{}: has no tensor {}; was it written for another model?", path_, named(name));
    if (t->dtype != dtype || t->shape != shape)
        fail(Exit::bad_data, "{}: tensor {} is {} ({}), expected {} ({}); was it written for another model?", path_,
             named(name), t->dtype, fmt::join(t->shape, ","), dtype, fmt::join(shape, ","));
    return *t;
}

std::vector<StoredTensor> stored_tensors(const OpenFile& file) {
    const uint64_t size = file.size();
    const auto part = [&](uint64_t from, size_t most) {
        std::string bytes(most, '\0');
        bytes.resize(file.read(from, most, bytes.data()));
        return bytes;
    };
    const uint64_t length = header_length(file.path(), part(0, sizeof length), size);
    if (part(sizeof length, 1) != "{") header_text(file.path(), {}); // before up to 100 MB of it are read
    const std::string text = part(sizeof length, length);
    Header header(file.path(), header_text(file.path(), text));
    header.read();
    return laid_out(file.path(), header, sizeof length + length, size);
}

std::string safetensors_bytes(const std::vector<StoredTensor>& tensors, const Metadata& metadata) {
    std::string header(checksum_start);
    header += fmt::format("{}\"", no_digits);
    for (const auto& [key, value] : metadata) {
        check(key != checksum_key && !value.starts_with(checksum_kind), "safetensors: metadata {} is reserved",
              named(key));
        check(is_utf8(key) && is_utf8(value), "safetensors: metadata {} is not UTF-8", named(key));
        header += fmt::format(",{}:{}", json_quote(key), json_quote(value));
    }
    header += '}';
    std::set<std::string_view> names;
    uint64_t end = 0;
    for (const StoredTensor& t : tensors) {
        uint64_t bytes = 0;
        check(names.insert(t.name).second, "safetensors: two tensors are named {}", named(t.name));
        check(t.name != metadata_key && is_utf8(t.name), "safetensors: {} cannot name a tensor", named(t.name));
        check(dtype_bytes(t.dtype) && size_of(t.shape, dtype_bytes(t.dtype), bytes) && bytes == t.bytes,
              "safetensors: tensor {} has {} bytes, {} ({}) takes {}", named(t.name), t.bytes, t.dtype,
              fmt::join(t.shape, ","), bytes);
        Json of = Json::object(), shape = Json::array();
        for (const int64_t n : t.shape) shape.push(n);
        of.add("dtype", t.dtype).add("shape", shape).add("data_offsets", Json::array().push(end).push(end + bytes));
        header += "," + json_quote(t.name) + ":" + of.text();
        end += bytes;
    }
    header += '}';
    header.resize((header.size() + 7) / 8 * 8, ' ');
    check(header.size() <= max_header, "safetensors: a header of {} bytes, at most {}", header.size(), max_header);

    const uint64_t length = header.size();
    std::string file(sizeof length + header.size() + end, '\0');
    char* p = file.data();
    std::memcpy(p, &length, sizeof length);
    p = std::copy(header.begin(), header.end(), p + sizeof length);
    for (const StoredTensor& t : tensors) p = std::copy_n(static_cast<const char*>(t.data), t.bytes, p);
    const std::string sum = fmt::format("{:016x}", hash64(file));
    std::copy(sum.begin(), sum.end(), file.begin() + sizeof length + checksum_start.size());
    return file;
}

void write_safetensors(const std::string& path, const std::vector<StoredTensor>& tensors, const Metadata& metadata) {
    write_file_atomically(path, safetensors_bytes(tensors, metadata));
}

} // namespace fci
