// What the benchmark asks of a GPU besides the ops; the twins are in cuda/bench.cu. Pointers are the device's.
#pragma once
#include <cstddef>
#include <string>

namespace fci::cuda {

// Milliseconds of each of n calls of work(with), as the device's clock sees what they launch; before each, the caches
// are filled with something else.
[[gnu::weak]] void time_calls(void (*work)(void*), void* with, int n, float* ms);
[[gnu::weak]] void copy(void* to, const void* from, size_t bytes); // within the device
[[gnu::weak]] std::string describe_gpu();                          // its kind, its driver, for people and records

} // namespace fci::cuda
