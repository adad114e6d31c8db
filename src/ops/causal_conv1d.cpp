#include "ops/causal_conv1d.h"

#include <algorithm>

#include "core/scalar.h"
#include "core/scratch.h"

namespace fci {
namespace cpu {
namespace {

// The position that tap k of output t reads, or -1 outside the sequence.
int tap(const ConvShape& s, bool reverse, int t, int k) {
    const int from = reverse ? t + (s.width - 1 - k) : t - (s.width - 1 - k);
    return from >= 0 && from < s.time ? from : -1;
}

void transpose_taps(const ConvShape& s, const float* w, float* wk) { // (channels,K) -> (K,channels)
    for (int c = 0; c < s.channels; ++c)
        for (int k = 0; k < s.width; ++k) wk[k * s.channels + c] = w[c * s.width + k];
}

// p at one position, in all channels
void filter(const ConvShape& s, const ConvDirection<float>& to, const float* wk, int b, int t, float* p) {
    std::copy(to.bias, to.bias + s.channels, p);
    for (int k = 0; k < s.width; ++k) {
        const int from = tap(s, to.reverse, t, k);
        if (from < 0) continue;
        const float *xr = to.x + (int64_t{b} * s.time + from) * s.channels, *weight = wk + k * s.channels;
#pragma omp simd
        for (int c = 0; c < s.channels; ++c) p[c] += weight[c] * xr[c]; // (1)
    }
}

} // namespace

void causal_conv1d_forward(ConvShape s, Directions<ConvDirection<float>> directions) {
    const int taps = s.channels * s.width;
    Scratch scratch;
    float *wk = scratch.floats(taps), *p = scratch.floats(s.channels); // (K,channels), (channels)
    for (const ConvDirection<float>& to : directions) {
        transpose_taps(s, to.w, wk);
        for (int b = 0; b < s.batch; ++b)
            for (int t = 0; t < s.time; ++t) {
                filter(s, to, wk, b, t, p);
                float* row = to.y + (int64_t{b} * s.time + t) * s.channels;
#pragma omp simd
                for (int c = 0; c < s.channels; ++c) row[c] = silu(p[c]); // (2)
            }
    }
}

void causal_conv1d_backward(ConvShape s, Directions<ConvDirection<float>> directions) {
    const int taps = s.channels * s.width;
    Scratch scratch;
    float *wk = scratch.floats(taps), *dwk = scratch.floats(taps), *p = scratch.floats(s.channels);
    for (const ConvDirection<float>& to : directions) {
        transpose_taps(s, to.w, wk);
        std::fill(dwk, dwk + taps, 0.f);
        for (int b = 0; b < s.batch; ++b)
            for (int t = 0; t < s.time; ++t) {
                filter(s, to, wk, b, t, p);
                const float* row = to.dy + (int64_t{b} * s.time + t) * s.channels;
                float* dp = p; // takes its place
#pragma omp simd
                for (int c = 0; c < s.channels; ++c) dp[c] = row[c] * silu_derivative(p[c]); // (dp)
                for (int c = 0; c < s.channels; ++c) to.dbias[c] += dp[c];                   // (db)
                for (int k = 0; k < s.width; ++k) {
                    const int from = tap(s, to.reverse, t, k);
                    if (from < 0) continue;
                    const int64_t at = (int64_t{b} * s.time + from) * s.channels;
                    const float *xr = to.x + at, *weight = wk + k * s.channels;
                    float *dxr = to.dx + at, *dweight = dwk + k * s.channels;
#pragma omp simd
                    for (int c = 0; c < s.channels; ++c) {
                        dxr[c] += weight[c] * dp[c]; // (dx)
                        dweight[c] += dp[c] * xr[c]; // (dw)
                    }
                }
            }
        for (int c = 0; c < s.channels; ++c)
            for (int k = 0; k < s.width; ++k) to.dw[c * s.width + k] += dwk[k * s.channels + c];
    }
}

} // namespace cpu

Tensor causal_conv1d(Tape& tape, std::span<const ConvInput> in) {
    check(!in.empty() && in.size() <= most_directions, "causal_conv1d: {} directions, expected 1 or 2", in.size());
    const Tensor &first = in[0].x, &filter = in[0].w;
    check(first.shape.rank == 3 && filter.shape.rank == 2 && filter.shape[0] == first.shape[2],
          "causal_conv1d: x is {}, w is {}, expected (b,t,c) and (c,K)", first.shape.text(), filter.shape.text());
    const ConvShape s{first.shape[0], first.shape[1], first.shape[2], filter.shape[1]};
    const Tensor y = tape.tensor({static_cast<int>(in.size()), s.batch, s.time, s.channels});
    Directions<ConvDirection<float>> directions;
    for (const ConvInput& i : in) {
        expect_shape("causal_conv1d", "x", i.x, first.shape);
        expect_shape("causal_conv1d", "w", i.w, filter.shape);
        expect_shape("causal_conv1d", "bias", i.bias, {s.channels});
        directions.add(i.direction(direction_of(y, directions.count)));
    }
    expect_apart("causal_conv1d", in, &ConvInput::x, &ConvInput::w, &ConvInput::bias);
    const Device device = tape.device();
    FCI_ON(device, causal_conv1d_forward)(s, directions);
    tape.append("causal_conv1d", y, conv_cost(s, directions.count), [=] {
        FCI_ON(device, causal_conv1d_backward)(s, directions);
    });
    return y;
}

} // namespace fci
