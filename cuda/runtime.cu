// The GPU's memory, streams and errors; in the emulator, CPU memory instead.
#include "cuda/common.cuh"

#if defined(FCI_EMULATOR)

#include <cstring>

namespace fci::cuda {

namespace {
Arena& scratch_arena() {
    static thread_local Arena arena(Device::cuda);
    return arena;
}
} // namespace

// The host may not touch this memory (tests/emulator/device_memory.h) except in kernels and in the functions below.
// They take the same locks as the GPU's, so that ThreadSanitizer sees the order.
void* allocate(size_t bytes) {
    const std::lock_guard alone(whole_device());
    return emulator::device_allocate(bytes);
}
void* allocate_managed(size_t bytes) {
    const std::lock_guard alone(whole_device());
    return emulator::managed_allocate(bytes);
}
void release(void* p) {
    const std::lock_guard alone(whole_device());
    emulator::device_release(p);
}
void set_zero(void* p, size_t bytes) {
    emulator::enqueue([=] {
        const emulator::OpenDeviceMemory open;
        std::memset(p, 0, bytes);
    });
}
void copy_in(void* to, const void* from, size_t bytes) {
    emulator::refuse_in_capture("copy_in");
    const emulator::OpenDeviceMemory open;
    if (bytes) std::memcpy(to, from, bytes);
}
void copy_out(void* to, const void* from, size_t bytes) {
    emulator::refuse_in_capture("copy_out");
    const emulator::OpenDeviceMemory open;
    if (bytes) std::memcpy(to, from, bytes);
}
size_t free_bytes() { return emulator::get_free_memory(); }
void synchronize() { emulator::refuse_in_capture("synchronize"); }
Gpu find_gpu() { return {true, true, emulator_device, ""}; }
int shared_limit() { return static_cast<int>(emulator::get_shared_limit()); }

} // namespace fci::cuda

#else

#include <cstdlib>
#include <set>

namespace fci::cuda {
namespace {

// What a host thread needs to drive the GPU. Threads share none of it, so two runs cannot disturb each other.
struct Context {
    cudaStream_t stream = nullptr;
    Arena scratch{Device::cuda};

    Context() {
        const std::lock_guard alone(whole_device());
        expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
    }
    ~Context() { // the driver may be gone already, so errors are ignored
        const std::lock_guard alone(whole_device());
        cudaStreamDestroy(stream);
    }
};

Context& context() {
    static thread_local Context c;
    return c;
}
Arena& scratch_arena() { return context().scratch; }

// Loads all kernels, cuBLAS's too, when the program first uses the GPU, which takes time and memory. A kernel loaded
// later would wait for the device, which must not happen while a step is captured.
[[maybe_unused]] const int loading = setenv("CUDA_MODULE_LOADING", "EAGER", 0);

__global__ void no_work() {} // to see whether the GPU can run this program

} // namespace

cudaStream_t stream() { return context().stream; }

void expect(cudaError_t error, const char* doing) {
    if (error != cudaSuccess) fail(Exit::internal, "CUDA, {}: {}", doing, cudaGetErrorString(error));
}

// Once per kernel: there is one device, and the driver call takes longer than a launch.
void allow_shared(const void* kernel, const char* name) {
    static std::mutex mutex;
    static auto& allowed = *new std::set<const void*>; // never destroyed: threads may launch late
    const std::lock_guard lock(mutex);
    if (allowed.contains(kernel)) return;
    cudaFuncAttributes of{};
    expect(cudaFuncGetAttributes(&of, kernel), name);
    const int most = shared_limit() - static_cast<int>(of.sharedSizeBytes); // the most: another thread may need more
    expect(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), name);
    allowed.insert(kernel);
}

int shared_limit() {
    int device = 0, bytes = 0;
    expect(cudaGetDevice(&device), "asking for the device");
    expect(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "asking for its limits");
    return bytes;
}

void* allocate(size_t bytes) {
    const std::lock_guard alone(whole_device());
    void* p = nullptr;
    const cudaError_t error = cudaMalloc(&p, bytes);
    if (error != cudaErrorMemoryAllocation) { // any other error may come from an earlier kernel
        expect(error, "allocating memory");
        return p;
    }
    cudaGetLastError(); // clears the error; the caller reports it
    return nullptr;
}
void* allocate_managed(size_t bytes) {
    const std::lock_guard alone(whole_device());
    void* p = nullptr;
    expect(cudaMallocManaged(&p, bytes), "allocating managed memory");
    return p;
}
void release(void* p) {
    const std::lock_guard alone(whole_device());
    cudaFree(p);
}
void set_zero(void* p, size_t bytes) {
    if (bytes) expect(cudaMemsetAsync(p, 0, bytes, stream()), "clearing memory");
}
void copy_in(void* to, const void* from, size_t bytes) {
    expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream()), "copying to the GPU");
    synchronize(); // the caller may free `from`, and not every machine has read it by then
}
void copy_out(void* to, const void* from, size_t bytes) {
    expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()), "copying from the GPU");
    synchronize();
}
size_t free_bytes() {
    const std::lock_guard alone(whole_device());
    size_t free = 0, all = 0;
    expect(cudaMemGetInfo(&free, &all), "asking for its free memory");
    return free;
}
void synchronize() { expect(cudaStreamSynchronize(stream()), "running kernels"); }

Gpu find_gpu() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver)
        return {false, false, "",
                "there is no NVIDIA driver, or one too old for CUDA " + std::to_string(CUDART_VERSION / 1000) + "." +
                    std::to_string(CUDART_VERSION % 1000 / 10) + ": install or update it"};
    if (error != cudaSuccess || count == 0)
        return {false, false, "", std::string("no NVIDIA GPU can be used here: ") + cudaGetErrorString(error)};
    cudaDeviceProp properties{};
    expect(cudaGetDeviceProperties(&properties, 0), "asking for the device");
    cudaFuncAttributes attributes{};
    if (const cudaError_t unfit = cudaFuncGetAttributes(&attributes, no_work); unfit != cudaSuccess) {
        cudaGetLastError();
        return {false, false, "",
                std::string(properties.name) + " (compute capability " + std::to_string(properties.major) + "." +
                    std::to_string(properties.minor) + ") cannot run this build: " + cudaGetErrorString(unfit) +
                    "; for another GPU: make clean, make CUDA_ARCH=" + std::to_string(properties.major) +
                    std::to_string(properties.minor)};
    }
    const std::string name = properties.name;
    return {true, is_emulated(name), name, ""};
}

} // namespace fci::cuda

#endif

namespace fci::cuda {

std::recursive_mutex& whole_device() {
    static auto& mutex = *new std::recursive_mutex; // never destroyed: threads may free memory late
    return mutex;
}

namespace {
Precision chosen = Precision::fp32;
}
void set_precision(Precision p) { chosen = p; }
Precision precision() { return chosen; }

Scratch::Scratch() : arena_(scratch_arena()), mark_(arena_.mark()) {}
Scratch::~Scratch() { arena_.release(mark_); }
float* Scratch::floats(size_t n) { return arena_.floats(n); }

} // namespace fci::cuda
