// The report in Markdown: the same Page as html.cpp, in tables.
#include <algorithm>

#include "report/page.h"
#include "study/layout.h"

namespace fci {
namespace {

// Text in a cell: escapes characters that Markdown or HTML would interpret, and keeps it on one line.
std::string plain(const std::string& text) {
    std::string s;
    for (const char c : text) {
        if (c == '\n' || c == '\r') {
            s += ' ';
            continue;
        }
        if (std::string_view("|`*_<>[]\\").find(c) != std::string_view::npos) s += '\\';
        s += c;
    }
    return s;
}

std::string number(const Line* l) {
    if (!counts(l)) return "not run";
    return fmt::format("{} {}", value_text(*l), tail_text(*l));
}

std::string chance(const Mechanism& m) { return m.chance() ? fmt::format("{:.1f}", *m.chance()) : "-"; }

std::vector<std::string> numbers(const Mechanism& m, const std::vector<double>& rates) {
    std::vector<std::string> cells;
    for (const double rate : rates) cells.push_back(number(m.at_rate(rate)));
    return cells;
}

std::string table(const Cells& cells) { return markdown(cells) + "\n"; }

void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
    to.insert(to.end(), more.begin(), more.end());
}

std::vector<std::string> rate_heads(const std::vector<double>& rates) {
    std::vector<std::string> heads;
    for (const double rate : rates) heads.push_back("ours, " + rate_text(rate));
    return heads;
}

std::string strips(const std::vector<Mechanism>& all, const std::vector<double>& rates, bool ids) {
    Cells cells{{"what"}};
    if (ids) cells[0].push_back("row");
    cells[0].push_back("paper"), append(cells[0], rate_heads(rates)), append(cells[0], {"reading", "chance"});
    for (const Mechanism& m : all) {
        cells.push_back({plain(m.name)});
        if (ids) cells.back().push_back(plain(m.row.label()));
        cells.back().push_back(paper_text(m.paper)), append(cells.back(), numbers(m, rates));
        append(cells.back(), {m.under ? number(m.under) : "-", chance(m)});
    }
    return table(cells);
}

} // namespace

std::string markdown_text(const Page& p) {
    const std::vector<double>& rates = p.scale->learning_rates;
    std::string s = "# When does content-based routing work?\n\nWhich claims of arXiv 2603.20997 (Basu 2026) "
                    "hold when the experiments are rebuilt from its text.\n\n";
    for (const Piece& piece : p.lede) s += piece.strong ? "**" + plain(piece.text) + "**" : plain(piece.text);
    s += fmt::format("\n\ncommit {}, scale {}, {} runs, {:.1f} hours of training, {}\n\n## Coverage\n\n", p.commit,
                     p.options.scale, p.runs, p.seconds / 3600,
                     p.newest.empty() ? "the results have no date" : "newest result " + plain(p.newest));
    Cells cover{{"rows", ""}};
    for (const Cover c : {Cover::full, Cover::one_seed, Cover::one_rate, Cover::sample, Cover::not_run, Cover::needs})
        cover.push_back({std::to_string(std::count_if(p.coverage.begin(), p.coverage.end(),
                                                      [&](const Covered& x) { return cover_of(x) == c; })),
                         cover_text(c, *p.scale)});
    s += table(cover);
    if (!p.claims.empty()) {
        s += fmt::format("## {} claims\n\n", p.claims.size());
        Cells cells{{"claim", "measured as", "paper"}};
        append(cells[0], rate_heads(rates)), append(cells[0], {"reading", "chance", "holds?", "why"});
        for (const ClaimStrips& c : p.claims)
            for (const Mechanism& m : c.strips) {
                const bool first = &m == &c.strips[0];
                cells.push_back({first ? plain(c.judged.claim.words) : "", plain(m.name), paper_text(m.paper)});
                append(cells.back(), numbers(m, rates));
                const std::string verdict =
                    fmt::format("{}{}", c.judged.holds.provisional ? "provisional: " : "", verdict_words(c.judged, p));
                append(cells.back(), {m.under ? number(m.under) : "-", chance(m), first ? plain(verdict) : "",
                                      first ? plain(why(c.judged)) : ""});
            }
        s += table(cells) + "± half of the 95% interval over seeds and queries; ¹ one seed.\n\n";
    }
    if (!p.readings.empty()) s += "## The joint readings in words\n\n";
    for (const auto& [name, meaning] : p.readings) s += fmt::format("- **{}**: {}\n", plain(name), plain(meaning));
    if (!p.readings.empty()) s += '\n';
    for (const Many& many : p.many) {
        s += fmt::format("## {}: {} readings of {}\n\n{} numbers within 3 points of chance or below it, {} between, {} "
                         "at 95 or above.\n\n",
                         plain(many.claim), many.readings.size(), plain(many.default_.row.label()), many.low,
                         many.between, many.high);
        Cells cells{{"reading", "rate", "ours", "chance"}};
        for (const Mechanism& m : many.readings)
            for (const Line* l : m.at)
                if (counts(l))
                    cells.push_back({plain(m.name), rate_of(l->of), number(l),
                                     l->ours.chance ? fmt::format("{:.1f}", *l->ours.chance) : "-"});
        s += table(cells);
    }
    if (!p.panels.empty()) {
        s += "## Figure 2. Routing by epoch\n\n";
        Cells cells{{"what", "rate", "seeds", "epoch: routing"}};
        for (const Panel& panel : p.panels)
            for (const Series& x : panel.series) {
                std::vector<std::string> points;
                for (size_t i = 0; i < x.epoch.size(); ++i)
                    if (i == 0 || i + 1 == x.epoch.size() || static_cast<int>(x.epoch[i]) % 5 == 0)
                        points.push_back(fmt::format("{:.0f}: {:.1f}", x.epoch[i], x.mean[i]));
                cells.push_back({plain(panel.of.name), x.rate ? rate_text(*x.rate) : "-", std::to_string(x.seeds),
                                 fmt::format("{}", fmt::join(points, ", "))});
            }
        s += table(cells);
    }
    for (const Section& section : p.sections) {
        s += fmt::format("## {}\n\n{}\n\n", section.title, section.caption);
        for (const Group& g : section.groups) s += fmt::format("{}\n\n{}", plain(g.name), strips(g.of, rates, true));
    }
    s += "## Every row\n\n";
    Cells rows{{"row", "what", "rate", "paper", "ours", "verdict", "command"}},
        runs{{"row", "rate", "seed", "seconds", "device", "date", "commit", "data", "run"}};
    for (const FoldGroup& g : p.folds)
        for (const Fold& f : g.folds) {
            for (const Line* l : f.lines)
                rows.push_back({plain(f.row.label()), plain(what_text(*l)), rate_of(l->of), paper_text(l->paper),
                                plain(ours_text(*l)), verdict_of(*l, p.options.scale),
                                plain(command_text(*l, p.options.scale))});
            for (const RunOf& r : f.runs)
                runs.push_back({plain(f.row.label()), r.rate, std::to_string(r.result->seed),
                                fmt::format("{:.0f}", r.result->seconds), plain(r.device),
                                r.date.empty() ? "-" : plain(r.date), plain(r.commit), plain(r.data), r.result->hash});
        }
    s += table(rows);
    if (runs.size() > 1) s += "### Runs\n\n" + table(runs);
    if (!p.controls.empty()) {
        Cells cells{{"oracle", "blind rule", "controls", "rows"}};
        const auto got = [](const std::optional<Control>& x) {
            return x ? fmt::format("{:.1f} of {:.1f}", x->got, x->expected) : "-";
        };
        for (const ControlsOf& c : p.controls)
            cells.push_back({got(c.controls.oracle), got(c.controls.blind), c.controls.hold() ? "hold" : "FAIL",
                             plain(fmt::format("{}", fmt::join(c.rows, ", ")))});
        s += "## Controls\n\n" + table(cells);
    }
    if (p.forecasts) {
        s += fmt::format("## Expectations that failed\n\n{} have run, {} of them with a forecast; {} came out "
                         "differently.\n\n",
                         p.forecasts->ran, p.forecasts->forecast, p.forecasts->wrong.size());
        Cells cells{{"row under a reading", "expected", "ours", "chance", "outcome", "why it was expected"}};
        for (const Wrong& w : p.forecasts->wrong)
            cells.push_back({plain(w.cell.of.row.label()), w.cell.expected.expect, fmt::format("{:.1f}", w.came.ours),
                             fmt::format("{:.1f}", w.came.chance), w.came.outcome, plain(w.cell.expected.why)});
        if (cells.size() > 1) s += table(cells);
    }
    for (const std::string& words : p.differences) s += "differs from the record: " + plain(words) + "\n\n";
    s += "## Words\n\n";
    for (const auto& [word, meaning] : p.words) s += fmt::format("- **{}**: {}\n", word, plain(meaning));
    return s;
}

} // namespace fci
