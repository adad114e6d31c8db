// linear, directly from the equations of ops/linear.h.
#pragma once
#include "ops/linear.h"

namespace fci::reference {

template <class T>
void linear_forward(LinearShape s, const T* x, const T* w, const T* b, T* y) {
    for (int r = 0; r < s.rows; ++r)
        for (int o = 0; o < s.out; ++o) {
            T sum = 0;
            for (int i = 0; i < s.in; ++i) sum += x[r * s.in + i] * w[o * s.in + i];
            y[r * s.out + o] = b ? sum + b[o] : sum; // (1)
        }
}

template <class T>
void linear_backward(LinearShape s, const T* x, const T* w, const T* dy, T* dx, T* dw, T* db) {
    for (int r = 0; r < s.rows; ++r)
        for (int o = 0; o < s.out; ++o) {
            for (int i = 0; i < s.in; ++i) {
                dx[r * s.in + i] += dy[r * s.out + o] * w[o * s.in + i]; // (dx)
                dw[o * s.in + i] += dy[r * s.out + o] * x[r * s.in + i]; // (dW)
            }
            if (db) db[o] += dy[r * s.out + o]; // (db)
        }
}

} // namespace fci::reference
