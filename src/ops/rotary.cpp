#include "ops/rotary.h"

#include <algorithm>
#include <cmath>

namespace fci {
namespace cpu {

void rotary_forward(RotaryShape s, const float* x, const float* cos, const float* sin, float* y) {
    const int half = s.rotated / 2;
    for (int64_t bt = 0; bt < int64_t{s.batch} * s.time; ++bt) {
        const float *c = cos + bt % s.time * half, *n = sin + bt % s.time * half;
        for (int h = 0; h < s.heads; ++h) {
            const float* from = x + bt * s.stride + h * s.head_step;
            float* to = y + (bt * s.heads + h) * s.d_head;
#pragma omp simd
            for (int i = 0; i < half; ++i) {
                to[i] = from[i] * c[i] - from[i + half] * n[i];        // (1)
                to[i + half] = from[i + half] * c[i] + from[i] * n[i]; // (2)
            }
            std::copy(from + s.rotated, from + s.d_head, to + s.rotated); // (3)
        }
    }
}

} // namespace cpu

RotaryTables::RotaryTables(int time, int rotated, double base) {
    for (int t = 0; t < time; ++t)
        for (int i = 0; i < rotated / 2; ++i) {
            const float angle = static_cast<float>(t) * static_cast<float>(std::pow(base, -2. * i / rotated));
            cos.push_back(static_cast<float>(std::cos(double{angle})));
            sin.push_back(static_cast<float>(std::sin(double{angle})));
        }
}

} // namespace fci
