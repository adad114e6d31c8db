// Runs the ladders on this machine's GPU: make ladder
#include <algorithm>

#include "core/check.h"
#include "core/device.h"
#include "core/gemm.h"
#include "cuda/ladder/ladder.cuh"

namespace {

void print_table(fci::cuda::Ladder& ladder, const fci::cuda::Limits& limits) {
    const double by_bytes = ladder.bytes() / limits.bytes_per_s, by_flops = ladder.flops() / limits.flops_per_s;
    const double limit = std::max(by_bytes, by_flops);
    fmt::print("{}: {:.1f} MB, {:.2f} GFLOP; limit {:.1f} us, by {}\n", ladder.what(), ladder.bytes() * 1e-6,
               ladder.flops() * 1e-9, limit * 1e6, by_bytes > by_flops ? "bytes" : "multiply-adds");
    for (const auto& step : ladder.steps()) {
        const std::string wrong = ladder.check(step);
        if (!wrong.empty()) fci::fail(fci::Exit::internal, "{}", wrong);
        const double time = fci::cuda::seconds(step.launch);
        fmt::print("  {:<16} {:<76} {:>9.1f} us {:>5.1f} %\n", step.name, step.adds, time * 1e6, 100 * limit / time);
    }
    fmt::print("\n");
}

} // namespace

int main() {
    try {
        const fci::Gpu gpu = fci::find_gpu();
        if (!gpu.present) fci::fail(fci::Exit::usage, "the ladder needs a GPU: {}", gpu.why);
        fci::use_one_blas_thread();
        const fci::cuda::Limits limits = fci::cuda::measure_limits();
        fmt::print("{}: copies {:.2f} TB/s, multiply-adds {:.1f} TFLOP/s\n\n", gpu.name, limits.bytes_per_s * 1e-12,
                   limits.flops_per_s * 1e-12);
        std::deque<fci::cuda::Ladder> ladders;
        fci::cuda::add_ladders(ladders, false);
        for (fci::cuda::Ladder& ladder : ladders) print_table(ladder, limits);
        return 0;
    } catch (const fci::Error& e) {
        fmt::print(stderr, "ladder: {}\n", e.what());
        return static_cast<int>(e.exit);
    }
}
