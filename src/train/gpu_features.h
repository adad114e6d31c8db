// GpuFeatures: the states of a frozen backbone, for steps and tests on the GPU. All of a dataset's lie on the device,
// as fp16 or float, where they fit into half of the memory that is free there; else those of a batch are sent before it
// is computed. The numbers are the same either way.
#pragma once
#include <vector>

#include "core/arena.h"
#include "core/workers.h"
#include "train/gpu.h"
#include "train/losses.h"

namespace fci {

class GpuFeatures {
public:
    // Of d, which has features: to `memory` and into `of`, if they fit. half: each is a number of fp16. d and workers
    // must outlive it. Exit::interrupted where a SignalGuard's stop_asked().
    GpuFeatures(const Dataset& d, bool half, Arena& memory, GpuSequences& of, Workers& workers);

    // Before a batch of these n sequences: their features to batch.features, unless all are on the device.
    void send(const int* sequences, int n, const GpuBatch& batch);

private:
    void read(const int* sequences, int n);

    const Dataset& of_;
    Workers& workers_;
    const int64_t numbers_; // of a sequence
    bool all_there_;
    std::vector<float> read_; // on the host
};

} // namespace fci
