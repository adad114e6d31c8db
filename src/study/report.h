// What is shown of the rows: the list of them, and the table of the paper's numbers beside ours.
#pragma once
#include "study/lines.h"
#include "study/results.h"

namespace fci {

struct TableOptions {
    std::string scale = "small";
    std::string results = default_results, recorded; // folders; recorded: empty for none
    int64_t seeds = 0;                               // 1 to this; 0: all there are
    std::string format = "text";                     // text | md | latex | csv | json
    bool colour = false;
    int width = 0; // letters of a terminal; 0: as wide as the text is
};

// As the table has them: "99.8 ±0.1 (3)", "routing", "provisional: differs", "./fci reproduce f2.raw --scale paper".
std::string ours_text(const Line&);
std::string what_text(const Line&);
std::string verdict_of(const Line&, const std::string& scale);
std::string command_text(const Line&, const std::string& scale);
int decimals(const std::string& quantity);

std::string table_text(const std::vector<Line>&, const TableOptions&);

// Readings down, rows across: of each its first quantity, beside chance. Rows that have no result go below.
std::string by_reading_text(const std::vector<Line>&, const TableOptions&);

// id, where, task, representation, router, the paper's values and the time of one run.
std::string rows_text(const std::vector<Row>&, const Scale&, const Results& known, const RunOptions& how,
                      const TableOptions&);

} // namespace fci
