// Kernels in the mock: each one's properties in nvcc's objects, and its launch limits on the GPU that the mock
// imitates, an H100 SXM  [NVIDIA, CUDA C++ Programming Guide, Compute Capabilities, 9.0].
#pragma once
#include <cuda_runtime_api.h>

#include <string>
#include <vector>

namespace mock {

constexpr int architecture = 90, multiprocessors = 132;
constexpr size_t kib = 1 << 10;
constexpr size_t shared_of_block = 227 * kib, shared_unasked = 48 * kib, shared_of_multiprocessor = 228 * kib;
constexpr unsigned threads_of_block = 1024;

struct Kernel {
    std::string name; // as in the source, without namespaces and types of parameters
    unsigned registers = 0, most_threads = threads_of_block;
    size_t fixed_shared = 0;   // bytes of __shared__ arrays
    size_t opted_in = 0;       // dynamic bytes that cudaFuncSetAttribute allowed; 0: never called
    std::vector<size_t> sizes; // bytes of each parameter

    size_t most_dynamic() const { return opted_in ? opted_in : shared_unasked - fixed_shared; }
};

struct Launch {
    const Kernel* kernel;
    dim3 grid, block;
    size_t dynamic_shared;

    size_t threads() const { return size_t{block.x} * block.y * block.z; }
    size_t blocks() const { return size_t{grid.x} * grid.y * grid.z; }
};

// The reason why a GPU would not start it; "": it would.
std::string refusal(const Launch&);

// The number of its blocks that a multiprocessor runs at once.
int resident_blocks(const Launch&);

Kernel& kernel_of(const void* host_function); // ends the program if its objects do not name the kernel

} // namespace mock
