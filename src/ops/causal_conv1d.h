// causal_conv1d: each channel's own short filter along time, looking back (or, reversed, ahead)
//   y[b,t,c] = bias[c] + sum_k w[c,k] x[b,t-(K-1-k),c]       forward in time                (1)
//   y[b,t,c] = bias[c] + sum_k w[c,k] x[b,t+(K-1-k),c]       reverse; x is 0 outside
// Shapes    x y (batch,time,channels)   w (channels,K)   bias (channels)
// Backward  dx[b,t-+(K-1-k),c] += w[c,k] dy[b,t,c]                                         (dx)
//           dw[c,k] += sum_bt dy[b,t,c] x[b,t-+(K-1-k),c]                                  (dw)
//           dbias[c] += sum_bt dy[b,t,c]                                                   (db)
// Contract  every d* is ADDED to. scratch: channels * K floats (backward: twice), w and dw with channels innermost.
// Cost      2 batch time channels K flops forward, twice that backward. K = 4 in Mamba  [Gu & Dao 2023].
#pragma once
#include "core/tape.h"

namespace fci {

struct ConvShape {
    int batch, time, channels, width;
    bool reverse;
};

template <class T>
using CausalConv1dForward = void(ConvShape, const T* x, const T* w, const T* bias, T* y, T* scratch);
template <class T>
using CausalConv1dBackward = void(ConvShape, const T* x, const T* w, const T* dy, T* dx, T* dw, T* dbias, T* scratch);

FCI_TWINS(CausalConv1dForward<float>, causal_conv1d_forward)
FCI_TWINS(CausalConv1dBackward<float>, causal_conv1d_backward)

// x (b,t,c), w (c,K), bias (c) -> (b,t,c)
Tensor causal_conv1d(Tape&, Tensor x, Tensor w, Tensor bias, bool reverse);

} // namespace fci
