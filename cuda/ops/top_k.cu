// top_k on the GPU; the mathematics is in src/ops/top_k.h. A warp takes a row. No two ranks (cuda/rank.cuh) are equal,
// so the i-th choice is the largest rank below the one before: k maxima over the row, which comes from the cache after
// the first. Any k; at k = 4 bound by latency.
#include "ops/top_k.h"

#include "cuda/rank.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

__device__ __forceinline__ uint64_t warp_highest(uint64_t v) {
    for (int offset = 16; offset; offset /= 2) {
        const uint64_t other = __shfl_xor_sync(all_lanes, v, offset);
        v = other > v ? other : v;
    }
    return v;
}

__global__ void forward_kernel(TopKShape s, const float* scores, int32_t* chosen) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const float* row = scores + int64_t{r} * s.n;
    int32_t* best = chosen + int64_t{r} * 2 * s.k;
    uint64_t last = ~uint64_t{0}; // above every rank
    for (int found = 0; found < s.k; ++found) {
        uint64_t highest = 0; // below every rank
#pragma unroll 4
        for (int i = lane; i < s.n; i += 32) {
            const uint64_t rank = rank_of(row[i], i);
            highest = rank < last && rank > highest ? rank : highest;
        }
        last = warp_highest(highest);
        const int at = static_cast<int>(0xffffffffu - static_cast<uint32_t>(last));
        if (lane == 0) best[found] = at, best[s.k + found] = min(at + 1, s.n - 1);
    }
}

} // namespace

void top_k_forward(TopKShape s, const float* scores, int32_t* chosen) {
    if (s.rows) FCI_LAUNCH(forward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, scores, chosen);
}

} // namespace fci::cuda
