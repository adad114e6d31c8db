// fourier by the definition of the complex transform, each output a sum over all inputs. The tables are not used.
#pragma once
#include <cmath>

#include "ops/fourier.h"

namespace fci::reference {

// Re sum_{n,j} x[n,j] exp(-2 pi i (k n / t + l j / d)) / sqrt(t d)
template <class T>
T fourier_number(FourierShape s, const T* x, int k, int l) {
    T real = 0;
    for (int n = 0; n < s.time; ++n)
        for (int j = 0; j < s.d; ++j) {
            const double turns = static_cast<double>(k * n % s.time) / s.time + static_cast<double>(l * j % s.d) / s.d;
            real += x[n * s.d + j] * T(std::cos(2 * M_PI * turns));
        }
    return real * T(1 / std::sqrt(static_cast<double>(s.time) * s.d));
}

template <class T>
void fourier_forward(FourierShape s, const T* x, const FourierTables&, T* y) {
    for (int b = 0; b < s.batch; ++b)
        for (int k = 0; k < s.time; ++k)
            for (int l = 0; l < s.d; ++l) y[(b * s.time + k) * s.d + l] = fourier_number(s, x + b * s.time * s.d, k, l);
}

template <class T>
void fourier_backward(FourierShape s, const T* dy, const FourierTables&, T* dx) {
    for (int b = 0; b < s.batch; ++b)
        for (int n = 0; n < s.time; ++n)
            for (int j = 0; j < s.d; ++j)
                for (int k = 0; k < s.time; ++k)
                    for (int l = 0; l < s.d; ++l) {
                        const double turns =
                            static_cast<double>(k * n % s.time) / s.time + static_cast<double>(l * j % s.d) / s.d;
                        dx[(b * s.time + n) * s.d + j] += dy[(b * s.time + k) * s.d + l] *
                                                          T(std::cos(2 * M_PI * turns)) *
                                                          T(1 / std::sqrt(static_cast<double>(s.time) * s.d));
                    }
}

} // namespace fci::reference
