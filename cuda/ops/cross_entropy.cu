// cross_entropy on the GPU; the mathematics is in src/ops/cross_entropy.h. A block reads its row twice: for the
// maximum, then, from the cache, for the sum. Bound by memory.
#include "ops/cross_entropy.h"

#include "cuda/softmax.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128;

__global__ void forward_kernel(CrossEntropyShape s, const float* z, const int32_t* target, float* loss, float* lse) {
    FCI_SHARED(float, partial, 32);
    const int64_t r = blockIdx.x;
    const float* row = z + r * s.classes;
    const LogSum<float> all = block_log_sum_exp<threads>(s.classes, row, partial);
    if (threadIdx.x) return;
    all.save(lse, r);                                          // (1)
    loss[r] = all.minus(LogSum<float>::of(row[target[r]], 0)); // (2)
}

__global__ void backward_kernel(CrossEntropyShape s, const float* z, const int32_t* target, const float* lse,
                                const float* dloss, float* dz) {
    const int64_t r = blockIdx.x;
    const float *row = z + r * s.classes, weight = dloss[r];
    const auto l = LogSum<float>::load(lse, r);
    float* drow = dz + r * s.classes;
    const int at = target[r];
    for (int c = threadIdx.x; c < s.classes; c += threads)
        drow[c] += weight * (exp(l.share(row[c])) - (c == at ? 1.f : 0.f)); // (dz)
}

} // namespace

void cross_entropy_forward(CrossEntropyShape s, const float* z, const int32_t* target, float* loss, float* lse) {
    if (s.rows) FCI_LAUNCH(forward_kernel, s.rows, threads, 0, s, z, target, loss, lse);
}

void cross_entropy_backward(CrossEntropyShape s, const float* z, const int32_t* target, const float* lse,
                            const float* dloss, float* dz) {
    if (s.rows) FCI_LAUNCH(backward_kernel, s.rows, threads, 0, s, z, target, lse, dloss, dz);
}

void fill_forward(int rows, float weight, const float* factor, float* dloss) {
    each(rows, [=] __device__(int64_t r) { dloss[r] = factor ? weight * *factor : weight; });
}

} // namespace fci::cuda
