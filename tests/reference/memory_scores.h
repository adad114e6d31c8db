// memory_scores from its definition; the backward pass keeps what it needs from the forward pass as plain matrices.
#pragma once
#include <cmath>
#include <vector>

#include "ops/memory_scores.h"

namespace fci::reference {

template <class T>
std::vector<T> softmax_rows(int rows, int n, const T* z) {
    using std::exp;
    std::vector<T> p(rows * n);
    for (int r = 0; r < rows; ++r) {
        T sum = 0;
        for (int m = 0; m < n; ++m) sum += p[r * n + m] = exp(z[r * n + m]);
        for (int m = 0; m < n; ++m) p[r * n + m] = p[r * n + m] / sum;
    }
    return p;
}
template <class T>
void softmax_rows_backward(int rows, int n, const std::vector<T>& p, const std::vector<T>& dp, T* dz) {
    for (int r = 0; r < rows; ++r)
        for (int m = 0; m < n; ++m)
            for (int l = 0; l < n; ++l)
                dz[r * n + m] += dp[r * n + l] * p[r * n + l] * (T(l == m ? 1 : 0) - p[r * n + m]);
}

// p(j|m) of one sequence: (time, slots)
template <class T>
std::vector<T> read_of(MemoryShape s, const std::vector<T>& P) {
    std::vector<T> R(P.size());
    for (int m = 0; m < s.slots; ++m) {
        T n = 0;
        for (int j = 0; j < s.time; ++j) n += P[j * s.slots + m];
        for (int j = 0; j < s.time; ++j) R[j * s.slots + m] = P[j * s.slots + m] / n;
    }
    return R;
}

// saved: P and Pq as the kernel stores them; the rest of it is not used
template <class T>
void memory_scores_forward(MemoryShape s, const T* z, const T* zq, T* scores, T* saved) {
    using std::log;
    const int M = s.slots;
    for (int b = 0; b < s.batch; ++b) {
        const std::vector<T> P = softmax_rows(s.time, M, z + b * s.time * M), R = read_of(s, P),
                             Q = softmax_rows(s.rows, M, zq + b * s.rows * M);
        std::copy(P.begin(), P.end(), saved + b * s.time * M);
        std::copy(Q.begin(), Q.end(), saved + (s.batch * s.time + b * s.rows) * M);
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.time; ++j) {
                T p = 0;
                for (int m = 0; m < M; ++m) p += Q[r * M + m] * R[j * M + m];
                scores[(b * s.rows + r) * s.time + j] = log(p);
            }
    }
}

template <class T>
void memory_scores_backward(MemoryShape s, const T* saved, const T* scores, const T* dscores, T* dz, T* dzq) {
    using std::exp;
    const int M = s.slots;
    for (int b = 0; b < s.batch; ++b) {
        const T *at = saved + b * s.time * M, *at_q = saved + (s.batch * s.time + b * s.rows) * M;
        const std::vector<T> P(at, at + s.time * M), Q(at_q, at_q + s.rows * M), R = read_of(s, P);
        std::vector<T> dP(P.size()), dQ(Q.size()), dR(P.size());
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.time; ++j) {
                const T D = dscores[(b * s.rows + r) * s.time + j] / exp(scores[(b * s.rows + r) * s.time + j]);
                for (int m = 0; m < M; ++m) {
                    dQ[r * M + m] += D * R[j * M + m];
                    dR[j * M + m] += D * Q[r * M + m];
                }
            }
        for (int m = 0; m < M; ++m) { // R[j] = P[j] / n
            T n = 0;
            for (int j = 0; j < s.time; ++j) n += P[j * M + m];
            for (int j = 0; j < s.time; ++j)
                for (int i = 0; i < s.time; ++i)
                    dP[j * M + m] += dR[i * M + m] * (T(i == j ? 1 : 0) / n - P[i * M + m] / (n * n));
        }
        softmax_rows_backward(s.time, M, P, dP, dz + b * s.time * M);
        softmax_rows_backward(s.rows, M, Q, dQ, dzq + b * s.rows * M);
    }
}

} // namespace fci::reference
