// layer_norm: each row to mean 0 and variance 1, then a learned scale and shift  [Ba et al. 2016]
//   mean = sum_c x[r,c] / d     rstd = 1 / sqrt(sum_c (x[r,c] - mean)^2 / d + eps)     xhat = (x - mean) rstd
//   y[r,c] = xhat[r,c] w[c] + b[c]                                                        (1)
// Shapes    x y (rows,d)   w b (d)   mean rstd (rows), saved
// Backward  with g = dy w:  dx[r,c] += rstd (g[r,c] - mean_c(g) - xhat[r,c] mean_c(g xhat))  (dx)
//           dw[c] += sum_r dy xhat                                                         (dw)
//           db[c] += sum_r dy                                                              (db)
// residual_norm: a residual sum, which is kept as h, and layer_norm of it, in one pass over memory
//   h = x + z     y = layer_norm(h)                                                       (2)
// Backward  with e = dh + what (dx) adds, at x = h:   dx[r,c] += e     dz[r,c] += e                (dh)
//           dw, db as above
// Contract  dx dz dw db are ADDED to; dy and dh are only read. eps is the shape's, 1e-5 by default.
// Cost      O(rows d), bound by memory.
#pragma once
#include "core/tape.h"

namespace fci {

inline constexpr float norm_eps = 1e-5f;
struct NormShape {
    int rows, d;
    float eps = norm_eps;
};

constexpr OpCost layer_norm_cost(NormShape s) {
    const double n = 1. * s.rows * s.d;
    return {{0, 0, 2 * n + 2 * s.d + 2 * s.rows}, {0, 0, 4 * n + 5 * s.d + 2 * s.rows}};
}
constexpr OpCost residual_norm_cost(NormShape s) {
    const double n = 1. * s.rows * s.d;
    return {{0, 0, 4 * n + 2 * s.d + 2 * s.rows}, {0, 0, 7 * n + 5 * s.d + 2 * s.rows}};
}

template <class T>
using LayerNormForward = void(NormShape, const T* x, const T* w, const T* b, T* y, T* mean, T* rstd);
template <class T>
using LayerNormBackward = void(NormShape, const T* x, const T* w, const T* mean, const T* rstd, const T* dy, T* dx,
                               T* dw, T* db);

template <class T>
using ResidualNormForward = void(NormShape, const T* x, const T* z, const T* w, const T* b, T* h, T* y, T* mean,
                                 T* rstd);
template <class T>
using ResidualNormBackward = void(NormShape, const T* h, const T* w, const T* mean, const T* rstd, const T* dh,
                                  const T* dy, T* dx, T* dz, T* dw, T* db);

FCI_TWINS(LayerNormForward<float>, layer_norm_forward)
FCI_TWINS(LayerNormBackward<float>, layer_norm_backward)
FCI_TWINS(ResidualNormForward<float>, residual_norm_forward)
FCI_TWINS(ResidualNormBackward<float>, residual_norm_backward)

// x (...,d), w and b (d) -> (...,d)
Tensor layer_norm(Tape&, Tensor x, Tensor w, Tensor b);

struct SumAndNorm {
    Tensor h, y;
};
// x and z (...,d), distinct tensors; w and b (d) -> h, y (...,d)
SumAndNorm residual_norm(Tape&, Tensor x, Tensor z, Tensor w, Tensor b);

} // namespace fci
