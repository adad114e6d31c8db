// common: what every CUDA twin needs. Kernels are written so that nvcc compiles them for a GPU, and g++ for the
// emulator (tests/emulator), which runs them without a GPU; the macros below hide what g++ cannot parse.
//
//   FCI_SHARED(T, name, N)          static shared array         FCI_DYN_SHARED(T, name)   dynamic shared memory
//   FCI_LAUNCH(kernel, grid, block, shared_bytes, ...)          on the calling thread's stream
//
// Every sum has a fixed order and there are no float atomics: the same bits on every run.
#pragma once
#if defined(FCI_EMULATOR)
#include "tests/emulator/emulator.h"
#else
#include <cuda_runtime.h>
#define FCI_SHARED(T, name, N) __shared__ T name[N]
#define FCI_DYN_SHARED(T, name)                                                                                        \
    extern __shared__ float4 fci_dynamic_shared[];                                                                     \
    T* name = reinterpret_cast<T*>(fci_dynamic_shared)
#define FCI_LAUNCH(kernel, grid, block, shared_bytes, ...)                                                             \
    ::fci::cuda::launch(kernel, #kernel, grid, block, shared_bytes, __VA_ARGS__)
#endif

#include <mutex>

#include "core/arena.h"
#include "core/check.h"
#include "core/scalar.h"

namespace fci::cuda {

// Temporary device memory, until the end of the enclosing scope. It is freed in stream order: the next kernel may get
// the same memory, since it runs after the kernels that used it before.
class Scratch {
public:
    Scratch();
    ~Scratch();
    float* floats(size_t n);

private:
    Arena& arena_;
    Arena::Mark mark_;
};

// Hold this lock while a step is captured, and while memory is allocated or freed or a library is started: such calls
// wait for the whole device, which must not happen while another thread captures.
std::recursive_mutex& whole_device();

Precision precision(); // as set_precision() says
int shared_limit();    // bytes of shared memory available to one block

#if !defined(FCI_EMULATOR)
cudaStream_t stream();                                   // the calling thread's own
void expect(cudaError_t, const char* doing);             // Exit::internal if it failed
void allow_shared(const void* kernel, const char* name); // more than 48 KB of dynamic shared memory needs opt-in

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const char* name, dim3 grid, dim3 block, size_t shared_bytes,
            Arguments... arguments) {
    if (shared_bytes > 48 << 10) allow_shared(reinterpret_cast<const void*>(kernel), name);
    kernel<<<grid, block, shared_bytes, stream()>>>(arguments...);
    expect(cudaGetLastError(), name); // also clears the error, so that the next launch does not report it
}
#endif

constexpr unsigned all_lanes = 0xffffffffu;
// a / b and a % b for row numbers, 0 <= a < 2^32: a division of 64 bits would take 70 instructions.
FCI_HD int quotient(int64_t a, int b) { return static_cast<int>(static_cast<unsigned>(a) / static_cast<unsigned>(b)); }
FCI_HD int modulo(int64_t a, int b) { return static_cast<int>(static_cast<unsigned>(a) % static_cast<unsigned>(b)); }

inline unsigned blocks_for(int64_t n, int each) { return static_cast<unsigned>((n + each - 1) / each); }

// Sum and maximum over a warp; every lane gets the result and all lanes must take part.
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
    for (int offset = 16; offset; offset /= 2) v += __shfl_xor_sync(all_lanes, v, offset);
    return v;
}
__device__ __forceinline__ float warp_max(float v) {
    for (int offset = 16; offset; offset /= 2) {
        const float other = __shfl_xor_sync(all_lanes, v, offset);
        v = other > v ? other : v;
    }
    return v;
}

// The same over a block of whole warps; every thread gets the result and all threads must take part. `partial`: 32
// floats of shared memory, free again after the next barrier.
__device__ __forceinline__ float block_sum(float v, float* partial) {
    const int thread = threadIdx.x, warps = blockDim.x / 32;
    v = warp_sum(v);
    __syncthreads(); // wait for threads that still read the previous call's values
    if (thread % 32 == 0) partial[thread / 32] = v;
    __syncthreads();
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += partial[w];
    return sum;
}
__device__ __forceinline__ float block_max(float v, float* partial) {
    const int thread = threadIdx.x, warps = blockDim.x / 32;
    v = warp_max(v);
    __syncthreads();
    if (thread % 32 == 0) partial[thread / 32] = v;
    __syncthreads();
    float most = partial[0];
    for (int w = 1; w < warps; ++w) most = partial[w] > most ? partial[w] : most;
    return most;
}

// f(i) for i = 0 .. n-1, one thread each.
template <class F>
__global__ void each_kernel(int64_t n, F f) {
    const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i < n) f(i);
}
template <class F>
void each(int64_t n, F f) {
    constexpr int threads = 256;
    if (n > 0) FCI_LAUNCH((each_kernel<F>), blocks_for(n, threads), threads, 0, n, f);
}

} // namespace fci::cuda
