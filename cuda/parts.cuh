// parts: gradients that are sums over many rows or blocks. Each block leaves its part, as large as the gradient, and a
// second launch adds the parts in order, those of several gradients at once: no atomics, the same bits on every run.
#pragma once
#include <type_traits>

#include "cuda/common.cuh"

namespace fci::cuda {

// to[i] += part[i] + part[n + i] + ..., i < n
struct PartSum {
    int parts;
    int64_t n;
    const float* part;
    float* to;
};

template <int most>
struct PartSums {
    int count = 0;
    PartSum of[most] = {};

    // Memory for the parts of a gradient, to be filled before launch() is called.
    float* add(Scratch& scratch, int64_t parts, int64_t n, float* to) {
        float* part = scratch.floats(parts * n);
        of[count++] = {static_cast<int>(parts), n, part, to};
        return part;
    }
    void launch() const;
};

// Two sums over the same numbers, made in one pass, and where they go.
struct Pair {
    float first, second;
};
struct PairTo {
    float *first, *second;
};
__device__ __forceinline__ void add(float& sum, float v) { sum += v; }
__device__ __forceinline__ void add(Pair& sum, Pair v) { sum.first += v.first, sum.second += v.second; }
__device__ __forceinline__ void put(float* to, int64_t i, float v) { to[i] = v; }
__device__ __forceinline__ void put(PairTo to, int64_t i, Pair v) { to.first[i] = v.first, to.second[i] = v.second; }

// Blocks of 32 columns x 8 strands. sum_r f(r) over r = begin .. end-1 by the 8 threads of a column, each top to bottom
// and every eighth, then the strands in order. In the thread with y = 0.
inline constexpr int sum_strands = 8;
template <class T, class F>
__device__ T sum_in_strands(int begin, int end, bool inside, F f) {
    FCI_SHARED(T, strand, sum_strands * 32);
    T sum{};
    if (inside)
        for (int r = begin + threadIdx.y; r < end; r += sum_strands) add(sum, f(r));
    strand[threadIdx.y * 32 + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0)
        for (int s = 1; s < sum_strands; ++s) add(sum, strand[s * 32 + threadIdx.x]);
    return sum;
}

template <int most>
__global__ void add_part_sums(PartSums<most> sums) {
    int k = 0;
    int64_t block = blockIdx.x; // then: of the k-th gradient
    for (; block >= (sums.of[k].n + 31) / 32; ++k) block -= (sums.of[k].n + 31) / 32;
    const PartSum& of = sums.of[k];
    const int64_t i = block * 32 + threadIdx.x;
    const bool inside = i < of.n;
    const float sum = sum_in_strands<float>(0, of.parts, inside, [&](int p) { return of.part[p * of.n + i]; });
    if (inside && threadIdx.y == 0) of.to[i] += sum;
}

template <int most>
void PartSums<most>::launch() const {
    unsigned blocks = 0;
    for (int k = 0; k < count; ++k) blocks += blocks_for(of[k].n, 32);
    if (blocks) FCI_LAUNCH(add_part_sums<most>, blocks, dim3(32, sum_strands), 0, *this);
}

// to[c] += sum_r f(r,c) for c < columns, f a float, or Pair with to PairTo: rows are cut into chunks, each a part. The
// gradients of biases and of norms' weights.
inline constexpr int column_chunk = 256; // rows
template <class T, class F, class Parts>
__global__ void column_parts(int rows, int columns, F f, Parts parts) {
    const int c = blockIdx.x * 32 + threadIdx.x, begin = blockIdx.y * column_chunk,
              end = min(rows, begin + column_chunk);
    const bool inside = c < columns;
    const T sum = sum_in_strands<T>(begin, end, inside, [&](int r) { return f(r, c); });
    if (inside && threadIdx.y == 0) put(parts, int64_t{blockIdx.y} * columns + c, sum);
}
template <class T = float, class F, class To>
void add_column_sums(int rows, int columns, F f, To to) {
    if (rows <= 0 || columns <= 0) return;
    const unsigned chunks = blocks_for(rows, column_chunk);
    Scratch scratch;
    PartSums<2> sums;
    To parts{};
    if constexpr (std::is_same_v<To, PairTo>)
        parts = {sums.add(scratch, chunks, columns, to.first), sums.add(scratch, chunks, columns, to.second)};
    else
        parts = sums.add(scratch, chunks, columns, to);
    FCI_LAUNCH((column_parts<T, F, To>), dim3(blocks_for(columns, 32), chunks), dim3(32, sum_strands), 0, rows, columns,
               f, parts);
    sums.launch();
}

} // namespace fci::cuda
