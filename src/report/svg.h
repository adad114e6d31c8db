// A small writer of HTML and SVG. Text becomes markup only in the constructor of Markup, which escapes it. So text from
// files or names reaches a browser as text only. The output is well-formed XML.
//
//   element("td", {{"class", "n"}}, name)          <td class="n">a &lt; b</td>
//   element("line", {{"x1", 0.0}, {"x2", "100%"}}) <line x1="0" x2="100%"/>
//
// Escaped: & < > " '. U+FFFD replaces what XML cannot contain: control characters except tab and line feed, U+FFFE and
// U+FFFF, and each byte that is not part of a UTF-8 character.
#pragma once
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

namespace fci {

class Markup {
public:
    Markup() = default;
    Markup(std::string_view plain); // escaped
    Markup(const std::string& plain) : Markup(std::string_view(plain)) {}
    Markup(const char* plain) : Markup(std::string_view(plain)) {}
    static Markup raw(std::string_view markup); // unescaped: only for constants of this program

    Markup& operator+=(const Markup& m);
    friend Markup operator+(Markup a, const Markup& b) { return std::move(a += b); }
    const std::string& text() const { return text_; }
    bool empty() const { return text_.empty(); }

private:
    std::string text_;
};

// A number for an attribute: at most two decimals, no exponent, a point in every locale. "12.5", "-0.25", "3"
std::string short_number(double x);

struct Attribute {
    std::string_view name;
    std::string value; // empty: the attribute is left out
    Attribute(std::string_view n, std::string_view v) : name(n), value(v) {}
    Attribute(std::string_view n, const char* v) : name(n), value(v) {}
    Attribute(std::string_view n, const std::string& v) : name(n), value(v) {}
    Attribute(std::string_view n, double v) : name(n), value(short_number(v)) {}
};

Markup element(std::string_view name, const std::vector<Attribute>& attributes, const Markup& inner = {});
template <std::convertible_to<Markup> Inner> // a template, so that {{"a", "b"}} is attributes
Markup element(std::string_view name, const Inner& inner) {
    return element(name, std::vector<Attribute>{}, inner);
}

// A figure as a separate file, with the report's colours and a background.
std::string svg_file(double width, double height, const std::string& title, const Markup& inner);

} // namespace fci
