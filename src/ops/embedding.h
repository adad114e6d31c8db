// embedding: a learned vector for each token, plus one for each position
//   y[b,t,:] = E[id[b,t],:] + P[t,:]                                                     (1)
// Shapes    id (batch,time) in [0,vocab)   E (vocab,d)   P (time',d), time' >= time, may be null   y (batch,time,d)
// Backward  dE[id[b,t],:] += dy[b,t,:]                                                    (dE)
//           dP[t,:]       += sum_b dy[b,t,:]                                              (dP)
// Contract  every d* is ADDED to. Sums run in the order of (b,t): same bits on every run.
// Cost      O(batch time d), bound by memory.
#pragma once
#include "core/tape.h"

namespace fci {

struct EmbeddingShape {
    int batch, time, d;
};

constexpr OpCost embedding_cost(EmbeddingShape s, bool positions) {
    const double ids = 1. * s.batch * s.time, n = ids * s.d, p = positions ? 1. * s.time * s.d : 0;
    return {{0, 0, ids + 2 * n + p}, {0, 0, ids + 3 * n + 2 * p}};
}

template <class T>
using EmbeddingForward = void(EmbeddingShape, const int32_t* id, const T* e, const T* p, T* y);
template <class T>
using EmbeddingBackward = void(EmbeddingShape, const int32_t* id, const T* dy, T* de, T* dp);

FCI_TWINS(EmbeddingForward<float>, embedding_forward)
FCI_TWINS(EmbeddingBackward<float>, embedding_backward)

// id (batch,time), token (vocab,d), position (>= time,d) or empty -> (batch,time,d)
Tensor embedding(Tape&, IntTensor id, Tensor token, Tensor position);

} // namespace fci
