// What the ops of the benchmark's table run on, and the sizes of a DER step.
#pragma once
#include "bench/measure.h"
#include "train/gpu.h"

namespace fci {

namespace bench {
inline constexpr int L = 512, d = 128, heads = 4, inner = 256, states = 16, rank = 8, vocab = 256, k = 4;
inline constexpr int groups = 8, parameters = 560000; // about those of transformer:1 and bidir-flow:1
} // namespace bench

struct BenchOp::Lane {
    static constexpr int64_t slot_of_one = int64_t{512} * 512, units = 40;
    Device device;
    int batch;
    int64_t slot = batch * slot_of_one, unit = int64_t{batch} * bench::L * bench::d;
    Arena arena{device};
    float *x[5], *y[4], *g[7]; // inputs, outputs and scratch, gradients that are added to
    float *dt, *A, *far;       // Mamba's step and A in their range; activations of a whole step, to be zeroed
    int32_t* index;
    int next = 0;

    struct { // a GPU's update of the parameters
        GpuStep* step;
        GpuLog* log;
        AdamWRates* schedule;
        int32_t* hits;
    } update{};
    static constexpr int most_updates = 1024;

    Lane(int worker, Device, int sequences);
};

} // namespace fci
