// fourier on the GPU; the mathematics is in src/ops/fourier.h. cuBLAS computes the products: along the features the
// whole batch is one matrix, along time it is a batch of products that share the table. The tables are uploaded once.
#include "ops/fourier.h"

#include <cmath>

#include "cuda/gemm.cuh"

namespace fci::cuda {
namespace {

// y (+)= (C_t x C_d - S_t x S_d) / sqrt(t d)
template <bool add>
void transform(FourierShape s, const float* x, const FourierTables& table, float* y) {
    constexpr Transpose no = Transpose::no;
    const int t = s.time, d = s.d, half = s.half();
    const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(t) * d));
    const auto on_gpu = [](const std::vector<float>& v) { return constant(Device::cuda, v.data(), v.size()); };
    const int64_t all = int64_t{s.batch} * t * d, halves = int64_t{s.batch} * half * d;
    if (!all) return;
    Scratch scratch;
    float *P = scratch.floats(all), *Q = scratch.floats(all);
    float *c = scratch.floats(halves), *sn = scratch.floats(halves);
    device_gemm(no, no, s.batch * t, d, d, 1.f, x, d, on_gpu(table.cos_d), d, 0.f, P, d);
    device_gemm(no, no, s.batch * t, d, d, 1.f, x, d, on_gpu(table.sin_d), d, 0.f, Q, d);
    const int64_t step = int64_t{t} * d, step_half = int64_t{half} * d;
    device_gemm_batched(s.batch, no, no, half, d, t, scale, on_gpu(table.cos_t), t, 0, P, d, step, 0.f, c, d,
                        step_half);
    device_gemm_batched(s.batch, no, no, half, d, t, scale, on_gpu(table.sin_t), t, 0, Q, d, step, 0.f, sn, d,
                        step_half);
    each(all, [=] __device__(int64_t i) { // (2)
        const int j = i % d, k = i / d % t, row = k < half ? k : t - k;
        const int64_t at = i / d / t * step_half + int64_t{row} * d + j;
        const float sign = k < half ? -1.f : 1.f;
        y[i] = (add ? y[i] : 0.f) + (c[at] + sign * sn[at]);
    });
}

} // namespace

void fourier_forward(FourierShape s, const float* x, const FourierTables& table, float* y) {
    transform<false>(s, x, table, y); // (1)
}

void fourier_backward(FourierShape s, const float* dy, const FourierTables& table, float* dx) {
    transform<true>(s, dy, table, dx); // (dx)
}

} // namespace fci::cuda
