// softmax: of a short row, by a warp; all lanes take part.
#pragma once
#include "cuda/common.cuh"

namespace fci::cuda {

// p = softmax(z); p may be z
__device__ __forceinline__ void warp_softmax(int n, const float* z, float* p) {
    const int lane = threadIdx.x % 32;
    float high = -INFINITY, sum = 0; // not z[0]: where p is z, its owner may have written it by now
    for (int m = lane; m < n; m += 32) high = z[m] > high ? z[m] : high;
    high = warp_max(high);
    for (int m = lane; m < n; m += 32) sum += p[m] = exp(z[m] - high);
    sum = warp_sum(sum);
    for (int m = lane; m < n; m += 32) p[m] /= sum;
}

// dz += p (dp - sum dp p), or = where `assign`; then dz may be dp
__device__ __forceinline__ void warp_softmax_backward(int n, const float* p, const float* dp, float* dz, bool assign) {
    const int lane = threadIdx.x % 32;
    float dot = 0;
    for (int m = lane; m < n; m += 32) dot += dp[m] * p[m];
    dot = warp_sum(dot);
    for (int m = lane; m < n; m += 32) dz[m] = (assign ? 0.f : dz[m]) + p[m] * (dp[m] - dot);
}

} // namespace fci::cuda
