// CUDA without a GPU: under g++, kernels include this instead of cuda_runtime.h. Each CUDA thread is a fiber; README.md
// in this folder says what is checked and how to debug a kernel. Compile with -x c++ -DFCI_EMULATOR.
//
// The dialect: four macros hide constructs that g++ cannot parse. nvcc's versions are in cuda/common.cuh.
//   FCI_SHARED(T, name, N)            an array of N elements of T in shared memory, N known to the compiler
//   FCI_DYN_SHARED(T, name)           the dynamic shared memory of the launch, as T*
//   FCI_LAUNCH(kernel, grid, block, dyn_bytes, arguments...)   done when it returns; throws fci::Error on failure
//   FCI_EMULATOR                      is defined
// Anything not in this file is not supported, and does not compile.
#pragma once
#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/emulator/device_memory.h"
#include "tests/emulator/graph.h"
#include "tests/emulator/tensor_core.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulator {

// The place in the source where a thread waits; as a default argument, the place of the call.
struct Site {
    const char* call = nullptr;
    const char* file = nullptr;
    int line = 0;
    Site() = default;
    constexpr Site(const char* what, const char* f = __builtin_FILE(), int l = __builtin_LINE())
        : call(what), file(f), line(l) {}
};

// For tests. The order in which blocks, and threads between barriers, take turns: 0 forward, 1 reverse, else shuffled
// with this seed. A correct kernel gives the same bits in every order. Applies to all host threads.
void set_order(int order);
void set_shared_limit(size_t bytes); // per block, static and dynamic; initially 227 KB, as on sm_90
size_t get_shared_limit();
void set_free_memory(size_t bytes); // what the device says is free; allocation does not ask
size_t get_free_memory();
constexpr size_t static_shared_limit = 48 << 10;

struct Counters { // of this host thread
    uint64_t launches = 0, blocks = 0, threads = 0, switches = 0;
};
Counters& counters();

// For a debugger: break on failed(), which is called when an error in a kernel is found; call print_threads().
void failed(const char* message);
void print_threads();

// The CUDA thread that this host thread runs. Why local-exec: with g++'s default model the linker rewrites an addition
// whose flags are read by UBSan's null pointer check, and that check then fails at random.
struct Coordinates {
    uint3 thread, block;
    dim3 block_size, grid_size;
    int lane;
};
extern constinit thread_local Coordinates here __attribute__((tls_model("local-exec")));

void sync_threads(Site);
void sync_warp(unsigned mask, Site);
uint64_t exchange(unsigned mask, uint64_t value, int source_lane, Site); // all ones if the mask lacks the source
unsigned ballot(unsigned mask, bool predicate, Site);
void multiply(Format, Fragments& mine, Site = "mma.sync"); // by the whole warp: mma.sync (tensor_core.h)
void* shared_array(const void* key, size_t bytes, Site name);
void* dynamic_shared(Site name);

void run(const char* kernel, dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(const void*), const void* with);

// The arguments are evaluated once, by the caller; each thread calls the kernel with a copy.
template <class Kernel, class... Arguments>
void launch(const char* name, dim3 grid, dim3 block, size_t dynamic_bytes, Kernel kernel, Arguments... arguments) {
    enqueue([=] {
        const auto thread = [&] { kernel(arguments...); };
        using Thread = decltype(thread);
        run(
            name, grid, block, dynamic_bytes, [](const void* body) { (*static_cast<Thread*>(body))(); }, &thread);
    });
}

template <class T>
T shuffle(unsigned mask, T value, int source_lane, Site site) {
    static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "a shuffle moves 4 or 8 bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = exchange(mask, bits, source_lane, site);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace emulator

// If FCI_ANY_MEMORY is defined before the #include, a file's kernels may work on ordinary memory.
#if defined(FCI_ANY_MEMORY)
#define FCI_POINTERS(kernel, ...) void()
#else
#define FCI_POINTERS(kernel, ...) ::emulator::expect_device_pointers(#kernel __VA_OPT__(, ) __VA_ARGS__)
#endif
#define FCI_LAUNCH(kernel, grid, block, dyn_bytes, ...)                                                                \
    (FCI_POINTERS(kernel, __VA_ARGS__), ::emulator::launch(#kernel, grid, block, dyn_bytes, [=](auto... with) {        \
         kernel(with...);                                                                                              \
     } __VA_OPT__(, ) __VA_ARGS__))
// A reference to an array, as in CUDA: sizeof, UBSan's bounds check and the debugger know its size.
#define FCI_SHARED(T, name, N)                                                                                         \
    static char name##_key;                                                                                            \
    T(&name)[N] = *static_cast<T(*)[N]>(::emulator::shared_array(&name##_key, sizeof(T[N]), #name))
#define FCI_DYN_SHARED(T, name) T* name = static_cast<T*>(::emulator::dynamic_shared(#name))

#define threadIdx (static_cast<const uint3&>(::emulator::here.thread))
#define blockIdx (static_cast<const uint3&>(::emulator::here.block))
#define blockDim (static_cast<const dim3&>(::emulator::here.block_size))
#define gridDim (static_cast<const dim3&>(::emulator::here.grid_size))
constexpr int warpSize = 32;

inline void __syncthreads(emulator::Site site = "__syncthreads") { emulator::sync_threads(site); }
inline void __syncwarp(unsigned mask = ~0u, emulator::Site site = "__syncwarp") { emulator::sync_warp(mask, site); }

// A warp is divided into parts of `width` lanes. A lane whose source is outside its part keeps its own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, emulator::Site site = "__shfl_sync") {
    return emulator::shuffle(mask, value, (emulator::here.lane & -width) | (from & (width - 1)), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, emulator::Site site = "__shfl_xor_sync") {
    const int from = emulator::here.lane ^ bits, beyond = (emulator::here.lane & -width) + width;
    return emulator::shuffle(mask, value, from < beyond ? from : emulator::here.lane, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, emulator::Site site = "__shfl_down_sync") {
    const int from = emulator::here.lane + static_cast<int>(by), beyond = (emulator::here.lane & -width) + width;
    return emulator::shuffle(mask, value, from < beyond ? from : emulator::here.lane, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, emulator::Site site = "__shfl_up_sync") {
    const int from = emulator::here.lane - static_cast<int>(by), first = emulator::here.lane & -width;
    return emulator::shuffle(mask, value, from >= first ? from : emulator::here.lane, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, emulator::Site site = "__ballot_sync") {
    return emulator::ballot(mask, predicate, site);
}
inline int __any_sync(unsigned mask, int predicate, emulator::Site site = "__any_sync") {
    return emulator::ballot(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, emulator::Site site = "__all_sync") {
    return emulator::ballot(mask, predicate, site) == mask;
}

// Atomics on integers only: a sum of floats would have bits that depend on the order.
inline int atomicAdd(int* p, int v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned* p, unsigned v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
float atomicAdd(float*, float) = delete;
double atomicAdd(double*, double) = delete;

template <class T>
T __ldg(const T* p) {
    return *p;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

#define FCI_MIN_MAX(T)                                                                                                 \
    constexpr T min(T a, T b) { return b < a ? b : a; }                                                                \
    constexpr T max(T a, T b) { return a < b ? b : a; }
FCI_MIN_MAX(int)
FCI_MIN_MAX(unsigned)
FCI_MIN_MAX(long)
FCI_MIN_MAX(unsigned long)
FCI_MIN_MAX(long long)
FCI_MIN_MAX(unsigned long long)
#undef FCI_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); } // of a number and a NaN: the number, as in CUDA
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
