// Cuts a JSON array into its elements, JSON Lines into lines, or consecutive indented objects into objects, without
// parsing: it follows only strings and brackets. It sees each byte once and copies nothing. Exit::bad_data names the
// byte where it cannot continue, and how to unpack a packed file.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fci {

class HotpotSplit {
public:
    struct Piece {
        size_t offset = 0, size = 0;
        bool last_line = false; // the last of JSON Lines, without a line end
    };
    HotpotSplit(const std::string& name, std::string_view bytes);

    bool next(Piece&); // false: no more pieces
    size_t position() const { return at_; }

private:
    [[noreturn]] void cut_short() const;
    [[noreturn]] void too_large() const;
    [[noreturn]] void unexpected(const char* wanted) const;
    void skip_space();
    void skip_string(); // at_: moves from the opening quote to after the closing one
    void skip_value();
    bool looks_like_lines();
    bool next_line(Piece&);

    const std::string& name_;
    std::string_view bytes_;
    size_t at_ = 0, begin_ = 0; // begin_: where the element begins
    int64_t index_ = 0;
    enum class Layout { array, lines, stream } layout_ = Layout::array;
    bool done_ = false;
};

} // namespace fci
