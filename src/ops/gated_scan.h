// gated_scan: Mamba's step size (dt), the selective scan, then Mamba's gate  [Gu & Dao 2023, Fig. 3, Alg. 2]
//   (dt_low, B, C) = columns of low, which is one product
//   p[b,t,c] = sum_r dt_weight[c,r] dt_low[b,t,r] + dt_bias[c],   dt = softplus(p),   A = -exp(A_log)        (1)
//   s        = selective_scan(u, dt, A, B, C, D)                          its equations: ops/selective_scan.h (2)
//   y        = s silu(z)                                                                                     (3)
// Shapes    u z y (b,t,c)   low (b,t,rank+n+n): dt_low | B | C   dt_weight (c,rank)   dt_bias D (c)   A_log (c,n)
// Backward  ds = dy silu(z)                                                                                 (ds)
//           dz += dy s silu'(z)                                                                             (dz)
//           du, dB, dC, dD, ddt, dA: selective_scan's backward pass, with ds as its dy
//           dp = ddt sigmoid(p)                                                                             (dp)
//           d_dt_low[b,t,r]  += sum_c dt_weight[c,r] dp[b,t,c]                                            (dlow)
//           d_dt_weight[c,r] += sum_bt dp[b,t,c] dt_low[b,t,r]                                              (dW)
//           d_dt_bias[c]     += sum_bt dp[b,t,c]                                                            (db)
//           dA_log[c,n]      += dA[c,n] A[c,n]                                                              (dA)
//           d_low = d_dt_low | dB | dC
// Contract  every d* is ADDED to. One or two directions of time, each with its own tensors (ops/directions.h).
//           Saved: the scan's state h before each chunk of time. The CPU runs the separate ops one after another, on
//           data still in its cache, and keeps p, dt, A, s and the columns of low for backward. A GPU runs one kernel
//           each way and computes them again, which is cheaper than storing and loading them.
// Cost      the scan's, and for each of b t c 2 rank + 46 (softplus) + 27 (gate) flops forward, 4 rank + 27 + 35
//           backward; a GPU also computes p, dt and s again: 2 rank + 46 + 2 n.
//
// Why causal_conv1d is a separate op: low is a product of u = silu(conv) over all channels, so a block that
// holds only some channels would have to wait for all the others.
#pragma once
#include <span>

#include "ops/directions.h"
#include "ops/linear.h"
#include "ops/selective_scan.h"

namespace fci {

struct GatedScanShape {
    int batch, time, channels, states, rank;
    constexpr ScanShape scan(bool reverse) const { return {batch, time, channels, states, reverse}; }
    LinearShape step() const { return {batch * time, rank, channels}; }
    constexpr int low_width() const { return rank + 2 * states; }
    int64_t rows() const { return int64_t{batch} * time; }
    int64_t size() const { return rows() * channels; }
    constexpr int64_t saved_size() const { return scan(false).saved_size(); }
    int64_t kept_size() const { return 3 * size() + scan(false).state_size() + rows() * low_width(); } // on the CPU
};

constexpr OpCost gated_scan_cost(GatedScanShape s, int directions) { // what the CPU keeps is not counted
    const double rows = 1. * directions * s.batch * s.time, n = rows * s.channels, low = rows * (s.rank + 2 * s.states),
                 constants = directions * s.channels * (s.rank + s.states + 2.),
                 saved = 1. * directions * s.saved_size();
    return {{((6 + 18) * s.states + 2 * s.rank) * n, (46 + 27) * n, 3 * n + low + constants + saved},
            {((20 + 18) * s.states + 4 * s.rank) * n, (27 + 35) * n, 7 * n + 3 * low + 3 * constants + saved}};
}

template <class T>
struct GatedScanDirection {
    bool reverse;
    const T *u, *low, *z, *dt_weight, *dt_bias, *A_log, *D;
    T *y, *saved; // saved: h before each chunk, (b, chunks, n, c); null when no backward will follow
    T* kept;      // on the CPU: p, dt, s (b,t,c), A (c,n), dt_low, B, C; unused on a GPU
    const T* dy;  // from here on: backward only
    T *du, *d_low, *dz, *d_dt_weight, *d_dt_bias, *dA_log, *dD;
};

template <class T>
using GatedScan = void(GatedScanShape, Directions<GatedScanDirection<T>>);

FCI_TWINS(GatedScan<float>, gated_scan_forward)
FCI_TWINS(GatedScan<float>, gated_scan_backward)

struct GatedScanInput {
    Tensor u, low, z, dt_weight, dt_bias, A_log, D;
    bool reverse;
    GatedScanDirection<float> direction(Tensor y, float* saved, float* kept) const {
        return {.reverse = reverse,
                .u = u.data,
                .low = low.data,
                .z = z.data,
                .dt_weight = dt_weight.data,
                .dt_bias = dt_bias.data,
                .A_log = A_log.data,
                .D = D.data,
                .y = y.data,
                .saved = saved,
                .kept = kept,
                .dy = y.grad,
                .du = u.grad,
                .d_low = low.grad,
                .dz = z.grad,
                .d_dt_weight = dt_weight.grad,
                .d_dt_bias = dt_bias.grad,
                .dA_log = A_log.grad,
                .dD = D.grad};
    }
};
Tensor gated_scan(Tape&, std::span<const GatedScanInput>); // -> (directions,b,t,c)

} // namespace fci
