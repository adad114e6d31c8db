// layer_norm on the GPU; the mathematics is in src/ops/layer_norm.h. A warp takes a row.
#include "ops/layer_norm.h"

#include "cuda/common.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

__global__ void forward_kernel(NormShape s, const float* x, const float* w, const float* b, float* y, float* mean,
                               float* rstd) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const float* xr = x + int64_t{r} * s.d;
    float* yr = y + int64_t{r} * s.d;
    float sum = 0, squares = 0;
    for (int c = lane; c < s.d; c += 32) sum += xr[c];
    const float m = warp_sum(sum) / s.d;
    for (int c = lane; c < s.d; c += 32) squares += (xr[c] - m) * (xr[c] - m);
    const float rs = 1.f / sqrtf(warp_sum(squares) / s.d + norm_eps);
    for (int c = lane; c < s.d; c += 32) yr[c] = (xr[c] - m) * rs * w[c] + b[c]; // (1)
    if (lane == 0) mean[r] = m, rstd[r] = rs;
}

__global__ void backward_kernel(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                                const float* dy, float* dx) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const float *xr = x + int64_t{r} * s.d, *dyr = dy + int64_t{r} * s.d;
    const float m = mean[r], rs = rstd[r];
    float sum_g = 0, sum_gx = 0;
    for (int c = lane; c < s.d; c += 32) {
        const float g = dyr[c] * w[c];
        sum_g += g;
        sum_gx += g * ((xr[c] - m) * rs);
    }
    const float mean_g = warp_sum(sum_g) / s.d, mean_gx = warp_sum(sum_gx) / s.d;
    for (int c = lane; c < s.d; c += 32)
        dx[int64_t{r} * s.d + c] += rs * (dyr[c] * w[c] - mean_g - (xr[c] - m) * rs * mean_gx); // (dx)
}

} // namespace

void layer_norm_forward(NormShape s, const float* x, const float* w, const float* b, float* y, float* mean,
                        float* rstd) {
    if (s.rows) FCI_LAUNCH(forward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, x, w, b, y, mean, rstd);
}

void layer_norm_backward(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                         const float* dy, float* dx, float* dw, float* db) {
    if (!s.rows) return;
    FCI_LAUNCH(backward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, x, w, mean, rstd, dy, dx);
    const int d = s.d;
    add_column_sums(
        s.rows, d,
        [=] __device__(int r, int c) { // (dw)
            const int64_t at = int64_t{r} * d + c;
            return dy[at] * ((x[at] - mean[r]) * rstd[r]);
        },
        dw);
    add_column_sums(
        s.rows, d, [=] __device__(int r, int c) { return dy[int64_t{r} * d + c]; }, db); // (db)
}

} // namespace fci::cuda
