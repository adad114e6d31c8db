// device_gemm: products on the GPU. The signature of core/gemm.h, through cuBLAS (fp32; TF32 where --tf32 asks for it),
// on the calling thread's stream with a workspace of its own, so that captured steps repeat and bits stay the same. In
// the emulator: core/gemm.h itself.
#pragma once
#include "core/gemm.h"
#include "cuda/common.cuh"

namespace fci::cuda {

// C (m,n) = alpha op(A) op(B) + beta C, row-major
void device_gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc);

// The same for `batch` products, whose operands lie step_* floats apart; 0: the same operand for all.
void device_gemm_batched(int batch, Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a,
                         int lda, int64_t step_a, const float* b, int ldb, int64_t step_b, float beta, float* c,
                         int ldc, int64_t step_c);

} // namespace fci::cuda
