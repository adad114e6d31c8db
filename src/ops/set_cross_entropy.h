// set_cross_entropy: minus the log of the softmax summed over a set; for rows of scores with several correct classes
//   lse[r]  = ln sum_c exp(z[r,c])                                                         (1)
//   held[r] = ln sum_{c in A_r} exp(z[r,c])                                                (2)
//   loss[r] = lse[r] - held[r]                                                             (3)
// A_r = {target[begin[r]], ..., target[begin[r+1]-1]}, not empty, all distinct. With one class it is cross_entropy.
// Shapes    z (rows,classes)   begin (rows+1)   target (begin[rows]) in [0,classes)   loss (rows)   lse held (rows,2)
// Backward  dz[r,c] += dloss[r] (exp(z[r,c] - lse[r]) - [c in A_r] exp(z[r,c] - held[r]))  (dz)
// Contract  dz is ADDED to. lse and held are saved, each in two parts (LogSum, core/scalar.h).
// Cost      O(rows classes + begin[rows]), one exp2 a score each way, and one more for each member of a set.
#pragma once
#include "ops/cross_entropy.h"

namespace fci {

struct SetCrossEntropyShape {
    int rows, classes;
};

constexpr OpCost set_cross_entropy_cost(SetCrossEntropyShape s) { return cross_entropy_cost({s.rows, s.classes}); }

template <class T>
using SetCrossEntropyForward = void(SetCrossEntropyShape, const T* z, const int32_t* begin, const int32_t* target,
                                    T* loss, T* lse, T* held);
template <class T>
using SetCrossEntropyBackward = void(SetCrossEntropyShape, const T* z, const int32_t* begin, const int32_t* target,
                                     const T* lse, const T* held, const T* dloss, T* dz);

FCI_TWINS(SetCrossEntropyForward<float>, set_cross_entropy_forward)
FCI_TWINS(SetCrossEntropyBackward<float>, set_cross_entropy_backward)

// z (...,classes), begin (rows+1), target (begin[rows]) -> (rows). A root of the tape, like cross_entropy: backward
// starts here, with dloss = weight (times *factor if given).
Tensor set_cross_entropy(Tape&, Tensor z, IntTensor begin, IntTensor target, float weight,
                         const float* factor = nullptr);

} // namespace fci
