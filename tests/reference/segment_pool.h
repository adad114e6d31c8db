// segment_pool, directly from the equations of ops/segment_pool.h.
#pragma once
#include "ops/segment_pool.h"

namespace fci::reference {

template <class T>
void segment_pool_forward(SegmentShape s, Pool pool, const T* x, T* y, int32_t* argmax) {
    for (int b = 0; b < s.batch; ++b)
        for (int i = 0; i < s.segments; ++i)
            for (int c = 0; c < s.d; ++c) {
                const auto at = [&](int j) { return x[(b * s.time + j) * s.d + c]; };
                const int first = i * s.length(), end = first + s.length(), to = (b * s.segments + i) * s.d + c;
                T sum = 0;
                int best = first;
                for (int j = first; j < end; ++j) {
                    sum += at(j);
                    if (at(j) > at(best)) best = j;
                }
                y[to] = pool == Pool::max ? at(best) : pool == Pool::sum ? sum : sum / s.length();
                if (pool == Pool::max) argmax[to] = best;
            }
}

template <class T>
void segment_pool_backward(SegmentShape s, Pool pool, const int32_t* argmax, const T* dy, T* dx) {
    for (int b = 0; b < s.batch; ++b)
        for (int j = 0; j < s.time; ++j)
            for (int c = 0; c < s.d; ++c) {
                const int from = (b * s.segments + j / s.length()) * s.d + c;
                T& to = dx[(b * s.time + j) * s.d + c];
                if (pool == Pool::max)
                    to += argmax[from] == j ? dy[from] : T(0);
                else
                    to += pool == Pool::sum ? dy[from] : dy[from] / s.length();
            }
}

} // namespace fci::reference
