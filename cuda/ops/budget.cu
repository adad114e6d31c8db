// budget on the GPU; the mathematics is in src/ops/budget.h.
//(1) One product for the batch, then one warp per position.
//(2) One block per sequence. No two ranks (cuda/rank.cuh) are equal, so the m-th highest is found bit by bit, by
// counting
//    the ranks that reach a number; the positions that reach it are then written in order. 64 passes over the bounds,
//    for any t.
//(3) The chosen rows are copied next to each other, then one product per sequence.
//(4) A^-1 by block elimination, one launch per tile row: 7 d^3 flops in double, but the whole of A in parallel. At d =
// 128
//    that is 8 short launches; a Cholesky factor would take 128 dependent steps.
#include "ops/budget.h"

#include "cuda/gemm.cuh"
#include "cuda/rank.cuh"
#include "ops/gather.h"
#include "ops/segment_pool.h"

namespace fci::cuda {
namespace {

constexpr int threads = 256, warps = threads / 32, tile = BudgetLearnShape::tile;

__global__ void bounds_kernel(int64_t rows, int d, const float* x, const float* z, const float* theta, float* bound) {
    const int64_t r = int64_t{blockIdx.x} * warps + threadIdx.x / 32;
    if (r >= rows) return;
    float expected = 0, variance = 0;
    for (int c = threadIdx.x % 32; c < d; c += 32) {
        expected += theta[c] * x[r * d + c];
        variance += z[r * d + c] * x[r * d + c];
    }
    expected = warp_sum(expected), variance = warp_sum(variance);
    if (threadIdx.x % 32 == 0) bound[r] = expected + sqrtf(variance < 0 ? 0.f : variance); // (1); a NaN stays one
}

__global__ void choose_kernel(BudgetShape s, const float* bound, int32_t* chosen) {
    FCI_SHARED(int, counted, warps);
    const int t = s.time, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    bound += int64_t{blockIdx.x} * t;
    chosen += int64_t{blockIdx.x} * s.chosen;
    const auto lanes_reaching = [&](int i, uint64_t rank) { // one bit for each lane's position
        return __ballot_sync(all_lanes, i < t && rank_of(bound[i], i) >= rank);
    };
    uint64_t lowest = 0; // the highest number that m ranks reach: the m-th rank
    for (int bit = 63; bit >= 0; --bit) {
        const uint64_t higher = lowest | uint64_t{1} << bit;
        int n = 0;
        for (int i = threadIdx.x; i - lane < t; i += threads) n += __popc(lanes_reaching(i, higher));
        __syncthreads();
        if (lane == 0) counted[warp] = n;
        __syncthreads();
        n = 0;
        for (int w = 0; w < warps; ++w) n += counted[w];
        if (n >= s.chosen) lowest = higher;
    }
    int filled = 0;
    for (int begin = 0; begin < t; begin += threads) {
        const int i = begin + static_cast<int>(threadIdx.x);
        const unsigned lanes = lanes_reaching(i, lowest);
        __syncthreads();
        if (lane == 0) counted[warp] = __popc(lanes);
        __syncthreads();
        int at = filled + __popc(lanes & ((1u << lane) - 1));
        for (int w = 0; w < warp; ++w) at += counted[w];
        if (lanes >> lane & 1) chosen[at] = i; // (2)
        for (int w = 0; w < warps; ++w) filled += counted[w];
    }
}

// One thread per element of A. Beyond d, `a` is the identity, which the inversion does not change.
__global__ void add_grams_kernel(BudgetLearnShape s, const float* gram, float* A, double* a, const int* skip) {
    const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x, n = s.padded(), squares = int64_t{s.d} * s.d;
    if (i >= n * n) return;
    const int64_t r = i / n, k = i % n, at = r * s.d + k;
    double sum = r == k;
    if (r < s.d && k < s.d) {
        sum = A[at];
        for (int b = 0; b < s.batch; ++b) sum += gram[b * squares + at]; // (4)
        if (!skip || !*skip) A[at] = static_cast<float>(sum);
    }
    a[i] = sum;
}

// One block. reward: first the sequences' losses l, then l' - l.
__global__ void add_rewards_kernel(BudgetLearnShape s, const float* sum, const float* loss, BudgetNumbers<float> to,
                                   double* c, double* reward, const int* skip) {
    const bool learns = !skip || !*skip;
    for (int b = threadIdx.x; b < s.batch; b += threads) {
        double l = 0;
        for (int r = 0; r < s.rows; ++r) l += loss[int64_t{b} * s.rows + r];
        reward[b] = l / s.rows;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        double all = to.losses[0], count = to.losses[1];
        for (int b = 0; b < s.batch; ++b, count += 1) {
            const double l = reward[b];
            reward[b] = count > 0 ? all / count - l : 0;
            all += l;
        }
        if (learns) to.losses[0] = static_cast<float>(all), to.losses[1] = static_cast<float>(count);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < s.d; i += threads) {
        double v = to.c[i];
        for (int b = 0; b < s.batch; ++b) v += reward[b] * sum[int64_t{b} * s.d + i]; // (4)
        c[i] = v;
        if (learns) to.c[i] = static_cast<float>(v);
    }
}

// Gauss-Jordan elimination of tile row and column k, from `in` to `out`; after the last one `out` is the inverse:
//   P = in[k,k]^-1,   out[k,k] = P,   out[k,j] = P in[k,j],   out[i,k] = -in[i,k] P
//   out[i,j] = in[i,j] - in[i,k] P in[k,j]
// Without a search for pivots, which a positive definite matrix does not need [Peters & Wilkinson 1975]. One block per
// tile of `out`; each block computes P itself, by the same elimination element by element.
__global__ void eliminate_kernel(int n, int k, const double* in, double* out) {
    constexpr int width = tile + 1; // the elements of a column are in different banks
    FCI_SHARED(double, pivot, tile* width);
    FCI_SHARED(double, left, tile* width);
    FCI_SHARED(double, right, tile* width);
    const int x = threadIdx.x, y = threadIdx.y, i = blockIdx.y, j = blockIdx.x, me = y * width + x;
    const auto at = [&](int row, int column) { return (int64_t{row} * tile + y) * n + column * tile + x; };
    pivot[me] = in[at(k, k)];
    left[me] = in[at(i, k)];
    right[me] = j == k ? x == y : in[at(k, j)];
    for (int q = 0; q < tile; ++q) {
        __syncthreads();
        const double one = pivot[q * width + q], p = one > 0 ? 1 / one : NAN, row = pivot[q * width + x],
                     column = pivot[y * width + q], own = pivot[me];
        __syncthreads();
        pivot[me] = y == q ? (x == q ? p : p * row) : x == q ? -column * p : own - column * p * row;
    }
    __syncthreads();
    double v = 0;
    for (int q = 0; q < tile; ++q) v += pivot[y * width + q] * right[q * width + x]; // P in[k,j]
    if (i != k) {
        __syncthreads();
        right[me] = v;
        __syncthreads();
        v = j == k ? 0 : in[at(i, j)];
        for (int q = 0; q < tile; ++q) v -= left[y * width + q] * right[q * width + x];
    }
    out[at(i, j)] = v;
}

// One warp per row.
__global__ void theta_kernel(BudgetLearnShape s, const double* a, const double* c, BudgetNumbers<float> to,
                             const int* skip) {
    const int64_t r = int64_t{blockIdx.x} * warps + threadIdx.x / 32;
    if (r >= s.d || (skip && *skip)) return;
    double theta = 0;
    for (int k = threadIdx.x % 32; k < s.d; k += 32) {
        const double v = a[r * s.padded() + k];
        to.inverse[r * s.d + k] = static_cast<float>(v);
        theta += v * c[k];
    }
    theta = warp_sum(theta);
    if (threadIdx.x % 32 == 0) to.theta[r] = static_cast<float>(theta); // (4)
}

} // namespace

void budget_bounds(BudgetShape s, const float* x, const float* inverse, const float* theta, float* bound) {
    const int d = s.d, rows = s.batch * s.time;
    Scratch scratch;
    float* Ax = scratch.floats(int64_t{rows} * d); // A^-1 x
    device_gemm(Transpose::no, Transpose::no, rows, d, d, 1.f, x, d, inverse, d, 0.f, Ax, d);
    if (rows) FCI_LAUNCH(bounds_kernel, blocks_for(rows, warps), threads, 0, rows, d, x, Ax, theta, bound);
}

void budget_choose(BudgetShape s, const float* bound, int32_t* chosen) {
    if (s.batch) FCI_LAUNCH(choose_kernel, static_cast<unsigned>(s.batch), threads, 0, s, bound, chosen);
}

void budget_gram(BudgetShape s, const float* x, const int32_t* chosen, float* gram, float* sum) {
    const int d = s.d, m = s.chosen;
    const int64_t of_sequence = int64_t{m} * d;
    Scratch scratch;
    float* rows = scratch.floats(s.batch * of_sequence);
    gather_forward({s.batch, s.time, m, d}, x, chosen, rows);
    segment_pool_forward({s.batch, m, 1, d}, Pool::sum, rows, sum, nullptr); // (3)
    device_gemm_batched(s.batch, Transpose::yes, Transpose::no, d, d, m, 1.f, rows, d, of_sequence, rows, d,
                        of_sequence, 0.f, gram, d, int64_t{d} * d); // (3)
}

void budget_learn(BudgetLearnShape s, const float* gram, const float* sum, const float* loss, BudgetNumbers<float> to,
                  const int* skip) {
    const int n = s.padded();
    const int64_t squares = int64_t{n} * n;
    Scratch scratch;
    const auto doubles = [&](int64_t of) { return reinterpret_cast<double*>(scratch.floats(2 * of)); };
    double *a = doubles(squares), *next = doubles(squares), *c = doubles(s.d), *reward = doubles(s.batch);
    FCI_LAUNCH(add_grams_kernel, blocks_for(squares, threads), threads, 0, s, gram, to.A, a, skip);
    FCI_LAUNCH(add_rewards_kernel, 1, threads, 0, s, sum, loss, to, c, reward, skip);
    for (int k = 0; k < n / tile; ++k) {
        FCI_LAUNCH(eliminate_kernel, dim3(n / tile, n / tile), dim3(tile, tile), 0, n, k, a, next);
        std::swap(a, next);
    }
    FCI_LAUNCH(theta_kernel, blocks_for(s.d, warps), threads, 0, s, a, c, to, skip);
}

} // namespace fci::cuda
