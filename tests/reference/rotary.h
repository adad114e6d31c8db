// rotary, directly from the equations of ops/rotary.h.
#pragma once
#include "ops/rotary.h"

namespace fci::reference {

template <class T>
void rotary_forward(RotaryShape s, const T* x, const T* cos, const T* sin, T* y) {
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.time; ++t)
            for (int h = 0; h < s.heads; ++h)
                for (int c = 0; c < s.d_head; ++c) {
                    const T* head = x + (b * s.time + t) * s.stride + h * s.head_step;
                    const int half = s.rotated / 2, i = c % std::max(half, 1);
                    const T p = half ? cos[t * half + i] : T(1), q = half ? sin[t * half + i] : T(0);
                    T value = head[c]; // (3)
                    if (c < half)
                        value = head[c] * p - head[c + half] * q; // (1)
                    else if (c < 2 * half)
                        value = head[c] * p + head[c - half] * q; // (2)
                    y[((b * s.time + t) * s.heads + h) * s.d_head + c] = value;
                }
}

} // namespace fci::reference
