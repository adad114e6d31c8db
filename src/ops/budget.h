// budget: a linear bandit chooses the tokens that take part in attention, and learns from the loss
// [Basu 2026, Sec. 4.3, MF-OFUL; Abbasi-Yadkori et al. 2011]
//   bound[b,j] = theta . x[b,j] + beta sqrt(max(0, x[b,j] . A^-1 x[b,j])),   beta = 1                          (1)
//   chosen[b]  = the m positions with the highest bounds, ties to the lower; ascending                         (2)
//   gram[b]    = sum_i x[b,chosen[b,i]] x[b,chosen[b,i]]^T,   sum[b] = sum_i x[b,chosen[b,i]]                  (3)
//   A += gram[b],   c += (l' - l[b]) sum[b],   b = 0, 1, ..;   then theta = A^-1 c                             (4)
//   l[b] is the mean loss of sequence b, l' the mean of all earlier l; the very first l gives no reward. A begins as
//   the identity. In a checkpoint c has the paper's name, b.
// Shapes    x (b,t,d)   A, A^-1, gram[b] (d,d)   theta, c, sum[b] (d)   bound (b,t)   chosen (b,m)   loss (b,r)
// Contract  (2): 1 <= m <= t; a NaN ranks lowest.
//           (4): in double, from (3) in float (on a GPU with --precision tf32, TF32), stored as float. An A that is not
//           positive definite is Exit::non_finite on the CPU; on the GPU it leaves A^-1 and theta NaN.
// Backward  none: a choice has no derivative.
// Cost      (1) 2 b t d^2   (2) O(b t)   (3) 2 b m d^2   (4) d^3 + b d^2 flops, 7 d^3 on the GPU
#pragma once
#include "core/tape.h"

namespace fci {

struct BudgetShape {
    static constexpr int widest = 512; // largest d
    int batch, time, chosen, d;
};

constexpr OpCost budget_cost(BudgetShape s) { // (1) and (3)
    const double x = 1. * s.batch * s.time * s.d, taken = 1. * s.batch * s.chosen * s.d;
    return {{2 * (x + taken) * s.d, 0, 2 * x + taken + s.d * (s.d + 1.) * (1. + s.batch)}, {}};
}

struct BudgetLearnShape {
    static constexpr int tile = 16; // of the inverse on the GPU
    int batch, rows, d;             // sequences, losses of each, features
    constexpr int padded() const { return (d + tile - 1) / tile * tile; }
};

template <class T>
struct BudgetNumbers { // the bandit's state
    T *A, *inverse, *c, *theta;
    T* losses; // sum and count of all l so far
};

template <class T>
using BudgetBounds = void(BudgetShape, const T* x, const T* inverse, const T* theta, T* bound);
template <class T>
using BudgetChoose = void(BudgetShape, const T* bound, int32_t* chosen);
template <class T>
using BudgetGram = void(BudgetShape, const T* x, const int32_t* chosen, T* gram, T* sum);
// skip (on the device): where it is not null and *skip is not 0, nothing is learned, as the step was not made
template <class T>
using BudgetLearn = void(BudgetLearnShape, const T* gram, const T* sum, const T* loss, BudgetNumbers<T>,
                         const int* skip);

FCI_TWINS(BudgetBounds<float>, budget_bounds)
FCI_TWINS(BudgetChoose<float>, budget_choose)
FCI_TWINS(BudgetGram<float>, budget_gram)
FCI_TWINS(BudgetLearn<float>, budget_learn)

} // namespace fci
