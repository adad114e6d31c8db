#include "core/lapack.h"

#include <cblas.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>

#include "core/check.h"

// LAPACK's own names: Debian's OpenBLAS brings the library without its C header. No lengths of the character
// arguments are passed, as most C callers do; LAPACK looks at the first letter only.
extern "C" void dgesdd_(const char* job, const int* m, const int* n, double* a, const int* lda, double* s, double* u,
                        const int* ldu, double* vt, const int* ldvt, double* work, const int* lwork, int* iwork,
                        int* info);
extern "C" void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info);
extern "C" void dpotri_(const char* uplo, const int* n, double* a, const int* lda, int* info);

namespace fci {
namespace {

#if defined(__GLIBC__)
// OpenBLAS starts a thread for each processor as it is loaded, before main. Each wants 128 MiB of address space; where
// a limit refuses them, it asks again for ever, and the end of the program waits for it. Only an environment variable
// prevents that. It is changed before the libraries' constructors run; nothing can be added then, so an entry is lent
// for it and restored before main.
char one_thread[] = "OPENBLAS_NUM_THREADS=1";
char **lent = nullptr, *owner = nullptr;
void lend(int, char**, char** environment) {
    constexpr size_t name = sizeof one_thread - sizeof "1"; // with its '='
    for (char** entry = environment; *entry; ++entry) {     // OPENBLAS_NUM_THREADS where it is set, else the last entry
        lent = entry;
        size_t same = 0;
        while (same < name && (*entry)[same] == one_thread[same]) ++same;
        if (same == name) break;
    }
    if (lent) owner = *lent, *lent = one_thread;
}
[[gnu::constructor]] void give_back() {
    if (lent) *lent = owner;
}
[[gnu::used, gnu::section(".preinit_array")]] void (*const before_libraries)(int, char**, char**) = lend;
#endif

// OpenBLAS allocates a buffer at a thread's first call, and where there is no room it tries for ever.
void expect_room() {
    constexpr size_t bytes = (size_t{128} << 20) + (size_t{1} << 20); // Debian's build; some take less
    static thread_local bool known = false;
    if (known) return;
    void* probe = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED)
        fail(Exit::internal, "out of memory: OpenBLAS needs {} MiB of address space; raise the limit (ulimit -v)",
             bytes >> 20);
    ::munmap(probe, bytes);
    known = true;
}

} // namespace

std::vector<double> singular_values(std::vector<double> a, int m, int n) {
    check(m >= 1 && n >= 1 && a.size() == static_cast<size_t>(m) * n, "singular_values: {} numbers, expected ({},{})",
          a.size(), m, n);
    for (double x : a)
        if (!std::isfinite(x)) fail(Exit::non_finite, "singular_values: the ({},{}) matrix has a NaN or Inf", m, n);
    // Row-major (m,n) is column-major (n,m): the transpose, which has the same singular values.
    expect_room();
    std::vector<double> s(std::min(m, n));
    std::vector<int> iwork(8 * s.size());
    const int one = 1;
    int info = 0, lwork = -1;
    double size = 0, none = 0;
    const auto call = [&](double* work) {
        dgesdd_("N", &n, &m, a.data(), &n, s.data(), &none, &one, &none, &one, work, &lwork, iwork.data(), &info);
        check(info == 0, "singular_values: dgesdd of a ({},{}) matrix fails with info {}", m, n, info);
    };
    call(&size); // asks how much it needs
    lwork = static_cast<int>(size);
    std::vector<double> work(lwork);
    call(work.data());
    return s;
}

void solve_upper(int n, const double* u, double* x) {
    expect_room();
    cblas_dtrsv(CblasRowMajor, CblasUpper, CblasNoTrans, CblasNonUnit, n, u, n, x, 1);
}

void solve_upper_transposed(int n, const double* u, double* x) {
    expect_room();
    cblas_dtrsv(CblasRowMajor, CblasUpper, CblasTrans, CblasNonUnit, n, u, n, x, 1);
}

void solve_upper_transposed(int n, const double* u, int m, double* x) { // a row r becomes U^-T r = (r^T U^-1)^T
    expect_room();
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, m, n, 1.0, u, n, x, n);
}

void cholesky_update(int n, double* u, double* x) {
    for (int k = 0; k < n; ++k) {
        if (x[k] == 0) continue;
        double* row = u + static_cast<long>(k) * n;
        const double r = std::hypot(row[k], x[k]), c = row[k] / r, s = x[k] / r;
        row[k] = r;
#pragma omp simd
        for (int j = k + 1; j < n; ++j) {
            const double old = row[j];
            row[j] = c * old + s * x[j];
            x[j] = c * x[j] - s * old;
        }
    }
}

void invert_positive(int n, double* a) {
    expect_room();
    int info = 0;
    dpotrf_("L", &n, a, &n, &info); // column-major lower is row-major upper
    if (info == 0) dpotri_("L", &n, a, &n, &info);
    if (info != 0) fail(Exit::non_finite, "invert_positive: a ({0},{0}) matrix is not positive definite", n);
    for (int r = 0; r < n; ++r)
        for (int k = 0; k < r; ++k) a[static_cast<long>(r) * n + k] = a[static_cast<long>(k) * n + r];
}

} // namespace fci
