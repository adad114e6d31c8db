#include "ops/causal_conv1d.h"

#include <algorithm>

namespace fci {
namespace cpu {
namespace {

// The position that tap k of output t reads, or -1 outside the sequence.
int tap(const ConvShape& s, int t, int k) {
    const int from = s.reverse ? t + (s.width - 1 - k) : t - (s.width - 1 - k);
    return from >= 0 && from < s.time ? from : -1;
}

} // namespace

void causal_conv1d_forward(ConvShape s, const float* x, const float* w, const float* bias, float* y, float* scratch) {
    float* wk = scratch; // (K,channels)
    for (int c = 0; c < s.channels; ++c)
        for (int k = 0; k < s.width; ++k) wk[k * s.channels + c] = w[c * s.width + k];
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.time; ++t) {
            float* row = y + (int64_t{b} * s.time + t) * s.channels;
            std::copy(bias, bias + s.channels, row);
            for (int k = 0; k < s.width; ++k) {
                const int from = tap(s, t, k);
                if (from < 0) continue;
                const float *xr = x + (int64_t{b} * s.time + from) * s.channels, *weight = wk + k * s.channels;
#pragma omp simd
                for (int c = 0; c < s.channels; ++c) row[c] += weight[c] * xr[c]; // (1)
            }
        }
}

void causal_conv1d_backward(ConvShape s, const float* x, const float* w, const float* dy, float* dx, float* dw,
                            float* dbias, float* scratch) {
    float *wk = scratch, *dwk = scratch + s.channels * s.width; // (K,channels)
    for (int c = 0; c < s.channels; ++c)
        for (int k = 0; k < s.width; ++k) wk[k * s.channels + c] = w[c * s.width + k];
    std::fill(dwk, dwk + s.channels * s.width, 0.f);
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.time; ++t) {
            const float* row = dy + (int64_t{b} * s.time + t) * s.channels;
            for (int c = 0; c < s.channels; ++c) dbias[c] += row[c]; // (db)
            for (int k = 0; k < s.width; ++k) {
                const int from = tap(s, t, k);
                if (from < 0) continue;
                const int64_t at = (int64_t{b} * s.time + from) * s.channels;
                const float *xr = x + at, *weight = wk + k * s.channels;
                float *dxr = dx + at, *dweight = dwk + k * s.channels;
#pragma omp simd
                for (int c = 0; c < s.channels; ++c) {
                    dxr[c] += weight[c] * row[c]; // (dx)
                    dweight[c] += row[c] * xr[c]; // (dw)
                }
            }
        }
    for (int c = 0; c < s.channels; ++c)
        for (int k = 0; k < s.width; ++k) dw[c * s.width + k] += dwk[k * s.channels + c];
}

} // namespace cpu

Tensor causal_conv1d(Tape& tape, Tensor x, Tensor w, Tensor bias, bool reverse) {
    check(x.shape.rank == 3 && w.shape.rank == 2 && w.shape[0] == x.shape[2],
          "causal_conv1d: x is {}, w is {}, expected (b,t,c) and (c,K)", x.shape.text(), w.shape.text());
    expect_shape("causal_conv1d", "bias", bias, {x.shape[2]});
    const ConvShape s{x.shape[0], x.shape[1], x.shape[2], w.shape[1], reverse};
    Tensor y = tape.tensor(x.shape);
    float* scratch = tape.arena().floats(int64_t{2} * s.channels * s.width);
    const Device device = tape.device();
    FCI_ON(device, causal_conv1d_forward)(s, x.data, w.data, bias.data, y.data, scratch);
    tape.append("causal_conv1d", y, [=] {
        FCI_ON(device, causal_conv1d_backward)(s, x.data, w.data, y.grad, x.grad, w.grad, bias.grad, scratch);
    });
    return y;
}

} // namespace fci
