#include "routing/index.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "routing/router.h"

namespace fci {

void IndexHits::count(const std::vector<int>& chosen, int correct) {
    ++queries;
    at_k += std::find(chosen.begin(), chosen.end(), correct) != chosen.end();
    at_1 += !chosen.empty() && chosen[0] == correct;
}

void shuffle_first(std::vector<int>& values, int k, Rng rng) {
    const auto n = static_cast<int>(values.size());
    for (int i = 0; i < std::min(k, n - 1); ++i) std::swap(values[i], values[rng.between(i, n)]);
    values.resize(std::min(k, n));
}

namespace {

IndexHits at_random(const IndexTask& t) {
    IndexHits hits;
    std::vector<int> positions;
    for (size_t i = 0; i < t.test.answer.size(); ++i) {
        positions.resize(t.test.length);
        std::iota(positions.begin(), positions.end(), 0);
        shuffle_first(positions, t.k, t.draws(static_cast<int64_t>(i)));
        hits.count(positions, t.test.answer[i]);
    }
    return hits;
}

IndexHits best_blind(const IndexTask& t) {
    const auto [at_k, at_1] = t.best_blind();
    const auto n = static_cast<double>(t.test.answer.size());
    return {std::llround(n), std::llround(at_k * n / 100), std::llround(at_1 * n / 100)};
}

} // namespace

namespace router_kinds {
extern const RouterKind random{.name = "random", .type = RouterKind::index, .choose = at_random};
extern const RouterKind blind{.name = "blind", .type = RouterKind::index, .choose = best_blind};
} // namespace router_kinds

} // namespace fci
