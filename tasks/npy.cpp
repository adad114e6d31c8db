#include "tasks/npy.h"

#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include "core/check.h"
#include "core/files.h"

namespace fci {
namespace {

constexpr std::string_view magic("\x93NUMPY", 6);

} // namespace

std::string npy_header(const char* type, const std::vector<int>& shape) {
    std::string header =
        fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, fmt::join(shape, ", "));
    header.append(63 - (magic.size() + 4 + header.size()) % 64, ' '); // the data begin at a multiple of 64
    header += '\n';
    std::string head(magic);
    head += {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
    return head + header;
}

void save_npy(const std::string& path, const std::vector<int32_t>& x, int rows, int columns) {
    std::string file = npy_header("<i4", {rows, columns});
    const size_t begin = file.size();
    file.resize(begin + x.size() * 4);
    for (size_t i = 0; i < x.size(); ++i)
        for (int b = 0; b < 4; ++b) file[begin + 4 * i + b] = static_cast<char>(static_cast<uint32_t>(x[i]) >> 8 * b);
    write_file_atomically(path, file);
}

namespace {

struct Header {
    int item = 0; // bytes per number
    bool is_signed = true, big_endian = false;
    std::vector<int64_t> shape;

    // The number in the bytes starting at `at`; nullopt if it does not fit a signed 64-bit integer.
    std::optional<int64_t> number(const char* at) const {
        uint64_t bits = 0;
        for (int b = 0; b < item; ++b)
            bits |= uint64_t{static_cast<unsigned char>(at[big_endian ? item - 1 - b : b])} << 8 * b;
        const int unused = 64 - 8 * item;
        if (is_signed) return static_cast<int64_t>(bits << unused) >> unused;
        return bits >> 63 ? std::nullopt : std::optional(static_cast<int64_t>(bits));
    }
};

// The dict literal: exactly the three keys, each once, in any order. No other Python is understood.
class HeaderParser {
public:
    HeaderParser(const std::string& path, std::string_view text, size_t offset)
        : path_(path), text_(text), offset_(offset) {}

    Header parse() {
        Header h;
        std::set<std::string> seen;
        need('{');
        while (!have('}')) {
            const std::string key = quoted();
            if (!seen.insert(key).second) bad("'" + key + "' appears twice");
            need(':');
            if (key == "descr")
                read_type(quoted(), h);
            else if (key == "fortran_order")
                c_order();
            else if (key == "shape")
                h.shape = shape();
            else
                bad("unknown key '" + key + "'");
            if (!have(',')) {
                need('}');
                break;
            }
        }
        space();
        if (at_ != text_.size()) bad("something follows the '}'");
        if (seen.size() != 3) bad("it needs 'descr', 'fortran_order' and 'shape'");
        return h;
    }

private:
    [[noreturn]] void bad(const std::string& what) const {
        fail(Exit::bad_data, "{}: bad NPY header at byte {}: {}", path_, offset_ + at_, what);
    }
    void space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    }
    bool have(char c) {
        space();
        if (at_ == text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void need(char c) {
        if (!have(c)) bad(fmt::format("expected '{}'", c));
    }
    std::string quoted() {
        space();
        const char quote = at_ < text_.size() ? text_[at_] : '\0';
        if (quote != '\'' && quote != '"') bad("expected a quoted word");
        const size_t end = text_.find(quote, at_ + 1);
        if (end == text_.npos) bad("a quote is not closed");
        const std::string word(text_.substr(at_ + 1, end - at_ - 1));
        at_ = end + 1;
        return word;
    }
    void read_type(const std::string& descr, Header& h) const { // '<i4': byte order, kind, bytes
        constexpr std::string_view orders = "<>|", kinds = "iu", sizes = "1248";
        const bool known = descr.size() == 3 && orders.find(descr[0]) != orders.npos &&
                           kinds.find(descr[1]) != kinds.npos && sizes.find(descr[2]) != sizes.npos &&
                           (descr[0] == '|') == (descr[2] == '1');
        if (!known) bad("the numbers are '" + descr + "', not NumPy integers; convert with .astype('<i4')");
        h.item = descr[2] - '0', h.is_signed = descr[1] == 'i', h.big_endian = descr[0] == '>';
    }
    void c_order() {
        space();
        if (text_.substr(at_, 5) == "False")
            at_ += 5;
        else if (text_.substr(at_, 4) == "True")
            bad("Fortran order; write it with numpy.ascontiguousarray");
        else
            bad("expected True or False");
    }
    std::vector<int64_t> shape() {
        std::vector<int64_t> sizes;
        need('(');
        while (!have(')')) {
            space();
            int64_t n = 0;
            const size_t begin = at_;
            for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
                n = 10 * n + (text_[at_] - '0');
                if (n > std::numeric_limits<int32_t>::max()) bad("a dimension over 2147483647");
            }
            if (at_ == begin) bad("expected a dimension");
            sizes.push_back(n);
            if (!have(',')) {
                if (sizes.size() == 1) bad("a shape of one number needs a comma, as in (5,)");
                need(')');
                break;
            }
        }
        return sizes;
    }

    const std::string& path_;
    std::string_view text_;
    size_t offset_, at_ = 0;
};

} // namespace

NpyArray load_npy(const std::string& path, bool one_dimension_too) {
    const std::string start = read_part(path, 0, 12);
    const auto number = [](const std::string& s, size_t at, int bytes) {
        uint64_t bits = 0;
        for (int b = 0; b < bytes; ++b) bits |= uint64_t{static_cast<unsigned char>(s[at + b])} << 8 * b;
        return bits;
    };
    if (start.compare(0, magic.size(), magic) != 0)
        fail(Exit::bad_data, "{}: not an NPY file: it does not begin with \\x93NUMPY", path);
    if (start.size() < 10) fail(Exit::bad_data, "{}: cut off in its first {} bytes", path, start.size());
    const int version = start[6], minor = start[7];
    if ((version != 1 && version != 2) || minor != 0)
        fail(Exit::bad_data, "{}: NPY version {}.{}, not 1.0 or 2.0", path, version & 255, minor & 255);
    const size_t begin = version == 1 ? 10 : 12;
    if (start.size() < begin) fail(Exit::bad_data, "{}: cut off in its first {} bytes", path, start.size());
    const size_t header_size = number(start, 8, version == 1 ? 2 : 4);
    const uint64_t size = std::filesystem::file_size(path);
    if (size < begin || header_size > size - begin)
        fail(Exit::bad_data, "{}: its header of {} bytes is cut off: the file has {} bytes", path, header_size, size);

    const std::string header = read_part(path, begin, header_size);
    const Header h = HeaderParser(path, header, begin).parse();
    if (h.shape.size() != 2 && !(one_dimension_too && h.shape.size() == 1))
        fail(Exit::bad_data, "{}: {} dimensions, expected {}", path, h.shape.size(),
             one_dimension_too ? "1 or 2" : "2");
    const int64_t rows = h.shape[0], columns = h.shape.size() == 2 ? h.shape[1] : 1; // both below 2^31
    if (rows < 1 || columns < 1) fail(Exit::bad_data, "{}: shape ({},{}) holds nothing", path, rows, columns);
    const uint64_t have = size - begin - header_size, numbers = static_cast<uint64_t>(rows) * columns;
    if (have % h.item || have / h.item != numbers)
        fail(Exit::bad_data, "{}: shape ({},{}) needs {} numbers of {} bytes, and {} bytes follow the header", path,
             rows, columns, numbers, h.item, have);

    NpyArray a{static_cast<int>(rows), static_cast<int>(columns), std::vector<int32_t>(numbers)};
    std::string part; // the whole file is never in memory beside the array
    const size_t at_once = size_t{1} << 18;
    for (size_t i = 0; i < numbers; ++i) {
        const size_t at = i % at_once * h.item;
        if (at == 0) part = read_part(path, begin + header_size + i * h.item, at_once * h.item);
        if (at + h.item > part.size()) fail(Exit::bad_data, "{}: it became shorter while it was being read", path);
        const std::optional<int64_t> value = h.number(part.data() + at);
        if (!value || *value != static_cast<int32_t>(*value))
            fail(Exit::bad_data, "{}: row {}, column {}: {} does not fit into 32 bits", path, i / columns, i % columns,
                 value ? std::to_string(*value) : "the number");
        a.x[i] = static_cast<int32_t>(*value);
    }
    return a;
}

} // namespace fci
