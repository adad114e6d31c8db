// replace_rows on the GPU; the mathematics is in src/ops/replace_rows.h. A warp takes a position: it searches the
// sequence's indices for it, 32 at a time, and copies the row of z or of x. One pass, bound by memory.
#include "ops/replace_rows.h"

#include "cuda/rows.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

__global__ void forward_kernel(GatherShape s, const float* x, const int32_t* index, const float* z, float* y) {
    const int64_t at = int64_t{blockIdx.x} * rows_per_block + threadIdx.x / 32;
    if (at >= int64_t{s.batch} * s.time) return;
    const int64_t b = at / s.time;
    const int m = first_place(index + b * s.rows, 0, s.rows, static_cast<int32_t>(at % s.time));
    const float* from = m < s.rows ? z + (b * s.rows + m) * s.d : x + at * s.d;
    for (int c = threadIdx.x % 32; c < s.d; c += 32) y[at * s.d + c] = from[c]; // (1)
}

__global__ void backward_kernel(GatherShape s, const int32_t* index, const float* dy, float* dx, float* dz) {
    const int64_t at = int64_t{blockIdx.x} * rows_per_block + threadIdx.x / 32;
    if (at >= int64_t{s.batch} * s.time) return;
    const int64_t b = at / s.time;
    const int m = first_place(index + b * s.rows, 0, s.rows, static_cast<int32_t>(at % s.time));
    float* to = m < s.rows ? dz + (b * s.rows + m) * s.d : dx + at * s.d; // (dz) (dx)
    for (int c = threadIdx.x % 32; c < s.d; c += 32) to[c] += dy[at * s.d + c];
}

} // namespace

void replace_rows_forward(GatherShape s, const float* x, const int32_t* index, const float* z, float* y) {
    const int64_t n = int64_t{s.batch} * s.time;
    if (n) FCI_LAUNCH(forward_kernel, blocks_for(n, rows_per_block), threads, 0, s, x, index, z, y);
}

void replace_rows_backward(GatherShape s, const int32_t* index, const float* dy, float* dx, float* dz) {
    const int64_t n = int64_t{s.batch} * s.time;
    if (n) FCI_LAUNCH(backward_kernel, blocks_for(n, rows_per_block), threads, 0, s, index, dy, dx, dz);
}

} // namespace fci::cuda
