// tile_product: the innermost loop of a product, small enough for registers.
//   C[i, 0..16 NV) (+)= alpha sum_l A[i,l] B[l, 0..16 NV),   i < MR
// A is read one number at a time (any strides: also transposed), B a row of NV vectors at a time. MR NV running sums
// stay in registers, so each number loaded is used NV or MR times: with 32 vector registers of 16 floats, (6,4) and
// (8,2) keep both multipliers of a core busy. Nothing is packed here: callers lay their operands out so that a
// tile's B is contiguous  [Goto & van de Geijn 2008; BLIS's microkernel].
#pragma once

namespace fci {

// 16 floats as one value; the compiler splits it where registers are narrower. It may lie at any address.
using lanes = float __attribute__((vector_size(64), aligned(4), may_alias));
inline constexpr int lane_count = 16;

template <int MR, int NV, bool add>
inline void tile_product(int k, const float* a, int row_step, int l_step, const float* b, int ldb, float* c, int ldc,
                         float alpha = 1.f) {
    using value = float __attribute__((vector_size(64)));
    value sum[MR][NV] = {};
    for (int l = 0; l < k; ++l) {
        value bl[NV];
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) bl[v] = *reinterpret_cast<const lanes*>(b + l * ldb + v * lane_count);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
            const float ai = a[i * row_step + l * l_step];
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) sum[i][v] += ai * bl[v];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
            lanes* to = reinterpret_cast<lanes*>(c + i * ldc + v * lane_count);
            if (add)
                *to += alpha * sum[i][v];
            else
                *to = alpha * sum[i][v];
        }
}

} // namespace fci
