#include "report/svg.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/check.h"
#include "report/style.h"

namespace fci {
namespace {

// The character that begins at s[0], and its bytes; 0 bytes: not a valid character.
struct Character {
    uint32_t code = 0;
    size_t bytes = 0;
};

Character first_character(std::string_view s) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return {lead, 1};
    const size_t n = lead >= 0xF0 && lead < 0xF5   ? 4
                     : lead >= 0xE0 && lead < 0xF0 ? 3
                     : lead >= 0xC2 && lead < 0xE0 ? 2
                                                   : 0;
    if (n == 0 || s.size() < n) return {};
    uint32_t code = lead & (0xFF >> (n + 1));
    for (size_t i = 1; i < n; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return {};
        code = code << 6 | (byte(i) & 0x3F);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {};
    return {code, n};
}

bool may_stand_in_xml(uint32_t c) {
    return c == '\t' || c == '\n' || (c >= 0x20 && c < 0x7F) || (c >= 0xA0 && (c & 0xFFFE) != 0xFFFE);
}

bool is_empty_element(std::string_view name) { // HTML requires an end tag for all others
    static const std::array<std::string_view, 9> names{"br",   "col",    "meta", "line",    "rect",
                                                       "path", "circle", "use",  "polyline"};
    return std::find(names.begin(), names.end(), name) != names.end();
}

} // namespace

Markup::Markup(std::string_view plain) {
    while (!plain.empty()) {
        const Character c = first_character(plain);
        if (c.bytes == 0 || !may_stand_in_xml(c.code))
            text_ += "\xEF\xBF\xBD";
        else if (c.code == '&')
            text_ += "&amp;";
        else if (c.code == '<')
            text_ += "&lt;";
        else if (c.code == '>')
            text_ += "&gt;";
        else if (c.code == '"')
            text_ += "&quot;";
        else if (c.code == '\'')
            text_ += "&#39;";
        else
            text_ += plain.substr(0, c.bytes);
        plain.remove_prefix(std::max<size_t>(c.bytes, 1));
    }
}

Markup Markup::raw(std::string_view markup) {
    Markup m;
    m.text_ = markup;
    return m;
}

Markup& Markup::operator+=(const Markup& m) {
    text_ += m.text_;
    return *this;
}

std::string short_number(double x) {
    check(std::isfinite(x), "svg: {} is not a finite number", x);
    std::string s = fmt::format("{:.2f}", x);
    s.erase(s.find_last_not_of('0') + 1);
    if (s.back() == '.') s.pop_back();
    return s == "-0" ? "0" : s;
}

Markup element(std::string_view name, const std::vector<Attribute>& attributes, const Markup& inner) {
    std::string s = fmt::format("<{}", name);
    for (const Attribute& a : attributes)
        if (!a.value.empty()) s += fmt::format(" {}=\"{}\"", a.name, Markup(a.value).text());
    if (inner.empty() && is_empty_element(name)) return Markup::raw(s + "/>");
    return Markup::raw(fmt::format("{}>{}</{}>", s, inner.text(), name));
}

std::string svg_file(double width, double height, const std::string& title, const Markup& inner) {
    const std::string box = fmt::format("0 0 {} {}", short_number(width), short_number(height));
    const Markup svg =
        element("svg",
                {{"xmlns", "http://www.w3.org/2000/svg"},
                 {"width", width},
                 {"height", height},
                 {"viewBox", box},
                 {"role", "img"}},
                element("title", title) + element("style", Markup::raw(std::string(palette_css) + marks_css)) +
                    element("rect", {{"class", "page"}, {"width", "100%"}, {"height", "100%"}}) + inner);
    return svg.text() + "\n";
}

} // namespace fci
