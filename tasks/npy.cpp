#include "tasks/npy.h"

#include <cstring>
#include <limits>
#include <set>
#include <string_view>

#include "core/check.h"
#include "core/files.h"

namespace fci {
namespace {

constexpr std::string_view magic("\x93NUMPY", 6);

} // namespace

void save_npy(const std::string& path, const std::vector<int32_t>& x, int rows, int columns) {
    std::string header = fmt::format("{{'descr': '<i4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
    header.append(63 - (magic.size() + 4 + header.size()) % 64, ' '); // the numbers begin at a multiple of 64
    header += '\n';
    std::string head(magic);
    head += {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
    std::string body(x.size() * 4, '\0');
    for (size_t i = 0; i < x.size(); ++i)
        for (int b = 0; b < 4; ++b) body[4 * i + b] = static_cast<char>(static_cast<uint32_t>(x[i]) >> 8 * b);
    write_file_atomically(path, head + header + body);
}

namespace {

struct Header {
    int item = 0; // bytes a number
    std::vector<int64_t> shape;
};

// The dict literal: exactly the three keys, each once, in any order. Nothing else of Python is understood.
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
            if (!seen.insert(key).second) bad("'" + key + "' stands twice");
            need(':');
            if (key == "descr")
                h.item = item(quoted());
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
    int item(const std::string& descr) const {
        if (descr == "<i4") return 4;
        if (descr == "<i8") return 8;
        bad("the numbers are '" + descr + "', not '<i4' or '<i8'; convert with .astype('<i4')");
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
    const std::string bytes = read_file(path);
    const auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])); };
    if (bytes.compare(0, magic.size(), magic) != 0)
        fail(Exit::bad_data, "{}: not an NPY file: it does not begin with \\x93NUMPY", path);
    if (bytes.size() < 10) fail(Exit::bad_data, "{}: cut off in its first {} bytes", path, bytes.size());
    if ((byte(6) != 1 && byte(6) != 2) || byte(7) != 0)
        fail(Exit::bad_data, "{}: NPY version {}.{}, not 1.0 or 2.0", path, byte(6), byte(7));
    const size_t begin = byte(6) == 1 ? 10 : 12;
    if (bytes.size() < begin) fail(Exit::bad_data, "{}: cut off in its first {} bytes", path, bytes.size());
    const size_t header_size = byte(8) | byte(9) << 8 | (begin == 12 ? byte(10) << 16 | byte(11) << 24 : 0);
    if (header_size > bytes.size() - begin)
        fail(Exit::bad_data, "{}: its header of {} bytes is cut off: the file has {} bytes", path, header_size,
             bytes.size());

    const Header h = HeaderParser(path, std::string_view(bytes).substr(begin, header_size), begin).parse();
    if (h.shape.size() != 2 && !(one_dimension_too && h.shape.size() == 1))
        fail(Exit::bad_data, "{}: {} dimensions, expected {}", path, h.shape.size(),
             one_dimension_too ? "1 or 2" : "2");
    const int64_t rows = h.shape[0], columns = h.shape.size() == 2 ? h.shape[1] : 1; // both below 2^31
    if (rows < 1 || columns < 1) fail(Exit::bad_data, "{}: shape ({},{}) holds nothing", path, rows, columns);
    const uint64_t have = bytes.size() - begin - header_size, numbers = static_cast<uint64_t>(rows) * columns;
    if (have % h.item || have / h.item != numbers)
        fail(Exit::bad_data, "{}: shape ({},{}) needs {} numbers of {} bytes, and {} bytes follow the header", path,
             rows, columns, numbers, h.item, have);

    NpyArray a{static_cast<int>(rows), static_cast<int>(columns), std::vector<int32_t>(numbers)};
    for (size_t i = 0, p = begin + header_size; i < numbers; ++i, p += h.item) {
        uint64_t bits = 0;
        for (int b = 0; b < h.item; ++b) bits |= byte(p + b) << 8 * b;
        const int64_t value = h.item == 4 ? static_cast<int32_t>(bits) : static_cast<int64_t>(bits);
        if (value != static_cast<int32_t>(value))
            fail(Exit::bad_data, "{}: row {}, column {}: {} does not fit into 32 bits", path, i / columns, i % columns,
                 value);
        a.x[i] = static_cast<int32_t>(value);
    }
    return a;
}

} // namespace fci
