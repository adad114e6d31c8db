// linear_attention with its weights stored as a time x time matrix: w[i,j] = phi(q[i]).phi(k[j]) / their sum over j.
// Saved and scratch are not used.
#pragma once
#include <cmath>
#include <vector>

#include "ops/linear_attention.h"

namespace fci::reference {

template <class T>
T phi(T x) {
    using std::exp;
    return x > T(0) ? x + T(1) : exp(x);
}
template <class T>
T phi_derivative(T x) {
    using std::exp;
    return x > T(0) ? T(1) : exp(x);
}

template <class T>
struct LinearWeights { // of one head: (time,time), and each row's sum before the division
    std::vector<T> w, sum;
    LinearWeights(LinearAttentionShape s, const T* q, const T* k) : w(s.time * s.time), sum(s.time) {
        const int stride = 3 * s.d();
        for (int i = 0; i < s.time; ++i) {
            T* row = w.data() + i * s.time;
            for (int j = 0; j < s.time; ++j) {
                for (int c = 0; c < s.d_head; ++c) row[j] += phi(q[i * stride + c]) * phi(k[j * stride + c]);
                sum[i] += row[j];
            }
            for (int j = 0; j < s.time; ++j) row[j] = row[j] / sum[i];
        }
    }
};

// f(columns of one head in qkv, in y)
template <class F>
void for_each_head(LinearAttentionShape s, F f) {
    for (int b = 0; b < s.batch; ++b)
        for (int head = 0; head < s.heads; ++head)
            f(b * s.time * 3 * s.d() + head * s.d_head, b * s.time * s.d() + head * s.d_head);
}

template <class T>
void linear_attention_forward(LinearAttentionShape s, const T* qkv, T* y, T*) {
    for_each_head(s, [&](int in, int out) {
        const T *q = qkv + in, *k = q + s.d(), *v = k + s.d();
        const LinearWeights<T> of(s, q, k);
        for (int i = 0; i < s.time; ++i)
            for (int c = 0; c < s.d_head; ++c) {
                T sum = 0;
                for (int j = 0; j < s.time; ++j) sum += of.w[i * s.time + j] * v[j * 3 * s.d() + c];
                y[out + i * s.d() + c] = sum;
            }
    });
}

// dw[i,j] = dy[i].v[j]; the quotient rule gives d(a[i].b[j]) = (dw[i,j] - sum_j w dw) / sum[i].
template <class T>
void linear_attention_backward(LinearAttentionShape s, const T* qkv, const T*, const T*, const T* dy, T* dqkv) {
    const int stride = 3 * s.d();
    for_each_head(s, [&](int in, int out) {
        const T *q = qkv + in, *k = q + s.d(), *v = k + s.d();
        T *dq = dqkv + in, *dk = dq + s.d(), *dv = dk + s.d();
        const LinearWeights<T> of(s, q, k);
        for (int i = 0; i < s.time; ++i) {
            const T *w = of.w.data() + i * s.time, *dy_row = dy + out + i * s.d();
            std::vector<T> dw(s.time);
            T mean = 0;
            for (int j = 0; j < s.time; ++j) {
                for (int c = 0; c < s.d_head; ++c) dw[j] += dy_row[c] * v[j * stride + c];
                mean += w[j] * dw[j];
            }
            for (int j = 0; j < s.time; ++j) {
                const T ddot = (dw[j] - mean) / of.sum[i];
                for (int c = 0; c < s.d_head; ++c) {
                    const T qc = q[i * stride + c], kc = k[j * stride + c];
                    dq[i * stride + c] += ddot * phi(kc) * phi_derivative(qc);
                    dk[j * stride + c] += ddot * phi(qc) * phi_derivative(kc);
                    dv[j * stride + c] += w[j] * dy_row[c];
                }
            }
        }
    });
}

} // namespace fci::reference
