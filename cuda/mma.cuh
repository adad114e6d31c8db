// mma: products of small matrices by one warp on tensor cores (mma.sync), in three precisions behind one interface.
//
//   tf32     operands rounded to 10 bits after the point; one product
//   tf32x3   x = high + low, both TF32: high high + high low + low high; float32's accuracy   [Ootomo & Yokota 2022]
//   fp16x3   the same with two halves. A chunk of a row is scaled by a power of two, so that its largest number is in
//            [2^14, 2^15): numbers down to 2^-17 of the largest keep 22 bits, and none is too large for a half. (From
//            2^105 on, a sum may overflow before it is scaled back; an Inf ends a run.) An instruction takes twice the
//            depth of tf32x3, so that it is twice as fast, and the terms need half of the registers
//
// The unit is a chunk: 32 of the depth (the index that is summed over). A warp multiplies A, 16 rows of a chunk, by B,
// 32 rows of a chunk, each row contiguous in the depth: C[r,n] += sum_k A[r,k] B[n,k]. All three matrices are divided
// among the lanes in one way: lane = 4 g + t has columns 8t .. 8t+7, A and C of rows g and g+8, B of one row. So C can
// be the next product's A without moving a number between lanes. An instruction wants other places (they are in
// tests/emulator/tensor_core.h), but its depth may be permuted if A and B agree, and its columns if B and C do:
//   depth     a lane's 8 numbers are 4 words of two halves, or 8 words of a TF32 number. Instruction u takes words 2u
//   and
//             2u+1, of A and of B, whatever their place in the depth is
//   columns   a lane with g reads, for instruction j of four, B's row 8 (g/2) + 2j + g%2; C's columns 8t + 2j and
//             8t + 2j + 1 then come to lane t
//
// Accuracy  A tensor core truncates every sum, so one accumulator for everything would be 10 to 60 times less accurate
//           than fused multiply-adds. add_product() therefore sums a chunk into fresh accumulators, small products
//           first, and adds them to C by an ordinary addition; then truncation costs about one rounding per chunk.
//           tests/test_gpu_tensor_cores.cpp has the errors by depth.
// Cost      of a product of 16 x 32 x 32: 24 instructions of the tensor core in fp16x3, 48 in tf32x3, 16 in tf32
#pragma once
#include "cuda/tile.cuh"

#if defined(FCI_EMULATOR)
#include "core/half.h"
#else
#include <cuda_fp16.h>
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "fci needs a GPU of compute capability 8.0 or later"
#endif
#endif

namespace fci::cuda::mma {

constexpr int chunk = 32, part = 8; // depth of a chunk; a lane's neighbouring columns
using Piece = float[2][part];       // of a 16 x 32 matrix: a lane's rows g and g + 8, columns 8t .. 8t+7

__device__ __forceinline__ int piece_row() { return static_cast<int>(threadIdx.x) % 32 / 4; }
__device__ __forceinline__ int piece_column() { return static_cast<int>(threadIdx.x) % 4 * part; }

// Sum and maximum over the four lanes that share a row.
__device__ __forceinline__ float four_sum(float v) {
    v += __shfl_xor_sync(all_lanes, v, 1);
    return v + __shfl_xor_sync(all_lanes, v, 2);
}
__device__ __forceinline__ float four_max(float v) {
    v = max(v, __shfl_xor_sync(all_lanes, v, 1));
    return max(v, __shfl_xor_sync(all_lanes, v, 2));
}

// Two halves in a word, rounded to nearest; the first is in the low bits.
__device__ __forceinline__ uint32_t halves(float x, float y) {
#if defined(FCI_EMULATOR)
    return float_to_half(x) | uint32_t{float_to_half(y)} << 16;
#else
    const __half2 both = __floats2half2_rn(x, y);
    return *reinterpret_cast<const uint32_t*>(&both);
#endif
}
__device__ __forceinline__ float2 floats(uint32_t both) {
#if defined(FCI_EMULATOR)
    return {half_to_float(static_cast<uint16_t>(both)), half_to_float(static_cast<uint16_t>(both >> 16))};
#else
    return __half22float2(*reinterpret_cast<const __half2*>(&both));
#endif
}

// To 10 bits after the point, to nearest. A NaN that becomes -0 by the addition's carry must not vanish: in tf32x3 the
// low term x - high keeps it, and in tf32 it is left as it is.
__device__ __forceinline__ float rounded_to_tf32(float x, bool keep_nan) {
    const float high = std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x1000u) & 0xffffe000u);
    return keep_nan && x != x ? x : high;
}

// D = A B + D, one instruction. Which lane has what: PTX ISA, or tests/emulator/tensor_core.h.
__device__ __forceinline__ void multiply(bool half, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                         uint32_t b1, float (&d)[4]) {
#if defined(FCI_EMULATOR)
    emulator::Fragments f{{a0, a1, a2, a3}, {b0, b1}, {d[0], d[1], d[2], d[3]}};
    emulator::multiply(half ? emulator::Format::half : emulator::Format::tf32, f);
    for (int i = 0; i < 4; ++i) d[i] = f.d[i];
#else
    if (half)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    else
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}

// Where numbers are read: row r, column c of a matrix is at[r stride + c], for r < rows and c < columns, else 0.
struct Source {
    const float* at;
    int stride, rows, columns;
    bool fours; // every fourth number of a row is aligned to 16 bytes
    FCI_HD Source(const float* at_, int stride_, int rows_, int columns_)
        : at(at_), stride(stride_), rows(rows_), columns(columns_),
          fours((reinterpret_cast<uint64_t>(at_) | sizeof(float) * stride_) % 16 == 0) {}
};
// x[e] = the number of row r and column c + e; across: of the transposed matrix (`from` is as it is stored). c is a
// multiple of 8.
template <bool across>
__device__ __forceinline__ void read_part(const Source& from, int r, int c, float (&x)[part]) {
    const float* first = from.at + (across ? int64_t{c} * from.stride + r : int64_t{r} * from.stride + c);
    const int rest = r < (across ? from.columns : from.rows) ? (across ? from.rows : from.columns) - c : 0;
    if (rest >= part && !across && from.fours) {
#pragma unroll
        for (int e = 0; e < part; e += 4) {
            const float4 four = load_four(first + e);
            x[e] = four.x, x[e + 1] = four.y, x[e + 2] = four.z, x[e + 3] = four.w;
        }
    } else if (rest >= part) { // no check for each number
#pragma unroll
        for (int e = 0; e < part; ++e) x[e] = first[across ? e * from.stride : e];
    } else {
#pragma unroll
        for (int e = 0; e < part; ++e) x[e] = e < rest ? first[across ? e * from.stride : e] : 0.f;
    }
}

// A lane's part of a row: 8 numbers as the tensor core takes them.
template <Precision P>
struct Terms {
    static constexpr bool half = P == Precision::fp16x3;
    static constexpr int terms = P == Precision::tf32 ? 1 : 2, words = half ? part / 2 : part;
    uint32_t word[terms][words]; // of the high terms, then of the low ones

    // x factor; for halves, factor is a power of two that brings x below 2^15
    __device__ static Terms of(const float* x, float factor) {
        Terms t;
        for (int w = 0; w < words; ++w) {
            if constexpr (half) {
                const float x0 = x[2 * w] * factor, x1 = x[2 * w + 1] * factor;
                t.word[0][w] = halves(x0, x1);
                const float2 high = floats(t.word[0][w]);
                t.word[1][w] = halves(x0 - high.x, x1 - high.y);
            } else {
                const float high = rounded_to_tf32(x[w], terms == 1);
                t.word[0][w] = std::bit_cast<uint32_t>(high);
                if constexpr (terms == 2) t.word[1][w] = std::bit_cast<uint32_t>(x[w] - high);
            }
        }
        return t;
    }
};

// A power of two and its inverse: x factor is in [2^14, 2^15) for the largest |x| of a row's chunk, if that is finite
// and at least 2^-100. TF32 numbers have float32's range and need no scale: 1. An Inf becomes NaN, high - Inf.
struct Scale {
    float factor, inverse;
};
template <Precision P>
__device__ __forceinline__ Scale scale_for(float largest) {
    if constexpr (!Terms<P>::half) return {1.f, 1.f};
    const int biased = static_cast<int>(std::bit_cast<uint32_t>(largest) >> 23), e = min(max(biased, 27), 254) - 127;
    return {std::bit_cast<float>(static_cast<uint32_t>(127 + 14 - e) << 23),
            std::bit_cast<float>(static_cast<uint32_t>(127 - 14 + e) << 23)};
}
__device__ __forceinline__ float largest_of(const float* x) { // of a lane's part
    float most = 0;
    for (int i = 0; i < part; ++i) most = max(most, fabsf(x[i]));
    return most;
}

// A: 16 rows of a chunk in registers.
template <Precision P>
struct Rows {
    Terms<P> row[2];
    float inverse[2]; // of the rows' factors

    __device__ static Rows of(const Piece& x) {
        Rows r;
        for (int i = 0; i < 2; ++i) {
            const Scale s = scale_for<P>(Terms<P>::half ? four_max(largest_of(x[i])) : 0.f);
            r.row[i] = Terms<P>::of(x[i], s.factor), r.inverse[i] = s.inverse;
        }
        return r;
    }
    // Of numbers in [0, 2^share_log2], attention's P, without looking for the largest.
    static constexpr float share_log2 = Terms<P>::half ? 14 : 0;
    __device__ static Rows of_shares(const Piece& x) {
        Rows r;
        for (int i = 0; i < 2; ++i) r.row[i] = Terms<P>::of(x[i], 1.f), r.inverse[i] = 1.f;
        return r;
    }
};

// B: 32 rows of a chunk in shared memory. A lane reads its words by 16 bytes; the stride lets each quarter of a warp,
// which has two neighbouring rows, read all 32 banks.
template <Precision P>
struct alignas(16) Stored {
    static constexpr int terms = Terms<P>::terms, words = Terms<P>::words, stride = Terms<P>::half ? 16 : 36;
    uint32_t word[terms][chunk * stride];
    float inverse[chunk];

    // Of row r, columns 8t ..: by the four lanes t of a row at once, which are neighbours; the whole warp takes part.
    __device__ void put(int r, int t, const float* x) {
        const Scale s = scale_for<P>(Terms<P>::half ? four_max(largest_of(x)) : 0.f);
        const Terms<P> of = Terms<P>::of(x, s.factor);
        for (int i = 0; i < terms; ++i)
            for (int w = 0; w < words; ++w) word[i][r * stride + t * words + w] = of.word[i][w];
        if (t == 0) inverse[r] = s.inverse;
    }
    __device__ Terms<P> get(int r, int t) const {
        Terms<P> to;
        for (int i = 0; i < terms; ++i)
            for (int w = 0; w < words; w += 4) {
                const uint32_t* from = &word[i][r * stride + t * words + w];
#if defined(FCI_EMULATOR)
                for (int e = 0; e < 4; ++e) to.word[i][w + e] = from[e];
#else
                const uint4 four = *reinterpret_cast<const uint4*>(from);
                to.word[i][w] = four.x, to.word[i][w + 1] = four.y, to.word[i][w + 2] = four.z,
                to.word[i][w + 3] = four.w;
#endif
            }
        return to;
    }
};

// C[r,n] += sum_k A[r,k] B[n,k], a chunk deep
template <Precision P>
__device__ __forceinline__ void add_product(const Rows<P>& a, const Stored<P>& b, Piece& c) {
    using T = Terms<P>;
    const int g = piece_row(), t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const T y = b.get(8 * (g / 2) + 2 * j + g % 2, t);
        float sum[4] = {};
        const auto product = [&](int of_a, int of_b) {
#pragma unroll
            for (int u = 0; u < T::words; u += 2)
                multiply(T::half, a.row[0].word[of_a][u], a.row[1].word[of_a][u], a.row[0].word[of_a][u + 1],
                         a.row[1].word[of_a][u + 1], y.word[of_b][u], y.word[of_b][u + 1], sum);
        };
        if constexpr (T::terms == 2) product(1, 0), product(0, 1);
        product(0, 0);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = i / 2, column = 2 * j + i % 2;
            if constexpr (T::half) // in this order: the product of both scales may overflow
                c[row][column] += sum[i] * a.inverse[row] * b.inverse[piece_column() + column];
            else
                c[row][column] += sum[i];
        }
    }
}

// f with the precision that is set, which is not fp32, as a constant.
template <class F>
void in_precision(F f) {
    if (precision() == Precision::fp16x3)
        f(std::integral_constant<Precision, Precision::fp16x3>());
    else if (precision() == Precision::tf32x3)
        f(std::integral_constant<Precision, Precision::tf32x3>());
    else
        f(std::integral_constant<Precision, Precision::tf32>());
}

} // namespace fci::cuda::mma
