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

// to[l * stride + j] = b[j * ldb + l] for j < 4, l < length, by blocks of 4 x 4.
void transpose_columns(int length, const float* b, int ldb, float* to, int stride) {
    using four = float __attribute__((vector_size(16)));
    using four_anywhere = float __attribute__((vector_size(16), aligned(4), may_alias));
    int l = 0;
    for (; l + 4 <= length; l += 4) {
        four row[4], pair[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) row[j] = *reinterpret_cast<const four_anywhere*>(b + j * ldb + l);
        pair[0] = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
        pair[1] = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
        pair[2] = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
        pair[3] = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
        const auto put = [&](int i, four x) { *reinterpret_cast<four_anywhere*>(to + (l + i) * stride) = x; };
        put(0, __builtin_shufflevector(pair[0], pair[1], 0, 1, 4, 5));
        put(1, __builtin_shufflevector(pair[0], pair[1], 2, 3, 6, 7));
        put(2, __builtin_shufflevector(pair[2], pair[3], 0, 1, 4, 5));
        put(3, __builtin_shufflevector(pair[2], pair[3], 2, 3, 6, 7));
    }
    for (; l < length; ++l)
        for (int j = 0; j < 4; ++j) to[l * stride + j] = b[j * ldb + l];
}

// to[l * width + j] = B[l,j] for j < columns, 0 from there on. B[l,j] is b[l * ldb + j], or b[j * ldb + l] if
// transposed.
template <int width>
void pack_panel(int length, int columns, const float* b, int ldb, bool transposed, float* to) {
    if (columns < width) std::fill(to, to + length * width, 0.f);
    if (!transposed) {
        for (int l = 0; l < length; ++l) // the usual width as a constant avoids a call of memmove
            columns == width ? std::copy_n(b + l * ldb, width, to + l * width)
                             : std::copy_n(b + l * ldb, columns, to + l * width);
        return;
    }
    int j = 0;
    for (; j + 4 <= columns; j += 4) transpose_columns(length, b + j * ldb, ldb, to + j, width);
    for (; j < columns; ++j)
        for (int l = 0; l < length; ++l) to[l * width + j] = b[j * ldb + l];
}

// C (+)= alpha op(A) op(B) by register tiles, where op(A)[i,l] = a[i * step_i + l * step_l]. All rows of A pass over
// one panel of B after another: `chunk` rows of wide_columns, copied together, because rows that are a power of two
// apart would evict each other from the cache. So would the columns of a transposed A, which are copied into strips. A
// weight is copied once a sequence; with some hundred rows to a sequence that takes less than 2% of the product's time.
void tiled(int m, int n, int k, float alpha, const float* a, int step_i, int step_l, const float* b, int ldb, bool bt,
           bool add, float* c, int ldc) {
    constexpr int chunk = 256, block = 32 * wide_rows, pitch = chunk + 4;
    alignas(64) float panel[chunk * wide_columns], strips[block * pitch], edge[wide_rows * wide_columns];
    const bool pack = step_l != 1;
    const int rows_at_once = pack ? block : m;
    for (int top = 0; top < m; top += rows_at_once)
        for (int from = 0; from == 0 || from < k; from += chunk) { // k = 0: C becomes 0
            const int rows = std::min(rows_at_once, m - top), length = std::min(chunk, k - from);
            const float* part = a + top * step_i + from * step_l;
            if (pack)
                for (int l = 0; l < length; ++l)
                    each_strip<wide_rows>(rows, [&](auto R, int i) {
                        std::copy_n(part + i + l * step_l, R(), strips + i * pitch + l * R);
                    });
            for (int j = 0; j < n; j += wide_columns) {
                const int columns = std::min(wide_columns, n - j), vectors = (columns + lane_count - 1) / lane_count,
                          width = vectors * lane_count;
                as_constant<wide_vectors>(vectors, [&](auto NV) {
                    pack_panel<NV * lane_count>(length, columns, b + (bt ? j * ldb + from : from * ldb + j), ldb, bt,
                                                panel);
                    each_strip<wide_rows>(rows, [&](auto R, int i) {
                        const bool whole = columns == width;
                        float *to = c + (top + i) * ldc + j, *out = whole ? to : edge;
                        const int stride = whole ? ldc : width;
                        const bool adds = add || from > 0;
                        if (pack)
                            tile_product<R(), NV()>(length, strips + i * pitch, 1, R(), panel, width, whole && adds,
                                                    out, stride, alpha);
                        else
                            tile_product<R(), NV()>(length, part + i * step_i, step_i, 1, panel, width, whole && adds,
                                                    out, stride, alpha);
                        for (int r = 0; !whole && r < R; ++r)
                            for (int q = 0; q < columns; ++q)
                                to[r * ldc + q] = (adds ? to[r * ldc + q] : 0.f) + edge[r * width + q];
                    });
                });
            }
        }
}

} // namespace

void gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
          int ldb, float beta, float* c, int ldc) {
    if (m == 0 || n == 0) return;
    const bool at = ta == Transpose::yes, bt = tb == Transpose::yes;
    if (!at && bt && m <= few) return rows_times_rows(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (!at && !bt && m <= few) return sum_of_rows(m, n, k, alpha, a, lda, 1, b, ldb, beta, c, ldc);
    if (at && !bt && k <= few) return sum_of_rows(m, n, k, alpha, a, 1, lda, b, ldb, beta, c, ldc);
    tiled(m, n, k, alpha, a, at ? 1 : lda, at ? lda : 1, b, ldb, bt, beta != 0.f, c, ldc);
}

void use_one_blas_thread() { openblas_set_num_threads(1); }
const char* blas_core() { return openblas_get_corename(); }

} // namespace fci
