// linear: y = x W^T + b, weights as PyTorch stores them
//   y[r,o] = sum_i x[r,i] W[o,i] + b[o]                                                  (1)
// Shapes    x (rows,in)   W (out,in)   b (out), may be null   y (rows,out)
// Backward  dx[r,i] += sum_o dy[r,o] W[o,i]                                               (dx)
//           dW[o,i] += sum_r dy[r,o] x[r,i]                                               (dW)
//           db[o]   += sum_r dy[r,o]                                                      (db)
// Contract  every d* is ADDED to; dx may be null where no gradient of x is wanted, db where b is null. Nothing saved.
// Cost      2 rows in out flops forward, twice that backward.
#pragma once
#include "core/tape.h"

namespace fci {

struct LinearShape {
    int rows, in, out;
};

constexpr OpCost linear_cost(LinearShape s, bool bias) {
    const double x = 1. * s.rows * s.in, w = 1. * s.in * s.out, y = 1. * s.rows * s.out, b = bias ? s.out : 0,
                 product = 2 * x * s.out;
    return {{product, 0, x + w + b + y}, {2 * product, 0, 3 * x + 3 * w + y + 2 * b}};
}

template <class T>
using LinearForward = void(LinearShape, const T* x, const T* w, const T* b, T* y);
template <class T>
using LinearBackward = void(LinearShape, const T* x, const T* w, const T* dy, T* dx, T* dw, T* db);

FCI_TWINS(LinearForward<float>, linear_forward)
FCI_TWINS(LinearBackward<float>, linear_backward)

// x (...,in), w (out,in), b (out) or empty -> (...,out)
Tensor linear(Tape&, Tensor x, Tensor w, Tensor b);

} // namespace fci
