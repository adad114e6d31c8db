// gemm: every matrix product on the CPU. Row-major C (m,n) = alpha op(A) op(B) + beta C, beta 0 or 1; ld* are
// row strides. One thread: parallelism is outside the ops, over sequences. A product of a few rows, or a sum of a few
// outer products, goes to plain loops, all others to register tiles (tile.h). Shape alone decides, so the same product
// always has the same bits, which depend on compiler and ARCH and on nothing else.
#pragma once

namespace fci {

enum class Transpose { no, yes };

void gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
          int ldb, float beta, float* c, int ldc);

void use_one_blas_thread(); // once, before the first product
const char* blas_core();    // the CPU kernels that OpenBLAS chose, e.g. "SkylakeX": the last bits of LAPACK's results

} // namespace fci
