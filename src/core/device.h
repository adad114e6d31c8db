// Device: where numbers live and ops run. Every op has two twins of one signature, cpu::x and cuda::x, and the device
// is chosen at run time. The CUDA twins are weak symbols: a program that is linked without them (no nvcc) has null
// there and offers no GPU; the tests link the same twins compiled for the emulator (tests/emulator).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace fci {

enum class Device { cpu, cuda, none }; // none: addresses without memory; nothing runs, ops are only counted

// Declares an op's function on both devices: FCI_TWINS(GatherForward<float>, gather_forward)
#define FCI_TWINS(Type, name)                                                                                          \
    namespace cpu {                                                                                                    \
    Type name;                                                                                                         \
    }                                                                                                                  \
    namespace cuda {                                                                                                   \
    [[gnu::weak]] Type name;                                                                                           \
    }

// The twin of a device: FCI_ON(device, gather_forward)(s, x, index, y)
#define FCI_ON(device, name) ::fci::on(device, &cpu::name, &cuda::name)
template <class... Arguments>
auto on(Device device, void (*cpu)(Arguments...), void (*cuda)(Arguments...)) -> void (*)(Arguments...) {
    return device == Device::cpu ? cpu : device == Device::cuda ? cuda : [](Arguments...) {};
}

// Memory of a device. On cuda, copies and fills are work on the calling thread's stream, in its order; copies wait.
void* allocate(Device, size_t bytes, size_t alignment); // Exit::internal when there is no more
void release(Device, void*);
void set_zero(Device, void* p, size_t bytes);
void copy_in(Device, void* to, const void* from_host, size_t bytes);
void copy_out(Device, void* to_host, const void* from, size_t bytes);

// A copy of these numbers on the device until the program ends; equal contents are uploaded once. On the CPU: p itself.
const void* constant_bytes(const void* host, size_t bytes);
template <class T>
const T* constant(Device device, const T* p, size_t n) {
    return device == Device::cuda ? static_cast<const T*>(constant_bytes(p, n * sizeof(T))) : p;
}

// How a GPU multiplies: by fused multiply-adds, or on tensor cores with float32's accuracy (the two x3) or with 10 bits
// after the point: cuda/mma.cuh.
enum class Precision { fp32, fp16x3, tf32x3, tf32 };
constexpr const char* precision_names[] = {"fp32", "fp16x3", "3xtf32", "tf32"}; // in this order
Precision precision_named(const std::string&);

// The GPU, as the program finds it. `why`: what is missing when there is none, a sentence for people.
struct Gpu {
    bool present = false, emulated = false; // emulated: for tests; what it computes is never recorded
    std::string name, why;
};
Gpu find_gpu(); // asks the driver once, which is slow

// Names of devices that are no GPU: tests/emulator, and tests/mock, whose names begin with this one.
constexpr const char *emulator_device = "emulator", *mock_device = "mock of CUDA";
inline bool is_emulated(const std::string& device) {
    return device == emulator_device || device.starts_with(mock_device);
}

// What the runtime (cuda/runtime.cu) offers the rest of the program.
namespace cuda {
[[gnu::weak]] void* allocate(size_t bytes);         // null when there is no more
[[gnu::weak]] void* allocate_managed(size_t bytes); // readable on both sides; for tests
[[gnu::weak]] void release(void*);
[[gnu::weak]] void set_zero(void*, size_t bytes);
[[gnu::weak]] void copy_in(void* to, const void* from_host, size_t bytes);
[[gnu::weak]] void copy_out(void* to_host, const void* from, size_t bytes);
[[gnu::weak]] size_t free_bytes(); // of the device's memory, now
[[gnu::weak]] void synchronize();  // waits for the calling thread's stream; reports what went wrong on it
[[gnu::weak]] Gpu find_gpu();
[[gnu::weak]] void set_precision(Precision); // of all products from now on; before the first
} // namespace cuda

} // namespace fci
