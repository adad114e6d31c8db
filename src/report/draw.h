// The drawings of the report and of `fci plot`: one grammar for all. The paper's number is a hollow box (within the
// verdict's own margin, so inside it is 'reproduced'), ours a dot: full with its 95% interval from two seeds on, a ring
// of one seed; a square is the joint reading; chance is a dashed line. Strips have no viewBox: x in percent, y in
// pixels, so that they stretch and their dots do not. Charts have one.
#pragma once
#include "report/page.h"
#include "report/svg.h"

namespace fci {

Markup text(double x, double y, const std::string& css, const std::string& words);

struct Axis {
    double low = 0, high = 100;
    bool log = false;
    std::vector<double> ticks{0, 50, 100};
    std::vector<std::string> names = {}; // of the ticks; empty: they are numbers
    double at(double x) const;           // its place, 0 to 1; what lies outside stands at the end
};
const Axis& axis_of(const std::string& quantity);
std::string tick_text(double x); // "1k", "0.5"

std::string rate_class(const std::optional<double>& rate); // "r2"; "x": none
Markup glyph(Holds);

Markup strip(const Mechanism&, double height);
Markup strip_of_readings(const Many&);       // all numbers of a row on one axis, those that are equal piled up
Markup legend_mark(const std::string& kind); // paper, one, many, square, chance, or a rate's class

struct Curve {
    std::string label, css;
    std::vector<double> x, y, low, high;                // low, high: the band; may be empty
    bool dots = false, whiskers = false, joined = true; // whiskers: the range at each point, in place of a band
};
struct Chart {
    double width = 300, height = 170, labels = 84; // labels: the room right of the lines
    Axis x, y;
    std::string title, x_title;
    std::vector<Curve> curves;
    std::optional<double> chance, jump; // a value of y, and of x
    std::string paper;                  // of the last point; may be empty
    std::string quantity = "routing";   // of the paper's number
};
Markup chart(const Chart&); // without its <svg>
Axis epochs(double last);   // 1 to `last`
Chart chart_of(const Panel&);
Markup sparkline(const std::vector<Series>&, const std::optional<double>& chance);

} // namespace fci
