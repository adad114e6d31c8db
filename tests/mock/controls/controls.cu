// Seeded violations, each of which the mock must catch: `controls` lists them as "name<TAB>what it must say", and
// `controls NAME` does one. tests/faults/test_mock.cpp runs all.
#include <cublas_v2.h>

#include <cstdio>
#include <cstring>
#include <thread>

namespace {

constexpr size_t floats = 1024, bytes = floats * sizeof(float);

__global__ void small_kernel(float* x) { x[threadIdx.x] = 1; }
__global__ void __launch_bounds__(64) narrow_kernel(float* x) { x[threadIdx.x] = 1; }
__global__ void shared_kernel(float* x) { // 40 KB of its own
    __shared__ float own[10 << 10];
    extern __shared__ float dynamic[];
    own[threadIdx.x * 8] = dynamic[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = own[threadIdx.x] + dynamic[threadIdx.x + 1];
}
__global__ void greedy_kernel(float* x) { // keeps 120 numbers at once: over 100 registers
    float kept[120];
#pragma unroll
    for (int i = 0; i < 120; ++i) kept[i] = x[i * blockDim.x + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 120; ++i) x[(119 - i) * blockDim.x + threadIdx.x] = kept[i] * kept[(i + 7) % 120];
}

cudaStream_t stream = nullptr; // of the main thread
float *memory = nullptr, host[floats];
cublasHandle_t blas = nullptr;

template <class F>
void in_capture(F f, cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    cudaGraph_t graph = nullptr;
    cudaStreamBeginCapture(stream, mode);
    f();
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
}
template <class F>
void elsewhere(F f) {
    std::thread(f).join();
}
cudaGraphExec_t small_graph() {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    small_kernel<<<1, 32, 0, stream>>>(memory);
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    return executable;
}
void allow(const void* kernel, int most) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
}
void take() {
    void* p = nullptr;
    if (cudaMalloc(&p, 64) == cudaSuccess) cudaFree(p);
}
void multiply(const float* a) { // (32,32) x (32,32)
    const float one = 1, none = 0;
    cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 32, 32, 32, &one, a, 32, memory, 32, &none, memory, 32);
}
template <class F>
void with_blas(F f) {
    cublasCreate(&blas);
    cublasSetStream(blas, stream);
    f();
    cublasDestroy(blas);
}

// No violation: each thing that the mock looks at, done right.
void clean() {
    with_blas([] {
        multiply(memory);
        cublasSetWorkspace(blas, memory, bytes);
        in_capture([] { multiply(memory); });
    });
    cudaMemcpyAsync(memory, host, bytes, cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(host, memory, bytes, cudaMemcpyDeviceToHost, stream);
    cudaMemsetAsync(memory, 0, bytes, stream);
    allow(reinterpret_cast<const void*>(shared_kernel), 180 << 10);
    shared_kernel<<<1, 1024, 180 << 10, stream>>>(memory);
    greedy_kernel<<<1, 256, 0, stream>>>(memory);
    in_capture([] { elsewhere([] { cudaGetLastError(); }); }, cudaStreamCaptureModeGlobal);
    const cudaGraphExec_t graph = small_graph();
    cudaGraphLaunch(graph, stream);
    cudaStreamSynchronize(stream);
    cudaGraphExecDestroy(graph);
    take();
}

const struct {
    const char *name, *says;
    void (*act)();
} controls[] = {
    {"clean", "", clean},
    // in a capture
    {"allocate in a capture", "cudaMalloc: while this thread captures", [] { in_capture(take); }},
    {"free in a capture", "cudaFree: while this thread captures", [] { in_capture([] { cudaFree(memory); }); }},
    {"synchronise in a capture", "cudaStreamSynchronize: while this thread captures",
     [] { in_capture([] { cudaStreamSynchronize(stream); }); }},
    {"copy in a capture", "pageable memory, in a capture",
     [] { in_capture([] { cudaMemcpyAsync(memory, host, bytes, cudaMemcpyHostToDevice, stream); }); }},
    {"replay in a capture", "cudaGraphLaunch: while this thread captures",
     [] {
         const cudaGraphExec_t graph = small_graph();
         in_capture([=] { cudaGraphLaunch(graph, stream); });
         cudaGraphExecDestroy(graph);
     }},
    {"capture in a capture", "cudaStreamBeginCapture: while this thread captures",
     [] { in_capture([] { cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal); }); }},
    {"another stream in a capture", "on another stream than the one that is captured",
     [] {
         cudaStream_t other = nullptr;
         cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
         in_capture([=] { small_kernel<<<1, 32, 0, other>>>(memory); });
         cudaStreamDestroy(other);
     }},
    {"end of no capture", "of what is not captured here",
     [] {
         cudaGraph_t graph = nullptr;
         cudaStreamEndCapture(stream, &graph);
     }},
    // beside a capture
    {"allocate beside a capture", "cudaMalloc: while thread 1 captures: it waits for the whole device",
     [] { in_capture([] { elsewhere(take); }); }},
    {"allocate beside a global capture", "cudaMalloc: while thread 1 captures, in the global mode",
     [] { in_capture([] { elsewhere(take); }, cudaStreamCaptureModeGlobal); }},
    {"destroy a graph beside a capture", "cudaGraphExecDestroy: while thread 1 captures",
     [] {
         const cudaGraphExec_t graph = small_graph();
         in_capture([=] { elsewhere([=] { cudaGraphExecDestroy(graph); }); });
         cudaGraphExecDestroy(graph);
     }},
    {"legacy stream beside a global capture", "on the legacy stream, in a capture",
     [] { in_capture([] { elsewhere([] { small_kernel<<<1, 32>>>(memory); }); }, cudaStreamCaptureModeGlobal); }},
    {"legacy stream in a capture", "on the legacy stream, in a capture",
     [] { in_capture([] { small_kernel<<<1, 32>>>(memory); }); }},
    // the legacy stream
    {"launch on the legacy stream", "on the legacy stream, which waits", [] { small_kernel<<<1, 32>>>(memory); }},
    {"clear on the legacy stream", "on the legacy stream, which waits",
     [] { cudaMemsetAsync(memory, 0, bytes, nullptr); }},
    {"copy on the legacy stream", "cudaMemcpy: on the legacy stream",
     [] { cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice); }},
    {"a stream that waits for it", "a stream that waits for the legacy one",
     [] {
         cudaStream_t other = nullptr;
         cudaStreamCreateWithFlags(&other, cudaStreamDefault);
         cudaStreamDestroy(other);
     }},
    // shared memory and registers
    {"shared memory that was not asked for", "8196 bytes of dynamic shared memory beside 40960, and 8192 are allowed",
     [] { shared_kernel<<<1, 128, 8196, stream>>>(memory); }},
    {"shared memory beyond what was asked for", "and 20000 are allowed",
     [] {
         allow(reinterpret_cast<const void*>(shared_kernel), 20000);
         shared_kernel<<<1, 128, 20004, stream>>>(memory);
     }},
    {"more shared memory than there is", "cudaFuncSetAttribute: shared_kernel",
     [] { allow(reinterpret_cast<const void*>(shared_kernel), 227 << 10); }},
    {"more registers than there are", "registers x 1024 threads",
     [] { greedy_kernel<<<1, 1024, 0, stream>>>(memory); }},
    // grids and blocks
    {"an empty grid", "a grid of 0 x 1 x 1", [] { small_kernel<<<0, 32, 0, stream>>>(memory); }},
    {"a grid too high", "a grid of 1 x 65536 x 1", [] { small_kernel<<<dim3(1, 65536), 32, 0, stream>>>(memory); }},
    {"a grid too deep", "a grid of 1 x 1 x 65536", [] { small_kernel<<<dim3(1, 1, 65536), 32, 0, stream>>>(memory); }},
    {"an empty block", "a block of 0 x 1 x 1", [] { small_kernel<<<1, 0, 0, stream>>>(memory); }},
    {"a block too large", "a block of 32 x 33 x 1", [] { small_kernel<<<1, dim3(32, 33), 0, stream>>>(memory); }},
    {"a block too deep", "a block of 1 x 1 x 65", [] { small_kernel<<<1, dim3(1, 1, 65), 0, stream>>>(memory); }},
    {"a block above the kernel's bounds", "a block of 96 x 1 x 1; 64 threads at most",
     [] { narrow_kernel<<<1, 96, 0, stream>>>(memory); }},
    // what a graph needs
    {"free under a graph", "256 bytes that graph 1 uses",
     [] {
         float *const kept = memory, *other = nullptr;
         cudaMalloc(reinterpret_cast<void**>(&other), 256);
         memory = other;
         const cudaGraphExec_t graph = small_graph();
         memory = kept;
         cudaFree(other);
         cudaGraphExecDestroy(graph);
     }},
    {"replay by another thread", "cudaGraphLaunch: on the stream of thread 1",
     [] {
         const cudaGraphExec_t graph = small_graph();
         elsewhere([=] { cudaGraphLaunch(graph, stream); });
         cudaGraphExecDestroy(graph);
     }},
    {"replay on another stream", "on another stream than the one that it was captured on",
     [] {
         const cudaGraphExec_t graph = small_graph();
         elsewhere([=] {
             cudaStream_t own = nullptr;
             cudaStreamCreateWithFlags(&own, cudaStreamNonBlocking);
             cudaGraphLaunch(graph, own);
             cudaStreamDestroy(own);
         });
         cudaGraphExecDestroy(graph);
     }},
    {"replay of a graph that is gone", "cudaGraphLaunch: of what is not there",
     [] {
         const cudaGraphExec_t graph = small_graph();
         cudaGraphExecDestroy(graph);
         cudaGraphLaunch(graph, stream);
     }},
    {"destroy the stream of a graph", "the stream of graph 1, which lives",
     [] {
         const cudaGraphExec_t graph = small_graph();
         cudaStreamDestroy(stream);
         stream = nullptr;
         cudaGraphExecDestroy(graph);
     }},
    {"work on another thread's stream", "a launch: on the stream of thread 1",
     [] { elsewhere([] { small_kernel<<<1, 32, 0, stream>>>(memory); }); }},
    // what is left at the end
    {"a graph that is left", "graph 1 was never destroyed", [] { small_graph(); }},
    {"a stream that is left", "the stream of thread 2 was never destroyed",
     [] {
         elsewhere([] {
             cudaStream_t left = nullptr;
             cudaStreamCreateWithFlags(&left, cudaStreamNonBlocking);
         });
     }},
    {"a handle that is left", "1 handles of cuBLAS were never destroyed", [] { cublasCreate(&blas); }},
    // copies
    {"a copy the wrong way round", "its source is on the device",
     [] { cudaMemcpyAsync(host, memory, bytes, cudaMemcpyHostToDevice, stream); }},
    {"a copy of the host's to the host", "its source is not on the device",
     [] { cudaMemcpyAsync(host, host, 4, cudaMemcpyDeviceToHost, stream); }},
    {"a copy without a direction", "direction", [] { cudaMemcpyAsync(memory, host, 4, cudaMemcpyDefault, stream); }},
    {"a copy beyond the end", "its target, 4096 bytes, ends beyond its allocation",
     [] { cudaMemcpyAsync(memory + 1, host, bytes, cudaMemcpyHostToDevice, stream); }},
    {"a read beyond the end", "its source, 4096 bytes, ends beyond its allocation",
     [] { cudaMemcpyAsync(host, memory + 1, bytes, cudaMemcpyDeviceToHost, stream); }},
    {"a fill beyond the end", "cudaMemsetAsync: its target, 4096 bytes, ends beyond",
     [] { cudaMemsetAsync(memory + 1, 0, bytes, stream); }},
    {"freed twice", "cudaFree: what is not there",
     [] {
         void* p = nullptr;
         cudaMalloc(&p, 64);
         cudaFree(p), cudaFree(p);
     }},
    // cuBLAS
    {"a product without a workspace in a capture", "cublasSgemm: in a capture, without a workspace of its own",
     [] { with_blas([] { in_capture([] { multiply(memory); }); }); }},
    {"a product beyond the end", "A: its 32 x 32 floats are not all in one allocation",
     [] { with_blas([] { multiply(memory + 32); }); }},
    {"a product of the host's memory", "A: its 32 x 32 floats are not all in one allocation",
     [] { with_blas([] { multiply(host); }); }},
    {"a handle made in a capture", "cublasCreate: while this thread captures",
     [] { in_capture([] { cublasCreate(&blas); }); }},
};

} // namespace

int main(int count, char** words) {
    for (const auto& control : controls) {
        if (count == 1) std::printf("%s\t%s\n", control.name, control.says);
        if (count == 1 || std::strcmp(control.name, words[1]) != 0) continue;
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaMalloc(reinterpret_cast<void**>(&memory), bytes);
        control.act();
        cudaFree(memory);
        if (stream) cudaStreamDestroy(stream);
        return 0;
    }
    return count == 1 ? 0 : 2;
}
