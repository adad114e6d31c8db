#include "study/layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "core/json.h"

namespace fci {
namespace {

size_t letters(const std::string& s) { // counts UTF-8 characters
    return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

constexpr size_t whole = 16; // a column never breaks words up to this many letters

size_t longest_word(const std::string& s) {
    size_t most = 0;
    for (size_t at = 0; at < s.size();) {
        const size_t end = std::min(s.find(' ', at), s.size());
        most = std::max(most, std::min(whole, letters(s.substr(at, end - at))));
        at = end + 1;
    }
    return most;
}

// Breaks words longer than a column (names of files and readings) with a space, after a mark if there is one.
std::string breakable(std::string s, size_t width) {
    size_t begin = 0, seen = 0; // of the current word: its start, its letters so far
    for (size_t at = 0; at < s.size(); ++at) {
        if (s[at] == ' ')
            begin = at + 1, seen = 0;
        else if ((s[at] & 0xC0) != 0x80 && seen++ == width) {
            const size_t mark = s.find_last_of("-_/.@", at - 1);
            at = mark != std::string::npos && mark >= begin ? mark + 1 : at;
            s.insert(at, 1, ' ');
            begin = at + 1, seen = 0;
        }
    }
    return s;
}

// The width of each column, by the measure of its cells.
std::vector<size_t> widths(const Cells& cells, size_t (*measure)(const std::string&)) {
    std::vector<size_t> most(cells[0].size());
    for (const auto& line : cells)
        for (size_t i = 0; i < line.size(); ++i) most[i] = std::max(most[i], measure(line[i]));
    return most;
}

size_t line_width(const std::vector<size_t>& columns) {
    return std::accumulate(columns.begin(), columns.end(), 2 * (columns.size() - 1));
}

std::vector<std::string> lines_of_text(const std::string& text) {
    std::vector<std::string> lines;
    for (size_t at = 0; at <= text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

// The indent of continuation lines: below the second column if two spaces set one off in the first two thirds, else
// below the first letter.
size_t hang(const std::string& line, size_t width) {
    const size_t first = std::min(line.find_first_not_of(' '), line.size()), gap = line.find("  ", first);
    const size_t second = gap == std::string::npos ? gap : line.find_first_not_of(' ', gap);
    return second < 2 * width / 3 ? second : first;
}

} // namespace

std::string csv_field(const std::string& s) {
    if (s.find_first_of(",\"\n") == std::string::npos) return s;
    std::string q;
    for (const char c : s) q += c == '"' ? "\"\"" : std::string(1, c);
    return fmt::format("\"{}\"", q);
}

std::string aligned(const Cells& cells, int width, const Dress& dress) {
    std::vector<size_t> columns = widths(cells, letters);
    const std::vector<size_t> least = widths(cells, longest_word);
    while (width && line_width(columns) > static_cast<size_t>(width)) {
        size_t widest = 0;
        for (size_t i = 0; i < columns.size(); ++i)
            if (columns[i] > least[i] && (columns[widest] == least[widest] || columns[i] > columns[widest])) widest = i;
        if (columns[widest] == least[widest]) break;
        --columns[widest];
    }
    std::vector<std::string> rows;
    size_t tallest = 0;
    for (const auto& line : cells) {
        std::vector<std::vector<std::string>> parts;
        size_t height = 1;
        for (size_t i = 0; i < line.size(); ++i) {
            parts.push_back(lines_of_text(wrapped(breakable(line[i], columns[i]), static_cast<int>(columns[i]))));
            height = std::max(height, parts.back().size());
        }
        tallest = std::max(tallest, height);
        std::string row;
        for (size_t n = 0; n < height; ++n) {
            std::string text;
            for (size_t i = 0; i < line.size(); ++i) {
                const std::string part = n < parts[i].size() ? parts[i][n] : "";
                text += &line == &cells[0] || !dress || part.empty() ? part : dress(part, line[i], i);
                if (i + 1 < line.size()) text += std::string(columns[i] - letters(part) + 2, ' ');
            }
            row += text.substr(0, text.find_last_not_of(' ') + 1) + '\n';
        }
        rows.push_back(row);
    }
    return fmt::format("{}", fmt::join(rows, tallest > 2 ? "\n" : ""));
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
        for (size_t at = 0; (at = s.find("--", at)) != std::string::npos;) s.insert(++at, "{}"); // else a dash
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

std::string in_format(const Cells& cells, const std::string& format, int width) {
    return format == "csv"     ? csv_lines(cells)
           : format == "json"  ? json_lines(cells)
           : format == "latex" ? latex(cells)
           : format == "md"    ? markdown(cells) + "\n"
                               : aligned(cells, width);
}

std::string sentences_in(const std::string& lines, const std::string& format, int width) {
    if (format != "latex") return wrapped(lines, format == "text" ? width : 0);
    std::vector<std::string> each = lines_of_text(lines);
    if (each.back().empty()) each.pop_back();
    std::string s;
    for (const std::string& line : each) s += fmt::format("% {}\n", line);
    return s;
}

std::string fit(Cells& cells, const std::vector<std::string>& spare, int width) {
    std::vector<std::string> gone;
    const auto least = [&] {
        const std::vector<size_t> words = widths(cells, longest_word);
        std::vector<size_t> columns = widths(cells, letters);
        for (size_t i = 0; i < columns.size(); ++i) columns[i] = std::max(words[i], std::min<size_t>(columns[i], 24));
        return line_width(columns);
    };
    for (const std::string& name : spare) {
        if (width == 0 || least() <= static_cast<size_t>(width)) break;
        const auto at = std::find(cells[0].begin(), cells[0].end(), name) - cells[0].begin();
        for (auto& line : cells) line.erase(line.begin() + at);
        gone.push_back(name);
    }
    return gone.empty() ? "" : fmt::format("columns left out to fit the width: {}\n", fmt::join(gone, ", "));
}

std::string wrapped(const std::string& text, int width) {
    if (width == 0) return text;
    const auto room = static_cast<size_t>(width);
    std::vector<std::string> lines;
    for (std::string line : lines_of_text(text)) {
        const std::string indent(hang(line, room), ' ');
        while (letters(line) > room) {
            size_t cut = std::string::npos,
                   seen = 0; // the last space that leaves a line of at most `width`, or the first
            for (size_t at = 0; at < line.size() && (seen <= room || cut == std::string::npos); ++at) {
                if (line[at] == ' ' && line.find_first_not_of(' ') < at && at > indent.size()) cut = at;
                seen += (line[at] & 0xC0) != 0x80;
            }
            const size_t next = line.find_first_not_of(' ', cut);
            if (cut == std::string::npos || next == std::string::npos) break;
            lines.push_back(line.substr(0, line.find_last_not_of(' ', cut) + 1));
            line = indent + line.substr(next);
        }
        lines.push_back(line);
    }
    return fmt::format("{}", fmt::join(lines, "\n"));
}

} // namespace fci
