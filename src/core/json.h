// JSON, written: an object or array that grows member by member. Numbers are the shortest that read back the same; one
// that is not finite is null, and so is an empty optional. Reading is simdjson's.
#pragma once
#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace fci {

// "text" with what JSON wants escaped; bytes that are not UTF-8 become '?'. named: \n for \u000a, as Python has it.
std::string json_quote(std::string_view text, bool named = false);
bool is_utf8(std::string_view);

class Json {
public:
    static Json object(int indented = 0) { return Json('{', '}', indented); } // levels of two spaces; 0: one line
    static Json array() { return Json('[', ']', 0); }
    static Json raw(std::string text) { // JSON already
        Json j(' ', '\0', 0);
        j.text_ = std::move(text);
        return j;
    }
    template <class... Args>
    static Json number(fmt::format_string<Args...> format, Args&&... x) { // in another format
        return raw(fmt::format(format, std::forward<Args>(x)...));
    }

    template <class T>
    Json& add(std::string_view key, const T& value) { // of an object
        next();
        text_ += json_quote(key);
        text_ += pad_.empty() ? ":" : ": ";
        return write(value);
    }
    template <class T>
    Json& push(const T& value) { // of an array
        next();
        return write(value);
    }
    Json& merge(const Json& other) { // the members of another object
        if (other.empty_) return *this;
        next();
        text_.append(other.text_, 1);
        return *this;
    }
    std::string text() const {
        if (!close_) return text_;
        return text_ + (pad_.empty() ? "" : pad_.substr(0, pad_.size() - 2)) + close_;
    }

private:
    Json(char open, char close, int indented)
        : text_(1, open), pad_(indented ? 1 + 2 * indented : 0, ' '), close_(close) {
        if (indented) pad_[0] = '\n';
    }
    void next() {
        if (!empty_) text_ += ',';
        text_ += pad_;
        empty_ = false;
    }
    template <class T>
    Json& write(const T& x) {
        if constexpr (std::is_same_v<T, Json>)
            text_ += x.text();
        else if constexpr (std::is_same_v<T, std::optional<double>>)
            return write(x.value_or(NAN));
        else if constexpr (std::is_convertible_v<const T&, std::string_view>)
            text_ += json_quote(x);
        else if constexpr (std::is_floating_point_v<T>)
            text_ += std::isfinite(x) ? fmt::format("{}", x) : "null";
        else
            text_ += fmt::format("{}", x);
        return *this;
    }

    std::string text_, pad_;
    char close_;
    bool empty_ = true;
};

} // namespace fci
