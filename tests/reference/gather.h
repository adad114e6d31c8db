// gather, directly from the equations of ops/gather.h.
#pragma once
#include "ops/gather.h"

namespace fci::reference {

template <class T>
void gather_forward(GatherShape s, const T* x, const int32_t* index, T* y) {
    for (int b = 0; b < s.batch; ++b)
        for (int m = 0; m < s.rows; ++m)
            for (int c = 0; c < s.d; ++c)
                y[(b * s.rows + m) * s.d + c] = x[(b * s.time + index[b * s.rows + m]) * s.d + c]; // (1)
}

template <class T>
void gather_backward(GatherShape s, const int32_t* index, const T* dy, T* dx) {
    for (int b = 0; b < s.batch; ++b)
        for (int m = 0; m < s.rows; ++m)
            for (int c = 0; c < s.d; ++c)
                dx[(b * s.time + index[b * s.rows + m]) * s.d + c] += dy[(b * s.rows + m) * s.d + c]; // (dx)
}

} // namespace fci::reference
