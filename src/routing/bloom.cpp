#include "routing/bloom.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "routing/index.h"
#include "routing/router.h"

namespace fci {

BloomHashes::BloomHashes(uint64_t seed, int vocab, int bits, int hashes) : bits_(bits), hashes_(hashes) {
    table_.reserve(static_cast<size_t>(vocab) * hashes);
    for (int token = 0; token < vocab; ++token) {
        Rng rng(seed, Stream::index, token);
        for (int i = 0; i < hashes; ++i) table_.push_back(rng.below(bits));
    }
}

void BloomFilter::add(int token) {
    for (int i = 0; i < hashes_->count(); ++i) {
        const uint32_t bit = hashes_->of(token)[i];
        set_[bit / 64] |= uint64_t{1} << bit % 64;
    }
}

bool BloomFilter::may_hold(int token) const {
    bool all = true;
    for (int i = 0; i < hashes_->count(); ++i) {
        const uint32_t bit = hashes_->of(token)[i];
        all &= set_[bit / 64] >> bit % 64 & 1;
    }
    return all;
}

double bloom_false_positive_rate(int bits, int hashes, int n) {
    return std::pow(1 - std::pow(1 - 1.0 / bits, static_cast<double>(hashes) * n), hashes);
}

namespace {

// One filter a segment, holding its tokens. Candidates: the segments that may hold the query's key, without the query's
// own segment, in random order; there may be fewer than k.
IndexHits choose(const IndexTask& t) {
    const Dataset& test = t.test;
    const int width = test.length / segment_count;
    const BloomHashes hashes(t.seed, test.vocab);
    IndexHits hits;
    int64_t without_key = 0, false_positives = 0, candidates = 0;
    double theory = 0;
    for (int s = 0; s < test.count; ++s) {
        const int32_t* tokens = test.tokens.data() + int64_t{s} * test.length;
        std::vector<BloomFilter> filters(segment_count, BloomFilter(hashes));
        std::vector<std::set<int32_t>> sets; // the sets that the filters approximate
        for (int g = 0; g < segment_count; ++g) {
            sets.emplace_back(tokens + g * width, tokens + (g + 1) * width);
            for (int32_t token : sets[g]) filters[g].add(token);
        }
        for (int r = 0; r < test.queries; ++r) {
            const int64_t i = int64_t{s} * test.queries + r;
            const int32_t key = tokens[test.query[i] + t.key_after];
            std::vector<int> found;
            for (int g = 0; g < segment_count; ++g) {
                if (g == test.query[i] / width) continue;
                const bool may = filters[g].may_hold(key);
                if (may) found.push_back(g);
                if (sets[g].contains(key)) continue;
                ++without_key;
                false_positives += may;
                theory += bloom_false_positive_rate(hashes.bits(), hashes.count(), static_cast<int>(sets[g].size()));
            }
            candidates += static_cast<int64_t>(found.size());
            shuffle_first(found, t.k, t.draws(i));
            hits.count(found, test.answer[i] / width);
        }
    }
    const double of = static_cast<double>(std::max<int64_t>(1, without_key));
    hits.extra = {{"false_positive_rate", 100 * static_cast<double>(false_positives) / of},
                  {"false_positive_theory", 100 * theory / of},
                  {"candidates", static_cast<double>(candidates) / static_cast<double>(hits.queries)}};
    return hits;
}

} // namespace

namespace router_kinds {
extern const RouterKind bloom{.name = "bloom", .type = RouterKind::index, .by_segment = true, .choose = choose};
} // namespace router_kinds

} // namespace fci
