#include "study/verdict.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace fci {

const std::vector<std::string>& quantities() {
    static const std::vector<std::string> names{"routing", "accuracy",   "transition_epoch",
                                                "rank",    "cosine_gap", "energy90_dims"};
    return names;
}

std::optional<PaperValue> parse_paper(const std::string& text) {
    const double infinity = std::numeric_limits<double>::infinity();
    const char *at = text.data(), *const end = at + text.size();
    const auto skip = [&](std::string_view sign) {
        if (!std::string_view(at, end - at).starts_with(sign)) return false;
        at += sign.size();
        return true;
    };
    const auto number = [&](double& x) {
        const auto [stop, error] = std::from_chars(at, end, x);
        at = stop;
        return error == std::errc() && std::isfinite(x);
    };
    double x = 0, y = 0;
    if (skip("<=") || skip("<"))
        return number(x) && at == end ? std::optional(PaperValue{-infinity, x, false}) : std::nullopt;
    if (skip(">=") || skip(">"))
        return number(x) && at == end ? std::optional(PaperValue{x, infinity, false}) : std::nullopt;
    skip("~");
    if (!number(x)) return std::nullopt;
    if (at == end) return PaperValue{x, x, true};
    if (!skip("-") || !number(y) || at != end || y < x) return std::nullopt;
    return PaperValue{x, y, false};
}

Ours summarise(const std::vector<double>& values, double queries) {
    // Student's 97.5% point at 1, 2, ... degrees of freedom; beyond them a bound that is 0.02 too large at most
    static const double student[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
    Ours o;
    o.seeds = static_cast<int>(values.size());
    if (values.empty()) return o;
    const double n = o.seeds;
    for (const double v : values) o.mean += v / n;
    double square = 0;
    for (const double v : values) square += (v - o.mean) * (v - o.mean);
    double variance = 0; // the half width's square
    if (o.seeds > 1) {
        o.sd = std::sqrt(square / (n - 1));
        const size_t df = values.size() - 1;
        const double t = df <= std::size(student) ? student[df - 1] : 1.96 + 2.8 / static_cast<double>(df);
        variance = t * t * o.sd * o.sd / n;
    }
    if (queries > 0) {
        const double p = (o.mean / 100 * queries + 2) / (queries + 4);
        variance += 100 * 100 * 1.96 * 1.96 * p * (1 - p) / queries;
    }
    o.half_width = std::sqrt(variance);
    return o;
}

const char* name(Verdict v) {
    static const char* const names[] = {"reproduced", "same regime", "differs", "not run"};
    return names[static_cast<int>(v)];
}

double margin(const std::string& quantity, double x) {
    if (quantity == "routing" || quantity == "accuracy" || quantity == "transition_epoch") return 2;
    return quantity == "cosine_gap" ? 0.05 : 0.25 * std::abs(x);
}

Verdict judge(const std::string& quantity, const PaperValue& paper, const Ours& ours) {
    if (ours.seeds == 0) return ours.without ? Verdict::differs : Verdict::not_run;
    if (ours.without) return Verdict::differs;
    const bool percent = quantity == "routing" || quantity == "accuracy";
    const double off = paper.exact ? std::abs(ours.mean - paper.low) : 0;
    constexpr double rounding = 1e-9; // 97.1 is within 2 of 99.1, whatever binary fractions say
    const bool in_interval = percent && ours.half_width < 5 && off <= ours.half_width;
    const bool same = paper.exact ? off <= margin(quantity, paper.low) + rounding || in_interval
                                  : ours.mean >= paper.low && ours.mean <= paper.high;
    if (same) return Verdict::reproduced;
    if (!percent) return Verdict::differs;

    // Of a bound, the side that it names.
    const double low = std::isfinite(paper.low) ? paper.low : paper.high;
    const double high = std::isfinite(paper.high) ? paper.high : paper.low;
    const auto near_chance = [&](double x) { return ours.chance && std::abs(x - *ours.chance) <= 3 + rounding; };
    const bool all_right = low > 95 && ours.mean > 95;
    const bool all_blind = near_chance(low) && near_chance(high) && near_chance(ours.mean);
    return all_right || all_blind ? Verdict::same_regime : Verdict::differs;
}

} // namespace fci
