// memory_scores: routing through a bank of slots; a query reaches positions only through the slots
//   p(m|j) = softmax_m z[b,j],   p(m|q) = softmax_m zq[b,r]       position j writes to slot m, query q reads it   (1)
//   p(j|m) = p(m|j) / n[m],   n[m] = sum_j p(m|j)                                           (2)
//   p(j|q) = sum_m p(m|q) p(j|m),   s[b,r,j] = ln p(j|q)                                    (3)
// sum_j p(j|q) = 1, so softmax_j s = p(j|q), and the cross-entropy of s at the answer a is -ln p(a|q).
// Shapes    z (b,t,m)   zq (b,r,m)   s (b,r,t)   saved: P = p(m|j) (b,t,m), Pq = p(m|q) (b,r,m), n (b,m)
// Backward  with D[r,j] = ds[r,j] / p(j|q):
//           dPq[r,m] = sum_j D[r,j] p(j|m),   G[j,m] = sum_r D[r,j] Pq[r,m]                 (dPq) (G)
//           dP[j,m] = (G[j,m] - sum_i G[i,m] p(i|m)) / n[m]                                 (dP)
//           dz[j,m] += P[j,m] (dP[j,m] - sum_l dP[j,l] P[j,l]);   dzq from dPq likewise      (dz) (dzq)
// Contract  every d* is ADDED to. p(j|q) is clamped to at least 1e-30, where D takes the clamped value.
// Cost      O(b r t m).
#pragma once
#include "core/tape.h"

namespace fci {

struct MemoryShape {
    int batch, time, rows, slots;
    constexpr int64_t saved() const { return int64_t{batch} * slots * (time + rows + 1); } // P, Pq, n one after another
};

constexpr OpCost memory_scores_cost(MemoryShape s) {
    const double z = 1. * s.batch * (s.time + s.rows) * s.slots, n = 1. * s.batch * s.rows * s.time,
                 saved = 1. * s.saved();
    return {{2 * n * s.slots, 22 * z, z + n + saved}, {4 * n * s.slots, 22 * n, 2 * z + 2 * n + saved}};
}

template <class T>
using MemoryScoresForward = void(MemoryShape, const T* z, const T* zq, T* scores, T* saved);
template <class T>
using MemoryScoresBackward = void(MemoryShape, const T* saved, const T* scores, const T* dscores, T* dz, T* dzq);

FCI_TWINS(MemoryScoresForward<float>, memory_scores_forward)
FCI_TWINS(MemoryScoresBackward<float>, memory_scores_backward)

// z (b,t,m), zq (b,r,m) -> (b,r,t)
Tensor memory_scores(Tape&, Tensor z, Tensor zq);

} // namespace fci
