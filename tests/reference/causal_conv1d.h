// causal_conv1d, straight from the equations of ops/causal_conv1d.h.
#pragma once
#include "ops/causal_conv1d.h"

namespace fci::reference {

// The position that tap k of output t looks at; it may lie outside the sequence, where x is 0.
inline int conv_source(ConvShape s, int t, int k) {
    const int away = s.width - 1 - k;
    return s.reverse ? t + away : t - away;
}

template <class T>
void causal_conv1d_forward(ConvShape s, const T* x, const T* w, const T* bias, T* y, T*) {
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.time; ++t)
            for (int c = 0; c < s.channels; ++c) {
                T sum = bias[c];
                for (int k = 0; k < s.width; ++k) {
                    const int from = conv_source(s, t, k);
                    if (0 <= from && from < s.time) sum += w[c * s.width + k] * x[(b * s.time + from) * s.channels + c];
                }
                y[(b * s.time + t) * s.channels + c] = sum; // (1)
            }
}

template <class T>
void causal_conv1d_backward(ConvShape s, const T* x, const T* w, const T* dy, T* dx, T* dw, T* dbias, T*) {
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.time; ++t)
            for (int c = 0; c < s.channels; ++c) {
                const T g = dy[(b * s.time + t) * s.channels + c];
                for (int k = 0; k < s.width; ++k) {
                    const int from = conv_source(s, t, k);
                    if (from < 0 || from >= s.time) continue;
                    dx[(b * s.time + from) * s.channels + c] += w[c * s.width + k] * g; // (dx)
                    dw[c * s.width + k] += g * x[(b * s.time + from) * s.channels + c]; // (dw)
                }
                dbias[c] += g; // (db)
            }
}

} // namespace fci::reference
