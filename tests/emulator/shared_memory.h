// The shared memory of the block that runs: arrays between redzones, all NaN at first. What touches a redzone is found
// by AddressSanitizer at once; without it, what was written there is found when the block ends.
#pragma once
#include <string>

#include "tests/emulator/emulator.h"

namespace emulator {

class SharedMemory {
public:
    static constexpr size_t most_arrays = 32, redzone = 256, arena_bytes = 1 << 20;
    static constexpr size_t most_bytes = arena_bytes - redzone - most_arrays * (redzone + 16);

    SharedMemory();
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    char* find(const void* key) const; // null if there is none
    char* add(const void* key, size_t bytes, Site name);
    bool full() const { return arrays_used_ + 1 == most_arrays; } // dynamic shared memory has room for its own, always
    std::string trespass() const;                                 // what was written to a redzone, "" if nothing
    void clear();

private:
    struct Array {
        const void* key;
        Site name;
        char* data;
        size_t bytes;
    };
    Array arrays_[most_arrays];
    size_t arrays_used_ = 0, bytes_used_ = 0;
    char* arena_; // mapped once for all launches
};

} // namespace emulator
