// GPU functions of the benchmark besides the ops; they are implemented in cuda/bench.cu. Pointers are to device memory.
#pragma once
#include <cstddef>
#include <string>

namespace fci::cuda {

// Milliseconds of each of n calls of work(with), by the device's clock for the work they launch. Before each call the
// caches are filled with other data.
[[gnu::weak]] void time_calls(void (*work)(void*), void* with, int n, float* ms);
[[gnu::weak]] void copy(void* to, const void* from, size_t bytes); // within the device
[[gnu::weak]] std::string describe_gpu();                          // its model and driver, for people and records

} // namespace fci::cuda
