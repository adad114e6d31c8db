// Annotations that AddressSanitizer and ThreadSanitizer need from a runtime with its own stacks, memory and threads.
// Without a sanitizer they do nothing. The runtime is compiled without -fsanitize=thread, so the Makefile defines that
// the build is ThreadSanitizer's.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(FCI_EMULATOR_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace emulator::sanitizer {

// AddressSanitizer: poisoned memory is reported when a kernel touches it.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool address = true;
inline void poison(const void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void unpoison(const void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
inline void leave_stack(void** fake, const void* to, size_t bytes) { __sanitizer_start_switch_fiber(fake, to, bytes); }
inline void reach_stack(void* fake, const void** from, size_t* bytes) {
    __sanitizer_finish_switch_fiber(fake, from, bytes);
}
#else
constexpr bool address = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
inline void leave_stack(void**, const void*, size_t) {}
inline void reach_stack(void*, const void**, size_t*) {}
#endif

// ThreadSanitizer: everything before release(tag) happens before everything after a later acquire(tag). A switch of
// fibers orders nothing: fibers may be ordered only by what orders CUDA threads, or races would be hidden.
#if defined(FCI_EMULATOR_TSAN)
constexpr bool thread = true;
inline void acquire(void* tag) { __tsan_acquire(tag); }
inline void release(void* tag) { __tsan_release(tag); }
inline void* this_thread() { return __tsan_get_current_fiber(); }
inline void* new_thread() { return __tsan_create_fiber(0); }
inline void delete_thread(void* t) { __tsan_destroy_fiber(t); }
inline void become(void* t) { __tsan_switch_to_fiber(t, __tsan_switch_to_fiber_no_sync); }
#else
constexpr bool thread = false;
inline void acquire(void*) {}
inline void release(void*) {}
inline void* this_thread() { return nullptr; }
inline void* new_thread() { return nullptr; }
inline void delete_thread(void*) {}
inline void become(void*) {}
#endif

} // namespace emulator::sanitizer
