#include "study/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/files.h"
#include "core/nearest.h"
#include "study/commands.h"
#include "study/report.h"

namespace fci {
namespace {

const std::string head = "set terminal svg noenhanced size 900,{} font 'sans-serif,13' background 'white'\n"
                         "set grid y lc '#dddddd' lt 1\nset border 3 lc '#888888'\nset tics nomirror\n"
                         "ours = '#1f6fb2'; paper = '#d1495b'; gray = '#8a8a8a'\n";

std::string quoted(const std::string& s) { // gnuplot's double quotes
    std::string q = "\"";
    for (char c : s) q += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return q + "\"";
}

// What there is to draw: the lines of some rows, and their runs.
struct Source {
    Results own, recorded;
    Study study;
    std::string scale;
    std::vector<Reading> reading; // one, or none

    explicit Source(const PlotOptions& o) : scale(o.scale) {
        std::vector<std::string> notes;
        own = Results(o.results, o.scale, notes);
        study = load_study(find_runs_folder());
        recorded = Results(study.folder + "/results", o.scale, notes);
        if (!o.reading.empty()) reading = {one_reading(&study, o.reading)};
        for (const std::string& note : notes) fmt::print(stderr, "fci plot: {}\n", note);
    }
    std::vector<Case> cases(const std::string& word) {
        const std::vector<Row> rows = study.select({word});
        return plan(reading.empty() ? rows : under(rows, reading), study.scale(scale));
    }
    std::vector<Line> lines(const std::string& word) { return lines_of(cases(word), own, recorded, 0); }
    const Result* run(const Case& c, int64_t seed) const {
        const std::string hash = run_hash(c.seeded(seed));
        const Result* r = own.find(hash);
        return r ? r : recorded.find(hash);
    }
};

std::string rate(const Case& c) { return c.learning_rate ? " lr " + rate_text(*c.learning_rate) : ""; }

// A value or a "?" , which gnuplot leaves out.
std::string number(std::optional<double> x) { return x ? fmt::format("{:.6g}", *x) : "?"; }
std::optional<double> paper_of(const Line& l) {
    const auto p = parse_paper(l.paper);
    if (!p) return std::nullopt;
    return std::isfinite(p->low) && std::isfinite(p->high) ? (p->low + p->high) / 2 // of a bound, the bound
           : std::isfinite(p->low)                         ? p->low
                                                           : p->high;
}

// label, ours, half width, chance, paper; a row for each line of this quantity that has a value of ours.
std::string bars(const std::vector<Line>& lines, const std::string& quantity, bool with_group, int& count) {
    std::string data;
    for (const Line& l : lines) {
        if (l.quantity != quantity || l.ours.seeds == 0) continue;
        std::string name = with_group ? l.of.row.base_label() : l.of.row.representation;
        if (with_group && name.starts_with("f4.")) name.erase(0, 3);
        data += fmt::format("{} {:.6g} {:.6g} {} {}\n", quoted(name + rate(l.of)), l.ours.mean, l.ours.half_width,
                            number(l.ours.chance), number(paper_of(l)));
        ++count;
    }
    return data;
}

void require_data(int count, const PlotOptions& o) {
    if (count == 0)
        fail(Exit::usage,
             "{}: there are no results of it at scale {}; make them, or choose another --scale:\n  ./fci reproduce {} "
             "--scale {}{}",
             o.figure, o.scale, o.figure, o.scale, o.reading.empty() ? "" : " --reading " + o.reading);
}

std::string where_text(const PlotOptions& o) {
    return "scale " + o.scale + (o.reading.empty() ? "" : ", reading " + o.reading);
}

// Horizontal bars from the top down: ours with its interval, chance as a gray tick, the paper's value as a cross.
std::string bar_panel(const std::string& data, int count, const std::string& title, const std::string& axis,
                      const std::string& name) {
    return fmt::format("${0} << EOD\n{1}EOD\n"
                       "set title {2}\nset xlabel {3}\nset yrange [{4}:-0.7]\nset xrange [0:100]\nset ytics scale 0\n"
                       "plot ${0} using ($2/2):0:($2/2):(0.35):yticlabels(1) with boxxy fs solid 0.55 fc rgb ours "
                       "title 'ours', '' using 2:0:3 with xerrorbars pt 0 lc rgb 'black' notitle, "
                       "'' using 4:0 with points pt 9 ps 0.9 lc rgb gray title 'chance', "
                       "'' using 5:0 with points pt 2 ps 1 lw 2 lc rgb paper title 'paper'\n",
                       name, data, quoted(title), quoted(axis), static_cast<double>(count) - 0.3);
}

std::string figure2(Source& s, const PlotOptions& o) {
    int count = 0;
    const std::string data = bars(s.lines("figure2"), "routing", false, count);
    require_data(count, o);
    std::string text = fmt::format(fmt::runtime(head), 480) +
                       "set multiplot layout 1,2\nset key outside bottom center horizontal\n" +
                       bar_panel(data, count, "(a) routing at 4, by what mixes the tokens", "%, " + where_text(o), "a");
    std::string curves, plots;
    int n = 0;
    for (const Case& c : s.cases("figure2")) {
        std::vector<std::array<double, 4>> mean;
        int seeds = 0;
        for (int64_t seed = 1; seed <= 16; ++seed)
            if (const Result* r = s.run(c, seed); r && !r->curve.empty()) {
                if (mean.empty()) mean.assign(r->curve.size(), {});
                if (mean.size() != r->curve.size()) continue;
                for (size_t e = 0; e < mean.size(); ++e)
                    for (int i = 0; i < 4; ++i) mean[e][i] += r->curve[e][i];
                ++seeds;
            }
        if (!seeds) continue;
        curves += fmt::format("$c{} << EOD\n", n);
        for (const auto& p : mean) curves += fmt::format("{:g} {:.6g}\n", p[0] / seeds, p[1] / seeds);
        curves += "EOD\n";
        plots += fmt::format("{}$c{} with lines lw 2 title {}", n ? ", " : "plot ", n,
                             quoted(c.row.representation + rate(c)));
        ++n;
    }
    if (n)
        text += "set title '(b) by epoch'\nset xlabel 'epoch'\nset xrange [*:*]\nset yrange [0:100]\nset ytics auto "
                "scale 1\nset key outside bottom center horizontal maxcols 2\n" +
                curves + plots + "\n";
    return text + "unset multiplot\n";
}

std::string figure3(Source& s, const PlotOptions& o) {
    const std::vector<Line> lines = s.lines("figure3");
    struct Panel {
        const char *quantity, *title, *axis;
    };
    std::string text = fmt::format(fmt::runtime(head), 380) + "set multiplot layout 1,3\nset boxwidth 0.6\n"
                                                              "set style fill solid 0.6\nset key off\n";
    int count = 0;
    for (const Panel& p : {Panel{"cosine_gap", "(a) cosine of q and answer", "less that of random pairs"},
                           Panel{"routing", "(b) random Wq and Wk", "routing, %"},
                           Panel{"energy90_dims", "(c) 90% of the energy", "dimensions of Wq^T Wk"}}) {
        std::string bars_of, paper_value;
        for (const Line& l : lines) {
            if (l.quantity != p.quantity || l.ours.seeds == 0) continue;
            bars_of += fmt::format("\"ours{}\" {:.6g} {:.6g} 1\n", rate(l.of), l.ours.mean, l.ours.half_width);
            paper_value = fmt::format("\"paper\" {} 0 0\n", number(paper_of(l)));
        }
        if (bars_of.empty()) continue;
        text +=
            fmt::format("$p{0} << EOD\n{1}{2}EOD\nset title {3}\nset ylabel {4}\nset yrange [{5}]\n"
                        "plot $p{0} using 0:2:($4==1 ? 0x1f6fb2 : 0xd1495b):xticlabels(1) with boxes lc rgb variable, "
                        "'' using 0:2:3 with yerrorbars pt 0 lc rgb 'black'\n",
                        count++, bars_of, paper_value, quoted(p.title), quoted(p.axis),
                        std::string(p.quantity) == "cosine_gap" ? "*:*" : "0:*");
    }
    require_data(count, o);
    return text + "unset multiplot\n";
}

std::string figure4(Source& s, const PlotOptions& o) {
    int count = 0;
    const std::string data = bars(s.lines("figure4"), "routing", true, count);
    require_data(count, o);
    return fmt::format(fmt::runtime(head), 160 + 26 * count) + "set key outside top center horizontal\n" +
           bar_panel(data, count, "The routing landscape", "routing at 4 (bandits: at 1), %, " + where_text(o), "a");
}

// The file of `fci bench --scaling`: method, n, ms, MB, ns a token; tab-separated, with a header line.
std::string scaling(const PlotOptions& o) {
    if (!std::filesystem::exists(o.data))
        fail(Exit::usage, "{}: there is no such file; make it first:\n  ./fci bench --scaling --out {}", o.data,
             o.data);
    const std::string data = read_file(o.data);
    if (!data.starts_with("method\tn\tms\tMB"))
        fail(Exit::bad_data,
             "{}: not what `fci bench --scaling --out` writes: its first line names no method, n, ms, MB", o.data);
    std::string text = fmt::format(fmt::runtime(head), 420) +
                       "set multiplot layout 1,2\nset logscale xy\nset format '%.0s%c'\nset key top left\n"
                       "set xlabel 'positions n, all of them queries'\nset datafile separator '\\t'\n$d << EOD\n" +
                       data + "EOD\n";
    for (const auto& [title, column] : {std::pair{"milliseconds", 3}, {"MB", 4}}) {
        text += fmt::format("set title '{}'\nplot ", title);
        bool first = true;
        for (const char* kind : {"full", "sparse", "rank-1"}) {
            text +=
                fmt::format("{}$d using 2:(strcol(1) eq '{}' ? ${} : 1/0) with linespoints pt 7 ps 0.6 lw 2 title '{}'",
                            first ? "" : ", ", kind, column, kind);
            first = false;
        }
        text += "\n";
    }
    return text + "unset multiplot\n";
}

} // namespace

Exit draw(const PlotOptions& o) {
    expect_one_of("fci plot:", o.figure, {"figure2", "figure3", "figure4", "scaling"});
    if (!o.out.ends_with(".svg")) fail(Exit::usage, "fci plot {}: --out FILE.svg is needed", o.figure);
    std::string text;
    if (o.figure == "scaling")
        text = scaling(o);
    else {
        Source source(o);
        text = o.figure == "figure2"   ? figure2(source, o)
               : o.figure == "figure3" ? figure3(source, o)
                                       : figure4(source, o);
    }
    const std::string script = o.out + ".gnuplot";
    write_file_atomically(script, "set output " + quoted(o.out) + "\n" + text);
    if (std::system("command -v gnuplot >/dev/null 2>&1") != 0)
        fail(
            Exit::usage,
            "gnuplot is not installed (on Debian: apt install gnuplot-nox). The data are in {0}; there, or wherever it "
            "is, this draws them:\n  gnuplot {0}",
            script);
    std::FILE* pipe = popen("gnuplot", "w");
    check(pipe, "fci plot: gnuplot cannot be started");
    std::fprintf(pipe, "load %s\n", quoted(script).c_str());
    if (pclose(pipe) != 0) {
        std::filesystem::remove(o.out);
        fail(Exit::internal, "gnuplot failed; what it was given is in {}", script);
    }
    std::filesystem::remove(script);
    fmt::print("{}\n", o.out);
    return Exit::ok;
}

} // namespace fci
