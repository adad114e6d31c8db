#include "core/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <type_traits>

#include "core/tile.h"

namespace fci {
namespace {

constexpr int few = 4; // at most this many rows (or, for a sum of outer products, terms) go to the loops

// C[i,j] = alpha A[i,:] . B[j,:]
void rows_times_rows(int m, int n, int k, float alpha, const float* a, int lda, const float* b, int ldb, float beta,
                     float* c, int ldc) {
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
            const float *x = a + i * lda, *y = b + j * ldb;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int l = 0; l < k; ++l) sum += x[l] * y[l];
            c[i * ldc + j] = alpha * sum + (beta != 0.f ? c[i * ldc + j] : 0.f);
        }
}

// C[i,:] = alpha sum_l op(A)[i,l] B[l,:], where op(A)[i,l] = a[i * step_i + l * step_l]
void sum_of_rows(int m, int n, int k, float alpha, const float* a, int step_i, int step_l, const float* b, int ldb,
                 float beta, float* c, int ldc) {
    for (int i = 0; i < m; ++i) {
        float* row = c + i * ldc;
        if (beta == 0.f) std::fill(row, row + n, 0.f);
        for (int l = 0; l < k; ++l) {
            const float weight = alpha * a[i * step_i + l * step_l];
            const float* x = b + l * ldb;
#pragma omp simd
            for (int j = 0; j < n; ++j) row[j] += weight * x[j];
        }
    }
}

// C[i,:] (+)= alpha sum_l op(A)[i,l] B[l,:], in panels of NV vectors of columns, 6 rows at a time. B's rows are read
// where they lie: at our sizes (a few hundred rows) OpenBLAS spends a fifth of its time packing operands that are used
// once, and without that this is 10 to 25% faster (see tile_product).
template <int NV, bool add>
void panels(int m, int n, int k, float alpha, const float* a, int step_i, int step_l, const float* b, int ldb, float* c,
            int ldc) {
    for (int j = 0; j < n; j += NV * lane_count) { // a panel of B stays in cache while all rows pass
        const auto rows = [&](auto count, int i) {
            tile_product<count(), NV, add>(k, a + i * step_i, step_i, step_l, b + j, ldb, c + i * ldc + j, ldc, alpha);
        };
        int i = 0;
        for (; i + 6 <= m; i += 6) rows(std::integral_constant<int, 6>(), i);
        switch (m - i) {
        case 5:
            rows(std::integral_constant<int, 5>(), i);
            break;
        case 4:
            rows(std::integral_constant<int, 4>(), i);
            break;
        case 3:
            rows(std::integral_constant<int, 3>(), i);
            break;
        case 2:
            rows(std::integral_constant<int, 2>(), i);
            break;
        case 1:
            rows(std::integral_constant<int, 1>(), i);
            break;
        }
    }
}

// The last n < 16 columns: B's are copied, some rows at a time, into whole vectors filled up with zeros.
template <bool add>
void narrow(int m, int n, int k, float alpha, const float* a, int step_i, int step_l, const float* b, int ldb, float* c,
            int ldc) {
    constexpr int part = 256, high = 6;
    float wide[part * lane_count] = {}, out[high * lane_count];
    for (int begin = 0; begin < k; begin += part) {
        const int length = std::min(part, k - begin);
        for (int l = 0; l < length; ++l) std::copy_n(b + (begin + l) * ldb, n, wide + l * lane_count);
        for (int i = 0; i < m; i += high) {
            const int rows = std::min(high, m - i);
            const float* from = a + i * step_i + begin * step_l;
            panels<1, false>(rows, lane_count, length, alpha, from, step_i, step_l, wide, lane_count, out, lane_count);
            for (int r = 0; r < rows; ++r)
                for (int j = 0; j < n; ++j) {
                    float& to = c[(i + r) * ldc + j];
                    to = (add || begin > 0 ? to : 0.f) + out[r * lane_count + j];
                }
        }
    }
}

template <bool add>
void tiled(int m, int n, int k, float alpha, const float* a, int step_i, int step_l, const float* b, int ldb, float* c,
           int ldc) {
    const int wide = n / (4 * lane_count) * (4 * lane_count), whole = n / lane_count * lane_count;
    panels<4, add>(m, wide, k, alpha, a, step_i, step_l, b, ldb, c, ldc);
    panels<1, add>(m, whole - wide, k, alpha, a, step_i, step_l, b + wide, ldb, c + wide, ldc);
    if (n > whole) narrow<add>(m, n - whole, k, alpha, a, step_i, step_l, b + whole, ldb, c + whole, ldc);
}

} // namespace

void gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
          int ldb, float beta, float* c, int ldc) {
    if (m == 0 || n == 0) return;
    const bool at = ta == Transpose::yes, bt = tb == Transpose::yes;
    if (!at && bt && m <= few) return rows_times_rows(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (!at && !bt && m <= few) return sum_of_rows(m, n, k, alpha, a, lda, 1, b, ldb, beta, c, ldc);
    if (at && !bt && k <= few) return sum_of_rows(m, n, k, alpha, a, 1, lda, b, ldb, beta, c, ldc);
    if (!bt)
        return beta == 0.f ? tiled<false>(m, n, k, alpha, a, at ? 1 : lda, at ? lda : 1, b, ldb, c, ldc)
                           : tiled<true>(m, n, k, alpha, a, at ? 1 : lda, at ? lda : 1, b, ldb, c, ldc);
    cblas_sgemm(CblasRowMajor, at ? CblasTrans : CblasNoTrans, bt ? CblasTrans : CblasNoTrans, m, n, k, alpha, a, lda,
                b, ldb, beta, c, ldc);
}

void use_one_blas_thread() { openblas_set_num_threads(1); }
const char* blas_core() { return openblas_get_corename(); }

} // namespace fci
