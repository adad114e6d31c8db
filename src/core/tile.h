// tile_product: the innermost loop of a product, small enough for registers.
//   C[i, 0..NV lanes) (+)= alpha sum_l A[i,l] B[l, 0..NV lanes),   i < MR
// A is read one number at a time (any strides: also transposed), B a row of NV vectors at a time. MR NV running sums
// stay in registers, so each number loaded is used NV or MR times. A vector is as wide as the processor's registers: a
// wider one would be split by the compiler, and its sums would live in memory. Of 32 registers (6,4) and (8,2) sums
// keep both multipliers of a core busy, of 16 registers (6,2). Callers lay their operands out so that a
// tile's B is contiguous  [Goto & van de Geijn 2008; BLIS's microkernel].
#pragma once
#include <cstdint>
#include <type_traits>

namespace fci {

#if defined(__AVX512F__)
inline constexpr int lane_count = 16, vector_registers = 32;
#elif defined(__AVX__)
inline constexpr int lane_count = 8, vector_registers = 16;
#elif defined(__aarch64__)
inline constexpr int lane_count = 4, vector_registers = 32;
#else
inline constexpr int lane_count = 4, vector_registers = 16;
#endif

// The shapes that keep a core busy, rows and vectors: of wide operands, and of operands of a head's width.
inline constexpr bool many_registers = vector_registers == 32;
inline constexpr int wide_rows = 6, wide_vectors = many_registers ? 4 : 2, wide_columns = wide_vectors * lane_count;
inline constexpr int tall_rows = many_registers ? 8 : 6, tall_vectors = 2, tall_columns = tall_vectors * lane_count;

// A register full of floats as one value; in memory it may lie at any address.
using vector_value = float __attribute__((vector_size(lane_count * sizeof(float))));
using lanes = float __attribute__((vector_size(lane_count * sizeof(float)), aligned(4), may_alias));

template <int MR, int NV>
[[gnu::noinline]] void tile_product(int k, const float* a, int row_step, int l_step, const float* b, int ldb, bool add,
                                    float* c, int ldc, float alpha = 1.f) {
    vector_value sum[MR][NV] = {};
    for (int l = 0; l < k; ++l) {
        vector_value bl[NV];
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
            *to = add ? *to + alpha * sum[i][v] : alpha * sum[i][v];
        }
}

// What a core can do at most: `rounds` of multiply_adds_a_round flops on values that stay in registers, as many side by
// side as keep every multiplier busy. It returns a value and is not inlined, as the compiler would
// otherwise remove it; the empty asm keeps it from merging two equal calls.
inline constexpr int side_by_side = vector_registers - 4, multiply_adds_a_round = 2 * side_by_side * lane_count;
[[gnu::noinline]] inline float multiply_adds(int64_t rounds) {
    asm volatile("");
    vector_value x[side_by_side], sum{};
    for (int i = 0; i < side_by_side; ++i) x[i] = sum + (0.25f + static_cast<float>(i));
    for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 32
        for (int i = 0; i < side_by_side; ++i) x[i] = x[i] * 0.5f + 1.f;
    for (const vector_value& v : x) sum += v;
    return sum[0];
}

// f(std::integral_constant<int, n>()) for 1 <= n <= most; nothing for n = 0.
template <int most, class F>
inline void as_constant(int n, const F& f) {
    if (n == most)
        f(std::integral_constant<int, most>());
    else if constexpr (most > 1)
        as_constant<most - 1>(n, f);
}

// f(R, i) for each strip of R rows of m, from row i on; R is a constant: `rows`, for the last strip what is left.
template <int rows, class F>
inline void each_strip(int m, const F& f) {
    int i = 0;
    for (; i + rows <= m; i += rows) f(std::integral_constant<int, rows>(), i);
    as_constant<rows - 1>(m - i, [&](auto R) { f(R, i); });
}

} // namespace fci
