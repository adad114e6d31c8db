// Pointwise ops, element by element; formulas and derivatives are in core/scalar.h
//   gelu          y = x Phi(x)                 dx += dy gelu'(x)                            (dx)
//   softplus      y = ln(1 + e^x)              dx += dy sigmoid(x)                          (dx)
//   negative_exp  y = -e^x                     dx += dy y          (A = -exp(A_log) in Mamba) (dx)
//   elu_plus_one  y = x > 0 ? x + 1 : e^x      dx += dy (x > 0 ? 1 : e^x)                   (dx)
//   gate          y = x silu(z)                dx += dy silu(z)    dz += dy x silu'(z)      (dx) (dz)
//   residual      y = x + z                    dx += dy            dz += dy                 (dx) (dz)
// softplus, negative_exp and gate are parts of gated_scan, which calls them on the CPU.
// Shapes    all (n). Contract: every d* is ADDED to. Cost: O(n), bound by memory.
#pragma once
#include "core/tape.h"

namespace fci {

template <class T>
using UnaryForward = void(int64_t n, const T* x, T* y);
template <class T>
using UnaryBackward = void(int64_t n, const T* x, const T* dy, T* dx);
template <class T>
using BinaryForward = void(int64_t n, const T* x, const T* z, T* y);
template <class T>
using BinaryBackward = void(int64_t n, const T* x, const T* z, const T* dy, T* dx, T* dz);

FCI_TWINS(UnaryForward<float>, gelu_forward)
FCI_TWINS(UnaryForward<float>, softplus_forward)
FCI_TWINS(UnaryForward<float>, negative_exp_forward)
FCI_TWINS(UnaryForward<float>, elu_plus_one_forward)
FCI_TWINS(UnaryBackward<float>, gelu_backward)
FCI_TWINS(UnaryBackward<float>, softplus_backward)
FCI_TWINS(UnaryBackward<float>, negative_exp_backward)
FCI_TWINS(UnaryBackward<float>, elu_plus_one_backward)
FCI_TWINS(BinaryForward<float>, gate_forward)
FCI_TWINS(BinaryForward<float>, residual_forward)
FCI_TWINS(BinaryBackward<float>, gate_backward)
FCI_TWINS(BinaryBackward<float>, residual_backward)

// unary: flops of one element
constexpr OpCost unary_cost(double n, double forward, double backward) {
    return {{0, forward * n, 2 * n}, {0, backward * n, 4 * n}};
}
constexpr OpCost gelu_cost(double n) { return unary_cost(n, 53, 77); }
constexpr OpCost softplus_cost(double n) { return unary_cost(n, 46, 27); }
constexpr OpCost negative_exp_cost(double n) { return unary_cost(n, 22, 24); }
constexpr OpCost elu_plus_one_cost(double n) { return unary_cost(n, 22, 24); }
constexpr OpCost gate_cost(double n) { return {{0, 27 * n, 3 * n}, {0, 35 * n, 7 * n}}; }
constexpr OpCost residual_cost(double n) { return {{0, 0, 3 * n}, {0, 0, 5 * n}}; }

Tensor gelu(Tape&, Tensor x);
Tensor softplus(Tape&, Tensor x);
Tensor negative_exp(Tape&, Tensor x);
Tensor elu_plus_one(Tape&, Tensor x);
Tensor gate(Tape&, Tensor x, Tensor z);
Tensor residual(Tape&, Tensor x, Tensor z);

} // namespace fci
