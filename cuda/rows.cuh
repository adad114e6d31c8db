// rows: kernels that work row by row, and scatters to rows.
//
// A scatter with repeats is inverted so that it needs no atomics: the first position that names a row adds everything
// that goes to that row, in order.
//
//   to[g,id[g,i],:] += dy[g,i,:],   i = 0 .. n-1
//
// n is cut into chunks of 128 positions. First each chunk adds up what goes to each row. Then, chunk by chunk, the sums
// of the chunks that name the row are added. So the order of a sum depends on the ids alone, and a row that most
// positions name (the filler token, 87% of MQAR's ids) costs no thread more than 128 + n/128 additions. Many of them
// are read at a time: the number of times a warp waits bounds the speed.
#pragma once
#include "cuda/common.cuh"

namespace fci::cuda {

// f(r,c) for r < rows, c < n, one warp per row: what depends on r alone is computed once, and no element needs an index
// division.
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

// The first i in begin .. end-1 with id[i] = row, else end; end - begin <= 128. All lanes of a warp search for the same
// row.
constexpr int scatter_chunk = 128;
__device__ __forceinline__ int place_in_chunk(const int32_t* id, int begin, int end, int32_t row) {
    const int lane = threadIdx.x % 32;
    bool hit[scatter_chunk / 32]; // issue all loads first
    for (int q = 0; q < scatter_chunk / 32; ++q) {
        const int i = begin + 32 * q + lane;
        hit[q] = i < end && id[i] == row;
    }
    int first = end;
    for (int q = scatter_chunk / 32; q-- > 0;)
        if (const unsigned lanes = __ballot_sync(all_lanes, hit[q])) first = begin + 32 * q + __ffs(lanes) - 1;
    return first;
}
__device__ __forceinline__ int first_place(const int32_t* id, int begin, int end, int32_t row) {
    for (int i = begin; i < end; i += scatter_chunk) {
        const int chunk_end = min(end, i + scatter_chunk), at = place_in_chunk(id, i, chunk_end, row);
        if (at < chunk_end) return at;
    }
    return end;
}

struct ScatterShape {
    int groups, n, d;
    int64_t to_rows; // rows of `to` per group
};
constexpr int scatter_warps = 4, scatter_width = 128; // channels per warp: 4 per lane
constexpr int rows_at_once = 4, chunks_at_once = 16;

// sum += the rows from[at[k],:], k in order; -1: none. All are read before the first is added: otherwise a warp that
// adds many would wait for each. (A sum that started as 0 is never -0, so + 0 changes no bit.)
template <int count>
__device__ __forceinline__ void add_rows(const int (&at)[count], int d, const float* from, float (&sum)[4]) {
    const int c = blockIdx.y * scatter_width + threadIdx.x % 32;
    float row[count][4];
    for (int k = 0; k < count; ++k)
        for (int q = 0; q < 4; ++q)
            row[k][q] = at[k] >= 0 && c + 32 * q < d ? from[int64_t{at[k]} * d + c + 32 * q] : 0.f;
    for (int k = 0; k < count; ++k)
        for (int q = 0; q < 4; ++q) sum[q] += row[k][q];
}

// sum += dy[j,:] for the j in i .. end-1 with the same id as i.
__device__ __forceinline__ void add_chunk(const int32_t* id, int i, int end, int d, const float* dy, float (&sum)[4]) {
    const int lane = threadIdx.x % 32;
    const int32_t row = id[i];
    for (int from = i; from < end; from += 32) {
        unsigned lanes = __ballot_sync(all_lanes, from + lane < end && id[from + lane] == row);
        while (lanes) {
            int at[rows_at_once];
            for (int k = 0; k < rows_at_once; ++k) {
                at[k] = lanes ? from + __ffs(lanes) - 1 : -1;
                lanes &= lanes - 1;
            }
            add_rows(at, d, dy, sum);
        }
    }
}

// sum += the chunks' sums for i's row; a chunk stores its sum at its first position that names the row.
__device__ __forceinline__ void add_chunks(const int32_t* id, int i, int n, int d, const float* partial,
                                           float (&sum)[4]) {
    for (int begin = i / scatter_chunk * scatter_chunk; begin < n; begin += chunks_at_once * scatter_chunk) {
        int at[chunks_at_once];
        for (int k = 0; k < chunks_at_once; ++k) {
            const int from = min(n, begin + k * scatter_chunk), end = min(n, from + scatter_chunk);
            at[k] = place_in_chunk(id, from, end, id[i]);
            if (at[k] == end) at[k] = -1;
        }
        add_rows(at, d, partial, sum);
    }
}

// partial[g,i,:] = what i's chunk sends to i's row, for each i that is the first in its chunk to name the row.
static __global__ void scatter_chunks(ScatterShape s, const int32_t* id, const float* dy, float* partial) {
    const int64_t gi = int64_t{blockIdx.x} * scatter_warps + threadIdx.x / 32;
    if (gi >= int64_t{s.groups} * s.n) return;
    const int i = modulo(gi, s.n), begin = i / scatter_chunk * scatter_chunk, end = min(s.n, begin + scatter_chunk);
    const int64_t first = gi - i;
    id += first;
    if (place_in_chunk(id, begin, end, id[i]) != i) return;
    float sum[4] = {};
    add_chunk(id, i, end, s.d, dy + first * s.d, sum);
    for (int q = 0, c = blockIdx.y * scatter_width + threadIdx.x % 32; q < 4; ++q, c += 32)
        if (c < s.d) partial[gi * s.d + c] = sum[q];
}

// to += the chunks' sums or, with only one chunk, the sum of dy itself.
static __global__ void scatter_rows(ScatterShape s, const int32_t* id, const float* from, float* to) {
    const int64_t gi = int64_t{blockIdx.x} * scatter_warps + threadIdx.x / 32;
    if (gi >= int64_t{s.groups} * s.n) return;
    const int i = modulo(gi, s.n);
    const int64_t first = gi - i;
    id += first;
    if (first_place(id, 0, s.n, id[i]) != i) return;
    float sum[4] = {};
    if (s.n <= scatter_chunk)
        add_chunk(id, i, s.n, s.d, from + first * s.d, sum);
    else
        add_chunks(id, i, s.n, s.d, from + first * s.d, sum);
    float* row = to + (quotient(first, s.n) * s.to_rows + id[i]) * s.d;
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
