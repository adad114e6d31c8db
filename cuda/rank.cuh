// rank: a score and its position as one 64-bit number. The better choice has the higher number and no two are equal: by
// score, with NaN below everything and -0 equal to +0; then by position, the lower first.
#pragma once
#include <bit>

#include "cuda/common.cuh"

namespace fci::cuda {

__device__ __forceinline__ uint64_t rank_of(float score, int i) {
    const uint32_t bits = std::bit_cast<uint32_t>(score == 0.f ? 0.f : score),
                   ordered = bits >> 31 ? ~bits : bits | 0x80000000u; // in the order of the floats, NaN aside
    return uint64_t{score == score ? ordered : 0u} << 32 | (0xffffffffu - static_cast<uint32_t>(i));
}

__device__ __forceinline__ int place_of(uint64_t rank) {
    return static_cast<int>(0xffffffffu - static_cast<uint32_t>(rank));
}
__device__ __forceinline__ uint64_t warp_highest(uint64_t v) {
    for (int offset = 16; offset; offset /= 2) {
        const uint64_t other = __shfl_xor_sync(all_lanes, v, offset);
        v = other > v ? other : v;
    }
    return v;
}

// By one warp: the k best of n scores, best first, into best[0..k), and each one's right neighbour into best[k..2k).
// Takes k maxima, each below the previous one.
__device__ __forceinline__ void choose_best(int n, const float* score, int k, int32_t* best) {
    const int lane = threadIdx.x % 32;
    uint64_t last = ~uint64_t{0}; // above every rank
    for (int found = 0; found < k; ++found) {
        uint64_t highest = 0; // below every rank
#pragma unroll 4
        for (int i = lane; i < n; i += 32) {
            const uint64_t rank = rank_of(score[i], i);
            highest = rank < last && rank > highest ? rank : highest;
        }
        last = warp_highest(highest);
        const int at = place_of(last);
        if (lane == 0) best[found] = at, best[k + found] = min(at + 1, n - 1);
    }
}

} // namespace fci::cuda
