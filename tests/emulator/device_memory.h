// The memory of the GPU that the emulator stands for. It starts as NaN (integers: -1), as a GPU's starts with anything,
// and nothing can touch it but kernels and copies: between them its pages are closed (PROT_NONE), so host code that
// follows a device pointer, which a GPU would not let it do, ends in a SIGSEGV at that place. The other way round, a
// launch looks at its arguments: what points to memory, but not to the device's, is an error.
#pragma once
#include <cstddef>
#include <type_traits>

namespace emulator {

void* device_allocate(size_t bytes);  // null when there is no more
void* managed_allocate(size_t bytes); // that both sides may touch
void device_release(void*);           // of either kind

// Open while one of these lives, on any thread.
class OpenDeviceMemory {
public:
    OpenDeviceMemory();
    ~OpenDeviceMemory();
    OpenDeviceMemory(const OpenDeviceMemory&) = delete;
    OpenDeviceMemory& operator=(const OpenDeviceMemory&) = delete;
};

// Looks at each pointer in an argument, which may be a struct or a lambda with its captures: without what happens to
// lie in their gaps, which needs g++; elsewhere only at arguments that are pointers.
void look_at_argument(const char* kernel, int number, const void* argument, size_t bytes);
template <class... Arguments>
void expect_device_pointers(const char* kernel, Arguments... arguments) {
    [[maybe_unused]] int number = 0;
    const auto look = [&]<class T>(T& argument) {
        ++number;
#if defined(__GNUC__) && !defined(__clang__)
        __builtin_clear_padding(&argument);
#else
        if (!std::is_pointer_v<T>) return;
#endif
        look_at_argument(kernel, number, &argument, sizeof argument);
    };
    (look(arguments), ...);
}

} // namespace emulator
