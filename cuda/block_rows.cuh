// block_rows: operations of one block on a few rows in its shared memory, with matrices in global memory: both products
// of a linear layer and the norm. For cuda/tail.cu, where one block computes a query's layers one after another.
#pragma once
#include "cuda/tile.cuh"
#include "ops/layer_norm.h"

namespace fci::cuda {

// out(e, sum_c a(e)[c] b(e)[c]) for e < count, c < n, a multiple of 4. A warp computes eight at a time, so that many
// reads are in flight, and their sums over the lanes share 9 shuffles. Warps `warp` to `warps` - 1 take part.
template <class A, class B, class Out>
__device__ __forceinline__ void dots(int warp, int warps, int count, int n, A a, B b, Out out) {
    const int lane = threadIdx.x % 32;
    for (int first = 8 * warp; first < count; first += 8 * warps) {
        float sum[8] = {};
        for (int c = 4 * lane; c < n; c += 128)
#pragma unroll
            for (int e = 0; e < 8; ++e) {
                const int at = min(first + e, count - 1);
                const float4 x = load_four(a(at) + c), y = load_four(b(at) + c);
                sum[e] += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
            }
        int which = 0; // the sum of the eight that this lane ends up with: each exchange halves them
#pragma unroll
        for (int half = 4, offset = 16; half; half /= 2, offset /= 2) {
            const bool upper = lane & offset;
#pragma unroll
            for (int e = 0; e < half; ++e) {
                const float give = upper ? sum[e] : sum[e + half], keep = upper ? sum[e + half] : sum[e];
                sum[e] = keep + __shfl_xor_sync(all_lanes, give, offset);
            }
            which += upper ? half : 0;
        }
        for (int offset = 2; offset; offset /= 2) sum[0] += __shfl_xor_sync(all_lanes, sum[0], offset);
        if (lane % 4 == 0 && first + which < count) out(first + which, sum[0]);
    }
}

// out(r, i, sum_o g[r,o] w[o,i]) for r < rows, i < n, a multiple of 4; g in shared memory, its rows `stride` apart. A
// thread computes four columns. Groups of threads share o; their sums are added in order. One read of w serves at_once
// rows of g. All threads take part; begins with a barrier.
template <int at_once, class Out>
__device__ __forceinline__ void columns(int rows, int count, int n, const float* g, int stride, const float* w,
                                        float* partial, Out out) {
    const int thread = static_cast<int>(threadIdx.x), units = n / 4, groups = static_cast<int>(blockDim.x) / units,
              group = thread / units, column = thread % units * 4;
    for (int first = 0; first < rows; first += at_once) {
        __syncthreads();
        if (group < groups) {
            float sum[at_once][4] = {};
#pragma unroll 8
            for (int o = group; o < count; o += groups) {
                const float4 v = load_four(w + int64_t{o} * n + column);
                for (int r = 0; r < at_once; ++r) {
                    const float factor = g[min(first + r, rows - 1) * stride + o];
                    sum[r][0] += factor * v.x, sum[r][1] += factor * v.y;
                    sum[r][2] += factor * v.z, sum[r][3] += factor * v.w;
                }
            }
            for (int r = 0; r < at_once; ++r)
                for (int c = 0; c < 4; ++c) partial[(group * at_once + r) * n + column + c] = sum[r][c];
        }
        __syncthreads();
        for (int e = thread; e < at_once * n; e += static_cast<int>(blockDim.x)) {
            const int r = e / n, i = e % n;
            float sum = 0;
            for (int of = 0; of < groups; ++of) sum += partial[(of * at_once + r) * n + i];
            if (first + r < rows) out(first + r, i, sum);
        }
    }
}

// The norm of a row and its backward pass, by one warp; equations: ops/layer_norm.h.
static __device__ void norm_row(int d, const float* x, const float* w, const float* b, float* y, float* mean,
                                float* rstd) {
    const int lane = threadIdx.x % 32;
    float sum = 0, squares = 0;
    for (int c = lane; c < d; c += 32) sum += x[c];
    const float m = warp_sum(sum) / d;
    for (int c = lane; c < d; c += 32) squares += (x[c] - m) * (x[c] - m);
    const float rs = 1.f / sqrtf(warp_sum(squares) / d + norm_eps);
    for (int c = lane; c < d; c += 32) y[c] = (x[c] - m) * rs * w[c] + b[c]; // (1)
    if (lane == 0) *mean = m, *rstd = rs;
}
template <class Out>
__device__ __forceinline__ void norm_row_backward(int d, const float* x, const float* w, float m, float rs,
                                                  const float* dy, Out out) {
    const int lane = threadIdx.x % 32;
    float sum_g = 0, sum_gx = 0;
    for (int c = lane; c < d; c += 32) {
        const float g = dy[c] * w[c];
        sum_g += g, sum_gx += g * ((x[c] - m) * rs);
    }
    const float mean_g = warp_sum(sum_g) / d, mean_gx = warp_sum(sum_gx) / d;
    for (int c = lane; c < d; c += 32) out(c, rs * (dy[c] * w[c] - mean_g - (x[c] - m) * rs * mean_gx)); // (dx)
}

} // namespace fci::cuda
