#include "core/lapack.h"

#include "core/check.h"

extern "C" void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info);
extern "C" void dpotri_(const char* uplo, const int* n, double* a, const int* lda, int* info);

namespace fci {

void invert_positive(int n, double* a) {
    int info = 0;
    dpotrf_("L", &n, a, &n, &info); // column-major lower is row-major upper
    if (info == 0) dpotri_("L", &n, a, &n, &info);
    if (info != 0) fail(Exit::non_finite, "invert_positive: a ({0},{0}) matrix is not positive definite", n);
    for (int r = 0; r < n; ++r)
        for (int c = 0; c < r; ++c) a[int64_t{r} * n + c] = a[int64_t{c} * n + r];
}

} // namespace fci
