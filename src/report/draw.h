// The drawings of the report and of `fci plot`, with the same marks everywhere. The paper's number is a hollow box as
// wide as the verdict's margin, so inside it is 'reproduced'. Ours is a dot: filled with its 95% interval for two seeds
// or more, a ring for one seed; a square for the joint reading. Chance is a dashed line. Strips have no viewBox: x is
// in percent, y in pixels, so they stretch but their dots do not. Charts have a viewBox.
#pragma once
#include "report/page.h"
#include "report/svg.h"

namespace fci {

Markup text(double x, double y, const std::string& css, const std::string& words);

struct Axis {
    double low = 0, high = 100;
    bool log = false;
    std::vector<double> ticks{0, 50, 100};
    std::vector<std::string> names = {}; // names of the ticks; empty: numbers
    double at(double x) const;           // position of x, 0 to 1, clamped at the ends
};
const Axis& axis_of(const std::string& quantity);
std::string tick_text(double x); // "1k", "0.5"

std::string rate_class(const std::optional<double>& rate); // "r2"; "x": no rate
Markup glyph(Holds);

Markup strip(const Mechanism&, double height);
Markup strip_of_readings(const Many&);       // all numbers of a row on one axis, equal ones stacked
Markup legend_mark(const std::string& kind); // paper, one, many, square, chance, or a rate's class

struct Curve {
    std::string label, css;
    std::vector<double> x, y, low, high;                // low, high: a band; may be empty
    bool dots = false, whiskers = false, joined = true; // whiskers: the range at each point, instead of a band
};
struct Chart {
    double width = 300, height = 170, labels = 84; // labels: width right of the lines
    Axis x, y;
    std::string title, x_title;
    std::vector<Curve> curves;
    std::optional<double> chance, jump; // a value of y, a value of x
    std::string paper;                  // the paper's number for the last point; may be empty
    std::string quantity = "routing";   // of the paper's number
};
Markup chart(const Chart&); // without its <svg>
Axis epochs(double last);   // 1 to `last`
Chart chart_of(const Panel&);
Markup sparkline(const std::vector<Series>&, const std::optional<double>& chance);

} // namespace fci
