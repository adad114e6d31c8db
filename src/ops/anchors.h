// anchors: each row adds the learned anchors that it resembles  ("anchor sponsorship", Basu 2026, Sec. 5)
//   P[r,:] = softmax(z[r,:]),   z[r,c] = x[r] . A[c]                                        (1)
//   y[r]   = x[r] + sum_c P[r,c] A[c]                                                       (2)
// Shapes    x y (rows,d)   A (n,d)   P (rows,n), saved
// Backward  dP[r,c] = dy[r] . A[c],   dz[r,c] = P[r,c] (dP[r,c] - sum_k P[r,k] dP[r,k])     (dP) (dz)
//           dx[r] += dy[r] + sum_c dz[r,c] A[c]                                             (dx)
//           dA[c] += sum_r (P[r,c] dy[r] + dz[r,c] x[r])                                    (dA)
// Contract  every d* is ADDED to.
// Cost      4 rows n d flops forward, 8 backward.
#pragma once
#include "core/tape.h"

namespace fci {

struct AnchorShape {
    int rows, anchors, d;
};

constexpr OpCost anchors_cost(AnchorShape s) {
    const double x = 1. * s.rows * s.d, a = 1. * s.anchors * s.d, p = 1. * s.rows * s.anchors, product = 2 * p * s.d;
    return {{2 * product, 22 * p, 2 * x + a + p}, {4 * product, 0, 4 * x + 3 * a + p}};
}

template <class T>
using AnchorsForward = void(AnchorShape, const T* x, const T* a, T* y, T* p);
template <class T>
using AnchorsBackward = void(AnchorShape, const T* x, const T* a, const T* p, const T* dy, T* dx, T* da);

FCI_TWINS(AnchorsForward<float>, anchors_forward)
FCI_TWINS(AnchorsBackward<float>, anchors_backward)

// x (...,d), a (n,d) -> (...,d)
Tensor anchors(Tape&, Tensor x, Tensor a);

} // namespace fci
