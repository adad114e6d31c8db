#include "ops/pointwise.h"

#include "core/scalar.h"

namespace fci {
namespace cpu {

void gelu_forward(int64_t n, const float* x, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = gelu(x[i]);
}
void gelu_backward(int64_t n, const float* x, const float* dy, float* dx) {
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * gelu_derivative(x[i]); // (dx)
}

void softplus_forward(int64_t n, const float* x, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = softplus(x[i]);
}
void softplus_backward(int64_t n, const float* x, const float* dy, float* dx) {
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * sigmoid(x[i]); // (dx)
}

void negative_exp_forward(int64_t n, const float* x, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = -exp(x[i]);
}
void negative_exp_backward(int64_t n, const float* x, const float* dy, float* dx) {
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * -exp(x[i]); // (dx)
}

void elu_plus_one_forward(int64_t n, const float* x, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = elu_plus_one(x[i]);
}
void elu_plus_one_backward(int64_t n, const float* x, const float* dy, float* dx) {
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * elu_plus_one_derivative(x[i]); // (dx)
}

void gate_forward(int64_t n, const float* x, const float* z, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * silu(z[i]);
}
void gate_backward(int64_t n, const float* x, const float* z, const float* dy, float* dx, float* dz) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const float s = sigmoid(z[i]), y = z[i] * s; // y = silu(z), silu'(z) = s + y (1 - s)
        dx[i] += dy[i] * y;                          // (dx)
        dz[i] += dy[i] * x[i] * (s + y * (1.f - s)); // (dz)
    }
}

void residual_forward(int64_t n, const float* x, const float* z, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] + z[i];
}
void residual_backward(int64_t n, const float*, const float*, const float* dy, float* dx, float* dz) {
    for (int64_t i = 0; i < n; ++i) dx[i] += dy[i]; // (dx); apart from dz, since x and z may be one tensor
    for (int64_t i = 0; i < n; ++i) dz[i] += dy[i]; // (dz)
}

} // namespace cpu

namespace {

// An op's name, its cost and its twin's two functions.
#define FCI_NODE(op) #op, op##_cost, FCI_ON(tape.device(), op##_forward), FCI_ON(tape.device(), op##_backward)

Tensor unary(Tape& tape, const char* name, OpCost cost(double n), UnaryForward<float>* forward,
             UnaryBackward<float>* backward, Tensor x) {
    Tensor y = tape.tensor(x.shape);
    forward(x.size(), x.data, y.data);
    tape.append(name, y, cost(x.size()), [=] { backward(x.size(), x.data, y.grad, x.grad); });
    return y;
}

Tensor binary(Tape& tape, const char* name, OpCost cost(double n), BinaryForward<float>* forward,
              BinaryBackward<float>* backward, Tensor x, Tensor z) {
    expect_shape(name, "z", z, x.shape);
    Tensor y = tape.tensor(x.shape);
    forward(x.size(), x.data, z.data, y.data);
    tape.append(name, y, cost(x.size()), [=] { backward(x.size(), x.data, z.data, y.grad, x.grad, z.grad); });
    return y;
}

} // namespace

Tensor gelu(Tape& tape, Tensor x) { return unary(tape, FCI_NODE(gelu), x); }
Tensor softplus(Tape& tape, Tensor x) { return unary(tape, FCI_NODE(softplus), x); }
Tensor negative_exp(Tape& tape, Tensor x) { return unary(tape, FCI_NODE(negative_exp), x); }
Tensor elu_plus_one(Tape& tape, Tensor x) { return unary(tape, FCI_NODE(elu_plus_one), x); }
Tensor gate(Tape& tape, Tensor x, Tensor z) { return binary(tape, FCI_NODE(gate), x, z); }
Tensor residual(Tape& tape, Tensor x, Tensor z) { return binary(tape, FCI_NODE(residual), x, z); }

} // namespace fci
