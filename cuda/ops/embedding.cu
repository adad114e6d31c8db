// embedding on the GPU; the mathematics is in src/ops/embedding.h. One warp per row of y. dE, a scatter with many
// repeats, is in cuda/rows.cuh; dP is a sum over the batch. All are bound by memory.
#include "ops/embedding.h"

#include "cuda/parts.cuh"
#include "cuda/rows.cuh"

namespace fci::cuda {

void embedding_forward(EmbeddingShape s, const int32_t* id, const float* e, const float* p, float* y) {
    each_row(int64_t{s.batch} * s.time, s.d, [=] __device__(int64_t bt, int c) {
        const float position = p ? p[int64_t{modulo(bt, s.time)} * s.d + c] : 0.f;
        y[bt * s.d + c] = e[int64_t{id[bt]} * s.d + c] + position; // (1)
    });
}

void embedding_backward(EmbeddingShape s, const int32_t* id, const float* dy, float* de, float* dp) {
    scatter_add({1, s.batch * s.time, s.d, 0}, id, dy, de);  // (dE)
    if (dp) add_column_sum({s.batch, s.time * s.d, dy, dp}); // (dP)
}

} // namespace fci::cuda
