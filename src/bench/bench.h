// bench: the speed of each op and each step, against this machine's own limits measured in the same process.
//   peak   multiply-adds on values in registers, on all workers at once (also measured: products of 512x128x128, as in
//          a layer)
//   copy   memcpy on all workers at once, read and write counted: of a layer's activations, which fit in caches, and
//          between buffers far larger than the caches
// An op's limit is the larger of flops/peak and bytes/copy in cache; for work done once per step over all parameters it
// is bytes/copy in memory. Machines are shared and noisy. So every time is a median, the limits are measured repeatedly
// between the other measurements, and processor time is shown beside wall time.
#pragma once
#include <string>

namespace fci {

struct BenchOptions {
    std::string task, representation; // empty: all
    int threads = 0, steps = 0;       // 0: one per processor; steps for a few seconds
    bool json = false;                // one JSON object on standard output, tables on standard error
    bool scaling = false;             // instead: routing against the length, see scaling.cpp
    std::string out;                  // scaling: a file for the results, tab-separated
    std::string device = "cpu";       // cuda: see gpu.cpp
    std::string precision = "fp32";   // cuda: of products (core/device.h)
    bool runs = false;                // cuda: also times whole runs
};

void run_bench(const BenchOptions&);
void run_scaling(const std::string& out);
void run_gpu_bench(const BenchOptions&);

} // namespace fci
