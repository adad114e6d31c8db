// The commands that draw: `fci report` and `fci plot`.
//   report   the answer on a page, HTML or Markdown (page.h)
//   plot     figure2 to figure6 of the paper, scaling, and curves of any runs, each an SVG (plots.cpp)
#pragma once
#include "report/page.h"

namespace fci {

struct PlotOptions {
    std::string figure, out, reading, scale = "small", results = "runs/out/results";
    std::string data = "runs/results/scaling.tsv"; // scaling: what `fci bench --scaling --out` wrote
    std::vector<std::string> runs;                 // curves: run folders, or their log.jsonl
};

// An SVG. Exit::usage: an unknown figure (nearest named), or no results to draw. Exit::bad_data: a file that is not
// what it should be, with its line.
std::string plot_svg(const PlotOptions&);

} // namespace fci
