// Cuts a JSON array at its elements, JSON Lines at the line ends, or indented objects one after the other at their
// ends, without parsing: it follows strings and brackets only. Each byte is seen once; nothing is copied.
// Exit::bad_data names the byte where that cannot go on, and how to unpack what is packed.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fci {

class HotpotSplit {
public:
    struct Piece {
        size_t offset = 0, size = 0;
        bool last_line = false; // of JSON Lines, with no line end after it
    };
    HotpotSplit(const std::string& name, std::string_view bytes);

    bool next(Piece&); // false: there is no other
    size_t position() const { return at_; }

private:
    [[noreturn]] void cut_short() const;
    [[noreturn]] void too_large() const;
    [[noreturn]] void unexpected(const char* wanted) const;
    void skip_space();
    void skip_string(); // at_: from the opening quote to behind the closing one
    void skip_value();
    bool looks_like_lines();
    bool next_line(Piece&);

    const std::string& name_;
    std::string_view bytes_;
    size_t at_ = 0, begin_ = 0; // begin_: of the element
    int64_t index_ = 0;
    enum class Layout { array, lines, stream } layout_ = Layout::array;
    bool done_ = false;
};

} // namespace fci
