// gather: the rows of each sequence that stand at given positions
//   y[b,m,:] = x[b,index[b,m],:]                                                           (1)
// Shapes    x (b,t,d)   index (b,m) in [0,t), repeats allowed   y (b,m,d)
// Backward  dx[b,index[b,m],:] += dy[b,m,:]                                                (dx)
// Contract  dx is ADDED to, in the order of m: same bits on every run.
// Cost      O(b m d), bound by memory.
#pragma once
#include "core/tape.h"

namespace fci {

struct GatherShape {
    int batch, time, rows, d;
};

constexpr OpCost gather_cost(GatherShape s) {
    const double rows = 1. * s.batch * s.rows, n = rows * s.d;
    return {{0, 0, 2 * n + rows}, {0, 0, 3 * n + rows}};
}

template <class T>
using GatherForward = void(GatherShape, const T* x, const int32_t* index, T* y);
template <class T>
using GatherBackward = void(GatherShape, const int32_t* index, const T* dy, T* dx);

FCI_TWINS(GatherForward<float>, gather_forward)
FCI_TWINS(GatherBackward<float>, gather_backward)

// x (b,t,d), index (b,...) -> (b,m,d), m the indices of one sequence
Tensor gather(Tape&, Tensor x, IntTensor index);

} // namespace fci
