// How the ladder measures on a GPU.
#include <algorithm>
#include <cmath>

#include "cuda/common.cuh"
#include "cuda/ladder/ladder.cuh"

namespace fci::cuda {

void in_precision(Precision how, const std::function<void()>& launch) {
    const Precision before = precision();
    set_precision(how);
    launch();
    set_precision(before);
}

#if defined(FCI_EMULATOR)

double seconds(const std::function<void()>&) { return 0; }
Limits measure_limits() { return {}; }

#else

double seconds(const std::function<void()>& launch) {
    cudaEvent_t begin, end;
    expect(cudaEventCreate(&begin), "measuring");
    expect(cudaEventCreate(&end), "measuring");
    const auto round = [&](int calls) {
        expect(cudaEventRecord(begin, stream()), "measuring");
        for (int i = 0; i < calls; ++i) launch();
        expect(cudaEventRecord(end, stream()), "measuring");
        expect(cudaEventSynchronize(end), "measuring");
        float ms = 0;
        expect(cudaEventElapsedTime(&ms, begin, end), "measuring");
        return 1e-3 * ms;
    };
    round(1); // the first call loads the code
    const int calls = std::clamp(static_cast<int>(20e-3 / std::max(round(1), 1e-6)), 1, 10000);
    double best = INFINITY;
    for (int i = 0; i < 3; ++i) best = std::min(best, round(calls) / calls);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return best;
}

namespace {

__global__ void copy_kernel(int64_t n, const float4* from, float4* to) {
    const int64_t step = int64_t{gridDim.x} * blockDim.x;
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) to[i] = from[i];
}

// Eight chains of `steps` fused multiply-adds per thread.
__global__ void multiply_add_kernel(int steps, float a, float b, float* to) {
    float x[8];
    for (int i = 0; i < 8; ++i) x[i] = static_cast<float>(threadIdx.x + i);
    for (int s = 0; s < steps; ++s)
        for (int i = 0; i < 8; ++i) x[i] = x[i] * a + b;
    float sum = 0;
    for (int i = 0; i < 8; ++i) sum += x[i];
    to[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

} // namespace

Limits measure_limits() {
    constexpr int64_t bytes = int64_t{512} << 20;
    constexpr int threads = 256, blocks = 8 * 1024, steps = 4096;
    Scratch scratch;
    float *from = scratch.floats(bytes / sizeof(float)), *to = scratch.floats(bytes / sizeof(float));
    set_zero(from, bytes);
    const auto copy = [=] {
        FCI_LAUNCH(copy_kernel, blocks, threads, 0, bytes / 16, reinterpret_cast<const float4*>(from),
                   reinterpret_cast<float4*>(to));
    };
    const auto multiply_add = [=] { FCI_LAUNCH(multiply_add_kernel, blocks, threads, 0, steps, 0.999f, 0.5f, to); };
    return {2. * bytes / seconds(copy), 2. * 8 * steps * blocks * threads / seconds(multiply_add)};
}

#endif

} // namespace fci::cuda
