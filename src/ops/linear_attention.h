// linear_attention: attention with a dot product of features in place of the exponential, so that sums over the keys
// are made once for all rows
// [Katharopoulos et al. 2020, "Transformers are RNNs"], not causal
//   a[i] = phi(q[i]),  b[j] = phi(k[j]),  phi = elu + 1                                    (1)
//   S = sum_j b[j] v[j]^T,  z = sum_j b[j]                                                 (2)
//   y[i] = S^T a[i] / n[i],  n[i] = a[i].z                                                 (3)
// which is y[i] = sum_j w[i,j] v[j] with w[i,j] = a[i].b[j] / sum_l a[i].b[l], for each head.
// Shapes    qkv (b,t,3d), columns q | k | v   y (b,t,d)   S (b,heads,d_head,d_head), z (b,heads,d_head), saved
// Backward  g[i] = dy[i] / n[i];   e[i] = y[i].g[i]                                        (g) (e)
//           da[i] = S g[i] - e[i] z;   dq[i] += da[i] phi'(q[i])                           (da) (dq)
//           dS = sum_i a[i] g[i]^T;    dz = - sum_i e[i] a[i]                              (dS) (dz)
//           db[j] = dS v[j] + dz;      dk[j] += db[j] phi'(k[j])                           (db) (dk)
//           dv[j] += dS^T b[j]                                                             (dv)
// Contract  every d* is ADDED to.
// Cost      2 products forward, 4 backward, 2 b t d_head d flops each; 2 b t d exponentials forward, twice that
//           backward (phi again, and phi').
#pragma once
#include "core/tape.h"

namespace fci {

struct LinearAttentionShape {
    int batch, time, heads, d_head;
    constexpr int d() const { return heads * d_head; }
    constexpr int64_t sums() const { return int64_t{d_head} * (d_head + 1); } // S and z of a head
    constexpr int64_t saved_size() const { return batch * heads * sums(); }
};

constexpr OpCost linear_attention_cost(LinearAttentionShape s) {
    const double n = 1. * s.batch * s.time * s.d(), product = 2 * n * s.d_head, sums = 1. * s.saved_size();
    return {{2 * product, 2 * 22 * n, 4 * n + sums}, {4 * product, 4 * 22 * n, 11 * n + sums}};
}

template <class T>
using LinearAttentionForward = void(LinearAttentionShape, const T* qkv, T* y, T* saved);
template <class T>
using LinearAttentionBackward = void(LinearAttentionShape, const T* qkv, const T* y, const T* saved, const T* dy,
                                     T* dqkv);

FCI_TWINS(LinearAttentionForward<float>, linear_attention_forward)
FCI_TWINS(LinearAttentionBackward<float>, linear_attention_backward)

// qkv (b,t,3d), columns q | k | v -> (b,t,d)
Tensor linear_attention(Tape&, Tensor qkv, int heads);

} // namespace fci
