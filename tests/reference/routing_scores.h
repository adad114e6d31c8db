// routing_scores as in the paper's eq. 1: queries and keys of every row, every pair of them, head by head. The kernel's
// saved memory is not used.
//   Q[r] = Wq xq[r]   K[j] = Wk x[j]   s[r,j] = mean over heads of Q[r,head].K[j,head] / sqrt(d/H)
#pragma once
#include <cmath>
#include <vector>

#include "ops/routing_scores.h"

namespace fci::reference {

// W x[i] for n rows: (n,d)
template <class T>
std::vector<T> project(int n, int d, const T* x, const T* w) {
    std::vector<T> out(n * d);
    for (int i = 0; i < n; ++i)
        for (int o = 0; o < d; ++o)
            for (int c = 0; c < d; ++c) out[i * d + o] += w[o * d + c] * x[i * d + c];
    return out;
}

template <class T>
void routing_scores_forward(RoutingShape s, const T* xq, const T* x, const T* wq, const T* wk, T* scores, T*) {
    const int width = s.d / s.heads;
    const T root = T(std::sqrt(static_cast<double>(width)));
    for (int b = 0; b < s.batch; ++b) {
        const std::vector<T> Q = project(s.rows, s.d, xq + b * s.rows * s.d, wq),
                             K = project(s.keys, s.d, x + b * s.keys * s.d, wk);
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.keys; ++j) {
                T sum = 0;
                for (int head = 0; head < s.heads; ++head) {
                    T dot = 0;
                    for (int c = head * width; c < (head + 1) * width; ++c) dot += Q[r * s.d + c] * K[j * s.d + c];
                    sum += dot / root / s.heads;
                }
                scores[(b * s.rows + r) * s.keys + j] = sum;
            }
    }
}

template <class T>
void routing_scores_backward(RoutingShape s, const T* xq, const T* x, const T* wq, const T* wk, const T*,
                             const T* dscores, T* dxq, T* dx, T* dwq, T* dwk) {
    const T scale = T(1 / std::sqrt(static_cast<double>(s.d / s.heads))) / s.heads;
    // x' += W^T dY, dW += dY x^T for n rows
    const auto back = [&](int n, const T* in, const T* w, const std::vector<T>& dy, T* din, T* dw) {
        for (int i = 0; i < n; ++i)
            for (int o = 0; o < s.d; ++o)
                for (int c = 0; c < s.d; ++c) {
                    dw[o * s.d + c] += dy[i * s.d + o] * in[i * s.d + c];
                    din[i * s.d + c] += w[o * s.d + c] * dy[i * s.d + o];
                }
    };
    for (int b = 0; b < s.batch; ++b) {
        const int at_q = b * s.rows * s.d, at_x = b * s.keys * s.d;
        const std::vector<T> Q = project(s.rows, s.d, xq + at_q, wq), K = project(s.keys, s.d, x + at_x, wk);
        std::vector<T> dQ(s.rows * s.d), dK(s.keys * s.d);
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.keys; ++j)
                for (int c = 0; c < s.d; ++c) {
                    const T ds = scale * dscores[(b * s.rows + r) * s.keys + j];
                    dQ[r * s.d + c] += ds * K[j * s.d + c];
                    dK[j * s.d + c] += ds * Q[r * s.d + c];
                }
        back(s.rows, xq + at_q, wq, dQ, dxq + at_q, dwq);
        back(s.keys, x + at_x, wk, dK, dx + at_x, dwk);
    }
}

} // namespace fci::reference
