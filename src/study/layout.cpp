#include "study/layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace fci {
namespace {

size_t letters(const std::string& s) { // of UTF-8
    return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

} // namespace

std::string csv_field(const std::string& s) {
    if (s.find_first_of(",\"\n") == std::string::npos) return s;
    std::string q;
    for (const char c : s) q += c == '"' ? "\"\"" : std::string(1, c);
    return fmt::format("\"{}\"", q);
}

std::string aligned(const Cells& cells, const Dress& dress) {
    std::vector<size_t> width(cells[0].size());
    for (const auto& line : cells)
        for (size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], letters(line[i]));
    std::string s;
    for (const auto& line : cells) {
        std::string text;
        for (size_t i = 0; i < line.size(); ++i) {
            text += &line == &cells[0] ? line[i] : dress ? dress(line[i], i) : line[i];
            if (i + 1 < line.size()) text += std::string(width[i] - letters(line[i]) + 2, ' ');
        }
        s += text + '\n';
    }
    return s;
}

std::string markdown(const Cells& cells) {
    std::string s;
    for (size_t i = 0; i < cells.size(); ++i) {
        s += fmt::format("| {} |\n", fmt::join(cells[i], " | "));
        if (i == 0) {
            s += '|';
            for (size_t c = 0; c < cells[0].size(); ++c) s += "---|";
            s += '\n';
        }
    }
    return s;
}

std::string csv_lines(const Cells& cells) {
    std::string s;
    for (std::vector<std::string> line : cells) {
        for (std::string& field : line) field = csv_field(field);
        s += fmt::format("{}\n", fmt::join(line, ","));
    }
    return s;
}

} // namespace fci
