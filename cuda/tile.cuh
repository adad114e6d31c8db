// tile: products of small matrices by one warp, in fp32 without tensor cores. The warp owns a result of 32 x 32; each
// lane has 8 x 4 of it in registers: lane = 8 row + column has the rows row, row + 4, .., row + 28. The operands are in
// shared memory, rows `ld` floats apart, d padded with zeros to a multiple of four, and are read four floats at a time:
// 12 such reads feed 128 fused multiply-adds. The reads bound it, at two thirds of the multiply-add rate.
#pragma once
#include "cuda/common.cuh"

namespace fci::cuda {

constexpr int tile = 32;
using Tile = float[8][4];
__device__ __forceinline__ int tile_row() { return threadIdx.x % 32 / 8; }
__device__ __forceinline__ int tile_column() { return threadIdx.x % 8; }

constexpr FCI_HD int whole_fours(int d) { return (d + 3) / 4 * 4; }
// An odd number of float4s: eight lanes that read a float4 each from eight rows have no bank conflict.
constexpr FCI_HD int row_stride(int d) { return 4 * ((d + 3) / 4 | 1); }
constexpr FCI_HD int whole_tiles(int n) { return (n + tile - 1) / tile * tile; }

__device__ __forceinline__ float4 load_four(const float* p) { // p: aligned to 16 bytes
#if defined(FCI_EMULATOR)
    return {p[0], p[1], p[2], p[3]};
#else
    return *reinterpret_cast<const float4*>(p);
#endif
}

// C[r,j] += sum_c A[r,c] B[j,c], c < d. A lane has the columns j = column + 8 n.
__device__ __forceinline__ void add_product_abt(int d, const float* a, int lda, const float* b, int ldb, Tile& c) {
    const float *ar = a + tile_row() * lda, *bj = b + tile_column() * ldb;
    for (int l = 0; l < d; l += 4) {
        float4 y[4];
        for (int n = 0; n < 4; ++n) y[n] = load_four(bj + 8 * n * ldb + l);
        for (int i = 0; i < 8; ++i) {
            const float4 x = load_four(ar + 4 * i * lda + l);
            for (int n = 0; n < 4; ++n) {
                c[i][n] += x.x * y[n].x;
                c[i][n] += x.y * y[n].y;
                c[i][n] += x.z * y[n].z;
                c[i][n] += x.w * y[n].w;
            }
        }
    }
}

// C[r,j] += sum_l A[r,l] B[l,j], l < k, a multiple of 4; columns of B up to `width`. A lane has the columns
// j = 4 column + n.
__device__ __forceinline__ void add_product_ab(int k, const float* a, int lda, const float* b, int ldb, int width,
                                               Tile& c) {
    if (4 * tile_column() >= width) return; // this lane has no columns
    const float *ar = a + tile_row() * lda, *bj = b + 4 * tile_column();
    for (int l = 0; l < k; l += 4) {
        float4 y[4];
        for (int n = 0; n < 4; ++n) y[n] = load_four(bj + (l + n) * ldb);
        for (int i = 0; i < 8; ++i) {
            const float4 x = load_four(ar + 4 * i * lda + l);
            c[i][0] += x.x * y[0].x, c[i][1] += x.x * y[0].y, c[i][2] += x.x * y[0].z, c[i][3] += x.x * y[0].w;
            c[i][0] += x.y * y[1].x, c[i][1] += x.y * y[1].y, c[i][2] += x.y * y[1].z, c[i][3] += x.y * y[1].w;
            c[i][0] += x.z * y[2].x, c[i][1] += x.z * y[2].y, c[i][2] += x.z * y[2].z, c[i][3] += x.z * y[2].w;
            c[i][0] += x.w * y[3].x, c[i][1] += x.w * y[3].y, c[i][2] += x.w * y[3].z, c[i][3] += x.w * y[3].w;
        }
    }
}

// Writes a tile with columns j = 4 column + n to shared memory, rows `ld` floats apart.
__device__ __forceinline__ void put_tile(const Tile& t, float* to, int ld) {
    for (int i = 0; i < 8; ++i)
        for (int n = 0; n < 4; ++n) to[(tile_row() + 4 * i) * ld + 4 * tile_column() + n] = t[i][n];
}

// Sum and maximum over the eight lanes that share a row.
__device__ __forceinline__ float row_sum(float v) {
    for (int offset = 4; offset; offset /= 2) v += __shfl_xor_sync(all_lanes, v, offset);
    return v;
}
__device__ __forceinline__ float row_max(float v) {
    for (int offset = 4; offset; offset /= 2) v = max(v, __shfl_xor_sync(all_lanes, v, offset));
    return v;
}

// to[r,c] = factor from[row(r),c] for r < rows, c < d: into shared memory, by the whole block, one warp per row. Writes
// zeros where row(r) is -1, and in the columns that pad d to a multiple of four.
template <class Row>
__device__ __forceinline__ void load_rows(int rows, int d, const float* from, int stride, float factor, float* to,
                                          int ld, Row row) {
    const int warps = blockDim.x / 32, lane = threadIdx.x % 32, columns = whole_fours(d);
    for (int r = threadIdx.x / 32; r < rows; r += warps) {
        const int at = row(r);
        for (int c = lane; c < columns; c += 32)
            to[r * ld + c] = at >= 0 && c < d ? factor * from[int64_t{at} * stride + c] : 0.f;
    }
}

} // namespace fci::cuda
