// budget, directly from the equations of ops/budget.h; (4) in double, as the contract requires.
#pragma once
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "ops/budget.h"
#include "tests/reference/top_k.h"

namespace fci::reference {

template <class T>
void budget_bounds(BudgetShape s, const T* x, const T* inverse, const T* theta, T* bound) {
    using std::sqrt;
    for (int bj = 0; bj < s.batch * s.time; ++bj) {
        T expected = 0, variance = 0;
        for (int r = 0; r < s.d; ++r) {
            expected += theta[r] * x[bj * s.d + r];
            for (int c = 0; c < s.d; ++c) variance += x[bj * s.d + r] * inverse[r * s.d + c] * x[bj * s.d + c];
        }
        bound[bj] = expected + (variance > T(0) ? sqrt(variance) : T(0));
    }
}

template <class T>
void budget_choose(BudgetShape s, const T* bound, int32_t* chosen) {
    std::vector<int32_t> best(s.batch * 2 * s.chosen);
    top_k_forward({s.batch, s.time, s.chosen}, bound, best.data());
    for (int b = 0; b < s.batch; ++b) {
        int32_t* row = chosen + b * s.chosen;
        std::copy_n(best.begin() + b * 2 * s.chosen, s.chosen, row);
        std::sort(row, row + s.chosen);
    }
}

template <class T>
void budget_gram(BudgetShape s, const T* x, const int32_t* chosen, T* gram, T* sum) {
    for (int b = 0; b < s.batch; ++b)
        for (int r = 0; r < s.d; ++r) {
            const auto at = [&](int i, int c) { return x[(b * s.time + chosen[b * s.chosen + i]) * s.d + c]; };
            T total = 0;
            for (int i = 0; i < s.chosen; ++i) total += at(i, r);
            sum[b * s.d + r] = total;
            for (int c = 0; c < s.d; ++c) {
                T square = 0;
                for (int i = 0; i < s.chosen; ++i) square += at(i, r) * at(i, c);
                gram[(b * s.d + r) * s.d + c] = square;
            }
        }
}

// A^-1 by elimination on (A | I), one row at a time.
template <class T>
std::vector<T> inverse_of(int d, std::vector<T> a) {
    std::vector<T> inverse(d * d, T(0));
    for (int i = 0; i < d; ++i) inverse[i * d + i] = T(1);
    for (int k = 0; k < d; ++k) {
        const T pivot = a[k * d + k];
        for (int c = 0; c < d; ++c)
            a[k * d + c] = a[k * d + c] / pivot, inverse[k * d + c] = inverse[k * d + c] / pivot;
        for (int r = 0; r < d; ++r) {
            const T factor = a[r * d + k];
            for (int c = 0; r != k && c < d; ++c)
                a[r * d + c] -= factor * a[k * d + c], inverse[r * d + c] -= factor * inverse[k * d + c];
        }
    }
    return inverse;
}

template <class T>
void budget_learn(BudgetLearnShape s, const T* gram, const T* sum, const T* loss, BudgetNumbers<T> to,
                  const int* skip) {
    if (skip && *skip) return;
    using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;
    const int d = s.d;
    std::vector<Wide> A(to.A, to.A + d * d), c(to.c, to.c + d);
    Wide all = to.losses[0], count = to.losses[1];
    for (int b = 0; b < s.batch; ++b) {
        Wide l = 0;
        for (int r = 0; r < s.rows; ++r) l += Wide(loss[b * s.rows + r]) / Wide(s.rows);
        for (int i = 0; i < d * d; ++i) A[i] += Wide(gram[b * d * d + i]);
        for (int i = 0; i < d && count > Wide(0); ++i) c[i] += (all / count - l) * Wide(sum[b * d + i]);
        all += l, count += Wide(1);
    }
    const auto store = [](const std::vector<Wide>& from, T* into) {
        std::transform(from.begin(), from.end(), into, [](Wide v) { return static_cast<T>(v); });
    };
    const std::vector<Wide> inverse = inverse_of(d, A);
    std::vector<Wide> theta(d, Wide(0));
    for (int r = 0; r < d; ++r)
        for (int i = 0; i < d; ++i) theta[r] += inverse[r * d + i] * c[i];
    store(A, to.A), store(c, to.c), store(inverse, to.inverse), store(theta, to.theta);
    store({all, count}, to.losses);
}

} // namespace fci::reference
