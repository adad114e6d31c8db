// softmax of a row of scores, by a warp (short rows) or a block; all threads take part.
#pragma once
#include "cuda/common.cuh"

namespace fci::cuda {

// p = softmax(z); p may be z
__device__ __forceinline__ void warp_softmax(int n, const float* z, float* p) {
    const int lane = threadIdx.x % 32;
    float high = -INFINITY, sum = 0; // not z[0]: if p is z, its owner may already have overwritten it
    for (int m = lane; m < n; m += 32) high = z[m] > high ? z[m] : high;
    high = warp_max(high);
    for (int m = lane; m < n; m += 32) sum += p[m] = exp(z[m] - high);
    sum = warp_sum(sum);
    for (int m = lane; m < n; m += 32) p[m] /= sum;
}

// The same for each of `rows` rows of n, one warp per row. (A template so that the header may define it.)
constexpr int softmax_warps = 4;
template <class Number>
__global__ void softmax_rows_kernel(int64_t rows, int n, const Number* z, Number* p) {
    const int64_t r = int64_t{blockIdx.x} * softmax_warps + threadIdx.x / 32;
    if (r < rows) warp_softmax(n, z + r * n, p + r * n);
}
inline void softmax_rows(int64_t rows, int n, const float* z, float* p) {
    if (rows > 0)
        FCI_LAUNCH(softmax_rows_kernel<float>, blocks_for(rows, softmax_warps), 32 * softmax_warps, 0, rows, n, z, p);
}

// dz += p (dp - sum dp p), or = if `assign`; then dz and dp may be the same array.
__device__ __forceinline__ void warp_softmax_backward(int n, const float* p, const float* dp, float* dz, bool assign) {
    const int lane = threadIdx.x % 32;
    float dot = 0;
    for (int m = lane; m < n; m += 32) dot += dp[m] * p[m];
    dot = warp_sum(dot);
    for (int m = lane; m < n; m += 32) dz[m] = (assign ? 0.f : dz[m]) + p[m] * (dp[m] - dot);
}

// ln sum_c exp(row[c]), in every thread. partial: 32 floats of shared memory.
template <int threads>
__device__ __forceinline__ LogSum<float> block_log_sum_exp(int n, const float* row, float* partial) {
    float highest = row[0], sum = 0;
    for (int c = threadIdx.x; c < n; c += threads) highest = row[c] > highest ? row[c] : highest;
    highest = block_max(highest, partial);
    for (int c = threadIdx.x; c < n; c += threads) sum += exp(row[c] - highest);
    return LogSum<float>::of(highest, logf(block_sum(sum, partial)));
}

} // namespace fci::cuda
