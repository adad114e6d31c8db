// cross_entropy: minus the log of the softmax at the target; for answer logits and for rows of scores
//   lse[r] = ln sum_c exp(z[r,c])                                                          (1)
//   loss[r] = lse[r] - z[r,target[r]]                                                      (2)
// Shapes    z (rows,classes)   target (rows) in [0,classes)   loss (rows)   lse (rows,2)
// Backward  dz[r,c] += dloss[r] (exp(z[r,c] - lse[r]) - [c = target[r]])                   (dz)
// Contract  dz is ADDED to. lse is saved, in two parts (LogSum), so that a constant added to a row changes nothing.
// Cost      O(rows classes), one exp2 each way.
#pragma once
#include "core/scalar.h"
#include "core/tape.h"

namespace fci {

struct CrossEntropyShape {
    int rows, classes;
};

constexpr OpCost cross_entropy_cost(CrossEntropyShape s) {
    const double n = 1. * s.rows * s.classes;
    return {{0, 0, n}, {0, 0, 3 * n}};
}

template <class T>
using CrossEntropyForward = void(CrossEntropyShape, const T* z, const int32_t* target, T* loss, T* lse);
template <class T>
using CrossEntropyBackward = void(CrossEntropyShape, const T* z, const int32_t* target, const T* lse, const T* dloss,
                                  T* dz);

using FillForward = void(int rows, float weight, const float* factor, float* dloss);

namespace cpu {
LogSum<float> log_sum_exp(int n, const float* row); // ln sum_c exp(row[c])
}
FCI_TWINS(FillForward, fill_forward)
FCI_TWINS(CrossEntropyForward<float>, cross_entropy_forward)
FCI_TWINS(CrossEntropyBackward<float>, cross_entropy_backward)

// z (...,classes), one target a row -> (rows). A root of the tape: it minimises weight * sum of
// the losses, so backward starts from dloss = weight, times *factor if there is one: a number on the device that may
// change between two replays of a captured step.
Tensor cross_entropy(Tape&, Tensor z, IntTensor target, float weight, const float* factor = nullptr);

} // namespace fci
