#include "tests/emulator/device_memory.h"

#include "tests/emulator/graph.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "core/check.h"
#include "tests/emulator/sanitizers.h"

namespace emulator {

constinit thread_local Graph* capturing = nullptr;

void refuse_in_capture(const char* call) {
    if (capturing) fci::fail(fci::Exit::internal, "{} in a step that is captured: a graph cannot hold it", call);
}

namespace {

constexpr size_t page = size_t{2} << 20; // large pages: each opening changes few entries

struct Region {
    size_t bytes;
    bool managed;
};
struct Regions {
    std::mutex mutex;
    std::map<uintptr_t, Region> at;
    int open = 0;

    void protect(int how) {
        for (const auto& [base, region] : at)
            if (!region.managed)
                fci::check(!mprotect(reinterpret_cast<void*>(base), region.bytes, how), "emulator: mprotect failed");
    }
    bool know(uintptr_t p) {
        const auto after = at.upper_bound(p);
        return after != at.begin() && p <= std::prev(after)->first + std::prev(after)->second.bytes;
    }
};
Regions& regions() {
    static auto& all = *new Regions; // never destroyed: threads release their arenas late
    return all;
}

// Could this number be an address? Small ones are numbers; sanitizers map memory at addresses that look like pairs of
// them.
bool points_to_memory(uintptr_t p) {
    if (sanitizer::address || sanitizer::thread || p >> 32 == 0 || p % alignof(float)) return false;
    constexpr uintptr_t small_page = 4096;
    return msync(reinterpret_cast<void*>(p / small_page * small_page), 1, MS_ASYNC) == 0;
}

} // namespace

void* device_allocate(size_t bytes) {
    refuse_in_capture("cudaMalloc");
    if (bytes == 0) return nullptr; // as cudaMalloc does
    const size_t size = (bytes + page - 1) / page * page;
    void* p = mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    char *from = static_cast<char*>(p), *base = from + (page - reinterpret_cast<uintptr_t>(p) % page) % page;
    if (base > from) munmap(from, base - from);
    if (from + page > base) munmap(base + size, from + page - base);
#if defined(MADV_HUGEPAGE)
    madvise(base, size, MADV_HUGEPAGE);
#endif
    std::memset(base, 0xff, bytes);
    Regions& r = regions();
    const std::lock_guard lock(r.mutex);
    r.at[reinterpret_cast<uintptr_t>(base)] = {size, false};
    if (!r.open) mprotect(base, size, PROT_NONE);
    return base;
}

void* managed_allocate(size_t bytes) {
    void* p = std::malloc(bytes);
    Regions& r = regions();
    const std::lock_guard lock(r.mutex);
    if (p) r.at[reinterpret_cast<uintptr_t>(p)] = {bytes, true};
    return p;
}

void device_release(void* p) {
    if (!p) return;
    Regions& r = regions();
    const std::lock_guard lock(r.mutex);
    const auto at = r.at.find(reinterpret_cast<uintptr_t>(p));
    fci::check(at != r.at.end(), "emulator: released what is not the device's");
    at->second.managed ? std::free(p) : static_cast<void>(munmap(p, at->second.bytes));
    r.at.erase(at);
}

OpenDeviceMemory::OpenDeviceMemory() {
    Regions& r = regions();
    const std::lock_guard lock(r.mutex);
    if (r.open++ == 0) r.protect(PROT_READ | PROT_WRITE);
}
OpenDeviceMemory::~OpenDeviceMemory() {
    Regions& r = regions();
    const std::lock_guard lock(r.mutex);
    if (--r.open == 0) r.protect(PROT_NONE);
}

void look_at_argument(const char* kernel, int number, const void* argument, size_t bytes) {
    Regions& r = regions();
    for (size_t i = 0; i + sizeof(uintptr_t) <= bytes; i += sizeof(uintptr_t)) {
        uintptr_t word;
        std::memcpy(&word, static_cast<const char*>(argument) + i, sizeof word);
        {
            const std::lock_guard lock(r.mutex);
            if (r.know(word)) continue;
        }
        if (points_to_memory(word))
            fci::fail(fci::Exit::internal, "{}: argument {} has a pointer to the host's memory, at byte {}", kernel,
                      number, i);
    }
}

} // namespace emulator
