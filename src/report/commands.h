// The commands that draw: `fci report` and `fci plot`.
//   report   the report as a page, HTML or Markdown (page.h)
//   plot     figure2 to figure6 of the paper, scaling, and curves of any runs, each as an SVG (plots.cpp); a quantity
//            of rows by one of their options (option_plot.cpp)
#pragma once
#include "report/page.h"

namespace fci {

struct PlotOptions {
    std::string figure, out, reading, scale = "small", results = default_results;
    std::string data = "runs/results/scaling.tsv"; // scaling: the file of `fci bench --scaling --out`
    std::vector<std::string> runs;                 // curves: run folders, their checkpoints or log.jsonl
    std::string x, y;                              // for rows: the option along x, and the quantity along y
};

// Returns an SVG. Exit::usage: an unknown figure (with the nearest name), or no results to draw. Exit::bad_data: a file
// with a wrong line, with the line's number.
std::string plot_svg(const PlotOptions&);

// The quantity y by the option x: a dot is the mean of the seeds, a whisker their range. If the rows differ in further
// options, each combination has its own curve. Values of x that are names are placed in the order of the rows.
std::string plot_by_option(const PlotOptions&);

} // namespace fci
