// gated_scan, directly from the equations of ops/gated_scan.h; the scan in the middle is selective_scan's reference.
// The kernel's saved and kept memory is not used.
#pragma once
#include <cmath>
#include <vector>

#include "ops/gated_scan.h"
#include "tests/reference/pointwise.h"
#include "tests/reference/selective_scan.h"

namespace fci::reference {

// p, dt, A and the scan's output s for one direction.
template <class T>
struct GatedScanParts {
    std::vector<T> p, dt, A, s;
    GatedScanParts(GatedScanShape shape, const GatedScanDirection<T>& to)
        : p(shape.size()), dt(p.size()), A(shape.channels * shape.states), s(p.size()) {
        const int channels = shape.channels, rank = shape.rank;
        for (int bt = 0; bt < shape.batch * shape.time; ++bt)
            for (int c = 0; c < channels; ++c) {
                T sum = to.dt_bias[c];
                for (int r = 0; r < rank; ++r) sum += to.dt_weight[c * rank + r] * to.dt_low[bt * rank + r];
                p[bt * channels + c] = sum; // (1)
            }
        softplus_forward(shape.size(), p.data(), dt.data());
        negative_exp_forward(A.size(), to.A_log, A.data());
        selective_scan_forward<T>(shape.scan(to.reverse), to.u, dt.data(), A.data(), to.B, to.C, to.D, s.data(),
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
    const int channels = shape.channels, rank = shape.rank;
    for (const GatedScanDirection<T>& to : directions) {
        const GatedScanParts<T> of(shape, to);
        std::vector<T> ds(of.s.size(), T(0)), ddt(ds), dp(ds), dA(of.A.size(), T(0));
        gate_backward(shape.size(), of.s.data(), to.z, to.dy, ds.data(), to.dz); // (ds) (dz)
        selective_scan_backward<T>(shape.scan(to.reverse), to.u, of.dt.data(), of.A.data(), to.B, to.C, to.D, nullptr,
                                   ds.data(), to.du, ddt.data(), dA.data(), to.dB, to.dC, to.dD);
        softplus_backward(shape.size(), of.p.data(), ddt.data(), dp.data()); // (dp)
        for (int bt = 0; bt < shape.batch * shape.time; ++bt)
            for (int c = 0; c < channels; ++c) {
                const T g = dp[bt * channels + c];
                for (int r = 0; r < rank; ++r) {
                    to.d_dt_low[bt * rank + r] += to.dt_weight[c * rank + r] * g; // (dlow)
                    to.d_dt_weight[c * rank + r] += g * to.dt_low[bt * rank + r]; // (dW)
                }
                to.d_dt_bias[c] += g; // (db)
            }
        for (size_t i = 0; i < dA.size(); ++i) to.dA_log[i] += dA[i] * of.A[i]; // (dA)
    }
}

} // namespace fci::reference
