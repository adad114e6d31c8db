// causal_conv1d, directly from the equations of ops/causal_conv1d.h.
#pragma once
#include "ops/causal_conv1d.h"
#include "tests/reference/pointwise.h"

namespace fci::reference {

// The position that tap k of output t reads; it may be outside the sequence, where x is 0.
inline int conv_source(ConvShape s, bool reverse, int t, int k) {
    const int away = s.width - 1 - k;
    return reverse ? t + away : t - away;
}

// p of one element
template <class T>
T conv_sum(ConvShape s, const ConvDirection<T>& to, int b, int t, int c) {
    T sum = to.bias[c];
    for (int k = 0; k < s.width; ++k) {
        const int from = conv_source(s, to.reverse, t, k);
        if (0 <= from && from < s.time)
            sum += to.w[c * s.width + k] * to.x[(b * s.time + from) * s.channels + c]; // (1)
    }
    return sum;
}

template <class T>
void causal_conv1d_forward(ConvShape s, Directions<ConvDirection<T>> directions) {
    for (const ConvDirection<T>& to : directions)
        for (int b = 0; b < s.batch; ++b)
            for (int t = 0; t < s.time; ++t)
                for (int c = 0; c < s.channels; ++c) {
                    const T p = conv_sum(s, to, b, t, c);
                    silu_forward(1, &p, to.y + (b * s.time + t) * s.channels + c); // (2)
                }
}

template <class T>
void causal_conv1d_backward(ConvShape s, Directions<ConvDirection<T>> directions) {
    for (const ConvDirection<T>& to : directions)
        for (int b = 0; b < s.batch; ++b)
            for (int t = 0; t < s.time; ++t)
                for (int c = 0; c < s.channels; ++c) {
                    const T p = conv_sum(s, to, b, t, c);
                    T dp = T(0);
                    silu_backward(1, &p, to.dy + (b * s.time + t) * s.channels + c, &dp); // (dp)
                    for (int k = 0; k < s.width; ++k) {
                        const int from = conv_source(s, to.reverse, t, k);
                        if (from < 0 || from >= s.time) continue;
                        to.dx[(b * s.time + from) * s.channels + c] += to.w[c * s.width + k] * dp; // (dx)
                        to.dw[c * s.width + k] += dp * to.x[(b * s.time + from) * s.channels + c]; // (dw)
                    }
                    to.dbias[c] += dp; // (db)
                }
}

} // namespace fci::reference
