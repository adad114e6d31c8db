#include "cuda/gemm.cuh"

#if !defined(FCI_EMULATOR)
#include "cuda/context.cuh"
#include <cublas_v2.h>
#endif

namespace fci::cuda {

#if defined(FCI_EMULATOR)

void device_gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc) {
    fci::gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void device_gemm_batched(int batch, Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a,
                         int lda, int64_t step_a, const float* b, int ldb, int64_t step_b, float beta, float* c,
                         int ldc, int64_t step_c) {
    for (int i = 0; i < batch; ++i)
        fci::gemm(ta, tb, m, n, k, alpha, a + i * step_a, lda, b + i * step_b, ldb, beta, c + i * step_c, ldc);
}

#else

namespace {

void expect_blas(cublasStatus_t status, int m, int n, int k) {
    if (status != CUBLAS_STATUS_SUCCESS)
        fail(Exit::internal, "cuBLAS: a product ({},{}) x ({},{}) failed: {}", m, k, k, n,
             cublasGetStatusString(status));
}

cublasOperation_t operation(Transpose t) { return t == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N; }

} // namespace

// cuBLAS is column-major: there, the memory of a row-major C is C^T = op(B)^T op(A)^T.
void device_gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc) {
    if (m == 0 || n == 0) return;
    expect_blas(cublasSgemm(blas(), operation(tb), operation(ta), n, m, k, &alpha, b, ldb, a, lda, &beta, c, ldc), m, n,
                k);
}

void device_gemm_batched(int batch, Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a,
                         int lda, int64_t step_a, const float* b, int ldb, int64_t step_b, float beta, float* c,
                         int ldc, int64_t step_c) {
    if (m == 0 || n == 0 || batch == 0) return;
    expect_blas(cublasSgemmStridedBatched(blas(), operation(tb), operation(ta), n, m, k, &alpha, b, ldb, step_b, a, lda,
                                          step_a, &beta, c, ldc, step_c, batch),
                m, n, k);
}

#endif

} // namespace fci::cuda
