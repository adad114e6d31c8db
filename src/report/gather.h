// Parts from which a Page is built; `fci plot` uses some of them alone.
#pragma once
#include "report/page.h"

namespace fci {

std::unique_ptr<Page> load_page(const PageOptions&, std::vector<std::string>& notes); // rows and results only
std::vector<Line> lines_of_rows(Page&, const std::vector<Row>&);
std::optional<Series> series_of(const Page&, const Case&);

// Built from p.lines and p.under, which must have these rows.
Mechanism mechanism_of(const Page&, const Row&, const std::string& quantity);
// Adds all strips and panels of the paper's figures and tables for these rows.
void gather_sections(Page&, const std::vector<Row>& rows);
void write_words(Page&); // lede and glossary

} // namespace fci
