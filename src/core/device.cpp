#include "core/device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>

#include "core/check.h"

namespace fci {

Precision precision_named(const std::string& name) {
    const auto at = std::find(std::begin(precision_names), std::end(precision_names), name);
    check(at != std::end(precision_names), "no precision is named {}", name);
    return static_cast<Precision>(at - std::begin(precision_names));
}

void* allocate(Device device, size_t bytes, size_t alignment) {
    if (device == Device::none) return reinterpret_cast<void*>(alignment);
    void* p = device == Device::cuda ? cuda::allocate(bytes) : std::aligned_alloc(alignment, bytes);
    if (!p)
        fail(Exit::internal, "out of {}memory: an arena needs {} MiB more; try a smaller --batch or --length",
             device == Device::cuda ? "GPU " : "", bytes >> 20);
    if (device == Device::cpu) madvise(p, bytes, MADV_HUGEPAGE); // where the system gives them: fewer TLB misses
    return p;
}

void release(Device device, void* p) {
    if (device == Device::cuda)
        cuda::release(p);
    else if (device == Device::cpu)
        std::free(p);
}

void set_zero(Device device, void* p, size_t bytes) {
    if (device == Device::cuda)
        cuda::set_zero(p, bytes);
    else if (device == Device::cpu)
        std::memset(p, 0, bytes);
}

void copy_in(Device device, void* to, const void* from_host, size_t bytes) {
    if (device == Device::cuda)
        cuda::copy_in(to, from_host, bytes);
    else if (device == Device::cpu)
        std::memcpy(to, from_host, bytes);
}

void copy_out(Device device, void* to_host, const void* from, size_t bytes) {
    if (device == Device::cuda)
        cuda::copy_out(to_host, from, bytes);
    else if (device == Device::cpu)
        std::memcpy(to_host, from, bytes);
}

const void* constant_bytes(const void* host, size_t bytes) {
    if (bytes == 0) return nullptr;
    static std::mutex mutex;
    // Keyed by contents. Never destroyed: streams may use what it points to until the program ends.
    static auto& known = *new std::map<std::string, void*, std::less<>>;
    const std::string_view contents(static_cast<const char*>(host), bytes);
    {
        const std::lock_guard lock(mutex);
        if (const auto at = known.find(contents); at != known.end()) return at->second;
    }
    // Not under the lock: allocation waits for a thread that captures a step, and that thread may ask for a constant.
    void* p = allocate(Device::cuda, bytes, 64);
    cuda::copy_in(p, host, bytes); // complete when this returns, for other threads' streams too
    const void* first = nullptr;   // where two threads were here at once, the first one's
    {
        const std::lock_guard lock(mutex);
        first = known.emplace(contents, p).first->second;
    }
    if (first != p) cuda::release(p);
    return first;
}

Gpu find_gpu() {
    static const Gpu found =
        cuda::find_gpu ? cuda::find_gpu()
                       : Gpu{false, false, "",
                             "this fci was built without CUDA: install the CUDA Toolkit (nvcc) and run make again"};
    return found;
}

} // namespace fci
