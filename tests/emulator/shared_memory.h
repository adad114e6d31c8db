// The shared memory of the running block: arrays between redzones, initially all NaN. AddressSanitizer finds every
// access to a redzone at once; without it, writes there are found when the block ends.
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

    char* find(const void* key) const; // null: none
    char* add(const void* key, size_t bytes, Site name);
    bool full() const { return arrays_used_ + 1 == most_arrays; } // one place is always kept for dynamic shared memory
    std::string trespass() const;                                 // describes writes to a redzone; "" if none
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
