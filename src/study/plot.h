// Figures, drawn by gnuplot from the results; without gnuplot the script that would draw one stays, its data inside.
//   figure2   routing by depth, and by epoch      figure4   every mechanism beside chance and the paper's number
//   figure3   cosine gap, random projections, energy        scaling   time and memory against n
#pragma once
#include <string>

#include "core/check.h"

namespace fci {

struct PlotOptions {
    std::string figure, out, reading, scale = "small", results = "runs/out/results";
    std::string data = "runs/results/scaling.tsv"; // scaling: what `fci bench --scaling --out` wrote
};

// Writes `out`, an SVG. Exit::usage: an unknown figure (nearest named), no results to draw, or no gnuplot: then the
// script is left beside it, as OUT.gnuplot.
Exit draw(const PlotOptions&);

} // namespace fci
