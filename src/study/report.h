// What is shown of the rows: the list of them, the table of the paper's numbers beside ours, and whether ours are those
// that were recorded.
#pragma once
#include <map>

#include "study/plan.h"
#include "study/results.h"
#include "study/verdict.h"

namespace fci {

struct TableOptions {
    std::string scale = "small";
    std::string results = "runs/out/results", recorded; // folders; recorded: empty for none
    int64_t seeds = 0;                                  // 1 to this; 0: all there are
    std::string format = "text";                        // text | md | csv
    bool colour = false;
};

// A line of the table: one quantity of a row at one learning rate.
struct Line {
    Case of;
    std::string quantity, paper; // paper: empty where it says nothing
    Ours ours;
    std::optional<double> beside, beside_chance; // of routing: at 1; of rank: that of Wq^T Wk
    std::optional<MeasuredOn> on;                // the file that it was measured on
    bool recorded = false;                       // ours is not from here
    bool ran = false;                            // there are results, whether or not they have this quantity
};
std::vector<Line> lines_of(const std::vector<Case>&, const Results& own, const Results& recorded, int64_t seeds);

std::string table_text(const std::vector<Line>&, const TableOptions&);

// Readings down, rows across: of each its first quantity, beside chance. Rows that have no result go below.
std::string by_reading_text(const std::vector<Line>&, const TableOptions&);

// The sentences on what differs from the recorded results of the same runs, and how many rows could be compared: our
// mean of routing, accuracy or what else the paper has of a row is off by more than margin() and by more than the
// recorded 95% interval.
std::vector<std::string> differences(const std::vector<Case>&, const Results& own, const Results& recorded,
                                     int64_t seeds, int& compared);

// id, where, task, representation, router, the paper's values and the time of one run.
std::string rows_text(const std::vector<Row>&, const Scale&, const Results& known, int threads);

} // namespace fci
