// common: what every CUDA twin is written with. Kernels are in a dialect that nvcc compiles for a GPU and g++ for the
// emulator (tests/emulator), on which they run with no GPU; the macros below hide what g++ cannot parse.
//
//   FCI_SHARED(T, name, N)          static shared array         FCI_DYN_SHARED(T, name)   the launch's dynamic one
//   FCI_LAUNCH(kernel, grid, block, shared_bytes, ...)          on the calling thread's stream
//
// Sums have a fixed order everywhere and there are no float atomics: same bits on every run.
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

// Temporary device memory, from here to the end of the block it is declared in. Given back in stream order: the next
// kernel may have it while the last one that used it still runs before it.
class Scratch {
public:
    Scratch();
    ~Scratch();
    float* floats(size_t n);

private:
    Arena& arena_;
    Arena::Mark mark_;
};

// Held while a step is captured, and by what takes or gives back memory or starts a library: such calls wait for the
// whole device, which must not happen while another thread captures.
std::recursive_mutex& whole_device();

int shared_limit(); // bytes of shared memory that one block may have

#if !defined(FCI_EMULATOR)
cudaStream_t stream();                                                 // the calling thread's own
void expect(cudaError_t, const char* doing);                           // Exit::internal unless it went well
void allow_shared(const void* kernel, size_t bytes, const char* name); // more than 48 KB need a word

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const char* name, dim3 grid, dim3 block, size_t shared_bytes,
            Arguments... arguments) {
    if (shared_bytes > 48 << 10) allow_shared(reinterpret_cast<const void*>(kernel), shared_bytes, name);
    kernel<<<grid, block, shared_bytes, stream()>>>(arguments...);
    expect(cudaGetLastError(), name); // which also forgets it: the next launch is not to blame
}
#endif

constexpr unsigned all_lanes = 0xffffffffu;
inline unsigned blocks_for(int64_t n, int each) { return static_cast<unsigned>((n + each - 1) / each); }

// Sum and maximum over a warp, in every lane; all lanes take part.
__device__ __forceinline__ float warp_sum(float v) {
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

// The same over a block of whole warps, in every thread; all threads take part. `partial`: 32 floats of shared memory,
// free again after the next barrier.
__device__ __forceinline__ float block_sum(float v, float* partial) {
    const int thread = threadIdx.x, warps = blockDim.x / 32;
    v = warp_sum(v);
    __syncthreads(); // whoever still reads what the last call left
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

// f(i) for i = 0 .. n-1, a thread each.
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

// Two sums over the same numbers, made in one pass, and where they go.
struct Two {
    float first, second;
};
struct Twos {
    float *first, *second;
};
__device__ __forceinline__ void add(float& sum, float v) { sum += v; }
__device__ __forceinline__ void add(Two& sum, Two v) { sum.first += v.first, sum.second += v.second; }
__device__ __forceinline__ void add_at(float* to, int64_t c, float v) { to[c] += v; }
__device__ __forceinline__ void add_at(Twos to, int64_t c, Two v) { to.first[c] += v.first, to.second[c] += v.second; }

// sum_r f(r) over r = begin .. end-1 by the 8 threads of a column of a block of 32 x 8: in 8 strands, each top to
// bottom, then the strands in order. In the thread with y = 0.
template <class T, class F>
__device__ T sum_in_strands(int begin, int end, bool inside, F f) {
    FCI_SHARED(T, strand, 8 * 32);
    T sum{};
    if (inside)
        for (int r = begin + threadIdx.y; r < end; r += 8) add(sum, f(r));
    strand[threadIdx.y * 32 + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0)
        for (int s = 1; s < 8; ++s) add(sum, strand[s * 32 + threadIdx.x]);
    return sum;
}

// to[c] += sum_p partial[p,c], p < parts.
template <class T, class To>
__global__ void add_partials(int parts, int64_t columns, const T* partial, To to) {
    const int64_t c = int64_t{blockIdx.x} * 32 + threadIdx.x;
    const bool inside = c < columns;
    const T sum = sum_in_strands<T>(0, parts, inside, [&](int p) { return partial[p * columns + c]; });
    if (inside && threadIdx.y == 0) add_at(to, c, sum);
}
template <class T, class To>
void add_partial_sums(int parts, int64_t columns, const T* partial, To to) {
    FCI_LAUNCH((add_partials<T, To>), blocks_for(columns, 32), dim3(32, 8), 0, parts, columns, partial, to);
}

// to[c] += sum_r f(r,c) for c < columns, f a float, or Two with to Twos: rows are cut into chunks, each summed by
// itself; then the chunks are added in order. The gradients of biases and of norms' weights.
inline constexpr int column_chunk = 256; // rows
template <class T, class F>
__global__ void column_partials(int rows, int columns, F f, T* partial) {
    const int c = blockIdx.x * 32 + threadIdx.x, begin = blockIdx.y * column_chunk,
              end = min(rows, begin + column_chunk);
    const bool inside = c < columns;
    const T sum = sum_in_strands<T>(begin, end, inside, [&](int r) { return f(r, c); });
    if (inside && threadIdx.y == 0) partial[int64_t{blockIdx.y} * columns + c] = sum;
}
template <class T = float, class F, class To>
void add_column_sums(int rows, int columns, F f, To to) {
    if (rows <= 0 || columns <= 0) return;
    const unsigned chunks = blocks_for(rows, column_chunk);
    Scratch scratch;
    T* partial = reinterpret_cast<T*>(scratch.floats(size_t{chunks} * columns * sizeof(T) / sizeof(float)));
    FCI_LAUNCH((column_partials<T, F>), dim3(blocks_for(columns, 32), chunks), dim3(32, 8), 0, rows, columns, f,
               partial);
    add_partial_sums(static_cast<int>(chunks), columns, partial, to);
}

} // namespace fci::cuda
