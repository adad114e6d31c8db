// See shared_memory.h. For ThreadSanitizer's build the rules of machine.h hold.
#include "tests/emulator/shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "tests/emulator/machine.h"
#include "tests/emulator/sanitizers.h"

namespace emulator {
namespace {

char* map(void* at, int fixed) {
    void* p = ::mmap(at, SharedMemory::arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    return static_cast<char*>(p);
}

void fill_with_nan(char* from, size_t bytes) { // ThreadSanitizer would count memset as the CUDA thread's access
    volatile uint64_t* word = reinterpret_cast<uint64_t*>(from);
    for (size_t i = 0; i < bytes / sizeof *word; ++i) word[i] = ~uint64_t(0);
}

bool untouched(const char* from, size_t bytes) {
    for (; bytes % sizeof(uint64_t); --bytes)
        if (*from++ != '\xff') return false;
    const uint64_t* word = reinterpret_cast<const uint64_t*>(from);
    return std::all_of(word, word + bytes / sizeof *word, [](uint64_t w) { return w == ~uint64_t(0); });
}

constexpr size_t up_to_16(size_t bytes) { return (bytes + 15) / 16 * 16; }

} // namespace

SharedMemory::SharedMemory() : arena_(map(nullptr, 0)) { sanitizer::poison(arena_, arena_bytes); }

SharedMemory::~SharedMemory() {
    sanitizer::unpoison(arena_, arena_bytes);
    ::munmap(arena_, arena_bytes);
}

char* SharedMemory::find(const void* key) const {
    for (size_t i = 0; i < arrays_used_; ++i)
        if (arrays_[i].key == key) return arrays_[i].data;
    return nullptr;
}

char* SharedMemory::add(const void* key, size_t bytes, Site name) {
    char* before = arena_ + bytes_used_;
    const size_t all = redzone + up_to_16(bytes) + redzone;
    sanitizer::unpoison(before, all);
    fill_with_nan(before, all);
    sanitizer::poison(before, all);
    sanitizer::unpoison(before + redzone, bytes);
    bytes_used_ += all - redzone; // the next array shares this redzone
    arrays_[arrays_used_++] = {key, name, before + redzone, bytes};
    return before + redzone;
}

std::string SharedMemory::trespass() const {
    if (sanitizer::address) return "";
    for (size_t i = 0; i < arrays_used_; ++i) {
        const Array& a = arrays_[i];
        const bool before = !untouched(a.data - redzone, redzone);
        if (before || !untouched(a.data + a.bytes, up_to_16(a.bytes) - a.bytes + redzone))
            return fmt::format("a write {} shared array {} of {} bytes", before ? "before" : "behind", text(a.name),
                               a.bytes);
    }
    return "";
}

void SharedMemory::clear() {
    sanitizer::poison(arena_, bytes_used_);
    arrays_used_ = bytes_used_ = 0;
    // ThreadSanitizer: the next block's accesses are not ordered after this block's, and need not be. So it gets new
    // memory.
    if (sanitizer::thread) map(arena_, MAP_FIXED);
}

} // namespace emulator
