// Tables as text: aligned columns, Markdown, LaTeX (booktabs), CSV, JSON.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace fci {

using Cells = std::vector<std::vector<std::string>>; // the first row is the heading

// Columns are two spaces apart. If a line would have more than `width` letters (0: no limit), the widest columns wrap,
// also within words of more than 16 letters, and rows are set apart by an empty line if one takes more than two lines.
// `dress` may add zero-width text, such as a colour, to a part of a cell of a column.
using Dress = std::function<std::string(const std::string& part, const std::string& cell, size_t column)>;
std::string aligned(const Cells&, int width = 0, const Dress& dress = {});

std::string markdown(const Cells&);

std::string csv_field(const std::string&); // quoted where CSV requires it
std::string csv_lines(const Cells&);
std::string latex(const Cells&);
// A JSON array with one object per line; the keys are the headings. The columns in `numbers` hold numbers; an empty
// cell in them is null.
std::string json_lines(const Cells&, const std::vector<std::string>& numbers = {});

// Formats: text, md, latex, csv, json. The last two are data: no sentences are printed with them.
bool is_data(const std::string& format);
std::string in_format(const Cells&, const std::string& format, int width = 0);                // width: of text lines
std::string sentences_in(const std::string& lines, const std::string& format, int width = 0); // LaTeX: as comments

// Removes columns, in the order of `spare`, until aligned() fits lines of `width` letters with no column narrower than
// 24, or none is left to remove (width 0: removes none). Returns a sentence that names them.
std::string fit(Cells&, const std::vector<std::string>& spare, int width);

// Breaks lines at spaces. The rest continues below the line's start, or below its second column if two spaces set one
// off in the first two thirds of the width.
std::string wrapped(const std::string& text, int width); // 0: unchanged

} // namespace fci
