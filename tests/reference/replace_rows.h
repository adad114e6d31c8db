// replace_rows, directly from the equations of ops/replace_rows.h.
#pragma once
#include <algorithm>

#include "ops/replace_rows.h"

namespace fci::reference {

template <class T>
void replace_rows_forward(GatherShape s, const T* x, const int32_t* index, const T* z, T* y) {
    for (int i = 0; i < s.batch * s.time * s.d; ++i) y[i] = x[i];
    for (int i = 0; i < s.batch * s.rows; ++i)
        for (int c = 0; c < s.d; ++c) y[(i / s.rows * s.time + index[i]) * s.d + c] = z[i * s.d + c]; // (1)
}

template <class T>
void replace_rows_backward(GatherShape s, const int32_t* index, const T* dy, T* dx, T* dz) {
    for (int b = 0; b < s.batch; ++b)
        for (int j = 0; j < s.time; ++j) {
            const int32_t *begin = index + b * s.rows, *end = begin + s.rows, *at = std::find(begin, end, j);
            for (int c = 0; c < s.d; ++c)
                if (at == end)
                    dx[(b * s.time + j) * s.d + c] += dy[(b * s.time + j) * s.d + c]; // (dx)
                else
                    dz[(at - index) * s.d + c] += dy[(b * s.time + j) * s.d + c]; // (dz)
        }
}

} // namespace fci::reference
