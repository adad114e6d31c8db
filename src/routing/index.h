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
    int key_after; // the query's key stands this many rows after the query row
    uint64_t seed;
    std::function<std::array<double, 2>()> best_blind; // percent at k, at 1: the best content-blind rule

    // Draws for query i; the steps below 2^32 are the hashes of tokens.
    Rng draws(int64_t i) const { return {seed, Stream::index, (uint64_t{1} << 32) + static_cast<uint64_t>(i)}; }
};

struct IndexHits {
    int64_t queries = 0, at_k = 0, at_1 = 0;
    std::map<std::string, double> extra = {};                // more numbers to show
    void count(const std::vector<int>& chosen, int correct); // of one query, best first
};

// The first k of a random order of `values`  [Fisher & Yates].
void shuffle_first(std::vector<int>& values, int k, Rng rng);

} // namespace fci
