// How rows are shown: the list of rows, and the table of the paper's numbers beside ours.
#pragma once
#include "study/lines.h"
#include "study/results.h"

namespace fci {

struct TableOptions {
    std::string scale = "small";
    std::string results = default_results, recorded; // folders; recorded: empty for none
    int64_t seeds = 0;                               // 1 to this; 0: all
    std::string format = "text";                     // text | md | latex | csv | json
    bool colour = false;
    int width = 0; // letters per line of the terminal; 0: no limit
};

// A line's cells in the table: "99.8 ±0.1 (3)", "routing", "provisional: differs", "./fci reproduce f2.raw --scale
// paper".
std::string ours_text(const Line&);
std::string what_text(const Line&);
std::string verdict_of(const Line&, const std::string& scale);
std::string command_text(const Line&, const std::string& scale);
int decimals(const std::string& quantity);

std::string table_text(const std::vector<Line>&, const TableOptions&);

// A matrix of readings (down) and rows (across): the first quantity of each row, beside chance. Rows without results
// are listed below it.
std::string by_reading_text(const std::vector<Line>&, const TableOptions&);

// Columns: id, where, task, representation, router, the paper's values and the time of one run.
std::string rows_text(const std::vector<Row>&, const Scale&, const Results& known, const RunOptions& how,
                      const TableOptions&);

} // namespace fci
