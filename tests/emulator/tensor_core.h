// A tensor core of Hopper, bit by bit: D = A B + D of m16n8k16 (half) and m16n8k8 (TF32), as mma.sync computes it. No
// part of the machine below: plain code on numbers, so that a GPU's results can be compared with it.
//
// Fragments, g = lane / 4, t = lane % 4 [PTX ISA 9.1, 9.7.14.5]: a register holds two halves or one TF32 number.
//             half, m16n8k16                                   TF32, m16n8k8
//   a (m,k)   0 (g, 2t..2t+1)   1 (g+8, same)                  0 (g, t)     1 (g+8, t)
//             2 (g, 2t+8..)     3 (g+8, same)                  2 (g, t+4)   3 (g+8, t+4)
//   b (k,n)   0 (2t..2t+1, g)   1 (2t+8.., g)                  0 (t, g)     1 (t+4, g)
//   d (m,n)   0 (g, 2t)   1 (g, 2t+1)   2 (g+8, 2t)   3 (g+8, 2t+1)
//
// Sum [MMA-Sim, arXiv 2511.10909, which compared it with GPUs]: TF32 inputs lose their low 13 bits. 2^e is the largest
// power of two among d and the products, where a product's exponent is the sum of its factors'. d and the exact
// products are truncated towards zero at 25 bits below 2^e and added exactly; the sum is truncated to a float. So no
// order of terms matters within one instruction, and every sum is a little too small. A NaN, Inf 0 and Inf - Inf give
// 0x7fffffff. What is beyond the largest float becomes Inf (our assumption).
#pragma once
#include <cstdint>

namespace emulator {

enum class Format { half, tf32 };

struct Fragments { // of a lane
    uint32_t a[4], b[2];
    float d[4];
};

// lane: those of the 32 lanes of a warp. Writes d.
void tensor_core(Format, Fragments* const* lane);

} // namespace emulator
