// causal_conv1d: each channel's own short filter along time, looking back (or, reversed, ahead), then silu
//   p[b,t,c] = bias[c] + sum_k w[c,k] x[b,t-(K-1-k),c]       forward in time                (1)
//   p[b,t,c] = bias[c] + sum_k w[c,k] x[b,t+(K-1-k),c]       reverse; x is 0 outside
//   y[b,t,c] = silu(p[b,t,c])                                                               (2)
// Shapes    x y (batch,time,channels)   w (channels,K)   bias (channels)
// Backward  dp[b,t,c] = dy[b,t,c] silu'(p[b,t,c])                                          (dp)
//           with t' = t-(K-1-k) forward in time, t+(K-1-k) reverse:
//           dx[b,t',c] += w[c,k] dp[b,t,c]                                                 (dx)
//           dw[c,k] += sum_bt dp[b,t,c] x[b,t',c]                                          (dw)
//           dbias[c] += sum_bt dp[b,t,c]                                                   (db)
// Contract  every d* is ADDED to. Nothing is saved: backward computes p again, K products for each of its numbers, from
//           x, which it reads anyway. One or two directions of time, each with its own tensors (ops/directions.h).
// Cost      (2 K + 26) batch time channels flops a direction forward, (6 K + 31) backward: bound by memory, hence silu
//           in the same pass. K = 4 in Mamba  [Gu & Dao 2023], and at most on a GPU.
#pragma once
#include <span>

#include "core/tape.h"
#include "ops/directions.h"

namespace fci {

struct ConvShape {
    int batch, time, channels, width;
};

constexpr OpCost conv_cost(ConvShape s, int directions) {
    const double n = 1. * directions * s.batch * s.time * s.channels, w = 1. * directions * s.channels * (s.width + 1);
    return {{2 * s.width * n, 26 * n, 2 * n + w}, {6 * s.width * n, 31 * n, 4 * n + 3 * w}};
}

template <class T>
struct ConvDirection {
    bool reverse;
    const T *x, *w, *bias;
    T* y;
    const T* dy; // backward only, and what follows
    T *dx, *dw, *dbias;
};

template <class T>
using CausalConv1d = void(ConvShape, Directions<ConvDirection<T>>);

FCI_TWINS(CausalConv1d<float>, causal_conv1d_forward)
FCI_TWINS(CausalConv1d<float>, causal_conv1d_backward)

struct ConvInput {
    Tensor x, w, bias; // (b,t,c), (c,K), (c)
    bool reverse;
    ConvDirection<float> direction(Tensor y) const {
        return {reverse, x.data, w.data, bias.data, y.data, y.grad, x.grad, w.grad, bias.grad};
    }
};
Tensor causal_conv1d(Tape&, std::span<const ConvInput>); // -> (directions,b,t,c)

} // namespace fci
