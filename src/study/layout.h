// Tables as text: aligned columns, Markdown, CSV.
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

} // namespace fci
