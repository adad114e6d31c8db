// linear_pair: two linear layers of the same shape, without biases; on a GPU one call of the products' library for
// both.
//   y0 = x0 W0^T,   y1 = x1 W1^T                                                          ops/linear.h, twice
// Shapes    x0 x1 (...,in), the same tensor or halves of one   W0 W1 (out,in)   y0 y1 (...,out)
#pragma once
#include <array>

#include "ops/linear.h"

namespace fci {

namespace cuda {
// x1, w1, y1 and their gradients lie `step` floats behind x0, w0 and y0: 0 for the same x.
struct PairSteps {
    int64_t x, w, y;
};
[[gnu::weak]] void linear_pair_forward(LinearShape, PairSteps, const float* x, const float* w, float* y);
[[gnu::weak]] void linear_pair_backward(LinearShape, PairSteps, const float* x, const float* w, const float* dy,
                                        float* dx, float* dw);
} // namespace cuda

std::array<Tensor, 2> linear_pair(Tape&, std::array<Tensor, 2> x, std::array<Tensor, 2> w);

} // namespace fci
