// layer_norm, directly from the equations of ops/layer_norm.h.
#pragma once
#include <cmath>
#include <vector>

#include "ops/layer_norm.h"

namespace fci::reference {

template <class T>
void layer_norm_forward(NormShape s, const T* x, const T* w, const T* b, T* y, T* mean, T* rstd) {
    using std::sqrt;
    for (int r = 0; r < s.rows; ++r) {
        T sum = 0, squares = 0;
        for (int c = 0; c < s.d; ++c) sum += x[r * s.d + c];
        mean[r] = sum / s.d;
        for (int c = 0; c < s.d; ++c) squares += (x[r * s.d + c] - mean[r]) * (x[r * s.d + c] - mean[r]);
        rstd[r] = T(1) / sqrt(squares / s.d + T(s.eps));
        for (int c = 0; c < s.d; ++c) y[r * s.d + c] = (x[r * s.d + c] - mean[r]) * rstd[r] * w[c] + b[c]; // (1)
    }
}

template <class T>
void layer_norm_backward(NormShape s, const T* x, const T* w, const T* mean, const T* rstd, const T* dy, T* dx, T* dw,
                         T* db) {
    for (int r = 0; r < s.rows; ++r) {
        const auto xhat = [&](int c) { return (x[r * s.d + c] - mean[r]) * rstd[r]; };
        const auto g = [&](int c) { return dy[r * s.d + c] * w[c]; };
        T sum_g = 0, sum_gx = 0;
        for (int c = 0; c < s.d; ++c) {
            sum_g += g(c);
            sum_gx += g(c) * xhat(c);
        }
        for (int c = 0; c < s.d; ++c) {
            dx[r * s.d + c] += rstd[r] * (g(c) - sum_g / s.d - xhat(c) * (sum_gx / s.d)); // (dx)
            dw[c] += dy[r * s.d + c] * xhat(c);                                           // (dw)
            db[c] += dy[r * s.d + c];                                                     // (db)
        }
    }
}

template <class T>
void residual_norm_forward(NormShape s, const T* x, const T* z, const T* w, const T* b, T* h, T* y, T* mean, T* rstd) {
    for (int i = 0; i < s.rows * s.d; ++i) h[i] = x[i] + z[i]; // (2)
    layer_norm_forward<T>(s, h, w, b, y, mean, rstd);
}

template <class T>
void residual_norm_backward(NormShape s, const T* h, const T* w, const T* mean, const T* rstd, const T* dh, const T* dy,
                            T* dx, T* dz, T* dw, T* db) {
    std::vector<T> all(dh, dh + s.rows * s.d);
    layer_norm_backward<T>(s, h, w, mean, rstd, dy, all.data(), dw, db);
    for (int i = 0; i < s.rows * s.d; ++i) { // (dh)
        dx[i] += all[i];
        dz[i] += all[i];
    }
}

} // namespace fci::reference
