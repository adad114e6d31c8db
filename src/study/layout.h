// Tables as text: aligned columns, Markdown, LaTeX (booktabs), CSV, JSON.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace fci {

using Cells = std::vector<std::vector<std::string>>; // the first line is the heading

// Columns two spaces apart; `dress` may add what takes no room, a colour, to the text of a column.
using Dress = std::function<std::string(const std::string& text, size_t column)>;
std::string aligned(const Cells&, const Dress& dress = {});

std::string markdown(const Cells&);

std::string csv_field(const std::string&); // quoted where CSV wants it
std::string csv_lines(const Cells&);
std::string latex(const Cells&);
// An array with an object a line, keys by the heading. Columns that `numbers` names hold numbers: an empty one is null.
std::string json_lines(const Cells&, const std::vector<std::string>& numbers = {});

// In one of the formats text, md, latex, csv, json. Data, the last two, stand alone: no sentence goes with them.
bool is_data(const std::string& format);
std::string in_format(const Cells&, const std::string& format);
std::string sentences_in(const std::string& lines, const std::string& format); // LaTeX: as comments

// Takes columns away, the first of `spare` first, until a line has no more than `width` letters, or none is left to
// take (width 0: takes none). The names of those that went.
std::vector<std::string> fit(Cells&, const std::vector<std::string>& spare, int width);
std::string wrapped(const std::string& text, int width); // at spaces; 0: as it is

} // namespace fci
