#include "report/draw.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace fci {
namespace {

std::string percent(double share) { return short_number(100 * share) + "%"; }

Markup line(const std::string& css, const Attribute& x1, const Attribute& y1, const Attribute& x2,
            const Attribute& y2) {
    return element("line", {{"class", css}, x1, y1, x2, y2});
}

// The ends of the paper's box on an axis, each 0 .. 1.
std::optional<std::pair<double, double>> box_of(const std::string& paper, const std::string& quantity) {
    const auto p = parse_paper(paper);
    if (!p) return std::nullopt;
    const Axis& axis = axis_of(quantity);
    const double m = p->exact ? margin(quantity, p->low) : 0;
    return std::pair(axis.at(p->low - m), axis.at(p->high + m));
}

Markup dot(const Line& l, const std::string& css, double y, bool square) {
    const Axis& axis = axis_of(l.quantity);
    const double x = axis.at(l.ours.mean);
    const std::string kind = fmt::format("dot {}{}", css, l.ours.ran() == 1 && !l.on ? " one" : "");
    Markup m;
    if (l.ours.half_width > 0 && (l.ours.ran() > 1 || l.on))
        m += line("whisk " + css, {"x1", percent(axis.at(l.ours.mean - l.ours.half_width))}, {"y1", y},
                  {"x2", percent(axis.at(l.ours.mean + l.ours.half_width))}, {"y2", y});
    if (axis.at(l.ours.mean + l.ours.half_width) - axis.at(l.ours.mean - l.ours.half_width) > 0.03 && l.ours.seeds > 1)
        for (const double seed : l.ours.values) {
            const std::string at = percent(axis.at(seed));
            m += line("seed " + css, {"x1", at}, {"y1", y - 4}, {"x2", at}, {"y2", y + 4});
        }
    const std::string at = percent(x);
    if (!square)
        return m + element("circle", {{"class", kind}, {"cx", at}, {"cy", y}, {"r", 3.6}, {"data-t", says(l)}});
    const Markup mark = // in a nested <svg>: pixels cannot be subtracted from a percentage
        element("rect", {{"class", kind}, {"x", -3.4}, {"y", -3.4}, {"width", 6.8}, {"height", 6.8}});
    return m + element("svg", {{"x", at}, {"y", y}, {"data-t", says(l)}}, mark);
}

Markup grid(double height) {
    Markup m;
    for (const char* x : {"0%", "50%", "100%"}) m += line("grid", {"x1", x}, {"y1", 0.0}, {"x2", x}, {"y2", height});
    return m;
}

Markup svg(const std::string& css, double height, const std::string& label, const Markup& inner) {
    return element(
        "svg", {{"class", css}, {"width", "100%"}, {"height", height}, {"role", "img"}, {"aria-label", label}}, inner);
}

std::string path_of(const std::vector<std::pair<double, double>>& points) {
    std::string s;
    for (const auto& [x, y] : points)
        s += fmt::format("{}{} {}", s.empty() ? "M" : "L", short_number(x), short_number(y));
    return s;
}

} // namespace

Markup text(double x, double y, const std::string& css, const std::string& words) {
    return element("text", {{"x", x}, {"y", y}, {"class", css}}, words);
}

double Axis::at(double x) const {
    const auto place = [&](double v) { return log ? std::log(std::max(v, 1e-300)) : v; };
    return std::clamp((place(x) - place(low)) / (place(high) - place(low)), 0.0, 1.0);
}

const Axis& axis_of(const std::string& quantity) {
    static const std::map<std::string, Axis> others{{"rank", {1, 512, true, {1, 512}}},
                                                    {"energy90_dims", {1, 512, true, {1, 512}}},
                                                    {"cosine_gap", {-1, 1, false, {-1, 0, 1}}},
                                                    {"transition_epoch", {0, 40, false, {0, 40}}}};
    static const Axis in_percent;
    const auto at = others.find(quantity);
    return at == others.end() ? in_percent : at->second;
}

std::string tick_text(double x) {
    for (const auto& [unit, word] : {std::pair(1e6, "M"), std::pair(1e3, "k")})
        if (std::abs(x) >= unit) return short_number(x / unit) + word;
    return minus(x != 0 && std::abs(x) < 0.01 ? fmt::format("{:g}", x) : short_number(x));
}

std::string rate_class(const std::optional<double>& rate) {
    if (!rate) return "x";
    return *rate < 2e-4 ? "r0" : *rate < 6e-4 ? "r1" : *rate < 2e-3 ? "r2" : "r3";
}

Markup glyph(Holds h) {
    const Markup ring = element("circle", {{"class", "go"},
                                           {"cx", 7.0},
                                           {"cy", 7.0},
                                           {"r", 5.5},
                                           {"stroke-dasharray", h == Holds::unknown ? "1.5 2" : ""}});
    Markup in;
    if (h == Holds::yes) in = element("circle", {{"class", "gf"}, {"cx", 7.0}, {"cy", 7.0}, {"r", 5.5}});
    if (h == Holds::in_part) in = element("path", {{"class", "gf"}, {"d", "M7 1.5A5.5 5.5 0 0 0 7 12.5Z"}});
    if (h == Holds::no) in = element("path", {{"class", "go"}, {"d", "M3.2 10.8L10.8 3.2"}});
    return element("svg", {{"class", "gl"}, {"width", 14.0}, {"height", 14.0}, {"aria-hidden", "true"}}, ring + in);
}

Markup strip(const Mechanism& m, double height) {
    const Axis& axis = axis_of(m.quantity);
    Markup inner = grid(height);
    if (const auto chance = m.chance())
        inner += line("chance", {"x1", percent(axis.at(*chance))}, {"y1", 0.0}, {"x2", percent(axis.at(*chance))},
                      {"y2", height});
    if (const auto box = box_of(m.paper, m.quantity))
        inner += element("rect", {{"class", m.ran() ? "paper" : "paper off"},
                                  {"x", percent(box->first)},
                                  {"y", 4.0},
                                  {"width", percent(std::max(box->second - box->first, 0.008))},
                                  {"height", height - 8},
                                  {"rx", 2.5},
                                  {"data-t", "paper: " + paper_text(m.paper)}});
    std::vector<std::pair<const Line*, std::string>> lanes;
    for (const Line* l : m.at)
        if (l && l->ours.seeds) lanes.emplace_back(l, rate_class(l->of.learning_rate));
    if (m.under && m.under->ours.seeds) lanes.emplace_back(m.under, "m");
    const double n = static_cast<double>(lanes.size()), apart = std::min(8.0, (height - 8) / std::max(n, 1.0));
    std::string label = m.name + ": ";
    for (size_t i = 0; i < lanes.size(); ++i) {
        const auto& [l, css] = lanes[i];
        inner += dot(*l, css, height / 2 + (static_cast<double>(i) - (n - 1) / 2) * apart, css == "m");
        label += value_text(*l) + (css == "m"            ? " under the reading; "
                                   : l->of.learning_rate ? " at " + rate_of(l->of) + "; "
                                                         : "; ");
    }
    if (m.quantity != "routing" && m.quantity != "accuracy")
        inner +=
            element("text", {{"class", "tick end right"}, {"x", "-5"}, {"y", height / 2 + 3.5}}, tick_text(axis.low)) +
            element("svg", {{"x", "100%"}}, text(5, height / 2 + 3.5, "tick end", tick_text(axis.high)));
    return svg("strip", height, label + "paper " + (m.paper.empty() ? "nothing" : paper_text(m.paper)), inner);
}

Markup strip_of_readings(const Many& many) {
    constexpr double pitch = 9, slot = 0.014;
    struct Place {
        const Line* line;
        double x;
        int level;
    };
    std::vector<Place> places;
    std::map<int, int> piles;
    int highest = 1;
    const auto add = [&](const Line* l) {
        if (!counts(l) || l->ours.seeds == 0) return;
        int& pile = piles[static_cast<int>(std::lround(axis_of("routing").at(l->ours.mean) / slot))];
        places.push_back({l, 0, pile++});
        highest = std::max(highest, pile);
    };
    for (const Mechanism& m : many.readings)
        for (const Line* l : m.at) add(l);
    const double base = highest * pitch + 16, height = base + 22;
    Markup inner;
    for (const double x : {0.0, 25.0, 50.0, 75.0, 100.0}) {
        const std::string at = percent(x / 100);
        inner += line("grid", {"x1", at}, {"y1", 12.0}, {"x2", at}, {"y2", base});
        inner += element("text",
                         {{"class", x == 0     ? "tick"
                                    : x == 100 ? "tick right"
                                               : "tick mid"},
                          {"x", at},
                          {"y", base + 16}},
                         x == 100 ? "100%" : tick_text(x));
    }
    inner += line("axis", {"x1", "0%"}, {"y1", base}, {"x2", "100%"}, {"y2", base});
    if (const auto box = box_of(many.default_.paper, "routing"))
        inner += element("rect", {{"class", "paper"},
                                  {"x", percent(box->first)},
                                  {"y", 12.0},
                                  {"width", percent(std::max(box->second - box->first, 0.008))},
                                  {"height", base - 12},
                                  {"rx", 2.5},
                                  {"data-t", "paper: " + paper_text(many.default_.paper)}});
    for (const Place& p : places)
        inner += dot(*p.line, rate_class(p.line->of.learning_rate), base - 6 - p.level * pitch, false);
    return svg("strip", height, fmt::format("{} numbers of {}", places.size(), many.default_.name), inner);
}

Markup legend_mark(const std::string& kind) {
    const bool wide = kind == "many", box = kind == "paper";
    const double width = wide ? 40 : box ? 26 : 16, x = width / 2;
    Markup in;
    if (box)
        in = element("rect",
                     {{"class", "paper"}, {"x", 3.0}, {"y", 2.0}, {"width", 20.0}, {"height", 16.0}, {"rx", 2.5}});
    else if (kind == "chance")
        in = line("chance", {"x1", x}, {"y1", 1.0}, {"x2", x}, {"y2", 19.0});
    else if (kind == "square")
        in = element("rect", {{"class", "dot m"}, {"x", x - 3.4}, {"y", 6.6}, {"width", 6.8}, {"height", 6.8}});
    else {
        if (wide) in = line("whisk r1", {"x1", 3.0}, {"y1", 10.0}, {"x2", 37.0}, {"y2", 10.0});
        const std::string css = kind == "one" ? "dot r2 one" : wide ? "dot r1" : "dot " + kind;
        in += element("circle", {{"class", css}, {"cx", x}, {"cy", 10.0}, {"r", 3.6}});
    }
    return element("svg", {{"width", width}, {"height", 20.0}, {"aria-hidden", "true"}}, in);
}

Axis epochs(double last) {
    Axis axis{1, std::max(last, 2.0), false, {1}};
    double step = 1;
    for (const double next : {2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000, 100000})
        if (last / step > 5) step = next;
    for (double tick = step; tick <= last; tick += step)
        if (tick > 1) axis.ticks.push_back(tick);
    return axis;
}

Markup chart(const Chart& c) {
    const double left = 34, top = c.title.empty() ? 10 : 30, right = c.width - c.labels,
                 bottom = c.height - (c.x_title.empty() ? 22 : 38);
    const auto px = [&](double x) { return left + c.x.at(x) * (right - left); };
    const auto py = [&](double y) { return bottom - c.y.at(y) * (bottom - top); };
    Markup m;
    if (!c.title.empty()) m += text(left, 16, "head", c.title);
    for (const double y : c.y.ticks)
        m += line("grid", {"x1", left}, {"y1", py(y)}, {"x2", right}, {"y2", py(y)}) +
             text(left - 6, py(y) + 4, "tick right", tick_text(y));
    m += line("axis", {"x1", left}, {"y1", bottom}, {"x2", right}, {"y2", bottom});
    for (size_t i = 0; i < c.x.ticks.size(); ++i)
        m +=
            text(px(c.x.ticks[i]), bottom + 16, "tick mid", c.x.names.empty() ? tick_text(c.x.ticks[i]) : c.x.names[i]);
    if (!c.x_title.empty()) m += text((left + right) / 2, bottom + 32, "tick mid", c.x_title);
    if (c.chance) m += line("chance", {"x1", left}, {"y1", py(*c.chance)}, {"x2", right}, {"y2", py(*c.chance)});
    if (c.jump) m += line("jump", {"x1", px(*c.jump)}, {"y1", top}, {"x2", px(*c.jump)}, {"y2", bottom});

    struct Label {
        double y;
        std::string css, words;
    };
    std::vector<Label> labels;
    for (const Curve& curve : c.curves) {
        std::vector<std::pair<double, double>> points, band;
        for (size_t i = 0; i < curve.x.size(); ++i) points.emplace_back(px(curve.x[i]), py(curve.y[i]));
        for (size_t i = 0; i < curve.high.size(); ++i) band.emplace_back(px(curve.x[i]), py(curve.high[i]));
        for (size_t i = curve.low.size(); i > 0; --i) band.emplace_back(px(curve.x[i - 1]), py(curve.low[i - 1]));
        if (curve.whiskers)
            for (size_t i = 0; i < curve.low.size(); ++i)
                m += line("whisk " + curve.css, {"x1", px(curve.x[i])}, {"y1", py(curve.low[i])},
                          {"x2", px(curve.x[i])}, {"y2", py(curve.high[i])});
        else if (!band.empty())
            m += element("path", {{"class", "band " + curve.css}, {"d", path_of(band) + "Z"}});
        if (curve.joined) m += element("path", {{"class", "ln " + curve.css}, {"d", path_of(points)}});
        if (curve.dots || points.size() == 1)
            for (const auto& [x, y] : points)
                m += element("circle", {{"class", "dot " + curve.css}, {"cx", x}, {"cy", y}, {"r", 2.0}});
        if (points.empty()) continue;
        const auto [x, y] = points.back(); // a line that ends early is labelled at its end
        if (x < right - 60 && curve.joined)
            m += text(x + 8, y - 3, "lab " + curve.css, curve.label);
        else
            labels.push_back({y, "lab " + curve.css, curve.label});
    }
    if (const auto p = parse_paper(c.paper)) {
        const double by = p->exact ? margin(c.quantity, p->low) : 0;
        const double high = py(p->high + by), low = py(p->low - by);
        m += element("rect", {{"class", "paper"},
                              {"x", right + 3},
                              {"y", high},
                              {"width", 7.0},
                              {"height", std::max(low - high, 3.0)},
                              {"rx", 1.5}});
        labels.push_back({(high + low) / 2, "mut", "paper " + paper_text(c.paper)});
    }
    if (c.chance) labels.push_back({py(*c.chance), "tick", fmt::format("chance {:.1f}", *c.chance)});
    std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
    constexpr double apart = 13.5;
    for (size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + apart);
    double floor = bottom + 4;
    for (size_t i = labels.size(); i > 0; --i, floor -= apart) labels[i - 1].y = std::min(labels[i - 1].y, floor);
    for (const Label& l : labels) m += text(right + 14, l.y + 4, l.css, l.words);
    return m;
}

Chart chart_of(const Panel& p) {
    Chart c;
    double last = 2;
    for (const Series& s : p.series) {
        last = std::max(last, s.epoch.back());
        const Line* l = nullptr;
        for (const Line* of : p.of.at)
            if (of && of->of.learning_rate == s.rate) l = of;
        Curve curve{fmt::format("{}{}", s.rate ? rate_text(*s.rate) + ": " : "",
                                l && counts(l) ? value_text(*l) : fmt::format("{:.1f}", s.mean.back())),
                    rate_class(s.rate),
                    s.epoch,
                    s.mean,
                    {},
                    {}};
        if (s.seeds > 1) curve.low = s.low, curve.high = s.high;
        c.curves.push_back(std::move(curve));
    }
    c.x = epochs(last), c.chance = p.of.chance(), c.paper = p.of.paper;
    if (const auto jump = parse_paper(p.jump); jump && jump->exact) c.jump = jump->low;
    return c;
}

Markup sparkline(const std::vector<Series>& all, const std::optional<double>& chance) {
    if (all.empty()) return {};
    constexpr double width = 110, height = 26;
    double last = 2;
    for (const Series& s : all) last = std::max(last, s.epoch.back());
    const Axis axis = epochs(last);
    const auto py = [](double y) { return height - 2 - y / 100 * (height - 4); };
    Markup m;
    if (chance) m += line("chance", {"x1", 0.0}, {"y1", py(*chance)}, {"x2", width}, {"y2", py(*chance)});
    for (const Series& s : all) {
        std::vector<std::pair<double, double>> points;
        for (size_t i = 0; i < s.epoch.size(); ++i) points.emplace_back(axis.at(s.epoch[i]) * width, py(s.mean[i]));
        m += element("path", {{"class", "ln " + rate_class(s.rate)}, {"d", path_of(points)}});
    }
    return element(
        "svg",
        {{"class", "spark"}, {"width", width}, {"height", height}, {"viewBox", "0 0 110 26"}, {"aria-hidden", "true"}},
        m);
}

} // namespace fci
