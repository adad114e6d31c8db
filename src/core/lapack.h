#pragma once
#include <vector>

namespace fci {

// A <- A^-1 of a symmetric positive definite A (n,n), by its Cholesky factor [LAPACK dpotrf, dpotri]. O(n^3).
// Exit::non_finite where A is not positive definite, or has a NaN.
void invert_positive(int n, double* a);

} // namespace fci
