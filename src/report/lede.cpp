// The report's summary in a paragraph, and its glossary. Every number comes from p.claims and p.lines.
#include <algorithm>

#include "report/gather.h"

namespace fci {
namespace {

// "95.4 to 98.9%" over the rates that ran, or "99.8%"; empty: none ran.
std::string range_of(const Mechanism& m) {
    const Line *low = nullptr, *high = nullptr;
    for (const Line* l : m.at) {
        if (!l || l->ours.seeds == 0) continue;
        if (!low || l->ours.mean < low->ours.mean) low = l;
        if (!high || l->ours.mean > high->ours.mean) high = l;
    }
    if (!low) return "";
    const std::string a = value_text(*low), b = value_text(*high);
    return a == b ? a + "%" : a + " to " + b + "%";
}

std::string in_words(const std::string& paper) {
    if (paper.starts_with("<=")) return "at most " + paper.substr(2);
    return paper.starts_with(">") ? "more than " + paper.substr(1) : paper_text(paper);
}

const Row* row_of(const Page& p, const std::string& id) {
    for (const Row& r : p.study.rows)
        if (r.id == id &&
            std::any_of(p.lines.begin(), p.lines.end(), [&](const Line& l) { return l.of.row.label() == r.label(); }))
            return &r;
    return nullptr;
}

void add_sentence(Page& p, const char* before, const char* id, const char* quantity, const char* after) {
    const Row* row = row_of(p, id);
    if (!row) return;
    const Mechanism m = mechanism_of(p, *row, quantity);
    const std::string range = range_of(m);
    if (range.empty()) return;
    p.lede.push_back({before, false}), p.lede.push_back({range, true});
    p.lede.push_back(
        {after + std::string(m.paper.empty() ? "" : "; the paper has " + in_words(m.paper)) + ". ", false});
}

// The outcome of the two claims that the others depend on.
std::string in_short(const Page& p) {
    const auto of = [&](const char* id) -> const Judged* {
        for (const ClaimStrips& c : p.claims)
            if (c.judged.claim.id == id) return &c.judged;
        return nullptr;
    };
    const Judged *one = of("one-layer"), *zero = of("zero-layers");
    if (!one || !zero || p.options.scale != "paper") return "";
    static const char* const enough[] = {"is enough to find it", "is enough to find it at some learning rates",
                                         "is not enough to find it", "may be enough to find it: that is open"};
    static const char* const needed[] = {"it is needed", "at some learning rates it is needed", "it is not needed",
                                         "whether it is needed is open"};
    return fmt::format("In short: one layer of attention {}, and {}. ", enough[static_cast<int>(one->holds.holds)],
                       needed[static_cast<int>(zero->holds.holds)]);
}

} // namespace

void write_words(Page& p) {
    int of[4] = {};
    for (const ClaimStrips& c : p.claims) ++of[static_cast<int>(c.judged.holds.holds)];
    if (!std::any_of(p.lines.begin(), p.lines.end(), [](const Line& l) { return counts(&l); })) {
        p.lede.push_back({fmt::format("Nothing has run yet at scale {}: there is no result in {} or {}. ",
                                      p.options.scale, p.options.results, p.study.folder + "/results"),
                          true});
        p.lede.push_back({fmt::format("./fci sweep all --scale {} makes them.", p.options.scale), false});
    } else {
        if (p.options.scale == "paper" && !p.claims.empty())
            p.lede.push_back({fmt::format("Of {} claim{} of the paper {} hold{} here at every learning rate that was "
                                          "tried, {} at some, {} do{} not hold, and for {} it is not known yet. ",
                                          p.claims.size(), p.claims.size() == 1 ? "" : "s", of[0],
                                          of[0] == 1 ? "s" : "", of[1], of[2], of[2] == 1 ? "es" : "", of[3]),
                              false});
        add_sentence(p, "One layer of attention finds the answer for ", "f2.transformer1", "routing",
                     " of the queries");
        add_sentence(p, "Embeddings without any mixing find it for ", "f2.raw", "routing", "");
        add_sentence(p, "Recurrence in one direction finds it for ", "s46.flow2", "routing", "");
        add_sentence(p, "Finding it is not the same as answering: after one layer of attention ", "f2.transformer1",
                     "accuracy", " of the answers are right");
        if (const Row* raw = row_of(p, "f2.raw"))
            if (const Mechanism m = mechanism_of(p, *raw, "routing"); m.under && m.under->ours.seeds) {
                p.lede.push_back(
                    {"Under the reading " + p.reading + ", embeddings without any mixing find it for ", false});
                p.lede.push_back({value_text(*m.under) + "%", true});
                if (m.under->ours.chance)
                    p.lede.push_back({fmt::format(", where a blind rule finds {:.1f}%", *m.under->ours.chance), false});
                p.lede.push_back({". ", false});
            }
        if (const std::string words = in_short(p); !words.empty()) p.lede.push_back({words, true});
    }
    p.words = {
        {"routing", "The share of test queries whose answer position is among those that the router chose: 4 on the "
                    "paper's synthetic tasks, 2 segments on HotpotQA, 1 for a bandit."},
        {"chance", "The best score of a rule that ignores the content. It differs by task, router and reading."},
        {"distant evidence",
         "The paper's task: a key and its value 200 tokens or more away, among decoys that are near."},
        {"MQAR", "Multi-query associative recall: pairs of a key and a value, then one of the keys."},
        {"reading", "One choice for what the paper leaves open: options and their values. The default is the same for "
                    "every row."},
        {"interval",
         "95%, over seeds and the sampling of test queries (src/study/verdict.h). Tables print the standard "
         "deviation over seeds instead."},
        {"reproduced, differs", "Reproduced: the 90% interval lies within a band around the paper's number. Differs: "
                                "the 95% interval lies outside it. Inconclusive: neither."},
        {"provisional", "On fewer than three seeds. It may move."},
        {"tie", "A result that comes only from the order of equal scores."},
        {"holds",
         "All rows of a claim come out as in the paper, or both are at their chance. It does not hold if one row "
         "differs (src/study/claims.h)."},
        {"controls",
         "An oracle that knows the law of the task must reach its exact ceiling, and a blind rule must come "
         "out at chance, on the same test sequences."},
    };
}

} // namespace fci
