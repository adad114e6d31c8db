// Dense linear algebra in double precision, by OpenBLAS's BLAS and LAPACK on one thread (see
// use_one_blas_thread). It is for bandits and analysis: small or rare work. Matrices are row-major.
#pragma once
#include <vector>

namespace fci {

// The min(m,n) singular values of A (m,n), largest first [LAPACK dgesdd, values only]. O(m n min(m,n)).
// Exit::non_finite where A has a NaN or Inf.
std::vector<double> singular_values(std::vector<double> a, int m, int n);

// With U (n,n) upper triangular, only its upper triangle looked at; each O(n^2) a vector:
void solve_upper(int n, const double* u, double* x);                   // x <- U^-1 x
void solve_upper_transposed(int n, const double* u, double* x);        // x <- U^-T x
void solve_upper_transposed(int n, const double* u, int m, double* x); // each of m rows of X <- U^-T row

// U^T U <- U^T U + x x^T, by a Givens rotation a row; x is used up. It only ever adds, so it is backward stable: the
// factor is as accurate as one computed from scratch  [Gill, Golub, Murray & Saunders 1974, method C1].
void cholesky_update(int n, double* u, double* x);

// A <- A^-1 of a symmetric positive definite A (n,n), by its Cholesky factor [LAPACK dpotrf, dpotri]. O(n^3).
// Exit::non_finite where A is not positive definite, or has a NaN.
void invert_positive(int n, double* a);

} // namespace fci
