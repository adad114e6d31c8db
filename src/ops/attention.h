// attention: scaled dot-product softmax attention, head by head  [Vaswani et al. 2017]
//   S[i,j] = scale q[i].k[j],  scale = 1/sqrt(d_head)     (causal: j <= i only)            (1)
//   P[i,j] = exp(S[i,j] - lse[i]),  lse[i] = ln sum_j exp(S[i,j])                          (2)
//   y[i]   = sum_j P[i,j] v[j]                                                             (3)
// Shapes    q (batch,queries,heads,d_head)   k (batch,keys,heads,d_head)   lse (batch,heads,queries,2), saved
//           v (batch,keys,heads,d_value)   y (batch,queries,heads,d_value); d_value is d_head unless said otherwise.
//           q_stride, kv_stride and v_stride are the floats from one position to the next, so that q, k and v may
//           be columns of one joint projection; y is dense.
//           Grouped queries [Ainslie et al. 2023]: `shared` heads of q, one after another, have one head of k and v,
//           which are then heads/shared; forward only.
// Backward  delta[i] = sum_j P[i,j] dP[i,j] = y[i].dy[i],  dP[i,j] = dy[i].v[j]            (delta)
//           dS[i,j] = P[i,j] (dP[i,j] - delta[i])                                          (dS)
//           dq[i] += scale sum_j dS[i,j] k[j]                                              (dq)
//           dk[j] += scale sum_i dS[i,j] q[i]                                              (dk)
//           dv[j] += sum_i P[i,j] dy[i]                                                    (dv)
// Contract  every d* is ADDED to. Only lse is kept, in base 2 (log2(e) is folded into the scale) and in two parts
//           (LogSum, core/scalar.h). The backward pass computes S and P again, a block of rows against a tile of keys
//           at a time, so that they live and die in cache and memory is O(queries + keys)  [Dao et al. 2022].
// Cost      2 products forward, 5 backward, of 2 queries keys d_head flops a head each (d_value in 1 and 2 of them).
#pragma once
#include "core/tape.h"

namespace fci {

struct AttentionShape {
    int batch, queries, keys, heads, d_head;
    int q_stride, kv_stride;
    bool causal;                               // needs queries == keys
    int d_value = 0, v_stride = 0;             // 0: d_head, kv_stride
    int shared = 1;                            // divides heads
    static constexpr int rows = 48, tile = 64; // query rows in a block, keys in a tile
    constexpr int value_width() const { return d_value ? d_value : d_head; }
    constexpr int value_stride() const { return v_stride ? v_stride : kv_stride; }
    int64_t rows_of_heads() const { return int64_t{batch} * heads * queries; }
    int64_t lse_size() const { return 2 * rows_of_heads(); }
};

constexpr OpCost attention_cost(AttentionShape s) {
    const double queries = 1. * s.batch * s.queries * s.heads, keys = 1. * s.batch * s.keys * s.heads / s.shared,
                 pairs = queries * (s.causal ? (s.keys + 1) / 2. : s.keys), q = queries * s.d_head,
                 y = queries * s.value_width(), kv = keys * (s.d_head + s.value_width());
    const double scores = 2 * pairs * s.d_head, values = 2 * pairs * s.value_width();
    return {{scores + values, 0, q + y + kv + 2 * queries},
            {3 * scores + 2 * values, 0, 3 * q + 2 * y + 3 * kv + 2 * queries}};
}

template <class T>
using AttentionForward = void(AttentionShape, const T* q, const T* k, const T* v, T* y, T* lse);
template <class T>
using AttentionBackward = void(AttentionShape, const T* q, const T* k, const T* v, const T* y, const T* lse,
                               const T* dy, T* dq, T* dk, T* dv);

FCI_TWINS(AttentionForward<float>, attention_forward)
FCI_TWINS(AttentionBackward<float>, attention_backward)

// Every position attends to every position (causal: up to itself). qkv (b,t,3d), columns q | k | v -> (b,t,d)
Tensor self_attention(Tape&, Tensor qkv, int heads, bool causal);
// Cross attention: rows attend to other rows (chosen positions, hubs). q (b,r,d), kv (b,m,2d), columns k | v -> (b,r,d)
Tensor query_attention(Tape&, Tensor q, Tensor kv, int heads);
// Queries and keys are one number a head. qk (b,t,2 heads), columns q | k, v (b,t,d) -> (b,t,d)
Tensor rank1_attention(Tape&, Tensor qk, Tensor v, int heads);

} // namespace fci
