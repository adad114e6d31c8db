// The reason for a claim's outcome: the pattern of its rows' outcomes in words, by rule.
//   a row is against it    f2.raw routes at 1e-3 (99.8; paper <=2.5)
//   none is, all ran       as in the paper; by the order of equal scores alone; inconclusive: f2.raw at 3e-4
//   otherwise              not run: t1.flow2
// If no row is against it, but one is under the reading of runs/claims.toml, that is added at the end.
#include <algorithm>

#include "study/claims.h"
#include "study/registered.h"

namespace fci {
namespace {

// "a, b and 3 more": keeps a sentence on one line.
std::string some(const std::vector<std::string>& names, const char* between) {
    constexpr size_t most = 2;
    const std::vector<std::string> first(names.begin(), names.begin() + std::min(names.size(), most));
    const std::string rest = names.size() > most ? fmt::format(" and {} more", names.size() - most) : "";
    return fmt::format("{}{}", fmt::join(first, between), rest);
}

// A row's outcome at a rate.
std::string does(const Line& l) {
    if (l.ours.seeds == 0) return "has no transition";
    if (l.quantity != "routing") return "has another number";
    const std::string outcome = outcome_of(l.ours.mean, l.ours.chance.value_or(0));
    return outcome == "routes" ? "routes" : outcome == "fails" ? "is at chance" : "is between chance and routing";
}

// "f2.raw routes at 1e-3 (99.8; paper <=2.5)": one sentence per outcome, for the rates at which the row is against the
// claim.
std::vector<std::string> against(const Judged& j, size_t row, const std::vector<std::vector<const Line*>>& at_rates) {
    std::vector<std::string> sentences;
    std::vector<const Line*> left;
    for (const auto& at : at_rates)
        if (at[row] && voice_of(*at[row]).speaks == Speaks::against && !std::count(left.begin(), left.end(), at[row]))
            left.push_back(at[row]);
    while (!left.empty()) {
        const std::string what = does(*left[0]);
        std::vector<std::string> rates, numbers;
        std::erase_if(left, [&](const Line* l) {
            if (does(*l) != what) return false;
            if (l->of.learning_rate) rates.push_back(rate_of(l->of));
            if (l->ours.seeds) numbers.push_back(fmt::format("{:.{}f}", l->ours.mean, decimals(l->quantity)));
            return true;
        });
        sentences.push_back(fmt::format("{} {}{}{} ({}{}paper {})", j.rows[row].label(), what,
                                        rates.empty() ? "" : " at ", fmt::join(rates, " and "),
                                        fmt::join(numbers, " and "), numbers.empty() ? "" : "; ", j.paper_of(row)));
    }
    return sentences;
}

} // namespace

std::string reason(const Judged& j) {
    std::vector<std::string> opposed, opposed_under, open, missing;
    bool tie = false, all_at_chance = true, everywhere = true;
    const auto add = [&](std::vector<std::string>& to, size_t row, const std::vector<std::vector<const Line*>>& lines) {
        for (const std::string& sentence : against(j, row, lines)) to.push_back(sentence);
    };
    for (size_t row = 0; row < j.rows.size(); ++row) {
        add(opposed, row, j.at_rates);
        if (!j.under.empty()) add(opposed_under, row, {j.under});
        bool ran = false;
        for (const auto& at : j.at_rates) {
            const Voice v = at[row] ? voice_of(*at[row]) : Voice{};
            ran |= v.ran, everywhere &= v.ran, tie |= v.speaks == Speaks::tie;
            if (v.ran && v.speaks == Speaks::neither)
                open.push_back(fmt::format("{}{}", j.rows[row].label(),
                                           at[row]->of.learning_rate ? " at " + rate_of(at[row]->of) : ""));
            all_at_chance &=
                !v.ran || judge(at[row]->quantity, *parse_paper(at[row]->paper), at[row]->ours) == Verdict::at_chance;
        }
        if (!ran) missing.push_back(j.rows[row].label());
    }
    if (!opposed.empty()) return some(opposed, "; ");
    const std::string under = opposed_under.empty() ? "" : "; under the best reading " + some(opposed_under, "; ");
    if (!missing.empty()) return "not run: " + some(missing, ", ") + under;
    if (!open.empty()) return "inconclusive: " + some(open, ", ") + under;
    if (tie) return "by the order of equal scores alone" + under;
    const std::string where = everywhere ? "" : ", where it ran";
    return (all_at_chance ? "at chance, as the paper's" : "as in the paper") + where + under;
}

} // namespace fci
