// GPU timing for fci bench --device cuda.
#include "bench/gpu.h"

#include <chrono>
#include <cstring>

#include "cuda/common.cuh"

namespace fci::cuda {

#if defined(FCI_EMULATOR)

void time_calls(void (*work)(void*), void* with, int n, float* ms) {
    using clock = std::chrono::steady_clock;
    for (int i = 0; i < n; ++i) {
        const clock::time_point begin = clock::now();
        work(with);
        ms[i] = std::chrono::duration<float, std::milli>(clock::now() - begin).count();
    }
}
void copy(void* to, const void* from, size_t bytes) {
    const emulator::OpenDeviceMemory open;
    std::memcpy(to, from, bytes);
}
std::string describe_gpu() { return "emulator"; }

#else

namespace {

constexpr int64_t others = int64_t{64} << 20; // floats: 256 MiB, several times the caches of any GPU

// Reads memory other than the operands. It does not write: the cache would write that back during the next timed call.
__global__ void fill_cache(const float4* x, int64_t n, float* never) {
    float sum = 0;
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x)
        sum += x[i].x + x[i].y + x[i].z + x[i].w;
    if (sum != 0) *never = sum; // all are zeros: never true
}

struct Event {
    cudaEvent_t event = nullptr;
    Event() { expect(cudaEventCreate(&event), "making an event"); }
    ~Event() { cudaEventDestroy(event); }
    void record() const { expect(cudaEventRecord(event, stream()), "recording an event"); }
};

} // namespace

// While the GPU fills its caches, the host queues the work behind, so that launch time does not count.
void time_calls(void (*work)(void*), void* with, int n, float* ms) {
    Arena memory(Device::cuda);
    float* x = memory.floats(others);
    float* never = memory.floats(1);
    set_zero(x, others * sizeof(float));
    const Event begin, end;
    for (int i = 0; i < n; ++i) {
        FCI_LAUNCH(fill_cache, 1024, 256, 0, reinterpret_cast<const float4*>(x), others / 4, never);
        begin.record();
        work(with);
        end.record();
        synchronize();
        expect(cudaEventElapsedTime(&ms[i], begin.event, end.event), "reading a time");
    }
}

void copy(void* to, const void* from, size_t bytes) {
    expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "copying within the GPU");
}

std::string describe_gpu() {
    cudaDeviceProp p{};
    int driver = 0;
    expect(cudaGetDeviceProperties(&p, 0), "asking for the device");
    expect(cudaDriverGetVersion(&driver), "asking for the driver");
    const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
    return std::string(p.name) + ", sm_" + std::to_string(p.major) + std::to_string(p.minor) + ", " +
           std::to_string(p.multiProcessorCount) + " multiprocessors, " + std::to_string(p.totalGlobalMem >> 20) +
           " MiB, CUDA " + version(CUDART_VERSION) + ", driver for " + version(driver);
}

#endif

} // namespace fci::cuda
