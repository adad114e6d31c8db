// rotary: rotates each pair of numbers of a head by an angle that grows with the position  [Su et al. 2021, RoPE]
//   angle[t,i] = t base^(-2i/r),   i < r/2: of the first r numbers of a head
//   y[t,i]       = x[t,i] cos angle[t,i] - x[t,i+r/2] sin angle[t,i]                            (1)
//   y[t,i+r/2]   = x[t,i+r/2] cos angle[t,i] + x[t,i] sin angle[t,i]                            (2)
//   y[t,c]       = x[t,c],   c >= r                                                             (3)
// A pair is a number of the first half of the r and one of the second ("half-split", as GPT-NeoX and Hugging Face's
// Llama keep their weights), not two neighbours. The product of a query and a key then depends on their distance alone.
// Shapes    x (batch,time,..): head h begins at column h head_step of `stride`   y (batch,time,heads,d_head), dense
//           cos sin (time,r/2), of RotaryTables
//           r may be 0: then heads that lie apart are copied to be dense
// Contract  forward only, for frozen models: it has no backward and no tape node.
// Cost      6 flops a pair, O(batch time heads d_head), bound by memory.
#pragma once
#include <vector>

#include "core/tape.h"

namespace fci {

struct RotaryShape {
    int batch, time, heads, d_head;
    int rotated; // r: even, at most d_head
    int head_step, stride;
};

constexpr OpCost rotary_cost(RotaryShape s) {
    const double heads = 1. * s.batch * s.time * s.heads;
    return {{3 * heads * s.rotated, 0, 2 * heads * s.d_head + 1. * s.time * s.rotated}, {}};
}

template <class T>
using Rotary = void(RotaryShape, const T* x, const T* cos, const T* sin, T* y);

FCI_TWINS(Rotary<float>, rotary_forward)

// The angles that the models were trained with: frequencies rounded to float32, products in float32.
struct RotaryTables {
    std::vector<float> cos, sin;
    RotaryTables(int time, int rotated, double base);
};

} // namespace fci
