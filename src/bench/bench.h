// bench: how fast each op and each step is here, against this machine's own limits measured in the same process.
//   peak   multiply-adds on values in registers, on all workers at once (beside it products of 512x128x128, a layer's)
//   copy   memcpy on all workers at once, read and write counted: of a layer's activations, which caches hold, and
//          between buffers far larger than the caches
// An op's limit is the larger of flops/peak and bytes/copy in cache; for what runs once a step over all parameters,
// bytes/copy in memory. Machines are shared and noisy: every time is a median, the limits are measured again and
// again between the other measurements, and processor time stands beside the clock's.
#pragma once
#include <string>

namespace fci {

struct BenchOptions {
    std::string task, representation; // empty: all
    int threads = 0, steps = 0;       // 0: one for each processor; as many steps as take a few seconds
    bool json = false;                // end with one JSON object on standard output, the tables on standard error
    bool scaling = false;             // routing against the length instead, see scaling.cpp
    std::string out;                  // scaling: the same as a file of tab-separated columns
    std::string device = "cpu";       // cuda: see gpu.cpp
    bool tf32 = false, runs = false;  // cuda: products in TF32; whole runs, too, not only their steps
};

void run_bench(const BenchOptions&);
void run_scaling(const std::string& out);
void run_gpu_bench(const BenchOptions&);

} // namespace fci
