// rank1_scores, directly from the equations of ops/rank1_scores.h.
#pragma once
#include <vector>

#include "ops/rank1_scores.h"

namespace fci::reference {

template <class T>
void rank1_scores_forward(Rank1Shape s, const T* x, const int32_t* query, const T* v, T* scores, T* f) {
    for (int bj = 0; bj < s.batch * s.time; ++bj) {
        f[bj] = 0;
        for (int c = 0; c < s.d; ++c) f[bj] += v[c] * x[bj * s.d + c]; // (1)
    }
    for (int b = 0; b < s.batch; ++b)
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.time; ++j)
                scores[(b * s.rows + r) * s.time + j] =
                    f[b * s.time + query[b * s.rows + r]] * f[b * s.time + j]; // (2)
}

template <class T>
void rank1_scores_backward(Rank1Shape s, const T* x, const int32_t* query, const T* v, const T* f, const T* dscores,
                           T* dx, T* dv) {
    std::vector<T> df(s.batch * s.time);
    for (int b = 0; b < s.batch; ++b)
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.time; ++j) {
                const int at_q = b * s.time + query[b * s.rows + r], at_j = b * s.time + j;
                const T ds = dscores[(b * s.rows + r) * s.time + j];
                df[at_j] += ds * f[at_q]; // (df)
                df[at_q] += ds * f[at_j];
            }
    for (int bj = 0; bj < s.batch * s.time; ++bj)
        for (int c = 0; c < s.d; ++c) {
            dx[bj * s.d + c] += df[bj] * v[c]; // (dx)
            dv[c] += df[bj] * x[bj * s.d + c]; // (dv)
        }
}

} // namespace fci::reference
