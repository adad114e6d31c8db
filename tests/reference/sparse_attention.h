// sparse_attention as masked attention over all pairs: all of S and P of a head. lse is not used.
#pragma once
#include <cmath>
#include <vector>

#include "ops/sparse_attention.h"

namespace fci::reference {

// Column c of a head's q (part 0), k (1) or v (2) at a position; the same for y.
inline int at_part(SparseShape s, int part, int b, int i, int head, int c) {
    return ((b * s.time + i) * 3 + part) * s.d() + head * s.d_head + c;
}
inline int at_y(SparseShape s, int b, int i, int head, int c) { return (b * s.time + i) * s.d() + head * s.d_head + c; }

// (time,time): which keys each row sees
inline std::vector<char> sparse_pattern(SparseShape s, const int32_t* global) {
    std::vector<char> sees(s.time * s.time);
    for (int i = 0; i < s.time; ++i)
        for (int j = 0; j < s.time; ++j) {
            bool seen = i - 16 <= j && j < i + 16;
            for (int g = 0; g < s.globals; ++g) seen = seen || j == global[g];
            sees[i * s.time + j] = seen;
        }
    return sees;
}

// P (time,time) of one head; 0 for keys that are not seen.
template <class T>
std::vector<T> sparse_weights(SparseShape s, int b, int head, const T* qkv, const std::vector<char>& sees) {
    using std::exp;
    const T scale = T(1 / std::sqrt(static_cast<double>(s.d_head)));
    std::vector<T> P(s.time * s.time);
    for (int i = 0; i < s.time; ++i) {
        T* row = P.data() + i * s.time;
        const char* seen = sees.data() + i * s.time;
        for (int j = 0; j < s.time; ++j)
            for (int c = 0; c < s.d_head; ++c)
                row[j] += scale * qkv[at_part(s, 0, b, i, head, c)] * qkv[at_part(s, 1, b, j, head, c)]; // (1)
        T highest = row[i], sum = 0; // a row sees itself
        for (int j = 0; j < s.time; ++j)
            if (seen[j] && row[j] > highest) highest = row[j];
        for (int j = 0; j < s.time; ++j) sum += row[j] = seen[j] ? exp(row[j] - highest) : T(0);
        for (int j = 0; j < s.time; ++j) row[j] = row[j] / sum; // (2)
    }
    return P;
}

template <class T>
void sparse_attention_forward(SparseShape s, const T* qkv, const int32_t* global, T* y, T*) {
    const std::vector<char> sees = sparse_pattern(s, global);
    for (int b = 0; b < s.batch; ++b)
        for (int head = 0; head < s.heads; ++head) {
            const std::vector<T> P = sparse_weights(s, b, head, qkv, sees);
            for (int i = 0; i < s.time; ++i)
                for (int c = 0; c < s.d_head; ++c) {
                    T sum = 0;
                    for (int j = 0; j < s.time; ++j) sum += P[i * s.time + j] * qkv[at_part(s, 2, b, j, head, c)];
                    y[at_y(s, b, i, head, c)] = sum; // (3)
                }
        }
}

template <class T>
void sparse_attention_backward(SparseShape s, const T* qkv, const int32_t* global, const T*, const T*, const T* dy,
                               T* dqkv) {
    const std::vector<char> sees = sparse_pattern(s, global);
    const T scale = T(1 / std::sqrt(static_cast<double>(s.d_head)));
    for (int b = 0; b < s.batch; ++b)
        for (int head = 0; head < s.heads; ++head) {
            const std::vector<T> P = sparse_weights(s, b, head, qkv, sees);
            for (int i = 0; i < s.time; ++i) {
                std::vector<T> dP(s.time);
                T delta = 0;
                for (int j = 0; j < s.time; ++j) {
                    for (int c = 0; c < s.d_head; ++c)
                        dP[j] += dy[at_y(s, b, i, head, c)] * qkv[at_part(s, 2, b, j, head, c)];
                    delta += P[i * s.time + j] * dP[j]; // (delta)
                }
                for (int j = 0; j < s.time; ++j) {
                    const T p = P[i * s.time + j], dS = p * (dP[j] - delta); // (dS)
                    for (int c = 0; c < s.d_head; ++c) {
                        const int q = at_part(s, 0, b, i, head, c), k = at_part(s, 1, b, j, head, c);
                        dqkv[q] += scale * dS * qkv[k];                                       // (dq)
                        dqkv[k] += scale * dS * qkv[q];                                       // (dk)
                        dqkv[at_part(s, 2, b, j, head, c)] += p * dy[at_y(s, b, i, head, c)]; // (dv)
                    }
                }
            }
        }
}

} // namespace fci::reference
