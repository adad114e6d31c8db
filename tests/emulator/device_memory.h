// The memory of the emulated GPU. It starts as NaN (integers: -1), since a GPU's memory starts with any contents. Only
// kernels and copies can access it. Between them its pages are closed (PROT_NONE), so host code that follows a device
// pointer, which a GPU would not allow, ends in a SIGSEGV at that place. Conversely, a launch checks its arguments: a
// pointer to memory other than the device's is an error.
#pragma once
#include <cstddef>
#include <type_traits>

namespace emulator {

void* device_allocate(size_t bytes);  // null: out of memory
void* managed_allocate(size_t bytes); // host and device may access it
void device_release(void*);           // of either kind

// Device memory is open while an object of this class exists, on any thread.
class OpenDeviceMemory {
public:
    OpenDeviceMemory();
    ~OpenDeviceMemory();
    OpenDeviceMemory(const OpenDeviceMemory&) = delete;
    OpenDeviceMemory& operator=(const OpenDeviceMemory&) = delete;
};

// Checks each pointer in an argument, which may be a struct or a lambda with its captures. Ignoring the contents of
// padding needs g++; other compilers check only arguments that are pointers.
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
