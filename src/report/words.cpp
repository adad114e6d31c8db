// The report's wording: names of rows, numbers, verdicts.
#include <algorithm>
#include <cmath>

#include "report/page.h"
#include "study/hotpot_rows.h"

namespace fci {

bool counts(const Line* l) { return l && l->ours.ran() > 0; }

bool Mechanism::ran() const { return std::any_of(at.begin(), at.end(), counts) || counts(under); }

bool Mechanism::one_number() const { return at.size() == 1 && (!at[0] || !at[0]->of.learning_rate); }

const Line* Mechanism::at_rate(double rate) const {
    for (const Line* l : at)
        if (l && (!l->of.learning_rate || *l->of.learning_rate == rate)) return l;
    return nullptr;
}

std::optional<double> Mechanism::chance() const {
    for (const Line* l : at)
        if (l && l->ours.chance) return l->ours.chance;
    return std::nullopt;
}

std::string minus(std::string s) {
    for (size_t at = 0; (at = s.find('-', at)) != std::string::npos; at += 3) s.replace(at, 1, "−");
    return s;
}

std::string paper_text(const std::string& paper) {
    if (paper.starts_with("<=")) return "≤" + paper.substr(2);
    if (paper.starts_with(">=")) return "≥" + paper.substr(2);
    if (paper.starts_with("-")) return "−" + paper.substr(1);
    const size_t dash = paper.find('-');
    return dash == std::string::npos ? paper : paper.substr(0, dash) + "–" + paper.substr(dash + 1);
}

std::string mechanism_name(const Row& row, const std::string& quantity) {
    std::vector<std::string> parts;
    if (row.representation != "-" && !row.representation.empty()) parts.push_back(row.representation);
    if (row.router != "investigator" && !row.router.empty())
        parts.push_back(row.router == "none" ? "no router" : row.router);
    for (const std::string& key : row.settings.keys) {
        if (key == "task" || key == "representation" || key == "router") continue;
        std::string word = key == "variant" || key == "embeddings" ? row.settings.text(key)
                                                                   : fmt::format("{} {}", key, row.settings.text(key));
        std::replace(word.begin(), word.end(), '_', ' ');
        if (row.under.empty()) parts.push_back(word); // a reading's name states its options
    }
    std::string name = fmt::format("{}", fmt::join(parts, " · "));
    if (!row.reading.empty()) name += fmt::format(" ({})", row.reading);
    if (row.task == "mqar") name += ", MQAR";
    if (row.task == "hotpotqa") name += ", HotpotQA";
    if (quantity == "routing") return row.measure.empty() ? name : name + ", random Wq and Wk";
    static const std::pair<const char*, const char*> of[] = {{"accuracy", "answers"},
                                                             {"transition_epoch", "epoch of the transition"},
                                                             {"rank", "effective rank"},
                                                             {"cosine_gap", "cosine gap"},
                                                             {"energy90_dims", "dimensions with 90% of the energy"}};
    for (const auto& [key, words] : of)
        if (quantity == key) return name + ", " + words;
    return name;
}

std::string value_text(const Line& l) {
    if (l.ours.seeds == 0) return "none";
    return minus(fmt::format("{:.{}f}", l.ours.mean, decimals(l.quantity)));
}

std::string tail_text(const Line& l) {
    if (l.on && !is_official(*l.on)) return fmt::format("±{:.1f}", l.ours.half_width);
    if (l.ours.ran() == 1) return "¹";
    if (l.ours.seeds < 2) return "";
    return fmt::format("±{:.{}f}", l.ours.half_width, l.ours.half_width < 10 ? decimals(l.quantity) : 0);
}

std::string says(const Line& l) {
    std::string s = fmt::format("{}{}: {} {}", l.of.row.label(), l.of.learning_rate ? ", " + rate_of(l.of) : "",
                                what_text(l), value_text(l));
    const Summary& o = l.ours;
    const bool percent = l.quantity == "routing" || l.quantity == "accuracy";
    if (o.half_width > 0)
        s += minus(fmt::format("\n95% interval {1:.{0}f} to {2:.{0}f}", decimals(l.quantity),
                               percent ? std::max(0.0, o.mean - o.half_width) : o.mean - o.half_width,
                               percent ? std::min(100.0, o.mean + o.half_width) : o.mean + o.half_width));
    s += fmt::format("\n{} seed{}", o.ran(), o.ran() == 1 ? "" : "s");
    if (o.converged && 0 < *o.converged && *o.converged < o.ran()) s += fmt::format(", {} converge", *o.converged);
    if (o.chance) s += fmt::format("; chance {:.1f}", *o.chance);
    if (!l.paper.empty()) s += "; paper " + paper_text(l.paper);
    if (l.recorded) s += "\nrecorded";
    return s;
}

std::string reading_words(const Settings& s) {
    static const struct {
        const char *key, *value, *words;
    } all[] = {
        {"query_row", "key", "the query is the key's row"},
        {"query_row", "marker", "the query is the row before the key, which holds no key"},
        {"query_at", "uniform", "the key may be anywhere"},
        {"query_at", "early", "the key is in the first eighth"},
        {"query_at", "fixed", "the key is at the same place in every sequence"},
        {"distractor_key", "same", "decoys carry the same key"},
        {"distractor_key", "other", "decoys carry other keys"},
        {"positions", "everywhere", "every representation but content-only knows positions"},
        {"positions", "in_mixer", "only representations that mix by attention know positions"},
        {"positions", "none", "no representation knows positions"},
        {"answer_side", "after", "the answer comes after the key"},
        {"answer_side", "before", "the answer comes before the key"},
        {"answer_side", "either", "the answer is on either side of the key"},
    };
    std::vector<std::string> parts;
    for (const auto& [key, value, words] : all)
        if (s.has(key) && s.text(key) == value) parts.emplace_back(words);
    for (const std::string& key : s.keys) { // options that the sentences above do not cover
        if (std::any_of(std::begin(all), std::end(all), [&](const auto& a) { return a.key == key; })) continue;
        std::string plain =
            fmt::format("{} {}", key, key == "learning_rate" ? rate_text(s.values.train.learning_rate) : s.text(key));
        std::replace(plain.begin(), plain.end(), '_', ' ');
        parts.push_back(plain);
    }
    return fmt::format("{}", fmt::join(parts, "; "));
}

std::string verdict_words(const Judged& j, const Page& p) {
    if (p.options.scale != "paper") return fmt::format("no verdict at scale {}", p.options.scale);
    std::string words = j.holds.words;
    if (j.ran_under) words += "; under the reading: " + j.holds_under.text();
    return words;
}

Cover cover_of(const Covered& c) {
    const auto [fewest, most] = std::minmax_element(c.seeds.begin(), c.seeds.end());
    if (*fewest == needs_more) return Cover::needs;
    if (*fewest == on_a_sample) return Cover::sample;
    if (*fewest >= 3) return Cover::full;
    return *fewest >= 1 ? Cover::one_seed : *most >= 1 ? Cover::one_rate : Cover::not_run;
}

size_t rows_run(const Page& p) {
    return static_cast<size_t>(std::count_if(p.coverage.begin(), p.coverage.end(), [](const Covered& c) {
        const Cover cover = cover_of(c);
        return cover != Cover::not_run && cover != Cover::needs;
    }));
}

const char* cover_text(Cover c, const Scale& scale) {
    const bool one = scale.learning_rates.size() == 1;
    switch (c) {
    case Cover::full:
        return one ? "with three seeds or more" : "with three seeds or more at every rate";
    case Cover::one_seed:
        return one ? "with one or two seeds" : "with one or two seeds at every rate";
    case Cover::one_rate:
        return "at some rates only";
    case Cover::sample:
        return "on a sample of the data";
    case Cover::not_run:
        return "not run";
    case Cover::needs:
        return "need missing data or weights";
    }
    return "";
}

} // namespace fci
