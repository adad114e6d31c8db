// set_cross_entropy on the GPU; the mathematics is in src/ops/set_cross_entropy.h. One block per row, as in
// cross_entropy; the row's set is small, so one thread reads it. Bound by memory.
#include "ops/set_cross_entropy.h"

#include "cuda/softmax.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128;

__global__ void forward_kernel(SetCrossEntropyShape s, const float* z, const int32_t* begin, const int32_t* target,
                               float* loss, float* lse, float* held) {
    FCI_SHARED(float, partial, 32);
    const int64_t r = blockIdx.x;
    const float* row = z + r * s.classes;
    const LogSum<float> all = block_log_sum_exp<threads>(s.classes, row, partial);
    if (threadIdx.x) return;
    all.save(lse, r); // (1)
    const int32_t *first = target + begin[r], *last = target + begin[r + 1];
    float highest_held = row[*first], sum_held = 0; // the set's own maximum: it may be far below the row's
    for (const int32_t* c = first; c < last; ++c) highest_held = row[*c] > highest_held ? row[*c] : highest_held;
    for (const int32_t* c = first; c < last; ++c) sum_held += exp(row[*c] - highest_held);
    const auto of_set = LogSum<float>::of(highest_held, logf(sum_held)); // (2)
    of_set.save(held, r);
    loss[r] = all.minus(of_set); // (3)
}

__global__ void backward_kernel(SetCrossEntropyShape s, const float* z, const int32_t* begin, const int32_t* target,
                                const float* lse, const float* held, const float* dloss, float* dz) {
    const int64_t r = blockIdx.x;
    const float *row = z + r * s.classes, weight = dloss[r];
    const auto all = LogSum<float>::load(lse, r), of_set = LogSum<float>::load(held, r);
    float* drow = dz + r * s.classes;
    for (int c = threadIdx.x; c < s.classes; c += threads) drow[c] += weight * exp(all.share(row[c])); // (dz)
    __syncthreads();
    for (int i = begin[r] + threadIdx.x; i < begin[r + 1]; i += threads)
        drow[target[i]] -= weight * exp(of_set.share(row[target[i]]));
}

} // namespace

void set_cross_entropy_forward(SetCrossEntropyShape s, const float* z, const int32_t* begin, const int32_t* target,
                               float* loss, float* lse, float* held) {
    if (s.rows) FCI_LAUNCH(forward_kernel, s.rows, threads, 0, s, z, begin, target, loss, lse, held);
}

void set_cross_entropy_backward(SetCrossEntropyShape s, const float* z, const int32_t* begin, const int32_t* target,
                                const float* lse, const float* held, const float* dloss, float* dz) {
    if (s.rows) FCI_LAUNCH(backward_kernel, s.rows, threads, 0, s, z, begin, target, lse, held, dloss, dz);
}

} // namespace fci::cuda
