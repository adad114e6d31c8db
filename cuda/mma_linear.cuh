// linear on tensor cores, for many rows; kernels in mma_linear.cu. In the precision that set_precision() chose, not
// fp32.
#pragma once
#include "ops/linear.h"

namespace fci::cuda::mma_linear {

// Two products at once (src/ops/linear_pair.h), or one: floats between their operands and results.
struct Items {
    int count = 1;
    int64_t x = 0, w = 0, y = 0; // and of their gradients
};

void forward(LinearShape, Items, const float* x, const float* w, const float* b, float* y); // b may be null
void backward_x(LinearShape, Items, const float* w, const float* dy, float* dx);
void backward_w(LinearShape, Items, const float* x, const float* dy, float* dw);

} // namespace fci::cuda::mma_linear
