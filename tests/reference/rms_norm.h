// rms_norm, directly from the equations of ops/rms_norm.h.
#pragma once
#include <cmath>

#include "ops/rms_norm.h"

namespace fci::reference {

template <class T>
void rms_norm_forward(NormShape s, const T* x, const T* w, T* y, T* rstd) {
    using std::sqrt;
    for (int r = 0; r < s.rows; ++r) {
        T squares = 0;
        for (int c = 0; c < s.d; ++c) squares += x[r * s.d + c] * x[r * s.d + c];
        rstd[r] = T(1) / sqrt(squares / s.d + T(s.eps));
        for (int c = 0; c < s.d; ++c) y[r * s.d + c] = x[r * s.d + c] * rstd[r] * (w ? w[c] : T(1)); // (1)
    }
}

template <class T>
void rms_norm_backward(NormShape s, const T* x, const T* w, const T* rstd, const T* dy, T* dx, T* dw) {
    for (int r = 0; r < s.rows; ++r) {
        const auto xhat = [&](int c) { return x[r * s.d + c] * rstd[r]; };
        const auto g = [&](int c) { return dy[r * s.d + c] * (w ? w[c] : T(1)); };
        T sum_gx = 0;
        for (int c = 0; c < s.d; ++c) sum_gx += g(c) * xhat(c);
        for (int c = 0; c < s.d; ++c) {
            dx[r * s.d + c] += rstd[r] * (g(c) - xhat(c) * (sum_gx / s.d)); // (dx)
            if (w) dw[c] += dy[r * s.d + c] * xhat(c);                      // (dw)
        }
    }
}

} // namespace fci::reference
