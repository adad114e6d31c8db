// `fci plot`: the report's drawings as separate files.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>

#include "core/files.h"
#include "core/nearest.h"
#include "core/streams.h"
#include "report/commands.h"
#include "report/draw.h"
#include "report/gather.h"
#include "study/execute.h"
#include "train/checkpoint.h"

namespace fci {
namespace {

namespace fs = std::filesystem;

// The first n characters of a name.
std::string shortened(const std::string& s, size_t n) {
    size_t characters = 0;
    for (size_t i = 0; i < s.size(); ++i)
        if ((s[i] & 0xC0) != 0x80 && ++characters > n) return s.substr(0, i) + "…";
    return s;
}

Markup group(double x, double y, const Markup& inner) {
    return element("g", {{"transform", fmt::format("translate({} {})", short_number(x), short_number(y))}}, inner);
}

std::string small_multiples(const Page& p) {
    constexpr double width = 320, height = 196;
    const int across = p.panels.size() == 4 ? 2 : static_cast<int>(std::clamp<size_t>(p.panels.size(), 2, 3));
    Markup m;
    int n = 0;
    for (const Panel& panel : p.panels) {
        Chart c = chart_of(panel);
        c.width = 310, c.height = 186, c.title = shortened(panel.of.name, 36);
        m += group(n % across * width + 8, n / across * height + 46, chart(c)), ++n;
    }
    const double down = (n + across - 1) / across * height + 46, wide = across * width + 16;
    m += text(16, 22, "tick", "Routing, %, by epoch; band: lowest to highest of the seeds");
    if (!p.no_panel.empty()) {
        const std::string none = fmt::format("not run: {}", fmt::join(p.no_panel, ", "));
        m += text(16, 38, "tick", shortened(none, static_cast<size_t>(wide / 7)));
    }
    return svg_file(wide, down + 8, "Figure 2. Routing by epoch", m);
}

std::string landscape(const Page& p, const Section& s) {
    constexpr double name = 16, axis = 330, wide = 280, paper = 690, first = 770, step = 88;
    const std::vector<double>& rates = p.scale->learning_rates;
    const double chance = first + step * static_cast<double>(rates.size());
    double y = 54;
    Markup m = text(name, 26, "head", s.title);
    const bool percents = std::any_of(s.groups.begin(), s.groups.end(), [](const Group& g) {
        return g.of[0].quantity == "routing" || g.of[0].quantity == "accuracy";
    });
    if (percents)
        m += text(axis, y, "tick mid", "0") + text(axis + wide / 2, y, "tick mid", "50") +
             text(axis + wide, y, "tick mid", "100%");
    m += text(paper, y, "tick right", "paper") + text(chance, y, "tick right", "chance");
    for (size_t i = 0; i < rates.size(); ++i)
        m += text(first + step * static_cast<double>(i), y, "lab right " + rate_class(rates[i]), rate_text(rates[i]));
    for (const Group& g : s.groups) {
        y += 28;
        m += text(name, y, "head", g.name);
        y += 8;
        for (const Mechanism& of : g.of) {
            const double line = y + 18;
            m += text(name, line, of.ran() ? "" : "mut", shortened(of.name, 42)) +
                 element("svg", {{"x", axis}, {"y", y}, {"width", wide}, {"height", 27.0}}, strip(of, 27)) +
                 text(paper, line, "right", paper_text(of.paper));
            const auto number = [&](const Line* l, double x) {
                if (counts(l))
                    m += text(x, line, "right", value_text(*l)) + text(x + 3, line, "tick end", tail_text(*l));
                else
                    m += text(x, line, "tick right", l && !l->of.row.needs.empty() ? "not here" : "not run");
            };
            if (of.one_number())
                number(of.at[0], first + step * static_cast<double>(rates.size() - 1));
            else
                for (size_t i = 0; i < rates.size(); ++i)
                    number(of.at_rate(rates[i]), first + step * static_cast<double>(i));
            if (const auto c = of.chance()) m += text(chance, line, "right mut", fmt::format("{:.1f}", *c));
            y += 27;
        }
    }
    m += text(name, y + 26, "tick",
              "box: the paper's number and its margin · dot: ours, with the 95% interval (±) · "
              "ring and ¹: one seed · dashed: chance");
    return svg_file(chance + 24, y + 42, s.title, m);
}

std::string figure(const PlotOptions& o) {
    PageOptions page;
    page.scale = o.scale, page.results = o.results, page.reading = o.reading;
    std::vector<std::string> notes;
    const std::unique_ptr<Page> p = load_page(page, notes);
    for (const std::string& note : notes) complain("fci plot: {}\n", note);
    const std::vector<std::string> words = o.figure == "figure4"   ? std::vector<std::string>{"figure4", "table3"}
                                           : o.figure == "figure6" ? std::vector<std::string>{"table1"}
                                                                   : std::vector<std::string>{o.figure};
    const std::vector<Row> rows = p->study.select(words);
    const auto reading = o.reading.empty() ? std::vector<Reading>{} : select_readings(p->study.joint, {o.reading});
    // Under a reading, the plot shows that reading's numbers at the rates; each row's line keeps the row's own name.
    p->lines = lines_of_rows(*p, reading.empty() ? rows : under(rows, reading));
    gather_sections(*p, rows);
    if (std::none_of(p->lines.begin(), p->lines.end(), [](const Line& l) { return counts(&l); }))
        fail(Exit::usage,
             "{}: there are no results at scale {}; make them, or choose another --scale:\n  {} reproduce {} "
             "--scale {}{}",
             o.figure, o.scale, program_name(), words[0], o.scale, o.reading.empty() ? "" : " --reading " + o.reading);
    return o.figure == "figure2" ? small_multiples(*p) : landscape(*p, p->sections.at(0));
}

// The file of `fci bench --scaling`: method, n, ms, MB, ns per token; tab-separated, with a header line.
struct Scaled {
    std::vector<double> n, ms, mb;
};

std::vector<std::pair<std::string, Scaled>> read_scaling(const std::string& path) {
    if (!fs::exists(path))
        fail(Exit::usage, "{0}: there is no such file; make it first:\n  {1} bench --scaling --out {0}", path,
             program_name());
    const std::string data = read_file(path);
    if (!data.starts_with("method\tn\tms\tMB"))
        fail(Exit::bad_data,
             "{}: not what `fci bench --scaling --out` writes: its first line does not name method, n, ms, MB", path);
    std::vector<std::pair<std::string, Scaled>> methods;
    int number = 1;
    for (size_t begin = data.find('\n'); begin != std::string::npos && begin + 1 < data.size();) {
        const size_t end = std::min(data.find('\n', ++begin), data.size());
        const std::string line = data.substr(begin, end - begin);
        begin = end < data.size() ? end : std::string::npos;
        ++number;
        std::vector<std::string> fields;
        for (size_t at = 0; at <= line.size();) {
            const size_t tab = std::min(line.find('\t', at), line.size());
            fields.push_back(line.substr(at, tab - at));
            at = tab + 1;
        }
        double values[3] = {};
        bool good = fields.size() >= 4 && !fields[0].empty();
        for (size_t i = 0; good && i < 3; ++i) {
            const std::string& field = fields[i + 1];
            const char* last = field.data() + field.size();
            const auto [stop, error] = std::from_chars(field.data(), last, values[i]);
            good = error == std::errc() && stop == last && std::isfinite(values[i]) && values[i] > 0;
        }
        if (!good)
            fail(Exit::bad_data, "{}:{}: expected a method and the numbers n, ms and MB, above 0, separated by tabs",
                 path, number);
        auto at = std::find_if(methods.begin(), methods.end(), [&](const auto& m) { return m.first == fields[0]; });
        if (at == methods.end()) at = methods.insert(at, {fields[0], {}});
        at->second.n.push_back(values[0]), at->second.ms.push_back(values[1]), at->second.mb.push_back(values[2]);
    }
    if (methods.empty()) fail(Exit::bad_data, "{}: no line of numbers follows the first", path);
    return methods;
}

// A logarithmic axis of whole decades that contain these values.
Axis decades(const std::vector<double>& values) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    Axis axis{
        std::pow(10, std::floor(std::log10(*low) + 1e-9)), std::pow(10, std::ceil(std::log10(*high) - 1e-9)), true, {}};
    if (axis.high <= axis.low) axis.high = 10 * axis.low;
    const double step = std::log10(axis.high / axis.low) > 9 ? 1e3 : 10;
    for (double tick = axis.low; tick <= axis.high * 1.001; tick *= step) axis.ticks.push_back(tick);
    return axis;
}

std::string css_of(size_t i) { return fmt::format("c{} d{}", i % 6, i / 6 % 3); }

std::string scaling(const PlotOptions& o) {
    const auto methods = read_scaling(o.data);
    Chart time, memory;
    std::vector<double> n, ms, mb;
    for (const auto& [name, of] : methods) {
        const std::string label = shortened(name, 16), css = css_of(time.curves.size());
        time.curves.push_back({label, css, of.n, of.ms, {}, {}, true});
        memory.curves.push_back({label, css, of.n, of.mb, {}, {}, true});
        n.insert(n.end(), of.n.begin(), of.n.end());
        ms.insert(ms.end(), of.ms.begin(), of.ms.end()), mb.insert(mb.end(), of.mb.begin(), of.mb.end());
    }
    const double height = std::max(340.0, 60 + 14.0 * static_cast<double>(methods.size()));
    time.title = "Milliseconds", memory.title = "MB";
    time.y = decades(ms), memory.y = decades(mb);
    Markup m;
    double x = 8;
    for (Chart* c : {&time, &memory}) {
        c->width = 450, c->height = height, c->labels = 110, c->x = decades(n);
        c->x_title = "positions n, all of them queries";
        m += group(x, 6, chart(*c)), x += 460;
    }
    return svg_file(936, height + 14, "Routing against the length", m);
}

std::string curves(const PlotOptions& o) {
    if (o.runs.empty()) fail(Exit::usage, "plot curves: which runs? folders of runs, or their log.jsonl");
    std::vector<std::string> names;
    std::vector<Result> runs;
    for (const std::string& word : o.runs) {
        const fs::path given = fs::path(folder_of_run(word)).lexically_normal();
        const bool folder = fs::is_directory(given);
        const std::string log = folder ? (given / "log.jsonl").string() : given.string();
        if (!fs::exists(log)) fail(Exit::usage, "{}: no such log; a run's folder holds log.jsonl", log);
        Result r;
        read_log(log, r);
        double before = 0;
        for (const auto& point : r.curve) {
            const bool good = point[0] > before && point[0] < 1e9 && point[1] >= 0 && point[1] <= 100;
            if (!good)
                fail(Exit::bad_data, "{}: after epoch {}: expected a later epoch with routing from 0 to 100", log,
                     before);
            before = point[0];
        }
        if (r.curve.empty()) fail(Exit::bad_data, "{}: it has no finished epoch yet", log);
        const fs::path whole = fs::absolute(fs::path(log)).parent_path();
        const std::string file = fs::path(log).filename().string();
        names.push_back(file == "log.jsonl" ? whole.filename().string() : file);
        runs.push_back(std::move(r));
    }
    for (size_t i = 0; i < names.size(); ++i) // equal names are replaced by the runs' folders
        if (std::count(names.begin(), names.end(), names[i]) > 1) names[i] = o.runs[i];
    Chart c;
    double last = 2;
    size_t longest = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
        Curve curve{
            fmt::format("{:.1f}  {}", runs[i].curve.back()[1], shortened(names[i], 48)), css_of(i), {}, {}, {}, {}};
        for (const auto& point : runs[i].curve) curve.x.push_back(point[0]), curve.y.push_back(point[1]);
        last = std::max(last, curve.x.back());
        longest = std::max(longest, curve.label.size());
        c.curves.push_back(std::move(curve));
    }
    c.labels = 30 + 7.6 * static_cast<double>(std::min<size_t>(longest, 56));
    c.width = 520 + c.labels, c.height = std::max(340.0, 60 + 14.0 * static_cast<double>(runs.size()));
    c.x = epochs(last), c.x_title = "epoch", c.title = "Routing, %, by epoch";
    return svg_file(c.width + 8, c.height + 8, c.title, chart(c));
}

} // namespace

std::string plot_svg(const PlotOptions& o) {
    if (!o.x.empty()) return plot_by_option(o);
    if (!o.y.empty()) fail(Exit::usage, "--y {}: add --x OPTION, an option of the rows", o.y);
    expect_one_of("plot", o.figure, {"figure2", "figure3", "figure4", "figure5", "figure6", "scaling", "curves"});
    if (o.figure != "curves" && !o.runs.empty())
        fail(Exit::usage, "plot {}: {}: runs are for `plot curves`", o.figure, o.runs[0]);
    return o.figure == "scaling" ? scaling(o) : o.figure == "curves" ? curves(o) : figure(o);
}

} // namespace fci
