// Tables as text: aligned columns, Markdown, LaTeX (booktabs), CSV, JSON.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace fci {

using Cells = std::vector<std::vector<std::string>>; // the first line is the heading

// Columns two spaces apart. Where a line would have more than `width` letters (0: any number), the widest columns wrap,
// words beyond 16 letters too, and rows stand apart if one takes more than two lines. `dress` may add what takes no
// room, a colour, to a part of a cell of a column.
using Dress = std::function<std::string(const std::string& part, const std::string& cell, size_t column)>;
std::string aligned(const Cells&, int width = 0, const Dress& dress = {});

std::string markdown(const Cells&);

std::string csv_field(const std::string&); // quoted where CSV wants it
std::string csv_lines(const Cells&);
std::string latex(const Cells&);
// An array with an object a line, keys by the heading. Columns that `numbers` names hold numbers: an empty one is null.
std::string json_lines(const Cells&, const std::vector<std::string>& numbers = {});

// In one of the formats text, md, latex, csv, json. Data, the last two, stand alone: no sentence goes with them.
bool is_data(const std::string& format);
std::string in_format(const Cells&, const std::string& format, int width = 0);                // text: of lines
std::string sentences_in(const std::string& lines, const std::string& format, int width = 0); // LaTeX: as comments

// Takes columns away, the first of `spare` first, until aligned() can have lines of `width` letters with no column
// narrower than 24; or none is left to take (width 0: takes none). A sentence names them.
std::string fit(Cells&, const std::vector<std::string>& spare, int width);

// Lines are broken at spaces, to go on under where they began; under their second column, where two spaces set one off
// in their first two thirds.
std::string wrapped(const std::string& text, int width); // 0: as it is

} // namespace fci
