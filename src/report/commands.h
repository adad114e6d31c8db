// The commands that draw: `fci report` and `fci plot`.
//   report   the answer on a page, HTML or Markdown (page.h)
//   plot     figure2 to figure6 of the paper, scaling, and curves of any runs, each an SVG (plots.cpp); a quantity of
//            rows by one of their options (option_plot.cpp)
#pragma once
#include "report/page.h"

namespace fci {

struct PlotOptions {
    std::string figure, out, reading, scale = "small", results = default_results;
    std::string data = "runs/results/scaling.tsv"; // scaling: what `fci bench --scaling --out` wrote
    std::vector<std::string> runs;                 // curves: run folders, their checkpoints or log.jsonl
    std::string x, y;                              // of rows: the option along x, and the quantity along y
};

// An SVG. Exit::usage: an unknown figure (nearest named), or no results to draw. Exit::bad_data: a file that is not
// what it should be, with its line.
std::string plot_svg(const PlotOptions&);

// The quantity y by the option x: a dot is the mean of the seeds, a whisker their range; a curve for each value of what
// else the rows differ in. Names stand side by side, in the order of the rows.
std::string plot_by_option(const PlotOptions&);

} // namespace fci
