// routing_scores as the paper's eq. 1 says it: queries and keys of every position, every pair of positions, head by
// head; and only then the rows that were asked for. The kernel's saved and scratch memory is not used.
//   Q[i] = Wq x[i]   K[j] = Wk x[j]   S[i,j] = mean over heads of Q[i,head].K[j,head] / sqrt(d/H)   s[r,j] = S[q_r,j]
#pragma once
#include <cmath>
#include <vector>

#include "ops/routing_scores.h"

namespace fci::reference {

// W x[i] of every position of sequence b: (t,d)
template <class T>
std::vector<T> project(RoutingShape s, int b, const T* x, const T* w) {
    std::vector<T> out(s.time * s.d);
    for (int i = 0; i < s.time; ++i)
        for (int o = 0; o < s.d; ++o)
            for (int c = 0; c < s.d; ++c) out[i * s.d + o] += w[o * s.d + c] * x[(b * s.time + i) * s.d + c];
    return out;
}

template <class T>
void routing_scores_forward(RoutingShape s, const T* x, const int32_t* query, const T* wq, const T* wk, T* scores, T*) {
    const int width = s.d / s.heads;
    const T root = T(std::sqrt(static_cast<double>(width)));
    for (int b = 0; b < s.batch; ++b) {
        const std::vector<T> Q = project(s, b, x, wq), K = project(s, b, x, wk);
        std::vector<T> S(s.time * s.time);
        for (int i = 0; i < s.time; ++i)
            for (int j = 0; j < s.time; ++j)
                for (int head = 0; head < s.heads; ++head) {
                    T dot = 0;
                    for (int c = head * width; c < (head + 1) * width; ++c) dot += Q[i * s.d + c] * K[j * s.d + c];
                    S[i * s.time + j] += dot / root / s.heads;
                }
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.time; ++j)
                scores[(b * s.rows + r) * s.time + j] = S[query[b * s.rows + r] * s.time + j];
    }
}

template <class T>
void routing_scores_backward(RoutingShape s, const T* x, const int32_t* query, const T* wq, const T* wk, const T*,
                             const T* dscores, T* dx, T* dwq, T* dwk, T*) {
    const T scale = T(1 / std::sqrt(static_cast<double>(s.d / s.heads))) / s.heads;
    for (int b = 0; b < s.batch; ++b) {
        const std::vector<T> Q = project(s, b, x, wq), K = project(s, b, x, wk);
        std::vector<T> dS(s.time * s.time), dQ(s.time * s.d), dK(s.time * s.d);
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.time; ++j)
                dS[query[b * s.rows + r] * s.time + j] += dscores[(b * s.rows + r) * s.time + j];
        for (int i = 0; i < s.time; ++i)
            for (int j = 0; j < s.time; ++j)
                for (int c = 0; c < s.d; ++c) {
                    dQ[i * s.d + c] += scale * dS[i * s.time + j] * K[j * s.d + c];
                    dK[j * s.d + c] += scale * dS[i * s.time + j] * Q[i * s.d + c];
                }
        for (int i = 0; i < s.time; ++i)
            for (int o = 0; o < s.d; ++o)
                for (int c = 0; c < s.d; ++c) {
                    const int xc = (b * s.time + i) * s.d + c;
                    dwq[o * s.d + c] += dQ[i * s.d + o] * x[xc];
                    dwk[o * s.d + c] += dK[i * s.d + o] * x[xc];
                    dx[xc] += wq[o * s.d + c] * dQ[i * s.d + o] + wk[o * s.d + c] * dK[i * s.d + o];
                }
    }
}

} // namespace fci::reference
