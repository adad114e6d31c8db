// The pointwise ops, directly from the equations of ops/pointwise.h, with the standard library's functions.
#pragma once
#include <cmath>

#include "ops/pointwise.h"

namespace fci::reference {

template <class T>
T sigmoid(T x) {
    using std::exp;
    return T(1) / (T(1) + exp(-x));
}
template <class T>
T normal_below(T x) { // Phi(x)
    using std::erf;
    return T(0.5) * (T(1) + erf(x * T(M_SQRT1_2)));
}

template <class T>
void gelu_forward(int64_t n, const T* x, T* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * normal_below(x[i]);
}
template <class T>
void gelu_backward(int64_t n, const T* x, const T* dy, T* dx) {
    using std::exp;
    for (int64_t i = 0; i < n; ++i) { // Phi(x) + x phi(x)
        const T density = exp(T(-0.5) * x[i] * x[i]) / T(std::sqrt(2 * M_PI));
        dx[i] += dy[i] * (normal_below(x[i]) + x[i] * density);
    }
}

template <class T>
void silu_forward(int64_t n, const T* x, T* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * sigmoid(x[i]);
}
template <class T>
void silu_backward(int64_t n, const T* x, const T* dy, T* dx) {
    for (int64_t i = 0; i < n; ++i) {
        const T s = sigmoid(x[i]);
        dx[i] += dy[i] * (s + x[i] * s * (T(1) - s));
    }
}

template <class T>
void softplus_forward(int64_t n, const T* x, T* y) {
    using std::exp, std::log1p;
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] > T(0) ? x[i] + log1p(exp(-x[i])) : log1p(exp(x[i])); // no overflow
}
template <class T>
void softplus_backward(int64_t n, const T* x, const T* dy, T* dx) {
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * sigmoid(x[i]);
}

template <class T>
void negative_exp_forward(int64_t n, const T* x, T* y) {
    using std::exp;
    for (int64_t i = 0; i < n; ++i) y[i] = -exp(x[i]);
}
template <class T>
void negative_exp_backward(int64_t n, const T* x, const T* dy, T* dx) {
    using std::exp;
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * -exp(x[i]);
}

template <class T>
void elu_plus_one_forward(int64_t n, const T* x, T* y) {
    using std::exp;
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] > T(0) ? x[i] + T(1) : exp(x[i]);
}
template <class T>
void elu_plus_one_backward(int64_t n, const T* x, const T* dy, T* dx) {
    using std::exp;
    for (int64_t i = 0; i < n; ++i) dx[i] += x[i] > T(0) ? dy[i] : dy[i] * exp(x[i]);
}

template <class T>
void gate_forward(int64_t n, const T* x, const T* z, T* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * (z[i] * sigmoid(z[i]));
}
template <class T>
void gate_backward(int64_t n, const T* x, const T* z, const T* dy, T* dx, T* dz) {
    for (int64_t i = 0; i < n; ++i) {
        const T s = sigmoid(z[i]);
        dx[i] += dy[i] * (z[i] * s);
        dz[i] += dy[i] * x[i] * (s + z[i] * s * (T(1) - s));
    }
}

template <class T>
void residual_forward(int64_t n, const T* x, const T* z, T* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] + z[i];
}
template <class T>
void residual_backward(int64_t n, const T*, const T*, const T* dy, T* dx, T* dz) {
    for (int64_t i = 0; i < n; ++i) {
        dx[i] += dy[i];
        dz[i] += dy[i];
    }
}

} // namespace fci::reference
