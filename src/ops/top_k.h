// top_k: the k highest scores of each row, and each one's right neighbour
//   chosen[r,0..k)  = positions of the k highest scores, highest first, ties to the lower index
//   chosen[r,k..2k) = each of them + 1, at most n-1 (a value stands after its key)  [Basu 2026, Sec. 3.2]
// Shapes    scores (rows,n)   chosen (rows,2k); a neighbour may be a chosen position too
// Backward  none: a choice has no derivative.
// Contract  1 <= k <= n. A NaN ranks below everything.
// Cost      O(rows n): one comparison for a score that is not among the k best so far; one that is, is inserted into
//           their sorted list, O(k). Rising scores are the worst case, O(rows n k).
#pragma once
#include "core/tape.h"

namespace fci {

struct TopKShape {
    int rows, n, k;
    int64_t size() const { return int64_t{rows} * 2 * k; }
};

constexpr OpCost top_k_cost(TopKShape s) { return {{0, 0, 1. * s.rows * s.n + s.rows * 2. * s.k}, {}}; }

template <class T>
using TopKForward = void(TopKShape, const T* scores, int32_t* chosen);

FCI_TWINS(TopKForward<float>, top_k_forward)

// scores (...,n) -> (...,2k)
IntTensor top_k(Tape&, Tensor scores, int k);

} // namespace fci
