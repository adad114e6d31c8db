#include "train/safetensors.h"

#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

#include "core/check.h"
#include "core/files.h"
#include "core/json.h"
#include "core/json_read.h"

namespace fci {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr size_t max_header = 100'000'000;
constexpr std::string_view checksum_key = "checksum", checksum_kind = "xxh64:", metadata_key = "__metadata__",
                           checksum_start = R"({"__metadata__":{"checksum":"xxh64:)", no_digits = "0000000000000000";
constexpr const char* use_another = "use another copy, or an older checkpoint";

// A name from a file, for a message: short, and without bytes that a terminal would obey.
std::string named(std::string_view name) {
    std::string s = "'";
    for (const char c : name.substr(0, 60))
        s += c >= ' ' && c <= '~' ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return s + (name.size() > 60 ? "...'" : "'");
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
            // Bad UTF-8 and open strings are found before all else, and without a place.
            const char* at = json_.data() + (document.error() ? 0 : json_.size());
            if (const char* here; !document.current_location().get(here)) at = here;
            refuse(at, "the header is not valid JSON: {}", error.what());
        }
    }

    std::vector<Entry> entries;
    Metadata metadata;
    size_t metadata_at = 8;

private:
    using Value = simdjson::ondemand::value;
    using Keys = std::set<std::string, std::less<>>;

    template <class... Args>
    [[noreturn]] void refuse(const char* at, fmt::format_string<Args...> what, Args&&... args) {
        fail(Exit::bad_data, "{}: {} (at byte {}); {}", path_, fmt::format(what, std::forward<Args>(args)...), byte(at),
             use_another);
    }
    size_t byte(const char* at) const {
        return 8 + static_cast<size_t>(std::clamp(at, json_.data(), json_.data() + json_.size()) - json_.data());
    }

    // Calls each(key, value, where the key is) for every member.
    template <class Each>
    void members(simdjson::ondemand::object object, const std::string& of, Each each) {
        Keys seen;
        for (simdjson::ondemand::field field : object) {
            const char* at = field.key().raw() - 1; // the opening quote
            const std::string key(std::string_view(field.unescaped_key()));
            if (!seen.insert(key).second) refuse(at, "{} has {} twice", of, named(key));
            each(key, field.value(), at);
        }
    }

    void read_all(simdjson::ondemand::document& document) {
        members(document.get_object(), "the header", [&](const std::string& name, Value value, const char* at) {
            if (name == metadata_key)
                read_metadata(value, at);
            else
                read_tensor(name, value, at);
        });
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

bool is_utf8(std::string_view s) { return simdjson::validate_utf8(s.data(), s.size()); }

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
    const auto refuse = [&](size_t at, const std::string& what) {
        fail(Exit::bad_data, "{}: {} (at byte {}); {}", path_, what, at, use_another);
    };
    uint64_t length;
    if (bytes_.size() < sizeof length)
        refuse(bytes_.size(), fmt::format("the file ends after {} bytes, before the header", bytes_.size()));
    std::memcpy(&length, bytes_.data(), sizeof length);
    if (length > max_header)
        refuse(0, fmt::format("the header's length is {}, more than {}: not a safetensors file", length, max_header));
    if (length > bytes_.size() - sizeof length)
        refuse(bytes_.size(), fmt::format("the header has {} bytes, the file holds {}", length, bytes_.size() - 8));
    std::string_view text(bytes_.data() + sizeof length, length);
    if (text.empty() || text.front() != '{') refuse(8, "the header does not begin with '{': not a safetensors file");
    text = text.substr(0, text.find_last_not_of(' ') + 1);
    if (text.back() != '}') refuse(8 + text.size() - 1, "the header does not end with '}' and spaces");

    Header header(path_, text);
    header.read();

    const size_t start = sizeof length + length, available = bytes_.size() - start;
    std::stable_sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    uint64_t end = 0;
    for (Entry& e : header.entries) {
        const std::string who = "tensor " + named(e.tensor.name);
        if (e.begin != end)
            refuse(e.at,
                   fmt::format("{} begins at {} of the data, {} {}", who, e.begin,
                               e.begin < end ? "inside the one before, which ends at" : "after a hole from", end));
        if (e.end > available)
            refuse(bytes_.size(), fmt::format("{} ends at {} of the data, the file at {}", who, e.end, available));
        end = e.end;
        e.tensor.data = bytes_.data() + start + e.begin;
        tensors_.push_back(std::move(e.tensor));
    }
    if (end != available) refuse(start + end, fmt::format("{} bytes follow the last tensor", available - end));

    // Last, so that damage that can be named is named.
    metadata_ = std::move(header.metadata);
    has_checksum_ = text.starts_with(checksum_start);
    for (const auto& [key, value] : metadata_) {
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
        refuse(static_cast<size_t>(at - bytes_.data()),
               fmt::format("the checksum is {}, the contents give {}: changed or damaged after it was written",
                           named(checksum.mapped()), found));
}

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
