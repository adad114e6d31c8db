// memory_scores on the GPU; the mathematics is in src/ops/memory_scores.h. The softmaxes use one warp per row of slots.
// Sums over the positions of a sequence or query use one block, in 8 strands that are added in order. The rest uses one
// thread per element. With few slots and queries everything is small and bound by launches.
#include "ops/memory_scores.h"

#include "cuda/softmax.cuh"

namespace fci::cuda {
namespace {

constexpr int most = 64; // slots
constexpr int threads = 128, rows_per_block = threads / 32, strands = 8;

// At least 1e-30, for divisors and logarithms; a NaN stays NaN, which max() would hide.
__device__ __forceinline__ float above_zero(float v) { return v < 1e-30f ? 1e-30f : v; }

// sum[m] = sum_j f(j,m) over a sequence's positions, by a block of (32, strands); afterwards all threads may read sum.
template <class F>
__device__ __forceinline__ void sum_over_time(int time, int M, F f, float* strand, float* sum) {
    for (int m = threadIdx.x; m < M; m += 32) {
        float own = 0;
        for (int j = threadIdx.y; j < time; j += strands) own += f(j, m);
        strand[threadIdx.y * most + m] = own;
    }
    __syncthreads();
    for (int m = threadIdx.x; threadIdx.y == 0 && m < M; m += 32) {
        float total = strand[m];
        for (int k = 1; k < strands; ++k) total += strand[k * most + m];
        sum[m] = total;
    }
    __syncthreads();
}

__global__ void written_kernel(MemoryShape s, const float* P, float* n) {
    FCI_SHARED(float, strand, strands* most);
    FCI_SHARED(float, sum, most);
    const int M = s.slots;
    const float* Pb = P + int64_t{blockIdx.x} * s.time * M;
    sum_over_time(
        s.time, M, [=](int j, int m) { return Pb[int64_t{j} * M + m]; }, strand, sum); // (2)
    for (int m = threadIdx.x; threadIdx.y == 0 && m < M; m += 32) n[int64_t{blockIdx.x} * M + m] = sum[m];
}

// One block per query: dPq, then dzq.
__global__ void query_kernel(MemoryShape s, const float* P, const float* Pq, const float* sums, const float* scores,
                             const float* dscores, float* dzq) {
    FCI_SHARED(float, strand, strands* most);
    FCI_SHARED(float, dPq, most);
    const int M = s.slots;
    const int64_t row = blockIdx.x, b = row / s.rows;
    const float *Pb = P + b * s.time * M, *n = sums + b * M, *ds = dscores + row * s.time, *sr = scores + row * s.time;
    sum_over_time(
        s.time, M, [=](int j, int m) { return ds[j] * exp(-sr[j]) * (Pb[int64_t{j} * M + m] / above_zero(n[m])); },
        strand,
        dPq);                                                                                // (dPq)
    if (threadIdx.y == 0) warp_softmax_backward(M, Pq + row * M, dPq, dzq + row * M, false); // (dzq)
}

// One block per sequence: sum_i G[i,m] p(i|m)
__global__ void total_kernel(MemoryShape s, const float* P, const float* sums, const float* G, float* total) {
    FCI_SHARED(float, strand, strands* most);
    FCI_SHARED(float, sum, most);
    const int M = s.slots;
    const int64_t b = blockIdx.x;
    const float *Pb = P + b * s.time * M, *Gb = G + b * s.time * M, *n = sums + b * M;
    sum_over_time(
        s.time, M, [=](int j, int m) { return Gb[int64_t{j} * M + m] * (Pb[int64_t{j} * M + m] / above_zero(n[m])); },
        strand, sum);
    for (int m = threadIdx.x; threadIdx.y == 0 && m < M; m += 32) total[b * M + m] = sum[m];
}

// One warp per position; G becomes dP.
__global__ void position_kernel(MemoryShape s, const float* P, const float* sums, const float* total, float* G,
                                float* dz) {
    const int64_t bj = int64_t{blockIdx.x} * rows_per_block + threadIdx.x / 32;
    if (bj >= int64_t{s.batch} * s.time) return;
    const int M = s.slots;
    const int64_t b = bj / s.time;
    float* g = G + bj * M;
    for (int m = threadIdx.x % 32; m < M; m += 32)
        g[m] = (g[m] - total[b * M + m]) / above_zero(sums[b * M + m]); // (dP)
    warp_softmax_backward(M, P + bj * M, g, dz + bj * M, false);        // (dz)
}

} // namespace

void memory_scores_forward(MemoryShape s, const float* z, const float* zq, float* scores, float* saved) {
    if (s.batch == 0) return;
    const int M = s.slots;
    const int64_t positions = int64_t{s.batch} * s.time, queries = int64_t{s.batch} * s.rows;
    float *P = saved, *Pq = P + positions * M, *sums = Pq + queries * M;
    softmax_rows(positions, M, z, P); // (1)
    softmax_rows(queries, M, zq, Pq);
    FCI_LAUNCH(written_kernel, s.batch, dim3(32, strands), 0, s, P, sums); // (2)
    each(queries * s.time, [=] __device__(int64_t i) {
        const int64_t row = i / s.time, b = row / s.rows;
        const float *q = Pq + row * M, *n = sums + b * M, *Pj = P + (b * s.time + i % s.time) * M;
        float p = 0;
        for (int m = 0; m < M; ++m) p += q[m] * (Pj[m] / above_zero(n[m]));
        scores[i] = logf(above_zero(p)); // (3)
    });
}

void memory_scores_backward(MemoryShape s, const float* saved, const float* scores, const float* dscores, float* dz,
                            float* dzq) {
    if (s.batch == 0) return;
    const int M = s.slots;
    const int64_t positions = int64_t{s.batch} * s.time, queries = int64_t{s.batch} * s.rows;
    const float *P = saved, *Pq = P + positions * M, *sums = Pq + queries * M;
    Scratch scratch;
    float *G = scratch.floats(positions * M), *total = scratch.floats(int64_t{s.batch} * M);
    if (queries)
        FCI_LAUNCH(query_kernel, static_cast<unsigned>(queries), dim3(32, strands), 0, s, P, Pq, sums, scores, dscores,
                   dzq);
    each(positions * M, [=] __device__(int64_t i) {
        const int64_t j = i / M % s.time, b = i / M / s.time;
        float g = 0;
        for (int64_t row = b * s.rows; row < (b + 1) * s.rows; ++row)
            g += dscores[row * s.time + j] * exp(-scores[row * s.time + j]) * Pq[row * M + i % M];
        G[i] = g; // (G)
    });
    FCI_LAUNCH(total_kernel, s.batch, dim3(32, strands), 0, s, P, sums, G, total);
    FCI_LAUNCH(position_kernel, blocks_for(positions, rows_per_block), threads, 0, s, P, sums, total, G, dz);
}

} // namespace fci::cuda
