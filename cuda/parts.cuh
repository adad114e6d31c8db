// parts: gradients that are sums over many rows or blocks. Each block writes a part as large as the gradient, and a
// second launch adds the parts of several gradients, in order: no atomics, the same bits on every run.
#pragma once
#include "cuda/common.cuh"

namespace fci::cuda {

// Sums are computed by blocks of 32 x 8 threads: 32 columns in 8 strands of rows.
inline constexpr int sum_strands = 8;

// to[i] += part[i] + part[n + i] + ..., i < n
struct PartSum {
    int parts;
    int64_t n;
    const float* part;
    float* to;
    unsigned end; // blocks up to its last one

    // Up to 8 parts, a thread adds up its own column: the same order as one part per strand, without the strands' sums.
    FCI_HD bool is_short() const { return parts <= sum_strands; }
};

template <int most>
struct PartSums {
    int count = 0;
    PartSum of[most] = {};

    // Memory for the parts of a gradient, to be filled before launch() is called.
    float* add(Scratch& scratch, int64_t parts, int64_t n, float* to) {
        float* part = scratch.floats(parts * n);
        PartSum& sum = of[count] = {static_cast<int>(parts), n, part, to, 0};
        sum.end = blocks() + blocks_for(n, sum.is_short() ? 32 * sum_strands : 32);
        ++count;
        return part;
    }
    unsigned blocks() const { return count ? of[count - 1].end : 0; }
    void launch() const;
};

// Two sums over the same numbers, computed in one pass.
struct Pair {
    float first, second;
};
__device__ __forceinline__ void add(float& sum, float v) { sum += v; }
__device__ __forceinline__ void add(Pair& sum, Pair v) { sum.first += v.first, sum.second += v.second; }

// sum_r f(r) over r = begin .. end-1. Each of a column's 8 threads adds every eighth row, top to bottom; then the
// strands are added in order. The thread with y = 0 gets the sum.
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
    while (blockIdx.x >= sums.of[k].end) ++k;
    const PartSum& of = sums.of[k];
    const int64_t block = blockIdx.x - (k ? sums.of[k - 1].end : 0); // within the k-th gradient
    if (of.is_short()) {
        const int64_t i = (block * sum_strands + threadIdx.y) * 32 + threadIdx.x;
        if (i >= of.n) return;
        float v[sum_strands], sum = 0; // all reads are issued before the first sum
#pragma unroll
        for (int p = 0; p < sum_strands; ++p) v[p] = p < of.parts ? of.part[p * of.n + i] : 0.f;
#pragma unroll
        for (int p = 0; p < sum_strands; ++p) sum += v[p];
        of.to[i] += sum;
        return;
    }
    const int64_t i = block * 32 + threadIdx.x;
    const bool inside = i < of.n;
    const float sum = sum_in_strands<float>(0, of.parts, inside, [&](int p) { return of.part[p * of.n + i]; });
    if (inside && threadIdx.y == 0) of.to[i] += sum;
}

template <int most>
void PartSums<most>::launch() const {
    if (blocks()) FCI_LAUNCH(add_part_sums<most>, blocks(), dim3(32, sum_strands), 0, *this);
}

// Sums down the columns, for a linear layer's db and a norm's dw and db:
//   to[c] += sum_r dy[r,c];   with x, too:  of_x[c] += sum_r dy[r,c] (x[r,c] - mean[r]) rstd[r]
// Rows are cut into chunks, each with its own part; the sum of a single chunk is added to the gradient directly. All
// operands must stay valid until the sums are computed: at once, or together with other sums (cuda/sums.cu).
struct ColumnSum {
    int rows, columns;
    const float* dy;
    float* to;
    const float *x = nullptr, *mean = nullptr, *rstd = nullptr;
    float* of_x = nullptr;
};
inline constexpr int column_chunk = 256; // rows
void add_column_sum(const ColumnSum&);

// The same for any f(r,c), computed at once.
template <class F>
__global__ void column_parts(int rows, int columns, F f, float* parts) {
    const int c = blockIdx.x * 32 + threadIdx.x, begin = blockIdx.y * column_chunk,
              end = min(rows, begin + column_chunk);
    const bool inside = c < columns;
    const float sum = sum_in_strands<float>(begin, end, inside, [&](int r) { return f(r, c); });
    if (!inside || threadIdx.y != 0) return;
    if (gridDim.y == 1)
        parts[c] += sum;
    else
        parts[int64_t{blockIdx.y} * columns + c] = sum;
}
template <class F>
void add_column_sums(int rows, int columns, F f, float* to) {
    if (rows <= 0 || columns <= 0) return;
    const unsigned chunks = blocks_for(rows, column_chunk);
    Scratch scratch;
    PartSums<1> sums;
    float* parts = chunks > 1 ? sums.add(scratch, chunks, columns, to) : to;
    FCI_LAUNCH((column_parts<F>), dim3(blocks_for(columns, 32), chunks), dim3(32, sum_strands), 0, rows, columns, f,
               parts);
    sums.launch();
}

} // namespace fci::cuda
