// rows: kernels that go row by row, and which positions name a row.
//
// A scatter with repeats is turned round, so that it needs no atomics: the first position that names a row adds
// everything that goes to it, in order.
//
//   to[g,id[g,i],:] += dy[g,i,:],   i = 0 .. n-1
//
// n is cut into chunks: first each chunk adds up what goes to a row, then the chunks' sums are added to it, so that a
// row named by thousands of positions (a filler token) takes no thread longer than chunk + n/chunk additions.
#pragma once
#include "cuda/common.cuh"

namespace fci::cuda {

// f(r,c) for r < rows, c < n, a warp a row: what depends on r alone is worked out once, and no index is divided for
// each number.
constexpr int row_warps = 4;
template <class F>
__global__ void each_row_kernel(int64_t rows, int n, F f) {
    const int64_t r = int64_t{blockIdx.x} * row_warps + threadIdx.x / 32;
    if (r >= rows) return;
#pragma unroll 4
    for (int c = threadIdx.x % 32; c < n; c += 32) f(r, c);
}
template <class F>
void each_row(int64_t rows, int n, F f) {
    if (rows > 0) FCI_LAUNCH((each_row_kernel<F>), blocks_for(rows, row_warps), 32 * row_warps, 0, rows, n, f);
}

// The first i in begin .. end-1 with id[i] = row, else end. All lanes of a warp ask for the same; 128 ids at a time.
__device__ __forceinline__ int first_place(const int32_t* id, int begin, int end, int32_t row) {
    const int lane = threadIdx.x % 32;
    for (int i = begin; i < end; i += 128) {
        bool hit[4]; // all loads first
        for (int q = 0; q < 4; ++q) hit[q] = i + 32 * q + lane < end && id[i + 32 * q + lane] == row;
        for (int q = 0; q < 4; ++q)
            if (const unsigned lanes = __ballot_sync(all_lanes, hit[q])) return i + 32 * q + __ffs(lanes) - 1;
    }
    return end;
}

// f(i) for each i in begin .. end-1 with id[i] = row, in order, by all lanes of a warp.
template <class F>
__device__ __forceinline__ void each_place(const int32_t* id, int begin, int end, int32_t row, F f) {
    const int lane = threadIdx.x % 32;
    for (int from = begin; from < end; from += 32) {
        unsigned lanes = __ballot_sync(all_lanes, from + lane < end && id[from + lane] == row);
        for (; lanes; lanes &= lanes - 1) f(from + __ffs(lanes) - 1);
    }
}

struct ScatterShape {
    int groups, n, d;
    int64_t to_rows; // of a group
};
constexpr int scatter_chunk = 128, scatter_warps = 4, scatter_width = 128; // channels of a warp: 4 a lane

// What a warp adds up for position i: the rows dy[j], j in i .. end-1, that go where i's row goes. take(j): whether
// it counts.
template <class Take>
__device__ __forceinline__ void add_up(const int32_t* id, int i, int end, int d, const float* dy, Take take,
                                       float (&sum)[4]) {
    const int c = blockIdx.y * scatter_width + threadIdx.x % 32;
    each_place(id, i, end, id[i], [&](int j) {
        if (!take(j)) return;
        const float* row = dy + int64_t{j} * d;
        for (int q = 0; q < 4; ++q)
            if (c + 32 * q < d) sum[q] += row[c + 32 * q];
    });
}

// partial[g,i,:] = what the chunk of i sends to i's row, for i that are the first of their chunk to name it.
static __global__ void scatter_chunks(ScatterShape s, const int32_t* id, const float* dy, float* partial) {
    const int64_t gi = int64_t{blockIdx.x} * scatter_warps + threadIdx.x / 32;
    if (gi >= int64_t{s.groups} * s.n) return;
    const int i = static_cast<int>(gi % s.n), begin = i / scatter_chunk * scatter_chunk,
              end = min(s.n, begin + scatter_chunk);
    const int64_t first = gi - i;
    id += first;
    if (first_place(id, begin, end, id[i]) != i) return;
    float sum[4] = {};
    add_up(
        id, i, end, s.d, dy + first * s.d, [](int) { return true; }, sum);
    for (int q = 0, c = blockIdx.y * scatter_width + threadIdx.x % 32; q < 4; ++q, c += 32)
        if (c < s.d) partial[gi * s.d + c] = sum[q];
}

// to += the partial sums, or, where there is one chunk only, dy itself. Of a chunk the first place counts.
static __global__ void scatter_rows(ScatterShape s, const int32_t* id, const float* partial, float* to) {
    const int64_t gi = int64_t{blockIdx.x} * scatter_warps + threadIdx.x / 32;
    if (gi >= int64_t{s.groups} * s.n) return;
    const int i = static_cast<int>(gi % s.n);
    const int64_t first = gi - i;
    id += first;
    if (first_place(id, 0, s.n, id[i]) != i) return;
    float sum[4] = {};
    int seen = -1; // the last chunk that was added
    const bool whole = s.n <= scatter_chunk;
    add_up(
        id, i, s.n, s.d, partial + first * s.d,
        [&](int j) {
            const bool fresh = whole || j / scatter_chunk != seen;
            seen = j / scatter_chunk;
            return fresh;
        },
        sum);
    float* row = to + (first / s.n * s.to_rows + id[i]) * s.d;
    for (int q = 0, c = blockIdx.y * scatter_width + threadIdx.x % 32; q < 4; ++q, c += 32)
        if (c < s.d) row[c] += sum[q];
}

inline void scatter_add(ScatterShape s, const int32_t* id, const float* dy, float* to) {
    const int64_t rows = int64_t{s.groups} * s.n;
    if (rows == 0) return;
    const dim3 grid(blocks_for(rows, scatter_warps), blocks_for(s.d, scatter_width));
    Scratch scratch;
    if (s.n > scatter_chunk) {
        float* partial = scratch.floats(rows * s.d);
        FCI_LAUNCH(scatter_chunks, grid, 32 * scatter_warps, 0, s, id, dy, partial);
        dy = partial;
    }
    FCI_LAUNCH(scatter_rows, grid, 32 * scatter_warps, 0, s, id, dy, to);
}

} // namespace fci::cuda
