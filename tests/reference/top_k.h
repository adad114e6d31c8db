// top_k by sorting all positions: higher score first, NaN last, ties to the lower index (a stable sort keeps them).
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "ops/top_k.h"

namespace fci::reference {

template <class T>
void top_k_forward(TopKShape s, const T* scores, int32_t* chosen) {
    for (int r = 0; r < s.rows; ++r) {
        const T* row = scores + r * s.n;
        std::vector<int32_t> order(s.n);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [row](int i, int j) {
            const bool i_is_nan = row[i] != row[i], j_is_nan = row[j] != row[j];
            return i_is_nan || j_is_nan ? !i_is_nan && j_is_nan : row[i] > row[j];
        });
        for (int m = 0; m < s.k; ++m) {
            chosen[r * 2 * s.k + m] = order[m];
            chosen[r * 2 * s.k + s.k + m] = std::min(order[m] + 1, s.n - 1);
        }
    }
}

} // namespace fci::reference
