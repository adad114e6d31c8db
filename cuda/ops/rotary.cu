// rotary on the GPU; the mathematics is in src/ops/rotary.h. A thread computes one number of y; neighbouring threads
// take neighbouring numbers. Bound by memory.
#include "ops/rotary.h"

#include "cuda/common.cuh"

namespace fci::cuda {

void rotary_forward(RotaryShape s, const float* x, const float* cos, const float* sin, float* y) {
    const int half = s.rotated / 2;
    each(int64_t{s.batch} * s.time * s.heads * s.d_head, [=] __device__(int64_t at) {
        const int64_t head = at / s.d_head, row = head / s.heads;
        const int c = static_cast<int>(at % s.d_head), h = static_cast<int>(head % s.heads);
        const float* from = x + row * s.stride + int64_t{h} * s.head_step;
        float v = from[c]; // (3)
        if (c < s.rotated) {
            const int i = c < half ? c : c - half;
            const int64_t angle = row % s.time * half + i;
            v = c < half ? from[c] * cos[angle] - from[c + half] * sin[angle]  // (1)
                         : from[c] * cos[angle] + from[c - half] * sin[angle]; // (2)
        }
        y[at] = v;
    });
}

} // namespace fci::cuda
