// parts: gradients that blocks leave as parts, each as large as the gradient, and that are then added in order, those
// of several gradients in one launch.
#pragma once
#include "cuda/common.cuh"

namespace fci::cuda {

// to[i] += part[i] + part[n + i] + ..., i < n
struct PartSum {
    int parts;
    int64_t n;
    const float* part;
    float* to;
};

template <int most>
struct PartSums {
    static constexpr int threads = 256;
    int count = 0;
    PartSum of[most] = {};

    // Memory for the parts of a gradient, to be filled before launch() is called.
    float* add(Scratch& scratch, int64_t parts, int64_t n, float* to) {
        float* part = scratch.floats(parts * n);
        of[count++] = {static_cast<int>(parts), n, part, to};
        return part;
    }
    void launch() const;
};

template <int most>
__global__ void add_part_sums(PartSums<most> sums) {
    int64_t block = blockIdx.x;
    for (int k = 0; k < sums.count; ++k) {
        const PartSum& sum = sums.of[k];
        const int64_t blocks = (sum.n + sums.threads - 1) / sums.threads;
        if (block >= blocks) {
            block -= blocks;
            continue;
        }
        const int64_t i = block * sums.threads + threadIdx.x;
        if (i >= sum.n) return;
        float total = 0;
#pragma unroll 8
        for (int p = 0; p < sum.parts; ++p) total += sum.part[p * sum.n + i];
        sum.to[i] += total;
        return;
    }
}

template <int most>
void PartSums<most>::launch() const {
    unsigned blocks = 0;
    for (int k = 0; k < count; ++k) blocks += blocks_for(of[k].n, threads);
    if (blocks) FCI_LAUNCH(add_part_sums<most>, blocks, threads, 0, *this);
}

} // namespace fci::cuda
