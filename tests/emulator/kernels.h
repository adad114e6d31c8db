// The emulator's example kernels, correct and wrong, for its tests. See kernels.cu.
#pragma once
#include <cstdint>

namespace fci::test {

enum class Bug {
    none,
    missing_barrier,     // the sum is read before every warp has written its part
    shared_overrun,      // a part is written past the end of the shared array
    global_overrun,      // one column too many is written
    global_overread,     // one column too many is read
    divergent_barrier,   // each half of the block waits at its own barrier
    early_exit,          // a thread returns before the barrier
    missing_lane,        // a lane returns before the shuffle
    other_mask,          // the lanes of one shuffle name different masks
    foreign_mask,        // a mask lacks the calling lane
    race_in_block,       // two threads add to one number,
    race_between_phases, // ... with barriers before and after,
    race_past_shuffle,   // ... with a shuffle used as a barrier: it orders no memory,
    race_between_blocks, // or belong to different blocks
};

// y[r,c] = exp x[r,c] / sum_c exp x[r,c]. All bugs except the races are in this kernel, with one wrong line.
void softmax(const float* x, float* y, int rows, int columns, Bug = Bug::none, int block = 128);
// y[c] = sum_r x[r,c]
void column_sum(const float* x, float* y, int rows, int columns);
// count[v] += number of times v is in x
void histogram(const int32_t* x, int64_t n, int* count);
// y[0] += y[1] + y[2], by several threads at once
void race(Bug, float* y);

// The results of the warp functions in each lane: y (32, warp_results); see kernels.cu for their order.
constexpr int warp_results = 14;
void warp_functions(int64_t* y);

// y (2, 32, 2) = the contents that two blocks find in static and dynamic shared memory before writing it
void unwritten(float* y);

// A product of a tensor core which lane 31 leaves out.
void multiply_without_a_lane();

// Launches without work, to test the limits.
void nothing(unsigned grid_x, unsigned grid_y, unsigned block_x, unsigned block_z = 1, int64_t dynamic_bytes = 0);
void static_array_of_50000_bytes();
void static_array_of_1000_bytes(int64_t dynamic_bytes);

} // namespace fci::test
