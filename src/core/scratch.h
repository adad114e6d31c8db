// Scratch: temporary floats of an op on the CPU, from here to the end of the block it is declared in. They lie in an
// arena of the calling thread, the same addresses in every step. cuda/common.cuh has the GPU's.
#pragma once
#include <cstddef>
#include <string>

#include "core/arena.h"

namespace fci::cpu {

class Scratch {
public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    float* floats(size_t n); // aligned as an arena's

    static void reserve(); // takes a first chunk for the calling thread now

    // Slow mode of the calling thread, for tests: floats start as NaN between guard words. What was written outside
    // since the last call, or "".
    static void set_checked(bool);
    static std::string trespass();

private:
    Arena::Mark mark_;
    size_t guarded_; // their number before this one
};

} // namespace fci::cpu
