// anchors, directly from the equations of ops/anchors.h.
#pragma once
#include "ops/anchors.h"
#include "tests/reference/memory_scores.h" // softmax_rows

namespace fci::reference {

template <class T>
void anchors_forward(AnchorShape s, const T* x, const T* a, T* y, T* p) {
    std::vector<T> z(s.rows * s.anchors);
    for (int r = 0; r < s.rows; ++r)
        for (int k = 0; k < s.anchors; ++k)
            for (int c = 0; c < s.d; ++c) z[r * s.anchors + k] += x[r * s.d + c] * a[k * s.d + c];
    const std::vector<T> P = softmax_rows(s.rows, s.anchors, z.data()); // (1)
    std::copy(P.begin(), P.end(), p);
    for (int r = 0; r < s.rows; ++r)
        for (int c = 0; c < s.d; ++c) {
            y[r * s.d + c] = x[r * s.d + c];
            for (int k = 0; k < s.anchors; ++k) y[r * s.d + c] += P[r * s.anchors + k] * a[k * s.d + c]; // (2)
        }
}

template <class T>
void anchors_backward(AnchorShape s, const T* x, const T* a, const T* p, const T* dy, T* dx, T* da) {
    const int n = s.anchors;
    std::vector<T> dP(s.rows * n), dz(s.rows * n);
    for (int r = 0; r < s.rows; ++r)
        for (int k = 0; k < n; ++k)
            for (int c = 0; c < s.d; ++c) dP[r * n + k] += dy[r * s.d + c] * a[k * s.d + c]; // (dP)
    softmax_rows_backward(s.rows, n, std::vector<T>(p, p + s.rows * n), dP, dz.data());      // (dz)
    for (int r = 0; r < s.rows; ++r)
        for (int c = 0; c < s.d; ++c) {
            dx[r * s.d + c] += dy[r * s.d + c];
            for (int k = 0; k < n; ++k) {
                dx[r * s.d + c] += dz[r * n + k] * a[k * s.d + c];                                  // (dx)
                da[k * s.d + c] += p[r * n + k] * dy[r * s.d + c] + dz[r * n + k] * x[r * s.d + c]; // (dA)
            }
        }
}

} // namespace fci::reference
