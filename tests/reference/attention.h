// attention, directly from the equations of ops/attention.h: all of S and P of a head. lse is not used.
#pragma once
#include <cmath>
#include <vector>

#include "ops/attention.h"

namespace fci::reference {

// Index of column c of a head's vector, in q, in k, in v, and in y.
inline int at_q(AttentionShape s, int b, int i, int head, int c) {
    return (b * s.queries + i) * s.q_stride + head * s.d_head + c;
}
inline int at_kv(AttentionShape s, int b, int j, int head, int c) {
    return (b * s.keys + j) * s.kv_stride + head / s.shared * s.d_head + c;
}
inline int at_v(AttentionShape s, int b, int j, int head, int c) {
    return (b * s.keys + j) * s.value_stride() + head / s.shared * s.value_width() + c;
}
inline int at_y(AttentionShape s, int b, int i, int head, int c) {
    return ((b * s.queries + i) * s.heads + head) * s.value_width() + c;
}

template <class T>
T attention_scale(AttentionShape s) {
    return T(1 / std::sqrt(static_cast<double>(s.d_head)));
}

// P (queries,keys) of one head; 0 for keys that are not seen.
template <class T>
std::vector<T> attention_weights(AttentionShape s, int b, int head, const T* q, const T* k) {
    using std::exp;
    std::vector<T> P(s.queries * s.keys);
    for (int i = 0; i < s.queries; ++i) {
        const int seen = s.causal ? i + 1 : s.keys;
        T* row = P.data() + i * s.keys;
        for (int j = 0; j < seen; ++j) {
            T dot = 0;
            for (int c = 0; c < s.d_head; ++c) dot += q[at_q(s, b, i, head, c)] * k[at_kv(s, b, j, head, c)];
            row[j] = attention_scale<T>(s) * dot; // (1)
        }
        T highest = row[0], sum = 0;
        for (int j = 1; j < seen; ++j) highest = row[j] > highest ? row[j] : highest;
        for (int j = 0; j < seen; ++j) sum += exp(row[j] - highest);
        for (int j = 0; j < seen; ++j) row[j] = exp(row[j] - highest) / sum; // (2)
    }
    return P;
}

template <class T>
void attention_forward(AttentionShape s, const T* q, const T* k, const T* v, T* y, T*) {
    for (int b = 0; b < s.batch; ++b)
        for (int head = 0; head < s.heads; ++head) {
            const std::vector<T> P = attention_weights(s, b, head, q, k);
            for (int i = 0; i < s.queries; ++i)
                for (int c = 0; c < s.value_width(); ++c) {
                    T sum = 0;
                    for (int j = 0; j < s.keys; ++j) sum += P[i * s.keys + j] * v[at_v(s, b, j, head, c)];
                    y[at_y(s, b, i, head, c)] = sum; // (3)
                }
        }
}

template <class T>
void attention_backward(AttentionShape s, const T* q, const T* k, const T* v, const T*, const T*, const T* dy, T* dq,
                        T* dk, T* dv) {
    for (int b = 0; b < s.batch; ++b)
        for (int head = 0; head < s.heads; ++head) {
            const std::vector<T> P = attention_weights(s, b, head, q, k);
            std::vector<T> dP(s.queries * s.keys);
            for (int i = 0; i < s.queries; ++i) {
                T delta = 0;
                for (int j = 0; j < s.keys; ++j) {
                    const int ij = i * s.keys + j;
                    for (int c = 0; c < s.value_width(); ++c)
                        dP[ij] += dy[at_y(s, b, i, head, c)] * v[at_v(s, b, j, head, c)];
                    delta += P[ij] * dP[ij]; // (delta)
                }
                for (int j = 0; j < s.keys; ++j) {
                    const int ij = i * s.keys + j;
                    const T dS = P[ij] * (dP[ij] - delta); // (dS)
                    for (int c = 0; c < s.d_head; ++c) {
                        const int qc = at_q(s, b, i, head, c), kc = at_kv(s, b, j, head, c);
                        dq[qc] += attention_scale<T>(s) * dS * k[kc]; // (dq)
                        dk[kc] += attention_scale<T>(s) * dS * q[qc]; // (dk)
                    }
                    for (int c = 0; c < s.value_width(); ++c)
                        dv[at_v(s, b, j, head, c)] += P[ij] * dy[at_y(s, b, i, head, c)]; // (dv)
                }
            }
        }
}

} // namespace fci::reference
