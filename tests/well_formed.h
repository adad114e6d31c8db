// Is a text well-formed XML, with the entities that src/report/svg.h writes? Returns the first error; nothing if there
// is none.
#pragma once
#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace fci {

inline std::optional<std::string> not_well_formed(std::string_view xml) {
    std::vector<std::string_view> open;
    size_t at = 0;
    const auto wrong = [&](const std::string& what) { return fmt::format("byte {}: {}", at, what); };
    const auto is_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == ':'; };
    const auto continues = [&](size_t i) { return i < xml.size() && (xml[i] & 0xC0) == 0x80; };
    // The bytes of the character at i; 0: no character begins there, or XML cannot contain it.
    const auto character = [&](size_t i) -> size_t {
        const unsigned char c = xml[i];
        if (c < 0x80) return c == '\t' || c == '\n' || (c >= 0x20 && c != 0x7F) ? 1 : 0;
        const size_t n = c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
        for (size_t k = 1; k < n; ++k)
            if (!continues(i + k)) return 0;
        return n;
    };
    const auto skip_text = [&](char end) { // false: it contains something not allowed there
        while (at < xml.size() && xml[at] != end) {
            const size_t n = character(at);
            if (n == 0 || xml[at] == '<') return false;
            if (xml[at] == '&') {
                bool known = false;
                for (const std::string_view e : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
                    known |= xml.substr(at).starts_with(e);
                if (!known) return false;
            }
            at += n;
        }
        return true;
    };
    if (xml.starts_with("<!DOCTYPE html>")) at = 15;
    while (at < xml.size()) {
        if (!skip_text('<')) return wrong("a character that must be escaped or cannot stand here");
        if (at == xml.size()) break;
        const bool closing = xml.substr(at).starts_with("</");
        at += closing ? 2 : 1;
        const size_t begin = at;
        while (at < xml.size() && is_name(xml[at])) ++at;
        const std::string_view name = xml.substr(begin, at - begin);
        if (name.empty()) return wrong("a tag without a name");
        std::vector<std::string_view> names;
        while (at < xml.size() && xml[at] == ' ') {
            const size_t first = ++at;
            while (at < xml.size() && is_name(xml[at])) ++at;
            names.push_back(xml.substr(first, at - first));
            if (closing || names.back().empty() || std::count(names.begin(), names.end(), names.back()) > 1)
                return wrong("an attribute without a name, twice, or of an end tag");
            if (!xml.substr(at).starts_with("=\"")) return wrong("an attribute without a quoted value");
            at += 2;
            if (!skip_text('"') || at == xml.size()) return wrong("a value that does not end, or must be escaped");
            ++at;
        }
        const bool alone = xml.substr(at).starts_with("/>");
        at += alone;
        if (at >= xml.size() || xml[at] != '>') return wrong("a tag that does not end");
        ++at;
        if (closing) {
            if (open.empty() || open.back() != name) return wrong(fmt::format("</{}> ends nothing", name));
            open.pop_back();
        } else if (!alone)
            open.push_back(name);
    }
    if (!open.empty()) return wrong(fmt::format("<{}> has no end", open.back()));
    return std::nullopt;
}

} // namespace fci
