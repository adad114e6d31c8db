// linear on tensor cores, for many rows; the mathematics is in src/ops/linear.h, the products and their precisions in
// cuda/mma.cuh. A block computes 128 x 128 of a result, a warp 16 rows of that. Of each chunk of 32 of the depth, a
// warp reads its rows of A into registers, and the block B's 128 rows into shared memory; the next chunk is on its way
// in registers meanwhile. The bias is added, and dx added to, where the result is written.
//
//   y = x W^T + b     depth: in
//   dx += dy W        depth: out; B is W across
//   dW += dy^T x      depth: rows; both across. Few tiles and a long sum: blocks take slices of the rows, whose parts
//                     are added in order (cuda/parts.cuh)
//
// All sums have a fixed order: the same bits on every run. Bound by the tensor cores: per warp and chunk 96
// instructions of 2048 multiply-adds in fp16x3, about 490 in all.
#pragma once
#include "cuda/mma.cuh"
#include "cuda/parts.cuh"
#include "ops/linear.h"

namespace fci::cuda::mma_linear {

using namespace mma;

constexpr int warps = 8, threads = 32 * warps, edge = 16 * warps, across_tiles = edge / chunk, step = threads / 4;
static_assert(edge == 2 * step);

// Where a result goes: row r, column c of slice z is at[z slice + r stride + c].
struct Result {
    float* at;
    int64_t stride, slice;
    int rows, columns;
    const float* bias; // a number per column; may be null
    bool added;        // to what is there

    __device__ void put(int r, int c, const float (&sum)[part]) const {
        if (r >= rows) return;
        float* to = at + blockIdx.z * slice + r * stride + c;
        for (int e = 0; e < part; ++e)
            if (c + e < columns) to[e] = (added ? to[e] : bias ? bias[c + e] : 0.f) + sum[e];
    }
};

// C = A B^T over `each` of the depth, from blockIdx.z on. grid: (columns, rows, slices)
template <Precision P, bool a_across, bool b_across>
__global__ void __launch_bounds__(threads, 1) product_kernel(Source a, Source b, int depth, int each, Result c) {
    FCI_DYN_SHARED(Stored<P>, stored); // B's rows, 32 each
    const int thread = static_cast<int>(threadIdx.x), t = thread % 4, row = thread / 4;
    const int first_r = static_cast<int>(blockIdx.y) * edge + thread / 32 * 16 + piece_row();
    const int first_c = static_cast<int>(blockIdx.x) * edge;
    const int begin = static_cast<int>(blockIdx.z) * each, end = min(depth, begin + each);
    Piece sum[across_tiles] = {}, x;
    float y[2][part];
    const auto fetch = [&](int from) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            read_part<a_across>(a, first_r + 8 * i, from + part * t, x[i]);
            read_part<b_across>(b, first_c + row + step * i, from + part * t, y[i]);
        }
    };
    fetch(begin);
    for (int from = begin; from < end; from += chunk) {
        __syncthreads(); // all warps have read the previous chunk
#pragma unroll
        for (int i = 0; i < 2; ++i) stored[(row + step * i) / chunk].put(row % chunk, t, y[i]);
        const Rows<P> rows = Rows<P>::of(x);
        __syncthreads();
        if (from + chunk < end) fetch(from + chunk);
#pragma unroll
        for (int j = 0; j < across_tiles; ++j) add_product(rows, stored[j], sum[j]);
    }
#pragma unroll
    for (int j = 0; j < across_tiles; ++j)
        for (int i = 0; i < 2; ++i) c.put(first_r + 8 * i, first_c + chunk * j + piece_column(), sum[j][i]);
}

template <Precision P, bool a_across, bool b_across>
void launch(Source a, Source b, int depth, int slices, Result c) {
    const int each = (depth + slices * chunk - 1) / (slices * chunk) * chunk;
    FCI_LAUNCH((product_kernel<P, a_across, b_across>),
               dim3(blocks_for(c.columns, edge), blocks_for(c.rows, edge), static_cast<unsigned>(slices)), threads,
               across_tiles * sizeof(Stored<P>), a, b, depth, each, c);
}

template <Precision P>
void forward(LinearShape s, const float* x, const float* w, const float* b, float* y) {
    if (!s.rows || !s.out) return;
    launch<P, false, false>({x, s.in, s.rows, s.in}, {w, s.in, s.out, s.in}, s.in, 1,
                            {y, s.out, 0, s.rows, s.out, b, false}); // (1)
}

template <Precision P>
void backward(LinearShape s, const float* x, const float* w, const float* dy, float* dx, float* dw) {
    if (!s.rows || !s.out || !s.in) return;
    if (dx)
        launch<P, false, true>({dy, s.out, s.rows, s.out}, {w, s.in, s.out, s.in}, s.out, 1,
                               {dx, s.in, 0, s.rows, s.in, nullptr, true}); // (dx)
    // Slices of at least 8 chunks, and no more blocks than an H100 runs at once.
    constexpr int least_chunks = 8, most_blocks = 132;
    const int tiles = static_cast<int>(blocks_for(s.out, edge) * blocks_for(s.in, edge));
    const int wanted = max(1, min(most_blocks / tiles, s.rows / (least_chunks * chunk)));
    const int each = (s.rows + wanted * chunk - 1) / (wanted * chunk) * chunk, slices = (s.rows + each - 1) / each;
    Scratch scratch;
    PartSums<1> sums;
    const int64_t size = int64_t{s.out} * s.in;
    float* parts = slices > 1 ? sums.add(scratch, slices, size, dw) : dw;
    launch<P, true, true>({dy, s.out, s.rows, s.out}, {x, s.in, s.rows, s.in}, s.rows, slices,
                          {parts, s.in, size, s.out, s.in, nullptr, slices == 1}); // (dW)
    sums.launch();
}

inline auto forward_in(Precision p) {
    return p == Precision::fp16x3   ? forward<Precision::fp16x3>
           : p == Precision::tf32x3 ? forward<Precision::tf32x3>
                                    : forward<Precision::tf32>;
}
inline auto backward_in(Precision p) {
    return p == Precision::fp16x3   ? backward<Precision::fp16x3>
           : p == Precision::tf32x3 ? backward<Precision::tf32x3>
                                    : backward<Precision::tf32>;
}

} // namespace fci::cuda::mma_linear
