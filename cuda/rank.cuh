// rank: a score and its position as one 64-bit number, higher for a better choice and never equal: by score, a NaN
// below everything, and -0 as +0; then by position, the lower first.
#pragma once
#include <bit>

#include "cuda/common.cuh"

namespace fci::cuda {

__device__ __forceinline__ uint64_t rank_of(float score, int i) {
    const uint32_t bits = std::bit_cast<uint32_t>(score == 0.f ? 0.f : score),
                   ordered = bits >> 31 ? ~bits : bits | 0x80000000u; // as the floats are, apart from NaN
    return uint64_t{score == score ? ordered : 0u} << 32 | (0xffffffffu - static_cast<uint32_t>(i));
}

} // namespace fci::cuda
