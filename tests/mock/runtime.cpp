// The CUDA runtime's functions that fci calls (any other does not link), on the host's memory. No kernel runs, except
// the effect that tells the host how far a training is. Each function refuses what CUDA's own would refuse.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/device.h"
#include "tests/mock/state.h"
#include "train/gpu.h"

using namespace mock;

namespace {

constexpr size_t memory_of_device = size_t{80} << 30;

struct Configuration { // of <<< >>>, between its two calls
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
};
thread_local Configuration configuration;

Stream* stream_of(cudaStream_t s) { return reinterpret_cast<Stream*>(s); }

// Where the next allocation goes: in the upper half of 4 GiB, and never at a previous place. The padding of an argument
// may hold the rest of a pointer; together with a non-negative number this is then no address of this memory.
void* place_for(size_t bytes) {
    constexpr uintptr_t half = uintptr_t{1} << 31;
    uintptr_t& next = state().next_place;
    const uintptr_t begin = next % (2 * half);
    if (begin < half || begin + bytes > 2 * half) next = next / (2 * half) * (2 * half) + (begin < half ? 1 : 3) * half;
    void* const place = reinterpret_cast<void*>(next);
    next += (bytes + 4095) / 4096 * 4096;
    return place;
}

cudaError_t take(const Call& call, void** p, size_t bytes, bool managed) {
    if (const cudaError_t error = call.outside_all_captures(); error != cudaSuccess) return error;
    *p = nullptr;
    if (bytes == 0) return cudaSuccess;
    Totals& t = state().totals;
    void* got = t.bytes + bytes > memory_of_device
                    ? MAP_FAILED
                    : mmap(place_for(bytes), bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED) return last_error() = cudaErrorMemoryAllocation;
    state().memory[static_cast<char*>(*p = got)] = {bytes, managed};
    ++t.allocations;
    t.most_bytes = std::max(t.most_bytes, t.bytes += bytes);
    return cudaSuccess;
}

// The memory that a copy reads or writes must be of the kind that the copy names, and within one allocation.
cudaError_t expect_side(const Call& call, const void* p, size_t bytes, bool device, const char* which) {
    const auto at = state().around(p);
    if (at == state().memory.end()) {
        if (!device) return cudaSuccess;
        return call.refuse(cudaErrorInvalidValue, "its {} is not on the device", which);
    }
    if (!device && !at->second.managed) return call.refuse(cudaErrorInvalidValue, "its {} is on the device", which);
    if (state().around(p, bytes) == state().memory.end())
        return call.refuse(cudaErrorInvalidValue, "its {}, {} bytes, ends beyond its allocation", which, bytes);
    return cudaSuccess;
}

cudaError_t copy(const Call& call, void* to, const void* from, size_t bytes, cudaMemcpyKind kind, Stream* s) {
    if (const cudaError_t error = call.may_use(s); error != cudaSuccess) return error;
    if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice)
        return call.refuse(cudaErrorInvalidMemcpyDirection, "direction {}", static_cast<int>(kind));
    if (bytes == 0) return cudaSuccess;
    const bool from_device = kind != cudaMemcpyHostToDevice, to_device = kind != cudaMemcpyDeviceToHost;
    if (const cudaError_t error = expect_side(call, from, bytes, from_device, "source"); error != cudaSuccess)
        return error;
    if (const cudaError_t error = expect_side(call, to, bytes, to_device, "target"); error != cudaSuccess) return error;
    if (capturing() && !(from_device && to_device))
        return call.refuse(cudaErrorStreamCaptureUnsupported, "of the host's pageable memory, in a capture");
    Totals& t = state().totals;
    Copied& counted = !from_device ? t.in : !to_device ? t.out : t.within;
    ++counted.count, counted.bytes += static_cast<long>(bytes);
    call.put(s, {"copy", fmt::format("{} bytes", bytes), {}, [=] { std::memcpy(to, from, bytes); }}, {to, from});
    return cudaSuccess;
}

// The host reads the number of steps done: no other effect of a kernel is visible to it here.
std::function<void()> effect_of(const Kernel& k, void** arguments) {
    if (!k.name.starts_with("judge_kernel ")) return {};
    fci::GpuStep* step = nullptr; // cuda/step.cu
    std::memcpy(&step, arguments[3], sizeof step);
    return [step] { step->row = step->next++; };
}

// Every word of the arguments that could be a pointer.
std::vector<const void*> pointers_in(const Kernel& k, void** arguments) {
    std::vector<const void*> words;
    for (size_t i = 0; i < k.sizes.size(); ++i)
        for (size_t at = 0; at + sizeof(void*) <= k.sizes[i]; at += sizeof(void*)) {
            const void* word = nullptr;
            std::memcpy(&word, static_cast<const char*>(arguments[i]) + at, sizeof word);
            words.push_back(word);
        }
    return words;
}

} // namespace

extern "C" {

// --- launches -----------------------------------------------------------------------------------------------------

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
    configuration = {grid, block, shared, stream};
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
    *grid = configuration.grid, *block = configuration.block, *shared = configuration.shared;
    *static_cast<cudaStream_t*>(stream) = configuration.stream;
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t which, dim3 grid, dim3 block, void** arguments, size_t shared,
                               cudaStream_t s) {
    const Call call("a launch");
    const Kernel& k = kernel_of(reinterpret_cast<const void*>(which));
    ++state().totals.launches;
    if (const cudaError_t error = call.may_use(stream_of(s)); error != cudaSuccess) return error;
    const Launch launch{&k, grid, block, shared};
    if (const std::string why = refusal(launch); !why.empty())
        return call.refuse(cudaErrorInvalidConfiguration, "{}: {}", k.name, why);
    call.put(stream_of(s), {"kernel", k.name, launch, effect_of(k, arguments)}, pointers_in(k, arguments));
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, const void* function) {
    const Call call("cudaFuncGetAttributes");
    ++state().totals.questions;
    const Kernel& k = kernel_of(function);
    *a = {};
    a->sharedSizeBytes = k.fixed_shared, a->numRegs = static_cast<int>(k.registers);
    a->maxThreadsPerBlock = static_cast<int>(k.most_threads);
    return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute what, int value) {
    const Call call("cudaFuncSetAttribute");
    ++state().totals.questions;
    Kernel& k = kernel_of(function);
    if (what != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value + k.fixed_shared > shared_of_block)
        return call.refuse(cudaErrorInvalidValue, "{}: {} bytes of dynamic shared memory beside {}", k.name, value,
                           k.fixed_shared);
    k.opted_in = static_cast<size_t>(value);
    return cudaSuccess;
}

// --- memory -------------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** p, size_t bytes) { return take(Call("cudaMalloc"), p, bytes, false); }
cudaError_t cudaMallocManaged(void** p, size_t bytes, unsigned) {
    return take(Call("cudaMallocManaged"), p, bytes, true);
}
cudaError_t cudaFree(void* p) {
    const Call call("cudaFree");
    if (!p) return cudaSuccess;
    if (const cudaError_t error = call.outside_all_captures(); error != cudaSuccess) return error;
    const auto at = state().memory.find(static_cast<char*>(p));
    if (at == state().memory.end()) return call.refuse(cudaErrorInvalidValue, "what is not there");
    for (const Graph* g : state().graphs)
        if (g->uses.contains(at->first))
            call.refuse(cudaSuccess, "{} bytes that graph {} uses, which may still be replayed", at->second.bytes,
                        g->number);
    state().totals.bytes -= at->second.bytes;
    munmap(p, at->second.bytes);
    state().memory.erase(at);
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* all) {
    const Call call("cudaMemGetInfo");
    *all = memory_of_device, *free = memory_of_device - state().totals.bytes;
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t s) {
    const Call call("cudaMemsetAsync");
    if (const cudaError_t error = call.may_use(stream_of(s)); error != cudaSuccess) return error;
    if (const cudaError_t error = expect_side(call, p, bytes, true, "target"); error != cudaSuccess) return error;
    call.put(stream_of(s), {"clear", fmt::format("{} bytes", bytes), {}, [=] { std::memset(p, value, bytes); }}, {p});
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s) {
    return copy(Call("cudaMemcpyAsync"), to, from, bytes, kind, stream_of(s));
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) { // only the controls call it
    return copy(Call("cudaMemcpy"), to, from, bytes, kind, nullptr);
}

// --- streams and graphs -------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
    const Call call("cudaStreamCreateWithFlags");
    if (const cudaError_t error = call.outside_all_captures(); error != cudaSuccess) return error;
    if (flags != cudaStreamNonBlocking) call.refuse(cudaSuccess, "a stream that waits for the legacy one");
    *s = reinterpret_cast<cudaStream_t>(*state().streams.insert(new Stream{this_thread(), nullptr}).first);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    const Call call("cudaStreamDestroy");
    if (const cudaError_t error = call.outside_all_captures(); error != cudaSuccess) return error;
    if (const cudaError_t error = call.may_use(stream_of(s)); error != cudaSuccess) return error;
    for (const Graph* g : state().graphs)
        if (g->stream == stream_of(s)) call.refuse(cudaSuccess, "the stream of graph {}, which lives", g->number);
    state().streams.erase(stream_of(s));
    delete stream_of(s);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    const Call call("cudaStreamSynchronize");
    ++state().totals.synchronisations;
    if (const cudaError_t error = call.outside_capture(); error != cudaSuccess) return error;
    return call.may_use(stream_of(s));
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
    const Call call("cudaStreamBeginCapture");
    if (const cudaError_t error = call.outside_capture(); error != cudaSuccess) return error;
    if (!s) return call.refuse(cudaErrorStreamCaptureUnsupported, "of the legacy stream");
    if (const cudaError_t error = call.may_use(stream_of(s)); error != cudaSuccess) return error;
    Stream& stream = *stream_of(s);
    stream.captured.reset(new Graph{++state().totals.graphs, this_thread(), &stream, {}, {}});
    stream.mode = mode;
    capturing() = &stream;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
    const Call call("cudaStreamEndCapture");
    *graph = nullptr;
    if (!s || capturing() != stream_of(s)) return call.refuse(cudaErrorIllegalState, "of what is not captured here");
    std::unique_ptr<Graph> made = std::move(capturing()->captured);
    capturing() = nullptr;
    if (made->invalid) return last_error() = cudaErrorStreamCaptureInvalidated; // already refused and counted
    *graph = reinterpret_cast<cudaGraph_t>(made.release());
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    const Call call("cudaGraphInstantiate");
    if (const cudaError_t error = call.outside_capture(); error != cudaSuccess) return error;
    auto* made = new Graph(*reinterpret_cast<Graph*>(graph));
    state().graphs.insert(made);
    print_graph(*made);
    *executable = reinterpret_cast<cudaGraphExec_t>(made);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<Graph*>(graph);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    const Call call("cudaGraphExecDestroy");
    if (const cudaError_t error = call.outside_all_captures(); error != cudaSuccess) return error;
    auto* graph = reinterpret_cast<Graph*>(executable);
    if (!state().graphs.erase(graph)) return call.refuse(cudaErrorInvalidResourceHandle, "of what is not there");
    print_line(fmt::format("replayed\t{}\t{}", graph->number, graph->replays));
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t s) {
    const Call call("cudaGraphLaunch");
    auto* graph = reinterpret_cast<Graph*>(executable);
    if (!state().graphs.contains(graph)) return call.refuse(cudaErrorInvalidResourceHandle, "of what is not there");
    if (const cudaError_t error = call.may_use(stream_of(s)); error != cudaSuccess) return error;
    if (const cudaError_t error = call.outside_capture(); error != cudaSuccess) return error;
    if (graph->stream != stream_of(s))
        call.refuse(cudaSuccess, "graph {} on another stream than the one that it was captured on", graph->number);
    ++graph->replays, ++state().totals.replays;
    for (const Node& node : graph->nodes)
        if (node.effect) node.effect();
    return cudaSuccess;
}

// --- the device ---------------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() { return std::exchange(last_error(), cudaSuccess); }
const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "refused by the mock, for the reason above";
}
cudaError_t cudaGetDeviceCount(int* n) { return *n = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* n) { return *n = 0, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* v) { return *v = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    *p = {};
    std::strcpy(p->name, (std::string(fci::mock_device) + ", an H100 that computes nothing").c_str());
    p->major = architecture / 10, p->minor = architecture % 10;
    p->multiProcessorCount = multiprocessors, p->totalGlobalMem = memory_of_device;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr what, int) {
    const Call call("cudaDeviceGetAttribute");
    ++state().totals.questions;
    if (what != cudaDevAttrMaxSharedMemoryPerBlockOptin)
        return call.refuse(cudaErrorInvalidValue, "attribute {}", static_cast<int>(what));
    return *v = static_cast<int>(shared_of_block), cudaSuccess;
}

// All times are 1 ms. They do not matter: `fci bench` refuses a device that computes nothing.
cudaError_t cudaEventCreate(cudaEvent_t* e) { return *e = reinterpret_cast<cudaEvent_t>(new char), cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete reinterpret_cast<char*>(e), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t s) { return Call("cudaEventRecord").may_use(stream_of(s)); }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 1, cudaSuccess; }

} // extern "C"
