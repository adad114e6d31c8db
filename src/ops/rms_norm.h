// rms_norm: each row to mean square 1, then a learned scale  [Zhang & Sennrich 2019]
//   rstd = 1 / sqrt(sum_c x[r,c]^2 / d + eps)     xhat = x rstd     y[r,c] = xhat[r,c] w[c]   (1)
// Without w it is 1: with a small eps the dot product of two rows is then d times the cosine between them.
// Shapes    x y (rows,d)   w (d), may be null   rstd (rows), saved
// Backward  with g = dy w:  dx[r,c] += rstd (g[r,c] - xhat[r,c] mean_c(g xhat))             (dx)
//           dw[c] += sum_r dy xhat                                                         (dw)
// Contract  every d* is ADDED to. eps = 1e-5 unless the shape says so.
// Cost      O(rows d), bound by memory.
#pragma once
#include "ops/layer_norm.h" // NormShape, norm_eps

namespace fci {

constexpr OpCost rms_norm_cost(NormShape s, bool weight) {
    const double n = 1. * s.rows * s.d, w = weight ? s.d : 0;
    return {{0, 0, 2 * n + w + s.rows}, {0, 0, 4 * n + 3 * w + s.rows}};
}

template <class T>
using RmsNormForward = void(NormShape, const T* x, const T* w, T* y, T* rstd);
template <class T>
using RmsNormBackward = void(NormShape, const T* x, const T* w, const T* rstd, const T* dy, T* dx, T* dw);

FCI_TWINS(RmsNormForward<float>, rms_norm_forward)
FCI_TWINS(RmsNormBackward<float>, rms_norm_backward)

// x (...,d), w (d) or empty -> (...,d)
Tensor rms_norm(Tape&, Tensor x, Tensor w, float eps = norm_eps);

} // namespace fci
