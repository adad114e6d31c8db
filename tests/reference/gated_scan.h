// gated_scan, directly from the equations of ops/gated_scan.h; the scan in the middle is selective_scan's reference.
// The kernel's saved and kept memory is not used.
#pragma once
#include <cmath>
#include <vector>

#include "ops/gated_scan.h"
#include "tests/reference/pointwise.h"
#include "tests/reference/selective_scan.h"

namespace fci::reference {

// Columns of low, p, dt, A and the scan's output s for one direction.
template <class T>
struct GatedScanParts {
    std::vector<T> dt_low, B, C, p, dt, A, s;
    GatedScanParts(GatedScanShape shape, const GatedScanDirection<T>& to)
        : p(shape.size()), dt(p.size()), A(shape.channels * shape.states), s(p.size()) {
        const int channels = shape.channels, rank = shape.rank, states = shape.states;
        for (int bt = 0; bt < shape.batch * shape.time; ++bt) {
            const T* low = to.low + bt * (rank + 2 * states);
            dt_low.insert(dt_low.end(), low, low + rank);
            B.insert(B.end(), low + rank, low + rank + states);
            C.insert(C.end(), low + rank + states, low + rank + 2 * states);
            for (int c = 0; c < channels; ++c) {
                T sum = to.dt_bias[c];
                for (int r = 0; r < rank; ++r) sum += to.dt_weight[c * rank + r] * low[r];
                p[bt * channels + c] = sum; // (1)
            }
        }
        softplus_forward(shape.size(), p.data(), dt.data());
        negative_exp_forward(A.size(), to.A_log, A.data());
        selective_scan_forward<T>(shape.scan(to.reverse), to.u, dt.data(), A.data(), B.data(), C.data(), to.D, s.data(),
                                  nullptr); // (2)
    }
};

template <class T>
void gated_scan_forward(GatedScanShape shape, Directions<GatedScanDirection<T>> directions) {
    for (const GatedScanDirection<T>& to : directions) {
        const GatedScanParts<T> of(shape, to);
        gate_forward(shape.size(), of.s.data(), to.z, to.y); // (3)
    }
}

template <class T>
void gated_scan_backward(GatedScanShape shape, Directions<GatedScanDirection<T>> directions) {
    const int channels = shape.channels, rank = shape.rank, states = shape.states;
    for (const GatedScanDirection<T>& to : directions) {
        const GatedScanParts<T> of(shape, to);
        std::vector<T> ds(of.s.size(), T(0)), ddt(ds), dp(ds), dA(of.A.size(), T(0)), dB(of.B.size(), T(0)), dC(dB);
        gate_backward(shape.size(), of.s.data(), to.z, to.dy, ds.data(), to.dz); // (ds) (dz)
        selective_scan_backward<T>(shape.scan(to.reverse), to.u, of.dt.data(), of.A.data(), of.B.data(), of.C.data(),
                                   to.D, nullptr, ds.data(), to.du, ddt.data(), dA.data(), dB.data(), dC.data(), to.dD);
        softplus_backward(shape.size(), of.p.data(), ddt.data(), dp.data()); // (dp)
        for (int bt = 0; bt < shape.batch * shape.time; ++bt) {
            T* d_low = to.d_low + bt * (rank + 2 * states);
            for (int n = 0; n < states; ++n) {
                d_low[rank + n] += dB[bt * states + n];
                d_low[rank + states + n] += dC[bt * states + n];
            }
            for (int c = 0; c < channels; ++c) {
                const T g = dp[bt * channels + c];
                for (int r = 0; r < rank; ++r) {
                    d_low[r] += to.dt_weight[c * rank + r] * g;                   // (dlow)
                    to.d_dt_weight[c * rank + r] += g * of.dt_low[bt * rank + r]; // (dW)
                }
                to.d_dt_bias[c] += g; // (db)
            }
        }
        for (size_t i = 0; i < dA.size(); ++i) to.dA_log[i] += dA[i] * of.A[i]; // (dA)
    }
}

} // namespace fci::reference
