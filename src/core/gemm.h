// gemm: the one door to matrix products. Row-major C (m,n) = alpha op(A) op(B) + beta C, beta 0 or 1; ld* are
// row strides. One thread: parallelism is outside the ops, over sequences. Three ways, by shape alone (so that the
// same product always has the same bits): a few rows go to plain loops; products with B as it lies (the backward
// pass of a linear layer) to register tiles that need no packing; products with B transposed (its forward pass) to
// OpenBLAS, which must rearrange B anyway.
#pragma once

namespace fci {

enum class Transpose { no, yes };

void gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
          int ldb, float beta, float* c, int ldc);

void use_one_blas_thread(); // once, before the first product
const char* blas_core();    // the CPU kernels that OpenBLAS chose, e.g. "SkylakeX": they decide the last bits

} // namespace fci
