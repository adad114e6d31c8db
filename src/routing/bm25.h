// BM25: units ranked by the words that they share with a query  [Robertson & Walker 1994; Robertson & Zaragoza 2009].
// With N units, n(w) of them holding word w, f(w,u) its count in unit u, |u| that unit's words and m their mean:
//   score(u) = sum over the query's words, repeats included, of idf(w) g(w,u)
//   okapi    g = f (k1 + 1) / (f + k1 (1 - b + b |u| / m))     idf = ln(N - n + 0.5) - ln(n + 0.5)
//            where that is negative (more than half of the units hold w): 0.25 of the mean idf of all words
//   lucene   g = f / (f + k1 (1 - b + b |u| / m))              idf = ln(1 + (N - n + 0.5) / (n + 0.5))
// Words of the query that no unit holds add nothing. Sums run in the order of the query; the same bits on every
// machine. bloom_scores: how many of the query's distinct words each unit's Bloom filter (bloom.h) may hold.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "routing/word_index.h"

namespace fci {

struct Bm25Options {
    std::string variant = "okapi"; // okapi | lucene
    double k1 = 1.5, b = 0.75;
    double floor = 0.25; // of the mean idf
};

void bm25_scores(const WordIndex&, const Bm25Options&, std::vector<double>& scores);
void bloom_scores(const WordIndex&, uint64_t seed, std::vector<double>& scores, int bits = 256, int hashes = 3);

// The k units of the highest scores, best first, ties to the lower index; all units where there are fewer than k.
std::vector<int> best_units(const std::vector<double>& scores, int k);

} // namespace fci
