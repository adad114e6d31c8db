// device_gemm: products on the GPU, with the signature of core/gemm.h. Uses cuBLAS (fp32; TF32 with --precision tf32)
// on the calling thread's stream, with one workspace per thread, so that captured steps can be replayed and give the
// same bits. In the emulator it is core/gemm.h itself.
#pragma once
#include "core/gemm.h"
#include "cuda/common.cuh"

namespace fci::cuda {

// C (m,n) = alpha op(A) op(B) + beta C, row-major
void device_gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc);

// The same for `batch` products. step_*: floats between the operands of consecutive products; 0: all share one operand.
void device_gemm_batched(int batch, Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a,
                         int lda, int64_t step_a, const float* b, int ldb, int64_t step_b, float beta, float* c,
                         int ldc, int64_t step_c);

} // namespace fci::cuda
