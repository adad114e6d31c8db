// top_k on the GPU; the mathematics is in src/ops/top_k.h. One warp per row. No two ranks (cuda/rank.cuh) are equal, so
// the i-th choice is the largest rank below the previous one: k maxima over the row, which comes from the cache after
// the first. Any k; at k = 4 bound by latency.
#include "ops/top_k.h"

#include "cuda/rank.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

__global__ void forward_kernel(TopKShape s, const float* scores, int32_t* chosen) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32;
    if (r < s.rows) choose_best(s.n, scores + int64_t{r} * s.n, s.k, chosen + int64_t{r} * 2 * s.k);
}

} // namespace

void top_k_forward(TopKShape s, const float* scores, int32_t* chosen) {
    if (s.rows) FCI_LAUNCH(forward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s, scores, chosen);
}

} // namespace fci::cuda
