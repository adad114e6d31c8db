// linear on the GPU; the mathematics is in src/ops/linear.h. The products are cuBLAS's.
#include "ops/linear.h"

#include "cuda/gemm.cuh"
#include "cuda/parts.cuh"

namespace fci::cuda {

void linear_forward(LinearShape s, const float* x, const float* w, const float* b, float* y) {
    const int out = s.out;
    if (b) each(int64_t{s.rows} * out, [=] __device__(int64_t i) { y[i] = b[i % out]; });
    device_gemm(Transpose::no, Transpose::yes, s.rows, s.out, s.in, 1.f, x, s.in, w, s.in, b ? 1.f : 0.f, y,
                s.out); // (1)
}

void linear_backward(LinearShape s, const float* x, const float* w, const float* dy, float* dx, float* dw, float* db) {
    device_gemm(Transpose::no, Transpose::no, s.rows, s.in, s.out, 1.f, dy, s.out, w, s.in, 1.f, dx, s.in);  // (dx)
    device_gemm(Transpose::yes, Transpose::no, s.out, s.in, s.rows, 1.f, dy, s.out, x, s.in, 1.f, dw, s.in); // (dW)
    const int out = s.out;
    if (db)
        add_column_sums(
            s.rows, out, [=] __device__(int r, int o) { return dy[int64_t{r} * out + o]; }, db); // (db)
}

} // namespace fci::cuda
