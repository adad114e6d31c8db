// The report as one HTML file: its head, claims and figures; rows and checks are in html_rows.cpp.
#include <algorithm>
#include <map>

#include "report/html.h"
#include "report/style.h"
#include "study/hotpot_rows.h"

namespace fci {
namespace {

Markup number_cell(const Line* l, const std::string& label, size_t span = 1) {
    const std::vector<Attribute> attributes{
        {"class", "n"}, {"data-l", label}, {"colspan", span > 1 ? std::to_string(span) : ""}};
    if (!counts(l)) {
        const std::string words = l && !l->of.row.needs.empty() ? "not here" : l && l->ran ? "no value" : "not run";
        return element("td", attributes,
                       element("span", {{"class", "nr"}}, words) + element("i", {{"class", "tail"}}, {}));
    }
    return element("td", attributes, Markup(value_text(*l)) + element("i", {{"class", "tail"}}, tail_text(*l)));
}

// The numbers of a mechanism: one cell per rate.
Markup number_cells(const Mechanism& m, const std::vector<double>& rates) {
    if (m.one_number()) return number_cell(m.at[0], "ours", rates.size());
    Markup cells;
    for (const double rate : rates) cells += number_cell(m.at_rate(rate), rate_text(rate));
    return cells;
}

Markup chance_cell(const Mechanism& m) {
    const auto chance = m.chance();
    return element("td", {{"class", "n mu"}, {"data-l", "chance"}}, chance ? fmt::format("{:.1f}", *chance) : "");
}

Markup rate_head(double rate) {
    return element("th", {{"class", "n t " + rate_class(rate)}, {"scope", "col"}}, rate_text(rate));
}

Markup axis_head() {
    return element("th", {{"class", "ax"}}, element("span", "0") + element("span", "50") + element("span", "100%"));
}

Markup col(const char* width) { return element("col", {{"style", *width ? fmt::format("width:{}", width) : ""}}); }

Markup coverage(const Page& p) {
    std::map<Cover, std::vector<std::string>> ids;
    for (const Covered& c : p.coverage) ids[cover_of(c)].push_back(c.id);
    const double width = 100.0 / static_cast<double>(std::max<size_t>(p.coverage.size(), 1));
    Markup bar, keys;
    double x = 0;
    for (const auto& [cover, of] : ids) {
        const std::string css = fmt::format("k{}", static_cast<int>(cover));
        const auto cell = [&](const Attribute& at, const Attribute& wide, const std::string& tip) {
            const Markup rect =
                element("rect", {{"class", css}, at, {"y", 1.0}, wide, {"height", 14.0}, {"rx", 1.5}, {"data-t", tip}});
            if (cover != Cover::one_rate) return rect;
            return element(
                "g", {{"class", css}},
                rect + element("rect", {{"class", "half"}, at, {"y", 8.0}, wide, {"height", 7.0}, {"data-t", tip}}));
        };
        for (const std::string& id : of) {
            bar += cell({"x", short_number(x) + "%"}, {"width", short_number(width * 0.82) + "%"},
                        id + ": " + cover_text(cover, *p.scale));
            x += width;
        }
        keys += element("li", element("svg", {{"width", 12.0}, {"height", 16.0}, {"aria-hidden", "true"}},
                                      cell({"x", 1.0}, {"width", 9.0}, "")) +
                                  b(std::to_string(of.size())) + cover_text(cover, *p.scale));
    }
    return p_of("cov", b(fmt::format("{} of {} rows", rows_run(p), p.coverage.size())) + " have a run here") +
           element("svg",
                   {{"class", "bar"},
                    {"width", "100%"},
                    {"height", 16.0},
                    {"role", "img"},
                    {"aria-label", "coverage: one cell per row"}},
                   bar) +
           element("ul", {{"class", "keys"}}, keys);
}

Markup legend(const Page& p) {
    const auto item = [](const char* mark, const Markup& words) { return element("li", legend_mark(mark) + words); };
    Markup items = item("paper", "the paper's number and its margin, or its range");
    for (const double rate : p.scale->learning_rates) {
        const std::string css = rate_class(rate);
        items += item(css.c_str(), element("span", {{"class", "t " + css}}, "learning rate " + rate_text(rate)));
    }
    items += item("one", "one seed (¹): provisional") +
             item("many", "several seeds and the 95% interval; where it is wide, one tick per seed");
    if (!p.reading.empty()) items += item("square", element("span", {{"class", "t m"}}, "the reading " + p.reading));
    return element("ul", {{"class", "legend"}}, items + item("chance", "chance"));
}

std::string paper_signs(std::string words) {
    for (size_t at = 0; (at = words.find("<=", at)) != std::string::npos;) words.replace(at, 2, "≤");
    return words;
}

// Keeps 3e-4 unbroken at line ends.
std::string whole_rates(std::string words) {
    for (size_t at = 1; (at = words.find("e-", at)) != std::string::npos; at += 4)
        if (std::isdigit(static_cast<unsigned char>(words[at - 1]))) words.replace(at + 1, 1, "‑");
    return words;
}

Markup claims(const Page& p) {
    if (p.claims.empty()) return {};
    const std::vector<double>& rates = p.scale->learning_rates;
    const bool read = !p.reading.empty();
    Markup cols = col("142px") + col("250px") + col("168px") + col("") + col("64px"),
           heads = head("Holds?") + head("Claim") + head("Measured as") + axis_head() + head("Paper", "n no");
    for (const double rate : rates) cols += col("92px"), heads += rate_head(rate);
    if (read) cols += col("92px"), heads += head("Reading", "n t m");
    cols += col("56px"), heads += head("Chance", "n no");
    Markup bodies;
    for (const ClaimStrips& c : p.claims) {
        Markup rows;
        for (size_t i = 0; i < c.strips.size(); ++i) {
            const Mechanism& m = c.strips[i];
            Markup cells;
            if (i == 0) {
                const std::string span = std::to_string(c.strips.size());
                std::string words = whole_rates(verdict_words(c.judged, p));
                words[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(words[0])));
                Markup verdict =
                    glyph(p.options.scale == "paper" ? c.judged.holds.holds : Holds::unknown) + element("span", words);
                if (c.judged.holds.provisional) verdict += element("small", "provisional");
                cells = element("td", {{"class", "v"}, {"rowspan", span}}, verdict) +
                        element("th", {{"class", "c"}, {"rowspan", span}, {"scope", "rowgroup"}},
                                Markup(c.judged.claim.words) + element("p", whole_rates(paper_signs(why(c.judged)))));
            }
            cells += element("td", {{"class", "k"}}, m.name) + element("td", {{"class", "s"}}, strip(m, 32)) +
                     element("td", {{"class", "n"}, {"data-l", "paper"}}, paper_text(m.paper)) + number_cells(m, rates);
            if (read) cells += number_cell(m.under, "reading");
            rows += element("tr", {{"class", m.ran() ? "" : "off"}}, cells + chance_cell(m));
        }
        bodies += element("tbody", rows);
    }
    const Markup table =
        element("table",
                {{"class", "dots claims"},
                 {"style", fmt::format("--numbers:{};--cols:{}", rates.size() + read, rates.size() + read + 2)}},
                element("colgroup", cols) + element("thead", element("tr", heads)) + bodies);
    return element(
        "section",
        h2(fmt::format("{} claims", p.claims.size())) +
            p_of("cap",
                 "Percent of queries whose answer is among the chosen positions, or the claim's own quantity. "
                 "A dot inside the box agrees with the paper; a dot on the dashed line is what a blind rule reaches.") +
            legend(p) + table +
            p_of("foot",
                 [&] {
                     std::string words;
                     for (const auto& [name, meaning] : p.readings)
                         if (name == p.reading) words = fmt::format("The reading {}: {}. ", name, meaning);
                     return words;
                 }() +
                     "± is half of the 95% interval over seeds and queries; ¹ is one seed. A claim holds if all its "
                     "rows come out as in the paper, or both are at chance; it does not hold if one differs."));
}

// Strips below each other.
Markup strips(const std::vector<Group>& groups, const char* css, const std::vector<double>& rates, double height) {
    const bool read = std::any_of(groups.begin(), groups.end(), [](const Group& g) {
        return std::any_of(g.of.begin(), g.of.end(), [](const Mechanism& m) { return m.under; });
    });
    const bool percents = std::any_of(groups.begin(), groups.end(), [](const Group& g) {
        return g.of[0].quantity == "routing" || g.of[0].quantity == "accuracy";
    });
    Markup cols = col("380px") + col("") + col("72px"),
           heads = head("") + (percents ? axis_head() : head("")) + head("Paper", "n no");
    for (const double rate : rates) cols += col("92px"), heads += rate_head(rate);
    if (read) cols += col("92px"), heads += head("Reading", "n t m");
    cols += col("60px"), heads += head("Chance", "n no");
    Markup bodies;
    for (const Group& group : groups) {
        Markup rows;
        if (groups.size() > 1 || !group.name.empty())
            rows = element("tr", {{"class", "fam"}},
                           element("th", {{"colspan", std::to_string(4 + rates.size() + read)}, {"scope", "rowgroup"}},
                                   group.name));
        for (const Mechanism& m : group.of) {
            Markup name = m.name;
            if (!m.row.id.empty() && *css == 'l') name += Markup(" ") + code(m.row.id);
            if (!m.also.empty())
                name += element("span", {{"class", "mu"}, {"data-t", fmt::format("{}", fmt::join(m.also, "\n"))}},
                                fmt::format(" and {} more", m.also.size()));
            Markup cells = element("th", {{"scope", "row"}}, name) + element("td", {{"class", "s"}}, strip(m, height)) +
                           element("td", {{"class", "n"}, {"data-l", "paper"}}, paper_text(m.paper)) +
                           number_cells(m, rates);
            if (read) cells += number_cell(m.under, "reading");
            rows += element("tr", {{"class", m.ran() ? "" : "off"}}, cells + chance_cell(m));
        }
        bodies += element("tbody", rows);
    }
    return element(
        "table", {{"class", fmt::format("dots {}", css)}, {"style", fmt::format("--cols:{}", rates.size() + read + 2)}},
        element("colgroup", cols) + element("thead", element("tr", heads)) + bodies);
}

Markup readings(const Page& p) {
    Markup all;
    for (const Many& many : p.many) {
        std::vector<double> rates;
        for (const Mechanism& m : many.readings)
            for (const Line* l : m.at)
                if (counts(l) && l->of.learning_rate && !std::count(rates.begin(), rates.end(), *l->of.learning_rate))
                    rates.push_back(*l->of.learning_rate);
        std::sort(rates.begin(), rates.end());
        const std::string title =
            fmt::format("{}: {} readings of {}", many.claim, many.readings.size(), many.default_.row.label());
        const Markup inner = element("div", {{"class", "ovw"}}, strip_of_readings(many)) +
                             strips({Group{"", many.readings}}, "mv", rates, 30);
        const std::string words = fmt::format("Every reading and rate that ran. {} of the numbers are within 3 points "
                                              "of chance or below it, {} between, {} at 95 or above.",
                                              many.low, many.between, many.high);
        if (&many == &p.many[0])
            all += h2(fmt::format("One claim, {} ways to run it", many.readings.size())) +
                   p_of("cap", title + ". " + words) + inner;
        else
            all += element("details", {{"class", "many"}}, element("summary", title) + p_of("cap", words) + inner);
    }
    if (!p.readings.empty()) {
        Markup words;
        for (const auto& [name, meaning] : p.readings) words += element("dt", name) + element("dd", meaning + ".");
        all += element("details", {{"class", "many"}},
                       element("summary", fmt::format("The {} joint readings in words", p.readings.size())) +
                           element("dl", {{"class", "words"}}, words));
    }
    return all.empty() ? all : element("section", all);
}

Markup figure2(const Page& p) {
    if (p.panels.empty() && p.no_panel.empty()) return {};
    Markup panels;
    for (const Panel& panel : p.panels) {
        const Chart c = chart_of(panel);
        std::string more = panel.of.row.note;
        panels += element("figure", element("figcaption", b(panel.of.name) + element("span", more)) +
                                        element("svg",
                                                {{"class", "panel"},
                                                 {"viewBox", fmt::format("0 0 {} {}", c.width, c.height)},
                                                 {"role", "img"},
                                                 {"aria-label", "routing by epoch: " + panel.of.name}},
                                                chart(c)));
    }
    Markup none;
    if (!p.no_panel.empty()) none = p_of("foot", fmt::format("Not run: {}.", fmt::join(p.no_panel, ", ")));
    return element("section",
                   h2("Figure 2. Routing by epoch") +
                       p_of("cap",
                            "Percent of the test set. Band: lowest to highest of the seeds; no band, one seed. "
                            "The box at the right is the paper's final number; the dotted line is its transition.") +
                       element("div", {{"class", "panels"}}, panels) + none);
}

} // namespace

std::string html_text(const Page& p) {
    Markup lede, score, sections, words;
    for (const Piece& piece : p.lede) lede += piece.strong ? b(piece.text) : Markup(piece.text);
    std::map<Holds, int> holds;
    for (const ClaimStrips& c : p.claims) ++holds[c.judged.holds.holds];
    static const std::pair<Holds, const char*> names[] = {{Holds::yes, "hold"},
                                                          {Holds::in_part, "hold at some rates"},
                                                          {Holds::no, "do not hold"},
                                                          {Holds::unknown, "not yet known"}};
    if (p.options.scale == "paper" && !p.claims.empty())
        for (const auto& [h, name] : names) score += element("li", glyph(h) + b(std::to_string(holds[h])) + name);
    for (const Section& s : p.sections)
        sections += element("section", h2(s.title) + p_of("cap", s.caption) +
                                           strips(s.groups, "land", p.scale->learning_rates, 27));
    for (const auto& [word, meaning] : p.words) words += element("dt", word) + element("dd", meaning);
    const std::string date = p.newest.empty() ? "the results have no date" : "newest result " + p.newest;
    const std::string over = fmt::format("fci report · commit {} · scale {} · {} runs, {:.1f} hours · {}", p.commit,
                                         p.options.scale, p.runs, p.seconds / 3600, date);
    Markup header =
        p_of("over", over) + element("h1", "When does content-based routing work?") +
        p_of("sub",
             "Which claims of arXiv 2603.20997 (Basu 2026) hold when the experiments are rebuilt from its text") +
        p_of("lede", lede);
    if (!score.empty()) header += element("ul", {{"class", "score"}}, score);
    header += coverage(p);
    const Markup head_of_page = element(
        "head", element("meta", {{"charset", "utf-8"}}) +
                    element("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}}) +
                    element("meta", {{"name", "color-scheme"}, {"content", "light dark"}}) +
                    element("title", "Which claims hold: “When Does Content-Based Routing Work?”") +
                    element("style", Markup::raw(std::string(palette_css) + marks_css + page_css)));
    const Markup body = element(
        "body",
        element("main", element("header", header) + claims(p) + readings(p) + figure2(p) + sections + folds(p) +
                            checks(p) + element("section", h2("Words") + element("dl", {{"class", "words"}}, words))) +
            element("div", {{"id", "tip"}, {"hidden", "hidden"}}, {}) + element("script", Markup::raw(hover_js)));
    return "<!DOCTYPE html>\n" + element("html", {{"lang", "en"}}, head_of_page + body).text() + "\n";
}

} // namespace fci
