// Indices over tokens: routers that learn nothing. For each query of a test set they name k places, or fewer.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <string>

#include "tasks/dataset.h"

namespace fci {

struct IndexTask {
    const Dataset& test;
    int k;
    int key_after; // the query's key stands so many rows behind the row that asks
    uint64_t seed;
    std::function<std::array<double, 2>()> best_blind; // percent at k and at 1 of the rule that the training set shows

    // Draws for query i; the steps below 2^32 are the hashes of tokens.
    Rng draws(int64_t i) const { return {seed, Stream::index, (uint64_t{1} << 32) + static_cast<uint64_t>(i)}; }
};

struct IndexHits {
    int64_t queries = 0, at_k = 0, at_1 = 0;
    std::map<std::string, double> extra = {};                // shown beside
    void count(const std::vector<int>& chosen, int correct); // of one query, best first
};

// The first k of a random order of `values`  [Fisher & Yates].
void shuffle_first(std::vector<int>& values, int k, Rng rng);

} // namespace fci
