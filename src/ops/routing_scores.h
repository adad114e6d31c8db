// routing_scores: the Investigator's scores of the query rows, Wk folded into w  [Basu 2026, eq. 1]
//   s[b,r,j] = scale (Wq xq[b,r]) . (Wk x[b,j]),   scale = 1/(H sqrt(d/H))
// xq are the query rows; x holds what is scored: n positions, or one vector for each of n segments.
// The mean over heads of dot products of width d/H is one dot product of width d, so H enters the scale only.
//   p[b,r] = Wq xq[b,r]                                                                    (1)
//   w[b,r] = Wk^T p[b,r]                                                                   (2)
//   s[b,r,j] = scale w[b,r] . x[b,j]                                                       (3)
// Only the r rows that a loss reads are scored: O(r d^2 + r n d) a sequence; all pairs would be O(n d^2 + n^2 d).
// Shapes    xq (b,r,d)   x (b,n,d)   Wq Wk (d,d)   s (b,r,n)   saved p w (b,r,d) each
// Backward  dw = scale sum_j ds[j] x[j]                                                    (dw)
//           dx[j] += scale sum_r ds[r,j] w[r]                                              (dx)
//           dWk += sum_br p dw^T;   dp = Wk dw                                             (dWk) (dp)
//           dWq += sum_br dp xq^T;  dxq += Wq^T dp                                         (dWq) (dxq)
// Contract  every d* is ADDED to.
// Cost      2 b r (2 d^2 + n d) flops forward, twice that backward.
#pragma once
#include <cmath>

#include "core/tape.h"

namespace fci {

struct RoutingShape {
    int batch, keys, rows, d;
    int heads;
    float scale() const { return 1.f / std::sqrt(static_cast<float>(heads) * d); } // 1/(H sqrt(d/H))
    int64_t vectors() const { return int64_t{batch} * rows * d; }                  // floats of p, of w
};

constexpr OpCost routing_scores_cost(RoutingShape s) {
    const double rows = 1. * s.batch * s.rows, x = 1. * s.batch * s.keys * s.d, W = 2. * s.d * s.d,
                 xq_p_w = 3 * rows * s.d, dxq = 2 * rows * s.d, scores = rows * s.keys,
                 flops = 2 * rows * (W + 1. * s.keys * s.d);
    return {{flops, 0, x + W + xq_p_w + scores}, {2 * flops, 0, 3 * x + 3 * W + xq_p_w + dxq + scores}};
}

// saved: p, w one after another, 2 * vectors()
template <class T>
using RoutingScoresForward = void(RoutingShape, const T* xq, const T* x, const T* wq, const T* wk, T* scores, T* saved);
template <class T>
using RoutingScoresBackward = void(RoutingShape, const T* xq, const T* x, const T* wq, const T* wk, const T* saved,
                                   const T* dscores, T* dxq, T* dx, T* dwq, T* dwk);

FCI_TWINS(RoutingScoresForward<float>, routing_scores_forward)
FCI_TWINS(RoutingScoresBackward<float>, routing_scores_backward)

// xq (b,r,d), x (b,n,d), wq and wk (d,d) -> (b,r,n)
Tensor routing_scores(Tape&, Tensor xq, Tensor x, Tensor wq, Tensor wk, int heads);

} // namespace fci
