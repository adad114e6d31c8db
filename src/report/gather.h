// The parts that a Page is gathered from; `fci plot` takes single ones.
#pragma once
#include "report/page.h"

namespace fci {

std::unique_ptr<Page> load_page(const PageOptions&, std::vector<std::string>& notes); // rows and results, no more
std::vector<Line> lines_of_rows(Page&, const std::vector<Row>&);
std::optional<Series> series_of(const Page&, const Case&);

// Of p.lines and p.under, which have these rows.
Mechanism mechanism_of(const Page&, const Row&, const std::string& quantity);
// All strips and panels of the paper's figures and tables that these rows have.
void gather_sections(Page&, const std::vector<Row>& rows);
void write_words(Page&); // lede and glossary

} // namespace fci
