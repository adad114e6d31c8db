// gather on the GPU; the mathematics is in src/ops/gather.h. One warp per row of y; dx, a scatter with repeats within
// each sequence, is in cuda/rows.cuh. Bound by memory.
#include "ops/gather.h"

#include "cuda/rows.cuh"

namespace fci::cuda {

void gather_forward(GatherShape s, const float* x, const int32_t* index, float* y) {
    each_row(int64_t{s.batch} * s.rows, s.d, [=] __device__(int64_t i, int c) {
        y[i * s.d + c] = x[(i / s.rows * s.time + index[i]) * s.d + c]; // (1)
    });
}

void gather_backward(GatherShape s, const int32_t* index, const float* dy, float* dx) {
    scatter_add({s.batch, s.rows, s.d, s.time}, index, dy, dx); // (dx)
}

} // namespace fci::cuda
