// selective_scan: diagonal linear recurrence with input-dependent step  [Gu & Dao 2023, Alg. 2]
//   h[b,t,c,n] = a h[b,t-1,c,n] + dt[b,t,c] B[b,t,n] u[b,t,c],   a = exp(dt[b,t,c] A[c,n]),   h[-1] = 0     (1)
//   y[b,t,c]   = sum_n C[b,t,n] h[b,t,c,n] + D[c] u[b,t,c]                                                  (2)
// reverse: the same with time running from the end to the start (t-1 becomes t+1, and the h beyond the last step is 0),
// with no copy of the data.
// Shapes    u dt y (b,t,c)   A (c,n), negative   B C (b,t,n)   D (c)
// Backward  f = <dy, y>, g[t] = df/dh[t]:  g[t] = C[t] dy[t] + a[t+1] g[t+1]                                (g)
//           with r = g[t] a[t] h[t-1]  (= df/d(dt A)):
//           dA[c,n]   += sum_bt r dt                                                                       (dA)
//           ddt[b,t,c] += sum_n (r A + g B u)                                                             (ddt)
//           du[b,t,c] += dt sum_n g B + D dy                                                               (du)
//           dB[b,t,n] += sum_c g dt u                                                                      (dB)
//           dC[b,t,n] += sum_c dy h                                                                        (dC)
//           dD[c]     += sum_bt dy u                                                                       (dD)
// Contract  every d* is ADDED to. Saved: h before each chunk of time, in the order of the recurrence; within a chunk h
//           and a are computed again, since keeping all of h would be n times the size of u.
// Cost      O(b t c n): about 6 flops and one exp2 a state forward; 20 and one exp2 backward, the recomputation
//           included. The kernel's own copies of A and h are (n,c): its loops vectorise over c.
#pragma once
#include "core/tape.h"

namespace fci {

struct ScanShape {
    int batch, time, channels, states;
    bool reverse;
    static constexpr int chunk = 16;
    constexpr int chunks() const { return (time + chunk - 1) / chunk; }
    constexpr int64_t state_size() const { return int64_t{channels} * states; }
    constexpr int64_t saved_size() const { return int64_t{batch} * chunks() * state_size(); }
};

constexpr OpCost selective_scan_cost(ScanShape s) {
    const double rows = 1. * s.batch * s.time, n = rows * s.channels, bc = 2 * rows * s.states,
                 constants = s.channels * (s.states + 1.), saved = 1. * s.saved_size();
    return {{(6 + 18) * n * s.states, 0, 3 * n + bc + constants + saved},
            {(20 + 18) * n * s.states, 0, 7 * n + 3 * bc + 3 * constants + saved}};
}

// saved: h before each chunk, (b, chunks, n, c); may be null in the forward pass when no backward will follow
template <class T>
using SelectiveScanForward = void(ScanShape, const T* u, const T* dt, const T* A, const T* B, const T* C, const T* D,
                                  T* y, T* saved);
template <class T>
using SelectiveScanBackward = void(ScanShape, const T* u, const T* dt, const T* A, const T* B, const T* C, const T* D,
                                   const T* saved, const T* dy, T* du, T* ddt, T* dA, T* dB, T* dC, T* dD);

FCI_TWINS(SelectiveScanForward<float>, selective_scan_forward)
FCI_TWINS(SelectiveScanBackward<float>, selective_scan_backward)

Tensor selective_scan(Tape&, Tensor u, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, bool reverse);

} // namespace fci
