// layer_norm and residual_norm on the GPU; the mathematics is in src/ops/layer_norm.h. A warp takes a row: it reads the
// row from memory once, then from the cache. dw and db are sums down the columns, computed together in a second pass.
// Bound by memory.
#include "ops/layer_norm.h"

#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

// z and h: for residual_norm, else null.
__global__ void forward_kernel(NormShape s, const float* x, const float* z, const float* w, const float* b, float* h,
                               float* y, float* mean, float* rstd) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const int64_t at = int64_t{r} * s.d;
    if (z)
        for (int c = lane; c < s.d; c += 32) h[at + c] = x[at + c] + z[at + c]; // (2)
    const float* row = (z ? h : x) + at; // each lane reads only what it wrote itself
    float sum = 0, squares = 0;
    for (int c = lane; c < s.d; c += 32) sum += row[c];
    const float m = warp_sum(sum) / s.d;
    for (int c = lane; c < s.d; c += 32) squares += (row[c] - m) * (row[c] - m);
    const float rs = 1.f / sqrtf(warp_sum(squares) / s.d + s.eps);
    for (int c = lane; c < s.d; c += 32) y[at + c] = (row[c] - m) * rs * w[c] + b[c]; // (1)
    if (lane == 0) mean[r] = m, rstd[r] = rs;
}

// dh and dz: for residual_norm, else null.
__global__ void backward_kernel(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                                const float* dh, const float* dy, float* dx, float* dz) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const int64_t at = int64_t{r} * s.d;
    const float *xr = x + at, *dyr = dy + at;
    const float m = mean[r], rs = rstd[r];
    float sum_g = 0, sum_gx = 0;
    for (int c = lane; c < s.d; c += 32) {
        const float g = dyr[c] * w[c];
        sum_g += g;
        sum_gx += g * ((xr[c] - m) * rs);
    }
    const float mean_g = warp_sum(sum_g) / s.d, mean_gx = warp_sum(sum_gx) / s.d;
    for (int c = lane; c < s.d; c += 32) {
        float g = rs * (dyr[c] * w[c] - mean_g - (xr[c] - m) * rs * mean_gx); // (dx)
        if (dz) {
            g += dh[at + c]; // (dh)
            dz[at + c] += g;
        }
        dx[at + c] += g;
    }
}

void norm_forward(NormShape s, const float* x, const float* z, const float* w, const float* b, float* h, float* y,
                  float* mean, float* rstd) {
    if (!s.rows) return;
    FCI_LAUNCH(forward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, x, z, w, b, h, y, mean, rstd);
}

void norm_backward(NormShape s, const float* x, const float* w, const float* mean, const float* rstd, const float* dh,
                   const float* dy, float* dx, float* dz, float* dw, float* db) {
    if (!s.rows) return;
    FCI_LAUNCH(backward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, x, w, mean, rstd, dh, dy, dx, dz);
    add_column_sum({s.rows, s.d, dy, db, x, mean, rstd, dw}); // (dw) (db)
}

} // namespace

void layer_norm_forward(NormShape s, const float* x, const float* w, const float* b, float* y, float* mean,
                        float* rstd) {
    norm_forward(s, x, nullptr, w, b, nullptr, y, mean, rstd);
}

void layer_norm_backward(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                         const float* dy, float* dx, float* dw, float* db) {
    norm_backward(s, x, w, mean, rstd, nullptr, dy, dx, nullptr, dw, db);
}

void residual_norm_forward(NormShape s, const float* x, const float* z, const float* w, const float* b, float* h,
                           float* y, float* mean, float* rstd) {
    norm_forward(s, x, z, w, b, h, y, mean, rstd);
}

void residual_norm_backward(NormShape s, const float* h, const float* w, const float* mean, const float* rstd,
                            const float* dh, const float* dy, float* dx, float* dz, float* dw, float* db) {
    norm_backward(s, h, w, mean, rstd, dh, dy, dx, dz, dw, db);
}

} // namespace fci::cuda
