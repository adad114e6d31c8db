// rank1_scores on the GPU; the mathematics is in src/ops/rank1_scores.h. One warp per row of x or of scores; one thread
// per element of df. Bound by memory.
#include "ops/rank1_scores.h"

#include "cuda/parts.cuh"
#include "cuda/rows.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

// y[i] = a[i,:] . b[i / share,:], rows of n
__global__ void dot_kernel(int rows, int n, int share, const float* a, const float* b, float* y) {
    const int i = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (i >= rows) return;
    const float *ai = a + int64_t{i} * n, *bi = b + int64_t{i / share} * n;
    float sum = 0;
    for (int c = lane; c < n; c += 32) sum += ai[c] * bi[c];
    sum = warp_sum(sum);
    if (lane == 0) y[i] = sum;
}

void dots(int rows, int n, int share, const float* a, const float* b, float* y) {
    if (rows) FCI_LAUNCH(dot_kernel, blocks_for(rows, rows_per_block), threads, 0, rows, n, share, a, b, y);
}

} // namespace

void rank1_scores_forward(Rank1Shape s, const float* x, const int32_t* query, const float* v, float* scores, float* f) {
    const int n = s.batch * s.time;
    dots(n, s.d, n, x, v, f); // (1)
    each_row(int64_t{s.batch} * s.rows, s.time, [=] __device__(int64_t row, int j) {
        const float* fb = f + row / s.rows * s.time;
        scores[row * s.time + j] = fb[query[row]] * fb[j]; // (2)
    });
}

void rank1_scores_backward(Rank1Shape s, const float* x, const int32_t* query, const float* v, const float* f,
                           const float* dscores, float* dx, float* dv) {
    const int n = s.batch * s.time;
    Scratch scratch;
    float *df = scratch.floats(n), *sum = scratch.floats(int64_t{s.batch} * s.rows);
    dots(s.batch * s.rows, s.time, s.rows, dscores, f, sum);
    each(n, [=] __device__(int64_t i) {
        const int64_t b = i / s.time, j = i % s.time;
        float total = 0;
        for (int64_t row = b * s.rows; row < (b + 1) * s.rows; ++row) {
            const int q = query[row];
            total += dscores[row * s.time + j] * f[b * s.time + q]; // (df), first term
            if (q == j) total += sum[row];                          // (df), second term
        }
        df[i] = total;
    });
    const int d = s.d;
    each_row(n, d, [=] __device__(int64_t j, int c) { dx[j * d + c] += df[j] * v[c]; }); // (dx)
    add_column_sums(
        n, d, [=] __device__(int j, int c) { return df[j] * x[int64_t{j} * d + c]; }, dv); // (dv)
}

} // namespace fci::cuda
