// dot_scores, directly from the equations of ops/dot_scores.h.
#pragma once
#include "ops/dot_scores.h"

namespace fci::reference {

template <class T>
void dot_scores_forward(DotShape s, T scale, const T* q, const T* k, T* scores) {
    for (int b = 0; b < s.batch; ++b)
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.keys; ++j) {
                T dot = 0;
                for (int c = 0; c < s.d; ++c) dot += q[(b * s.rows + r) * s.d + c] * k[(b * s.keys + j) * s.d + c];
                scores[(b * s.rows + r) * s.keys + j] = scale * dot;
            }
}

template <class T>
void dot_scores_backward(DotShape s, T scale, const T* q, const T* k, const T* dscores, T* dq, T* dk) {
    for (int b = 0; b < s.batch; ++b)
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.keys; ++j)
                for (int c = 0; c < s.d; ++c) {
                    const int row = (b * s.rows + r) * s.d + c, key = (b * s.keys + j) * s.d + c;
                    const T ds = scale * dscores[(b * s.rows + r) * s.keys + j];
                    dq[row] += ds * k[key];
                    dk[key] += ds * q[row];
                }
}

} // namespace fci::reference
