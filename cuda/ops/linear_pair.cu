// linear_pair on the GPU; src/ops/linear_pair.h says what it is. cuBLAS computes the two products in one call, in
// other precisions than fp32 cuda/mma_linear.cu in one launch; except dx if both share one x: both add to it, one after
// the other.
#include "ops/linear_pair.h"

#include "cuda/gemm.cuh"
#include "cuda/mma_linear.cuh"

namespace fci::cuda {

void linear_pair_forward(LinearShape s, PairSteps step, const float* x, const float* w, float* y) {
    if (precision() != Precision::fp32) return mma_linear::forward(s, {2, step.x, step.w, step.y}, x, w, nullptr, y);
    device_gemm_batched(2, Transpose::no, Transpose::yes, s.rows, s.out, s.in, 1.f, x, s.in, step.x, w, s.in, step.w,
                        0.f, y, s.out, step.y); // (1)
}

void linear_pair_backward(LinearShape s, PairSteps step, const float* x, const float* w, const float* dy, float* dx,
                          float* dw) {
    if (precision() != Precision::fp32) {
        for (int i = 1; i >= 0 && !step.x; --i) // both add to dx, in the tape's order
            mma_linear::backward_x(s, {}, w + i * step.w, dy + i * step.y, dx);
        if (step.x) mma_linear::backward_x(s, {2, step.x, step.w, step.y}, w, dy, dx);
        return mma_linear::backward_w(s, {2, step.x, step.w, step.y}, x, dy, dw);
    }
    if (step.x)
        device_gemm_batched(2, Transpose::no, Transpose::no, s.rows, s.in, s.out, 1.f, dy, s.out, step.y, w, s.in,
                            step.w, 1.f, dx, s.in, step.x); // (dx)
    else
        for (int i = 1; i >= 0; --i) // in the tape's order
            device_gemm(Transpose::no, Transpose::no, s.rows, s.in, s.out, 1.f, dy + i * step.y, s.out, w + i * step.w,
                        s.in, 1.f, dx, s.in); // (dx)
    device_gemm_batched(2, Transpose::yes, Transpose::no, s.out, s.in, s.rows, 1.f, dy, s.out, step.y, x, s.in, step.x,
                        1.f, dw, s.in, step.w); // (dW)
}

} // namespace fci::cuda
