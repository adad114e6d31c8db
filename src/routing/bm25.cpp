#include "routing/bm25.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "routing/bloom.h"
#include "routing/router.h"

namespace fci {

void bm25_scores(const WordIndex& x, const Bm25Options& o, std::vector<double>& scores) {
    const int N = x.units();
    const bool okapi = o.variant == "okapi";
    scores.assign(N, 0);
    double total = 0;
    for (int u = 0; u < N; ++u) total += x.length(u);
    if (total == 0) return;
    const double mean_length = total / N;

    std::vector<double> idf(N + 1); // indexed by the number of units with the word
    for (int n = 0; n <= N; ++n)
        idf[n] = okapi ? std::log(N - n + 0.5) - std::log(n + 0.5) : std::log(1 + (N - n + 0.5) / (n + 0.5));
    if (okapi) {
        std::vector<int> words(N + 1, 0); // words with that number
        for (int w = 0; w < x.words(); ++w) ++words[x.units_with(w)];
        words[0] = 0; // words that only the query has
        double sum = 0;
        for (int n = 1; n <= N; ++n) sum += words[n] * idf[n];
        const double least = o.floor * (sum / std::accumulate(words.begin(), words.end(), 0));
        for (double& value : idf)
            if (value < 0) value = least;
    }
    for (const int w : x.query()) {
        if (x.units_with(w) == 0) continue;
        for (int u = 0; u < N; ++u) {
            const double f = x.count(w, u);
            if (f == 0) continue;
            const double soft = f + o.k1 * (1 - o.b + o.b * x.length(u) / mean_length);
            scores[u] += idf[x.units_with(w)] * (f * (okapi ? o.k1 + 1 : 1) / soft);
        }
    }
}

void bloom_scores(const WordIndex& x, uint64_t seed, std::vector<double>& scores, int bits, int hashes) {
    const BloomHashes table(seed, x.words(), bits, hashes);
    scores.assign(x.units(), 0);
    for (int u = 0; u < x.units(); ++u) {
        BloomFilter filter(table);
        for (const int w : x.words_of(u)) filter.add(w);
        for (int w = 0; w < x.query_words(); ++w) scores[u] += filter.may_hold(w);
    }
}

std::vector<int> best_units(const std::vector<double>& scores, int k) {
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    const size_t n = std::min(order.size(), static_cast<size_t>(k));
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(),
                      [&](int a, int b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
    order.resize(n);
    return order;
}

namespace router_kinds {
extern const RouterKind bm25{.name = "bm25", .type = RouterKind::text_index};
} // namespace router_kinds

} // namespace fci
