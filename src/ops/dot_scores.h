// dot_scores: the dot product of every query row with every key
//   s[b,r,j] = scale q[b,r] . k[b,j]                                                        (1)
// Shapes    q (b,r,d)   k (b,n,d)   s (b,r,n)
// Backward  dq[r] += scale sum_j ds[r,j] k[j]                                               (dq)
//           dk[j] += scale sum_r ds[r,j] q[r]                                               (dk)
// Contract  every d* is ADDED to.
// Cost      2 b r n d flops forward, twice that backward.
#pragma once
#include "core/tape.h"

namespace fci {

struct DotShape {
    int batch, rows, keys, d;
};

constexpr OpCost dot_scores_cost(DotShape s) {
    const double q = 1. * s.batch * s.rows * s.d, k = 1. * s.batch * s.keys * s.d, n = 1. * s.batch * s.rows * s.keys;
    return {{2 * n * s.d, 0, q + k + n}, {4 * n * s.d, 0, 3 * q + 3 * k + n}};
}

template <class T>
using DotScoresForward = void(DotShape, T scale, const T* q, const T* k, T* scores);
template <class T>
using DotScoresBackward = void(DotShape, T scale, const T* q, const T* k, const T* dscores, T* dq, T* dk);

FCI_TWINS(DotScoresForward<float>, dot_scores_forward)
FCI_TWINS(DotScoresBackward<float>, dot_scores_backward)

// q (b,r,d), k (b,n,d) -> (b,r,n)
Tensor dot_scores(Tape&, Tensor q, Tensor k, float scale);

} // namespace fci
