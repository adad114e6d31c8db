// rms_norm on the GPU; the mathematics is in src/ops/rms_norm.h. A warp takes a row: its lanes read neighbouring
// numbers, and the second read of the row comes from the cache. Bound by memory.
#include "ops/rms_norm.h"

#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

__global__ void forward_kernel(NormShape s, const float* x, const float* w, float* y, float* rstd) {
    const int64_t r = int64_t{blockIdx.x} * rows_per_block + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const float* xr = x + r * s.d;
    float squares = 0;
    for (int c = lane; c < s.d; c += 32) squares += xr[c] * xr[c];
    const float rs = 1.f / sqrtf(warp_sum(squares) / s.d + s.eps);
    for (int c = lane; c < s.d; c += 32) y[r * s.d + c] = xr[c] * rs * (w ? w[c] : 1.f); // (1)
    if (lane == 0) rstd[r] = rs;
}

__global__ void backward_kernel(NormShape s, const float* x, const float* w, const float* rstd, const float* dy,
                                float* dx) {
    const int64_t r = int64_t{blockIdx.x} * rows_per_block + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const float *xr = x + r * s.d, *dyr = dy + r * s.d;
    const float rs = rstd[r];
    float* dxr = dx + r * s.d;
    float sum_gx = 0;
    for (int c = lane; c < s.d; c += 32) sum_gx += dyr[c] * (w ? w[c] : 1.f) * (xr[c] * rs);
    const float mean_gx = warp_sum(sum_gx) / s.d;
    for (int c = lane; c < s.d; c += 32) {
        const float xhat = xr[c] * rs;
        dxr[c] += rs * (dyr[c] * (w ? w[c] : 1.f) - xhat * mean_gx); // (dx)
    }
}

} // namespace

void rms_norm_forward(NormShape s, const float* x, const float* w, float* y, float* rstd) {
    if (s.rows) FCI_LAUNCH(forward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, x, w, y, rstd);
}

void rms_norm_backward(NormShape s, const float* x, const float* w, const float* rstd, const float* dy, float* dx,
                       float* dw) {
    if (!s.rows) return;
    FCI_LAUNCH(backward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, x, w, rstd, dy, dx);
    const int d = s.d;
    if (w)
        add_column_sums(
            s.rows, d,
            [=] __device__(int r, int c) { // (dw)
                const int64_t at = int64_t{r} * d + c;
                return dy[at] * (x[at] * rstd[r]);
            },
            dw);
}

} // namespace fci::cuda
