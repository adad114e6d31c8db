#include "study/hotpot_eval.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "core/check.h"
#include "core/nearest.h"
#include "core/rng.h"

namespace fci {
namespace {

constexpr size_t measures = HotpotMeasure::names.size(), most_sharing = 12; // lists 2^12 choices

// The measures of a choice of `size` sentences, `hits` of them supporting. facts: number of distinct facts, lost ones
// included.
std::array<double, measures> score(double size, double hits, double supporting, double facts) {
    const double precision = size > 0 ? hits / size : 0, recall = hits / facts;
    const double f1 = hits > 0 ? 2 * precision * recall / (precision + recall) : 0;
    return {hits > 0 ? 1.0 : 0.0,
            hits == supporting ? 1.0 : 0.0,
            0,
            precision,
            recall,
            f1,
            hits == facts && size == facts ? 1.0 : 0.0};
}

struct Unit {
    int size = 0, hits = 0; // sentences, supporting ones
};

size_t unit_of(const std::vector<uint32_t>& begins, uint32_t sentence) {
    return static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), sentence) - begins.begin() - 1);
}

// The contents of some units together; sentences of the same name count once.
template <class Units>
Unit together(const HotpotExample& x, const std::vector<uint32_t>& begins, const Units& chosen) {
    Unit all;
    std::set<uint32_t> names;
    for (const auto u : chosen)
        for (uint32_t s = begins[u]; s < begins[u + 1]; ++s)
            if (x.first_of_name.empty() || names.insert(x.first_of_name[s]).second)
                ++all.size, all.hits += std::binary_search(x.supporting.begin(), x.supporting.end(), s);
    return all;
}

// Part of the units: either units without shared names, each chosen or not, or a group that shares names, whose choices
// are listed.
struct Part {
    struct Choice {
        int units;
        Unit holds;
        double ways;
    };
    std::vector<Choice> choices; // except the choice of none
};

// Groups of unit numbers that share names with each other, directly or through others.
std::vector<std::vector<int>> groups_of(const HotpotExample& x, const std::vector<uint32_t>& begins) {
    const int n = static_cast<int>(begins.size()) - 1;
    std::vector<int> leader(n);
    std::iota(leader.begin(), leader.end(), 0);
    const auto lead = [&](int u) {
        while (leader[u] != u) u = leader[u] = leader[leader[u]];
        return u;
    };
    for (uint32_t s = 0; s < x.first_of_name.size(); ++s)
        leader[lead(static_cast<int>(unit_of(begins, s)))] =
            lead(static_cast<int>(unit_of(begins, x.first_of_name[s])));
    std::vector<std::vector<int>> groups(n);
    for (int u = 0; u < n; ++u) groups[lead(u)].push_back(u);
    std::erase_if(groups, [](const auto& g) { return g.empty(); });
    return groups;
}

std::vector<Part> parts_of(const HotpotExample& x, const std::vector<uint32_t>& begins) {
    std::vector<Part> parts;
    for (const std::vector<int>& group : groups_of(x, begins)) {
        if (group.size() > most_sharing) { // each name counts in its first unit
            for (const int u : group) {
                Unit first;
                for (uint32_t s = begins[u]; s < begins[u + 1]; ++s)
                    if (x.first_of_name[s] == s)
                        ++first.size, first.hits += std::binary_search(x.supporting.begin(), x.supporting.end(), s);
                parts.push_back({{{1, first, 1}}});
            }
            continue;
        }
        std::map<std::array<int, 3>, double> ways; // by number of units, size and hits
        for (uint32_t subset = 1; subset < 1u << group.size(); ++subset) {
            std::vector<int> chosen;
            for (size_t i = 0; i < group.size(); ++i)
                if (subset >> i & 1) chosen.push_back(group[i]);
            const Unit all = together(x, begins, chosen);
            ++ways[{static_cast<int>(chosen.size()), all.size, all.hits}];
        }
        Part part;
        for (const auto& [key, n] : ways) part.choices.push_back({key[0], {key[1], key[2]}, n});
        parts.push_back(std::move(part));
    }
    return parts;
}

// Mean of score() over all choices of k of n units: ways[c][s][h] counts the choices of c units with s sentences, h of
// them supporting, among the units seen so far.
std::array<double, measures> blind_score(const std::vector<Part>& parts, int n, int k, double supporting,
                                         double facts) {
    std::vector<int> sizes; // of the largest units
    for (const Part& p : parts) {
        int widest = 0, count = 0;
        for (const Part::Choice& c : p.choices)
            widest = std::max(widest, c.units == 1 ? c.holds.size : 0), count = std::max(count, c.units);
        sizes.insert(sizes.end(), static_cast<size_t>(count), widest);
    }
    std::sort(sizes.rbegin(), sizes.rend());
    const int most = std::accumulate(sizes.begin(), sizes.begin() + k, 0), all_hits = static_cast<int>(supporting);
    const auto at = [&](int c, int s, int h) { return (size_t(c) * (most + 1) + s) * (all_hits + 1) + h; };
    std::vector<double> ways(at(k, most, all_hits) + 1, 0);
    ways[0] = 1;
    int seen = 0;
    for (const Part& p : parts) {
        for (int c = k; c > 0; --c) // downwards, so that each part is taken once
            for (const auto& [units, holds, of] : p.choices)
                for (int s = holds.size; units <= c && s <= most; ++s)
                    for (int h = holds.hits; h <= all_hits; ++h)
                        ways[at(c, s, h)] += of * ways[at(c - units, s - holds.size, h - holds.hits)];
        // Only ratios matter, and C(46500,100) exceeds a double, so counts are scaled. A unit at most doubles a count.
        seen += p.choices.back().units;
        if (seen < 200) continue;
        seen = 0;
        if (*std::max_element(ways.begin(), ways.end()) > 0x1p800)
            for (double& w : ways) w *= 0x1p-800;
    }
    double total = 0;
    std::array<double, measures> mean{};
    for (int s = 0; s <= most; ++s)
        for (int h = 0; h <= all_hits; ++h) {
            const double n = ways[at(k, s, h)];
            if (n == 0) continue;
            total += n;
            const auto x = score(s, h, supporting, facts);
            for (size_t m = 0; m < measures; ++m) mean[m] += n * x[m];
        }
    for (double& m : mean) m /= total;
    mean[2] = static_cast<double>(k) / n;
    return mean;
}

HotpotResult::Number summary(size_t measure, double sum, double squares, double chance, double n) {
    constexpr double z = 1.959963984540054; // 95%
    const double p = sum / n;
    double middle = p, half;
    if (measure == 0 || measure == 1 || measure == 6) { // shares [Wilson 1927]
        middle = (p + z * z / (2 * n)) / (1 + z * z / n);
        half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    } else
        half = n > 1 ? z * std::sqrt(std::max(0.0, (squares - n * p * p) / (n - 1)) / n) : 1;
    const double low = std::max(0.0, std::min(p, middle - half)), high = std::min(1.0, std::max(p, middle + half));
    return {100 * p, 100 * low, 100 * high, 100 * chance / n};
}

} // namespace

void check_hotpot(const HotpotOptions& o) {
    expect_one_of("--method", o.method, hotpot_methods);
    expect_one_of("--unit", o.unit, hotpot_unit_names);
    expect_one_of("--tokeniser", o.tokeniser, hotpot_tokenisers);
    expect_one_of("--bm25", o.bm25.variant, bm25_variants);
    if (!(o.bm25.k1 >= 0 && o.bm25.k1 <= 1000)) fail(Exit::usage, "--k1 {} must be from 0 to 1000", o.bm25.k1);
    if (!(o.bm25.b >= 0 && o.bm25.b <= 1)) fail(Exit::usage, "--b {} must be from 0 to 1", o.bm25.b);
    if (o.unit == "segments" && o.top_k > o.segments)
        fail(Exit::usage, "--top-k {} is more than the {} segments", o.top_k, o.segments);
}

std::vector<uint32_t> hotpot_units(const HotpotExample& x, const HotpotOptions& o) {
    const auto n = static_cast<uint32_t>(x.sentences.size());
    std::vector<uint32_t> begins;
    if (x.supporting.empty()) return begins;
    if (o.unit == "segments") {
        if (n < static_cast<uint32_t>(o.segments)) return begins;
        for (int i = 0; i <= o.segments; ++i)
            begins.push_back(static_cast<uint32_t>(uint64_t{n} * i / static_cast<uint64_t>(o.segments)));
    } else if (o.unit == "sentences") {
        begins.resize(n + 1);
        std::iota(begins.begin(), begins.end(), 0);
    } else {
        for (const HotpotExample::Paragraph& p : x.paragraphs) begins.push_back(p.begin);
        begins.push_back(n);
    }
    return begins;
}

HotpotFound find_hotpot(const HotpotExample& x, int64_t index, const HotpotOptions& o, WordIndex& scratch) {
    HotpotFound f;
    f.begins = hotpot_units(x, o);
    if (f.begins.empty()) return f;
    const int N = static_cast<int>(f.begins.size()) - 1;
    const auto seed = static_cast<uint64_t>(o.seed);
    if (o.method == "random") {
        Rng rng(seed, Stream::index, static_cast<uint64_t>(index));
        std::vector<int> order(N);
        std::iota(order.begin(), order.end(), 0);
        for (int i = 0; i < std::min(o.top_k, N); ++i) {
            std::swap(order[i], order[rng.between(i, N)]);
            f.chosen.push_back(order[i]);
        }
    } else {
        scratch.build(x.question, x.sentences, f.begins);
        o.method == "bm25" ? bm25_scores(scratch, o.bm25, f.scores) : bloom_scores(scratch, seed, f.scores);
        f.chosen = best_units(f.scores, o.top_k);
    }
    for (const uint32_t s : x.supporting)
        if (const int u = static_cast<int>(unit_of(f.begins, s)); f.correct.empty() || f.correct.back() != u)
            f.correct.push_back(u);
    f.all = together(x, f.begins, f.chosen).hits == x.found_facts();
    return f;
}

HotpotMeasure measure_hotpot(const HotpotExample& x, const HotpotFound& f) {
    const auto supporting = static_cast<double>(x.found_facts()), facts = static_cast<double>(x.distinct_facts());
    const Unit all = together(x, f.begins, f.chosen);
    const auto correct = std::count_if(f.chosen.begin(), f.chosen.end(), [&](int u) {
        return std::binary_search(f.correct.begin(), f.correct.end(), u);
    });
    HotpotMeasure m;
    m.value = score(all.size, all.hits, supporting, facts);
    m.value[2] = static_cast<double>(correct) / static_cast<double>(f.correct.size());
    m.chance = blind_score(parts_of(x, f.begins), static_cast<int>(f.begins.size()) - 1,
                           static_cast<int>(f.chosen.size()), supporting, facts);
    return m;
}

HotpotResult evaluate_hotpot(const std::vector<HotpotExample>& examples, const HotpotOptions& o, Workers& workers,
                             bool keep) {
    check_hotpot(o);
    const auto start = std::chrono::steady_clock::now();
    const auto tokeniser = o.tokeniser == "letters" ? Tokeniser::letters : Tokeniser::whitespace;
    std::vector<WordIndex> scratch(workers.count(), WordIndex(tokeniser));
    std::vector<HotpotMeasure> measured(examples.size());
    std::vector<int> correct(examples.size(), -1); // -1: left out
    HotpotResult r;
    if (keep) r.found.resize(examples.size());
    workers.run(static_cast<int>(examples.size()), [&](int i, int worker) {
        HotpotFound f = find_hotpot(examples[i], i, o, scratch[worker]);
        if (f.begins.empty()) return;
        correct[i] = static_cast<int>(f.correct.size());
        measured[i] = measure_hotpot(examples[i], f);
        if (keep) r.found[i] = std::move(f);
    });

    std::array<double, measures> sum{}, squares{}, chance{};
    for (size_t i = 0; i < examples.size(); ++i) {
        if (correct[i] < 0) {
            ++(examples[i].supporting.empty() ? r.without_support : r.too_short);
            continue;
        }
        ++r.examples, r.correct_units += correct[i];
        for (size_t m = 0; m < measures; ++m) {
            const double v = measured[i].value[m];
            sum[m] += v, squares[m] += v * v, chance[m] += measured[i].chance[m];
        }
    }
    if (r.examples == 0)
        fail(Exit::bad_data, "no example can be measured: {} have too few sentences, {} no supporting one", r.too_short,
             r.without_support);
    const auto n = static_cast<double>(r.examples);
    r.correct_units /= n;
    for (size_t m = 0; m < measures; ++m) r.numbers[m] = summary(m, sum[m], squares[m], chance[m], n);
    r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return r;
}

} // namespace fci
