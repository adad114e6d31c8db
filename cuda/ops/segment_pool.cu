// segment_pool on the GPU; the mathematics is in src/ops/segment_pool.h. A block takes 32 channels of a segment. Each
// of its 8 rows of threads (strands) takes every 8th position: a warp reads neighbours, and even one long segment has 8
// loads in flight. Then the 8 results are joined in order. Bound by memory.
#include "ops/segment_pool.h"

#include "cuda/rows.cuh"

namespace fci::cuda {
namespace {

constexpr int width = 32, strands = 8;

__global__ void sum_kernel(SegmentShape s, float divisor, const float* x, float* y) {
    FCI_SHARED(float, strand, strands* width);
    const int n = s.time / s.segments, c = blockIdx.y * width + threadIdx.x;
    const float* from = x + int64_t{blockIdx.x} * n * s.d + c;
    float sum = 0;
    if (c < s.d)
        for (int j = threadIdx.y; j < n; j += strands) sum += from[int64_t{j} * s.d];
    strand[threadIdx.y * width + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= s.d) return;
    for (int k = 1; k < strands; ++k) sum += strand[k * width + threadIdx.x]; // (2)
    y[int64_t{blockIdx.x} * s.d + c] = sum / divisor;                         // (1)
}

// Every strand but the first starts below all numbers, without a place: a NaN counts only at the segment's first
// position, as on the CPU.
__global__ void max_kernel(SegmentShape s, const float* x, float* y, int32_t* argmax) {
    FCI_SHARED(float, strand, strands* width);
    FCI_SHARED(int, place, strands* width);
    const int n = s.time / s.segments, c = blockIdx.y * width + threadIdx.x, me = threadIdx.y * width + threadIdx.x;
    const float* from = x + int64_t{blockIdx.x} * n * s.d + c;
    float most = -INFINITY;
    int at = n;
    if (c < s.d) {
        if (threadIdx.y == 0) most = from[0], at = 0;
        for (int j = threadIdx.y; j < n; j += strands) {
            const float v = from[int64_t{j} * s.d];
            at = v > most ? j : at;
            most = v > most ? v : most;
        }
    }
    strand[me] = most, place[me] = at;
    __syncthreads();
    if (threadIdx.y || c >= s.d) return;
    for (int k = 1; k < strands; ++k) {
        const float v = strand[k * width + threadIdx.x];
        const int j = place[k * width + threadIdx.x];
        if (v > most || (v == most && j < at)) most = v, at = j;
    }
    const int64_t to = int64_t{blockIdx.x} * s.d + c;
    y[to] = most; // (3)
    argmax[to] = static_cast<int>(blockIdx.x) % s.segments * n + at;
}

} // namespace

void segment_pool_forward(SegmentShape s, Pool pool, const float* x, float* y, int32_t* argmax) {
    if (s.size() == 0) return;
    const dim3 grid(s.batch * s.segments, blocks_for(s.d, width)), block(width, strands);
    if (pool == Pool::max)
        FCI_LAUNCH(max_kernel, grid, block, 0, s, x, y, argmax);
    else
        FCI_LAUNCH(sum_kernel, grid, block, 0, s, pool == Pool::mean ? static_cast<float>(s.length()) : 1.f, x, y);
}

void segment_pool_backward(SegmentShape s, Pool pool, const int32_t* argmax, const float* dy, float* dx) {
    if (pool == Pool::max) { // no two (b,s,c) share a place
        const int64_t sequence = int64_t{s.segments} * s.d;
        each(s.size(), [=] __device__(int64_t i) {
            dx[(i / sequence * s.time + argmax[i]) * s.d + i % s.d] += dy[i]; // (dx)
        });
        return;
    }
    const float share = pool == Pool::mean ? 1.f / static_cast<float>(s.length()) : 1.f;
    const int n = s.length();
    each_row(int64_t{s.batch} * s.time, s.d, [=] __device__(int64_t bt, int c) {
        dx[bt * s.d + c] += share * dy[bt / n * s.d + c]; // (dx)
    });
}

} // namespace fci::cuda
