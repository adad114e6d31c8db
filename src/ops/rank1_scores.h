// rank1_scores: routing by one number for each token, its fingerprint  [Basu 2026, Sec. 4.6]
//   f[b,j] = v . x[b,j]                                                                    (1)
//   s[b,r,j] = f[b,q_r] f[b,j],  q_r = query[b,r]                                          (2)
// Shapes    x (b,t,d)   query (b,r) in [0,t)   v (d)   s (b,r,t)   f (b,t), saved
// Backward  df[j] += sum_r ds[r,j] f[q_r];   df[q_r] += sum_j ds[r,j] f[j]                 (df)
//           dx[j] += df[j] v                                                               (dx)
//           dv += sum_bj df[j] x[j]                                                        (dv)
// Contract  every d* is ADDED to.
// Cost      O(b t d + b r t). At inference rank1_choose picks the same positions in O(t d + t k + r k) with no
//           scores at all: the best partners of f[q] > 0 are the largest f, those of f[q] < 0 the smallest.
#pragma once
#include "core/tape.h"

namespace fci {

struct Rank1Shape {
    int batch, time, rows, d;
};

constexpr OpCost rank1_scores_cost(Rank1Shape s) {
    const double f = 1. * s.batch * s.time, x = f * s.d, n = f * s.rows;
    return {{2 * x + n, 0, x + s.d + f + n}, {4 * x + 4 * n, 0, 3 * x + 3 * s.d + f + n}};
}

template <class T>
using Rank1ScoresForward = void(Rank1Shape, const T* x, const int32_t* query, const T* v, T* scores, T* f);
template <class T>
using Rank1ScoresBackward = void(Rank1Shape, const T* x, const int32_t* query, const T* v, const T* f, const T* dscores,
                                 T* dx, T* dv);

FCI_TWINS(Rank1ScoresForward<float>, rank1_scores_forward)
FCI_TWINS(Rank1ScoresBackward<float>, rank1_scores_backward)

// x (b,t,d), query (b,r), v (d) -> (b,r,t)
Tensor rank1_scores(Tape&, Tensor x, IntTensor query, Tensor v);

// The chosen positions of the query rows, in top_k's layout; the CPU does not compute the scores.
// Equal to top_k(rank1_scores) unless rounding makes two products equal.
IntTensor rank1_choose(Tape&, Tensor x, IntTensor query, Tensor v, int k);

} // namespace fci
