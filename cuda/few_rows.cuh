// few_rows: the products of linear when x has few rows. cuBLAS, with one launch for each product and one for the bias,
// then spends as long on launching as on working; here it is one kernel forward and one backward. A block of 8 warps
// computes 32 x 32 of a result. The operands pass through shared memory, 128 of k at a time, of which each warp takes
// 16 (cuda/tile.cuh); the warps' sums are added in warp order. Bound by memory latency: two waits for every 128 of k.
// In fp32, in every --precision.
#pragma once
#include "cuda/parts.cuh"
#include "cuda/tile.cuh"
#include "ops/linear.h"

namespace fci::cuda::few_rows {

constexpr int most = 512; // rows
constexpr int warps = sum_strands, k_chunk = 128, slice = k_chunk / warps;
constexpr int lda = row_stride(k_chunk), ldb = row_stride(tile);
constexpr int floats = warps * tile * ldb; // first a chunk of both operands, at the end all warps' results
static_assert(tile * lda + k_chunk * ldb <= floats);

inline dim3 threads() { return {32, warps}; }
__device__ __forceinline__ int tiles_of(int n) { return (n + tile - 1) / tile; }

// Which index runs along memory: k, or the other one.
enum class Along { k, other };

// out(r, c, sum_k a(r,k) b(k,c)) for r, c < 32, once each; a and b are 0 outside their bounds. The whole block takes
// part.
template <Along a_along, Along b_along, class A, class B, class Out>
__device__ __forceinline__ void product(float* shared, int depth, A a, B b, Out out) {
    const int thread = static_cast<int>(threadIdx.y) * 32 + static_cast<int>(threadIdx.x), count = warps * 32;
    const int warp = static_cast<int>(threadIdx.y);
    float *At = shared, *Bt = shared + tile * lda;
    Tile t = {};
    for (int from = 0; from < depth; from += k_chunk) {
        __syncthreads(); // the previous chunk has been read
#pragma unroll
        for (int e = thread; e < tile * k_chunk; e += count) { // in memory order
            const int ka = a_along == Along::k ? e % k_chunk : e / tile,
                      r = a_along == Along::k ? e / k_chunk : e % tile;
            const int kb = b_along == Along::k ? e % k_chunk : e / tile,
                      c = b_along == Along::k ? e / k_chunk : e % tile;
            At[r * lda + ka] = a(r, from + ka);
            Bt[kb * ldb + c] = b(from + kb, c);
        }
        __syncthreads();
        add_product_ab(slice, At + warp * slice, lda, Bt + warp * slice * ldb, ldb, tile, t);
    }
    __syncthreads();
    put_tile(t, shared + warp * tile * ldb, ldb);
    __syncthreads();
    for (int r = warp; r < tile; r += warps) {
        float sum = 0;
        for (int w = 0; w < warps; ++w) sum += shared[(w * tile + r) * ldb + threadIdx.x];
        out(r, static_cast<int>(threadIdx.x), sum);
    }
}

// grid: (tiles of out, tiles of rows)
static __global__ void forward_kernel(LinearShape s, const float* x, const float* w, const float* b, float* y) {
    FCI_SHARED(float4, fours, floats / 4);
    float* shared = reinterpret_cast<float*>(fours);
    const int first_r = static_cast<int>(blockIdx.y) * tile, first_o = static_cast<int>(blockIdx.x) * tile;
    const auto at = [&](const float* of, int row, int rows, int k) {
        return row < rows && k < s.in ? of[int64_t{row} * s.in + k] : 0.f;
    };
    product<Along::k, Along::k>(
        shared, s.in, [&](int r, int k) { return at(x, first_r + r, s.rows, k); },
        [&](int k, int c) { return at(w, first_o + c, s.out, k); },
        [&](int r, int c, float sum) {
            const int row = first_r + r, o = first_o + c;
            if (row < s.rows && o < s.out) y[int64_t{row} * s.out + o] = (b ? b[o] : 0.f) + sum; // (1)
        });
}

// grid: tiles of dx, then of dW, then 32 elements of db each
static __global__ void backward_kernel(LinearShape s, const float* x, const float* w, const float* dy, float* dx,
                                       float* dw, float* db) {
    FCI_SHARED(float4, fours, floats / 4);
    float* shared = reinterpret_cast<float*>(fours);
    const int across = tiles_of(s.in), of_dx = tiles_of(s.rows) * across, of_dw = tiles_of(s.out) * across;
    const int block = static_cast<int>(blockIdx.x), index = block < of_dx ? block : block - of_dx;
    const int first = index / across * tile, first_i = index % across * tile; // the tile's first row and column
    const auto at_dy = [&](int r, int o) { return r < s.rows && o < s.out ? dy[int64_t{r} * s.out + o] : 0.f; };
    const auto at = [&](const float* of, int row, int rows, int i) {
        return row < rows && i < s.in ? of[int64_t{row} * s.in + i] : 0.f;
    };
    const auto add = [&](float* to, int rows) {
        return [=](int r, int c, float sum) {
            if (first + r < rows && first_i + c < s.in) to[int64_t{first + r} * s.in + first_i + c] += sum;
        };
    };
    if (block < of_dx)
        product<Along::k, Along::other>(
            shared, s.out, [&](int r, int k) { return at_dy(first + r, k); },
            [&](int k, int c) { return at(w, k, s.out, first_i + c); }, add(dx, s.rows)); // (dx)
    else if (block < of_dx + of_dw)
        product<Along::other, Along::other>(
            shared, s.rows, [&](int r, int k) { return at_dy(k, first + r); },
            [&](int k, int c) { return at(x, k, s.rows, first_i + c); }, add(dw, s.out)); // (dW)
    else {
        const int o = (block - of_dx - of_dw) * 32 + static_cast<int>(threadIdx.x);
        const float sum = sum_in_strands<float>(0, s.rows, o < s.out, [&](int r) { return at_dy(r, o); });
        if (o < s.out && threadIdx.y == 0) db[o] += sum; // (db)
    }
}

inline void forward(LinearShape s, const float* x, const float* w, const float* b, float* y) {
    FCI_LAUNCH(forward_kernel, dim3(blocks_for(s.out, tile), blocks_for(s.rows, tile)), threads(), 0, s, x, w, b, y);
}
inline void backward(LinearShape s, const float* x, const float* w, const float* dy, float* dx, float* dw, float* db) {
    const unsigned across = blocks_for(s.in, tile), down = blocks_for(s.rows, tile) + blocks_for(s.out, tile);
    FCI_LAUNCH(backward_kernel, down * across + (db ? blocks_for(s.out, 32) : 0), threads(), 0, s, x, w, dy, dx, dw,
               db);
}

} // namespace fci::cuda::few_rows
