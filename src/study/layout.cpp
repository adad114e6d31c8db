#include "study/layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/json.h"

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

std::string latex(const Cells& cells) {
    const auto escaped = [](const std::string& text) {
        std::string s;
        for (const char c : text)
            if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
                s += fmt::format("\\{}", c);
            else if (c == '\\' || c == '~' || c == '^' || c == '<' || c == '>' || c == '|')
                s += fmt::format("\\text{}{{}}", c == '\\'  ? "backslash"
                                                 : c == '~' ? "asciitilde"
                                                 : c == '^' ? "asciicircum"
                                                 : c == '<' ? "less"
                                                 : c == '>' ? "greater"
                                                            : "bar");
            else
                s += c == '\n' || c == '\r' ? ' ' : c;
        for (size_t at = 0; (at = s.find("±", at)) != std::string::npos;) s.replace(at, 2, "$\\pm$");
        return s;
    };
    std::string s = fmt::format("\\begin{{tabular}}{{{}}}\n\\toprule\n", std::string(cells[0].size(), 'l'));
    for (size_t i = 0; i < cells.size(); ++i) {
        std::vector<std::string> line;
        for (const std::string& text : cells[i]) line.push_back(escaped(text));
        s += fmt::format("{} \\\\\n{}", fmt::join(line, " & "), i == 0 ? "\\midrule\n" : "");
    }
    return s + "\\bottomrule\n\\end{tabular}\n";
}

std::string json_lines(const Cells& cells, const std::vector<std::string>& numbers) {
    std::vector<std::string> objects;
    for (size_t i = 1; i < cells.size(); ++i) {
        Json object = Json::object();
        for (size_t c = 0; c < cells[0].size(); ++c) {
            const std::string &head = cells[0][c], &text = cells[i][c];
            if (std::find(numbers.begin(), numbers.end(), head) == numbers.end())
                object.add(head, text);
            else
                object.add(head, Json::raw(text.empty() ? "null" : text));
        }
        objects.push_back(object.text());
    }
    return fmt::format("[{}]\n", fmt::join(objects, ",\n"));
}

bool is_data(const std::string& format) { return format == "csv" || format == "json"; }

std::string in_format(const Cells& cells, const std::string& format) {
    return format == "csv"     ? csv_lines(cells)
           : format == "json"  ? json_lines(cells)
           : format == "latex" ? latex(cells)
           : format == "md"    ? markdown(cells) + "\n"
                               : aligned(cells);
}

std::string sentences_in(const std::string& lines, const std::string& format) {
    if (format != "latex") return lines;
    std::string s;
    for (size_t at = 0; at < lines.size();) {
        const size_t end = std::min(lines.find('\n', at), lines.size());
        s += fmt::format("% {}\n", lines.substr(at, end - at));
        at = end + 1;
    }
    return s;
}

std::vector<std::string> fit(Cells& cells, const std::vector<std::string>& spare, int width) {
    std::vector<std::string> gone;
    const auto longest = [&] {
        size_t sum = 0;
        for (size_t c = 0; c < cells[0].size(); ++c) {
            size_t most = 0;
            for (const auto& line : cells) most = std::max(most, letters(line[c]));
            sum += most + (c ? 2 : 0);
        }
        return sum;
    };
    for (const std::string& name : spare) {
        if (width == 0 || longest() <= static_cast<size_t>(width)) break;
        const auto at = std::find(cells[0].begin(), cells[0].end(), name) - cells[0].begin();
        for (auto& line : cells) line.erase(line.begin() + at);
        gone.push_back(name);
    }
    return gone;
}

std::string wrapped(const std::string& text, int width) {
    if (width == 0) return text;
    std::string s;
    size_t column = 0;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find_first_of(" \n", at), text.size());
        const std::string word = text.substr(at, end - at);
        if (column && column + 1 + letters(word) > static_cast<size_t>(width)) s += '\n', column = 0;
        if (column) s += ' ', ++column;
        s += word, column += letters(word);
        if (end < text.size() && text[end] == '\n') s += '\n', column = 0;
        at = end + 1;
    }
    return s;
}

} // namespace fci
