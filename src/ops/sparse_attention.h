// sparse_attention: softmax attention to a window around each row and to a few global positions
// [as in Longformer, Beltagy et al. 2020, and Big Bird, Zaheer et al. 2020]
//   N(i) = { j in [0,t) : i - 16 <= j < i + 16 or j in G },   G the global positions, the same for all rows
//   S[i,j] = scale q[i].k[j],  scale = 1/sqrt(d_head),  j in N(i) only                     (1)
//   P[i,j] = exp(S[i,j] - lse[i]),  lse[i] = ln sum_j exp(S[i,j])                          (2)
//   y[i]   = sum_j P[i,j] v[j]                                                             (3)
// For each head. N(i) is a set: a global position inside the window counts once.
// Shapes    qkv (b,t,3d), columns q | k | v   global (g) in [0,t), distinct   y (b,t,d)   lse (b,heads,t,2), saved
// Backward  delta[i] = y[i].dy[i];   dS[i,j] = P[i,j] (dy[i].v[j] - delta[i])              (delta) (dS)
//           dq[i] += scale sum_j dS[i,j] k[j]                                              (dq)
//           dk[j] += scale sum_i dS[i,j] q[i]                                              (dk)
//           dv[j] += sum_i P[i,j] dy[i]                                                    (dv)
//           j in N(i) in all of them.
// Contract  every d* is ADDED to. lse is in base 2 and in two parts (LogSum), as in attention.
// Cost      2 products forward, 5 backward, each of at most 2 b t (47 + g) d flops, 32 + g of them needed: a block of
//           16 rows sees at most 47 adjacent keys. Never t x t.
#pragma once
#include <vector>

#include "core/tape.h"

namespace fci {

struct SparseShape {
    int batch, time, heads, d_head, globals;
    static constexpr int reach = 16, rows = 16, most_globals = 16; // the window is [i - reach, i + reach)
    constexpr int d() const { return heads * d_head; }
    int64_t rows_of_heads() const { return int64_t{batch} * heads * time; }
    int64_t lse_size() const { return 2 * rows_of_heads(); }
};

constexpr OpCost sparse_attention_cost(SparseShape s) {
    const double rows = 1. * s.batch * s.time, n = rows * s.d(), lse = 2 * rows * s.heads,
                 product = 2 * n * (SparseShape::rows + 2 * SparseShape::reach - 1 + s.globals);
    return {{2 * product, 0, 4 * n + lse}, {5 * product, 0, 11 * n + lse}};
}

template <class T>
using SparseAttentionForward = void(SparseShape, const T* qkv, const int32_t* global, T* y, T* lse);
template <class T>
using SparseAttentionBackward = void(SparseShape, const T* qkv, const int32_t* global, const T* y, const T* lse,
                                     const T* dy, T* dqkv);

FCI_TWINS(SparseAttentionForward<float>, sparse_attention_forward)
FCI_TWINS(SparseAttentionBackward<float>, sparse_attention_backward)

// qkv (b,t,3d), columns q | k | v; global (g) on the host -> (b,t,d)
Tensor sparse_attention(Tape&, Tensor qkv, IntTensor global, int heads);

// 16 distinct positions below `length` (all, if there are fewer), ascending; fixed by length and seed.
std::vector<int32_t> global_positions(int length, uint64_t seed);

} // namespace fci
