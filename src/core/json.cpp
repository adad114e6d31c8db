#include "core/json.h"

#include <simdjson.h>

namespace fci {

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

std::string json_quote(std::string_view text, bool named) {
    constexpr std::string_view short_form = "\b\f\n\r\t", letters = "bfnrt";
    const bool valid = is_utf8(text); // a file name may be anything
    std::string q = "\"";
    for (const char c : text) {
        const auto code = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            (q += '\\') += c;
        else if (const size_t n = named ? short_form.find(c) : std::string_view::npos; n != std::string_view::npos)
            (q += '\\') += letters[n];
        else if (code < 0x20 || (code == 0x7F && !named)) // TOML takes no bare DEL
            q += fmt::format("\\u{:04x}", code);
        else
            q += valid || code < 0x80 ? c : '?';
    }
    return q + '"';
}

} // namespace fci
