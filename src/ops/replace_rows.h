// replace_rows: a sequence with some of its rows exchanged; the others pass through
//   y[b,index[b,m]] = z[b,m],   y[b,j] = x[b,j] for every other j                           (1)
// Shapes    x y (b,t,d)   index (b,m) in [0,t), ascending in each sequence   z (b,m,d)
// Backward  dz[b,m] += dy[b,index[b,m]]                                                     (dz)
//           dx[b,j] += dy[b,j] for every other j                                            (dx)
// Contract  every d* is ADDED to. z may depend on x.
// Cost      O(b t d), bound by memory.
#pragma once
#include "core/tape.h"
#include "ops/gather.h" // GatherShape

namespace fci {

constexpr OpCost replace_rows_cost(GatherShape s) {
    const double rows = 1. * s.batch * s.rows, x = 1. * s.batch * s.time * s.d;
    return {{0, 0, 2 * x + rows}, {0, 0, 3 * x + rows}};
}

template <class T>
using ReplaceRowsForward = void(GatherShape, const T* x, const int32_t* index, const T* z, T* y);
template <class T>
using ReplaceRowsBackward = void(GatherShape, const int32_t* index, const T* dy, T* dx, T* dz);

FCI_TWINS(ReplaceRowsForward<float>, replace_rows_forward)
FCI_TWINS(ReplaceRowsBackward<float>, replace_rows_backward)

// x (b,t,d), index (b,m), z (b,m,d) -> (b,t,d)
Tensor replace_rows(Tape&, Tensor x, IntTensor index, Tensor z);

} // namespace fci
