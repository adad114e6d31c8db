// The report's rows, each with its runs, and the checks on them.
#include <algorithm>

#include "report/html.h"

namespace fci {
namespace {

Markup list(const std::vector<std::pair<std::string, bool>>& heads, const Markup& rows) { // text, has numbers
    Markup cells;
    for (const auto& [words, number] : heads) cells += head(words, number ? "n" : "");
    return element(
        "div", {{"class", "sc"}},
        element("table", {{"class", "list"}}, element("thead", element("tr", cells)) + element("tbody", rows)));
}

Markup td(const std::string& words, bool number = false) {
    return element("td", {{"class", number ? "n" : ""}}, words);
}

Markup fold(const Page& p, const Fold& f) {
    const Line* first = f.lines.empty() ? nullptr : f.lines[0];
    const std::string quantity = first ? first->quantity : "routing";
    Mechanism m{f.row, mechanism_name(f.row, quantity), quantity, first ? first->paper : "", {}, nullptr, {}};
    for (const Line* l : f.lines)
        if (l->quantity == quantity && l->paper == m.paper) m.at.push_back(l);
    std::vector<std::string> verdicts;
    for (const Line* l : m.at)
        if (const std::string v = verdict_of(*l, p.options.scale); verdicts.empty() || verdicts.back() != v)
            verdicts.push_back(v);
    Markup summary = code(f.row.label()) + element("span", {{"class", "r"}}, m.name) +
                     element("span", {{"class", "sp"}}, sparkline(f.series, m.chance())) +
                     element("span", {{"class", "n"}, {"data-l", "paper"}}, paper_text(m.paper));
    for (const double rate : p.scale->learning_rates) {
        const Line* l = m.at_rate(rate);
        summary += element("span", {{"class", "n"}, {"data-l", rate_text(rate)}},
                           counts(l) ? Markup(value_text(*l)) + element("i", {{"class", "tail"}}, tail_text(*l))
                                     : element("span", {{"class", "nr"}}, "not run"));
    }
    summary += element("span", {{"class", "vd"}}, fmt::format("{}", fmt::join(verdicts, "; ")));
    Markup in, numbers, runs;
    if (!f.row.note.empty()) in += p_of("mu", f.row.note);
    for (const Line* l : f.lines)
        numbers += element(
            "tr", td(what_text(*l)) + td(rate_of(l->of)) + td(paper_text(l->paper), true) + td(ours_text(*l), true) +
                      td(counts(l) && l->ours.half_width > 0
                             ? tail_text(*l) == "¹" ? fmt::format("±{:.1f}", l->ours.half_width) : tail_text(*l)
                             : "–",
                         true) +
                      td(l->ours.chance ? fmt::format("{:.1f}", *l->ours.chance) : "–", true) +
                      td(verdict_of(*l, p.options.scale)));
    in += list({{"what", false},
                {"rate", false},
                {"paper", true},
                {"ours ± sd (seeds)", true},
                {"95% interval", true},
                {"chance", true},
                {"verdict", false}},
               numbers);
    if (first) in += element("p", element("code", {{"class", "cmd"}}, command_text(*first, p.options.scale)));
    for (const RunOf& r : f.runs) {
        const auto number = [](const std::optional<double>& x) { return x ? fmt::format("{:.1f}", *x) : "–"; };
        const Metrics& n = r.result->final ? r.result->final->metrics : r.result->metrics;
        runs += element("tr", td(r.rate) + td(std::to_string(r.result->seed), true) + td(number(n.at_k), true) +
                                  td(number(n.at_1), true) + td(number(n.accuracy), true) +
                                  td(fmt::format("{:.0f}", r.result->seconds), true) + td(r.device) +
                                  td(r.date.empty() ? "–" : r.date) + element("td", code(r.commit)) +
                                  element("td", code(r.data)) + element("td", code(r.result->hash)) +
                                  td(r.result->on ? r.result->on->name : ""));
    }
    if (!f.runs.empty())
        in += list({{"rate", false},
                    {"seed", true},
                    {"at k", true},
                    {"at 1", true},
                    {"answers", true},
                    {"seconds", true},
                    {"device", false},
                    {"date", false},
                    {"commit", false},
                    {"data", false},
                    {"run", false},
                    {"", false}},
                   runs);
    return element("details", {{"class", "row"}}, element("summary", summary) + element("div", {{"class", "in"}}, in));
}

} // namespace

Markup folds(const Page& p) {
    Markup all = h2("Every row") + p_of("cap", "Open a row to see its numbers, its runs and their command. The curve "
                                               "is routing by epoch, from 0 to 100; the dashed line is chance.");
    for (const FoldGroup& g : p.folds) {
        std::vector<const Fold*> ran;
        Markup none;
        for (const Fold& f : g.folds)
            if (std::any_of(f.lines.begin(), f.lines.end(), counts))
                ran.push_back(&f);
            else {
                none += (none.empty() ? Markup() : Markup(" · ")) + code(f.row.label());
                if (!f.row.paper.empty()) none += fmt::format(" {}", paper_text(f.row.paper[0].second));
                if (!f.row.needs.empty()) none += " (needs " + f.row.needs + ")";
            }
        all += element("h3",
                       Markup(g.name) + element("span", fmt::format("{} of {} rows run", ran.size(), g.folds.size())));
        if (!ran.empty()) {
            Markup heads = element("span", "row") + element("span", "") + element("span", "curve") +
                           element("span", {{"class", "n"}}, "paper");
            for (const double rate : p.scale->learning_rates)
                heads += element("span", {{"class", "n t " + rate_class(rate)}}, rate_text(rate));
            all += element("div", {{"class", "hd"}, {"aria-hidden", "true"}},
                           heads + element("span", {{"class", "vd"}}, "verdict"));
        }
        for (const Fold* f : ran) all += fold(p, *f);
        if (!none.empty()) all += p_of("none", Markup("Not run (with the paper's number): ") + none);
    }
    return element("section", {{"style", fmt::format("--rates:{}", p.scale->learning_rates.size())}}, all);
}

Markup checks(const Page& p) {
    Markup all, part;
    const auto end_section = [&] {
        if (!part.empty()) all += element("section", part);
        part = {};
    };
    if (!p.controls.empty()) {
        Markup rows;
        for (const ControlsOf& c : p.controls) {
            const auto got = [](const std::optional<Control>& x) {
                return x ? fmt::format("{:.1f} of {:.1f}", x->got, x->expected) : "–";
            };
            rows += element("tr", td(got(c.controls.oracle), true) + td(got(c.controls.blind), true) +
                                      td(c.controls.hold() ? "hold" : "FAIL") +
                                      element("td", {{"data-t", fmt::format("{}", fmt::join(c.rows, "\n"))}},
                                              c.rows.size() == 1
                                                  ? c.rows[0]
                                                  : fmt::format("{} and {} more", c.rows[0], c.rows.size() - 1)));
        }
        part += h2("Controls") +
                p_of("cap", "An oracle that knows the law of the data, and a blind rule, on the same test sequences: "
                            "the score of each, and the score that arithmetic predicts.") +
                list({{"oracle", true}, {"blind rule", true}, {"controls", false}, {"rows", false}}, rows);
        if (!p.untested.empty())
            part += p_of("foot",
                         fmt::format("Untested, since a control fails or the data differ from the recorded data: {}.",
                                     fmt::join(p.untested, ", ")));
    }
    end_section();
    if (p.forecasts) {
        const Forecasts& f = *p.forecasts;
        Markup rows;
        for (const Wrong& w : f.wrong)
            rows += element("tr", element("td", code(w.cell.of.row.label())) + td(w.cell.expected.expect) +
                                      td(w.cell.expected.seen) + td(fmt::format("{:.1f}", w.came.ours), true) +
                                      td(fmt::format("{:.1f}", w.came.chance), true) + td(w.came.outcome) +
                                      td(w.cell.expected.why));
        part +=
            h2("Expectations that failed") +
            p_of("cap", fmt::format("What to expect of each row under each reading was registered before the run. {} "
                                    "have run, {} of them with a forecast; {} came out differently.",
                                    f.ran, f.forecast, f.wrong.size()));
        if (!f.wrong.empty())
            part += list({{"row under a reading", false},
                          {"expected", false},
                          {"seen", false},
                          {"ours", true},
                          {"chance", true},
                          {"outcome", false},
                          {"why it was expected", false}},
                         rows);
    }
    end_section();
    if (!p.by_record) {
        part += h2("Agreement with the record") +
                p_of("cap", fmt::format("{} of the rows here are recorded too; {} numbers differ from the record.",
                                        p.compared, p.differences.size()));
        for (const std::string& words : p.differences) part += p_of("foot", words);
    }
    end_section();
    return all;
}

} // namespace fci
