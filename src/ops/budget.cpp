#include "ops/budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <ranges>
#include <span>

#include "core/gemm.h"
#include "core/lapack.h"
#include "core/scratch.h"

namespace fci::cpu {

void budget_bounds(BudgetShape s, const float* x, const float* inverse, const float* theta, float* bound) {
    const int t = s.time, d = s.d;
    Scratch scratch;
    float* Ax = scratch.floats(int64_t{t} * d); // A^-1 x
    for (int b = 0; b < s.batch; ++b) {
        const float* xb = x + int64_t{b} * t * d;
        gemm(Transpose::no, Transpose::no, t, d, d, 1.f, xb, d, inverse, d, 0.f, Ax, d);
        for (int j = 0; j < t; ++j) {
            float expected = 0, variance = 0;
            for (int c = 0; c < d; ++c) {
                expected += theta[c] * xb[int64_t{j} * d + c];
                variance += Ax[int64_t{j} * d + c] * xb[int64_t{j} * d + c];
            }
            bound[int64_t{b} * t + j] = expected + std::sqrt(std::max(variance, 0.f)); // (1)
        }
    }
}

void budget_choose(BudgetShape s, const float* bound, int32_t* chosen) {
    for (int b = 0; b < s.batch; ++b, bound += s.time, chosen += s.chosen) {
        const auto higher = [bound](int i, int j) {
            return bound[i] > bound[j] || (bound[j] != bound[j] && bound[i] == bound[i]);
        };
        const std::span best(chosen, s.chosen);
        std::ranges::partial_sort_copy(std::views::iota(0, s.time), best, // (2)
                                       [&](int i, int j) { return higher(i, j) || (i < j && !higher(j, i)); });
        std::ranges::sort(best);
    }
}

void budget_gram(BudgetShape s, const float* x, const int32_t* chosen, float* gram, float* sum) {
    const int d = s.d, m = s.chosen;
    constexpr int block = 16; // rows at a time, beside one another for the product
    float rows[block * BudgetShape::widest];
    std::fill_n(gram, int64_t{s.batch} * d * d, 0.f);
    std::fill_n(sum, int64_t{s.batch} * d, 0.f);
    for (int b = 0; b < s.batch; ++b, gram += int64_t{d} * d, sum += d)
        for (int first = 0; first < m; first += block) {
            const int n = std::min(block, m - first);
            for (int i = 0; i < n; ++i) {
                const float* from = x + (int64_t{b} * s.time + chosen[int64_t{b} * m + first + i]) * d;
                std::copy_n(from, d, rows + int64_t{i} * d);
                for (int c = 0; c < d; ++c) sum[c] += from[c]; // (3)
            }
            gemm(Transpose::yes, Transpose::no, d, d, n, 1.f, rows, d, rows, d, 1.f, gram, d); // (3)
        }
}

void budget_learn(BudgetLearnShape s, const float* gram, const float* sum, const float* loss, BudgetNumbers<float> to,
                  const int* skip) {
    if (skip && *skip) return;
    const int d = s.d;
    const int64_t squares = int64_t{d} * d;
    Scratch scratch;
    const auto doubles = [&](int64_t n) { return reinterpret_cast<double*>(scratch.floats(2 * n)); };
    double *A = doubles(squares), *c = doubles(d), all = to.losses[0], count = to.losses[1];
    std::copy_n(to.A, squares, A);
    std::copy_n(to.c, d, c);
    for (int b = 0; b < s.batch; ++b, gram += squares, sum += d, loss += s.rows) {
        const double l = std::accumulate(loss, loss + s.rows, 0.0) / s.rows, reward = count > 0 ? all / count - l : 0;
        for (int64_t i = 0; i < squares; ++i) A[i] += gram[i]; // (4)
        for (int i = 0; i < d; ++i) c[i] += reward * sum[i];   // (4)
        all += l, count += 1;
    }
    const auto store = [](const double* from, int64_t n, float* into) {
        std::transform(from, from + n, into, [](double v) { return static_cast<float>(v); });
    };
    store(A, squares, to.A), store(c, d, to.c);
    to.losses[0] = static_cast<float>(all), to.losses[1] = static_cast<float>(count);
    invert_positive(d, A);
    store(A, squares, to.inverse);
    for (int r = 0; r < d; ++r)
        to.theta[r] = static_cast<float>(std::inner_product(c, c + d, A + int64_t{r} * d, 0.0)); // (4)
}

} // namespace fci::cpu
