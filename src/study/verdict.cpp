#include "study/verdict.h"

#include <algorithm>
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

namespace {

// Student's two-sided points at 1, 2, ... degrees of freedom; beyond the tables an upper bound, at most 0.02 too large.
double student(size_t df, bool of_95) {
    static const double at_95[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
    static const double at_90[] = {6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812};
    if (df <= std::size(at_95)) return (of_95 ? at_95 : at_90)[df - 1];
    return of_95 ? 1.96 + 2.8 / static_cast<double>(df) : 1.645 + 1.75 / static_cast<double>(df);
}

constexpr double rounding = 1e-9; // 97.1 is within 2 of 99.1 despite binary fractions
constexpr double chance_margin = 3;

bool is_percentage(const std::string& quantity) { return quantity == "routing" || quantity == "accuracy"; }

bool at_chance(const PaperValue& paper, const Summary& ours) {
    if (!ours.chance || !ours.paper_chance) return false;
    const double low = std::isfinite(paper.low) ? paper.low : paper.high; // for a bound, its finite side
    const double high = std::isfinite(paper.high) ? paper.high : paper.low;
    const auto near = [](double x, double chance) { return std::abs(x - chance) <= chance_margin + rounding; };
    return near(low, *ours.paper_chance) && near(high, *ours.paper_chance) &&
           near(ours.mean - ours.half_90, *ours.chance) && near(ours.mean + ours.half_90, *ours.chance);
}

} // namespace

Summary summarise(const std::vector<double>& values, double queries) {
    Summary o;
    o.seeds = static_cast<int>(values.size()), o.values = values;
    if (values.empty()) return o;
    const double n = o.seeds;
    for (const double v : values) o.mean += v / n;
    double square = 0;
    for (const double v : values) square += (v - o.mean) * (v - o.mean);
    if (o.seeds > 1) o.sd = std::sqrt(square / (n - 1));
    const auto half = [&](bool of_95) {
        double variance = 0;
        if (o.seeds > 1) {
            const double t = student(values.size() - 1, of_95);
            variance = t * t * o.sd * o.sd / n;
        }
        if (queries > 0) {
            const double p = (o.mean / 100 * queries + 2) / (queries + 4), z = 100 * (of_95 ? 1.96 : 1.645);
            variance += z * z * p * (1 - p) / queries;
        }
        return std::sqrt(variance);
    };
    o.half_width = half(true), o.half_90 = half(false);
    return o;
}

std::pair<double, double> wilson(int n, int of) {
    constexpr double z = 1.96;
    const double m = of, p = n / m, centre = (p + z * z / (2 * m)) / (1 + z * z / m),
                 half = z / (1 + z * z / m) * std::sqrt(p * (1 - p) / m + z * z / (4 * m * m));
    return {100 * std::max(0.0, centre - half), 100 * std::min(1.0, centre + half)};
}

const char* name(Verdict v) {
    static const char* const names[] = {"reproduced", "differs",    "inconclusive", "at chance, both",
                                        "tie",        "some seeds", "untested",     "not run"};
    return names[static_cast<int>(v)];
}

bool by_ties_alone(double strict, double ties) {
    constexpr double share = 2; // percent
    return ties >= share && strict <= share / 100 * (strict + ties);
}

double margin(const std::string& quantity, double x) {
    if (quantity == "routing" || quantity == "transition_epoch") return 2;
    if (quantity == "accuracy") return 5;
    return quantity == "cosine_gap" ? 0.05 : 0.25 * std::abs(x);
}

Verdict judge(const std::string& quantity, const PaperValue& paper, const Summary& ours) {
    if (ours.ran() == 0) return Verdict::not_run;
    if (!ours.tested) return Verdict::untested;
    if (ours.tie) return Verdict::tie;
    if (ours.converged && 0 < *ours.converged && *ours.converged < ours.ran()) return Verdict::some_seeds;
    if (ours.seeds == 0) return Verdict::differs; // no transition
    if (is_percentage(quantity) && at_chance(paper, ours)) return Verdict::at_chance;

    const double m = paper.exact ? margin(quantity, paper.low) + rounding : 0;
    const double low = paper.low - m, high = paper.high + m;
    if (low <= ours.mean - ours.half_90 && ours.mean + ours.half_90 <= high) return Verdict::reproduced;
    if (ours.mean + ours.half_width < low || high < ours.mean - ours.half_width) return Verdict::differs;
    return Verdict::inconclusive;
}

bool provisional(Verdict v, const Summary& ours) {
    if (v == Verdict::not_run || v == Verdict::untested) return false;
    return ours.ran() < (v == Verdict::some_seeds ? 5 : 3);
}

std::string verdict_text(Verdict v, const Summary& ours) {
    return (provisional(v, ours) ? "provisional: " : "") + std::string(name(v));
}

} // namespace fci
