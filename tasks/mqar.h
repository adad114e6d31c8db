// MQAR, multi-query associative recall [Arora et al. 2024, "Zoology"]: pairs first, then ask for values by key.
//
//   queries one, the paper's:                          queries many, Zoology's (C = 2N):
//     k1 v1 k2 v2 ... kN vN  0 0 ... 0 0  k2             k1 v1 k2 v2 ... kN vN  k2 0  0 0  k1 0  0 0 ...
//     0  1  2  3             2N          L-1             0  1  2  3             C     C+2  C+4
//           a                             q                                     slot 1     slot 3
//
//   tokens (L)   query, answer, label (1 or N): query row q, a = position of its key among the pairs, x[a+1]
//                query-row marker (queries one, L >= 2N + 2): q = L-2, the last filler, which holds no key, asks for
//                the key after it; the tokens stay
//
// Law, with N = pairs, V = vocab, H = floor(V/2). Keys are distinct and in uniform random order from [1,H).
// one    values independent and uniform in [H,V); the query's key uniform over the N; all else 0. L includes the query.
// many   values distinct, in uniform random order, from [H,V). Key j (column j of query, answer, label) is asked
//       once, at row C + 2 (i-1) for its slot i of floor((L-C)/2); j = 1 .. N draw their slots in turn, without
//       replacement: i with probability w_i / (sum of w over the slots left), w_i = i^(a-1), a = 0.01 (Zoology
//       writes a i^(a-1); the factor cancels). All else is 0 or, with random-non-queries, uniform in [0,V).
//       The label belongs to the query's own row: nothing is shifted.
#pragma once
#include <vector>

#include "tasks/dataset.h"

namespace fci {

// round(2^40 i^(a-1)), i = 1 .. slots, a = 0.01, as integers so that the draws are the same on every machine:
// i^(a-1) = exp(a ln i) / i, with both functions summed from their series by + - * / of IEEE doubles.
std::vector<uint64_t> slot_weights(int slots);

// `n` slots (from 0) in the order drawn, without replacement, by weight. O(slots + n log slots); no rejection except in
// the integer draw itself. n <= weights.size().
std::vector<int> draw_slots(Rng& rng, const std::vector<uint64_t>& weights, int n);

class Mqar {
public:
    explicit Mqar(const TaskOptions& options); // as resolve() has filled them in

    // Throws Exit::usage if no example can be made, naming the flag and what would fit.
    static void require(const TaskOptions& options);

    int queries() const { return many_ ? o_.pairs : 1; }
    void example(Rng& rng, const Example& out) const;

private:
    TaskOptions o_;
    bool many_;
    std::vector<uint64_t> weights_;
};

} // namespace fci
