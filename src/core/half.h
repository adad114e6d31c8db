// Numbers of 16 bits as they are stored: IEEE half (1 sign, 5 exponent, 10 fraction bits) and bfloat16 (1, 8, 7). To
// float exactly: branch-free, so that loops vectorise, and without denormal floats on the way, which a worker takes
// for 0.
#pragma once
#include <bit>
#include <cstdint>

#include "core/scalar.h"

namespace fci {

// The exponent's bias goes from 15 to 127; 31, of infinity and NaN, to 255. A denormal half 2^-14 0.f is read as
// 2^-14 1.f, less 2^-14.
FCI_HD float half_to_float(uint16_t h) {
    constexpr uint32_t exponent = 31u << 23, rebias = (127u - 15u) << 23;
    const uint32_t all = (h & 0x7fffu) << 13, e = all & exponent;
    const uint32_t bits = all + rebias + (e == exponent ? rebias : 0u) + (e == 0 ? 1u << 23 : 0u);
    const float magnitude = std::bit_cast<float>(bits) - (e == 0 ? 0x1p-14f : 0.f);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | (h & 0x8000u) << 16);
}

// To the nearest, ties to even; beyond the largest half to infinity. In integers, as not every compiler has a type
// for it: of a normal half the fraction is rounded where it is cut, and a carry goes on into the exponent; a denormal
// one is a whole number of 2^-24, which is what 0.5 + x is rounded to.
inline uint16_t float_to_half(float x) {
    constexpr uint32_t infinity = 255u << 23, too_large = 0x477ff000u, least_normal = (127u - 14u) << 23;
    const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000u, all = bits & 0x7fffffffu;
    uint32_t half;
    if (all > infinity)
        half = 0x7e00u;
    else if (all >= too_large) // 65520, halfway to the next power of two
        half = 0x7c00u;
    else if (all < least_normal)
        half = std::bit_cast<uint32_t>(std::bit_cast<float>(all) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    else
        half = (all - ((127u - 15u) << 23) + 0xfffu + (all >> 13 & 1u)) >> 13;
    return static_cast<uint16_t>(sign | half);
}

inline float bfloat_to_float(uint16_t b) { return std::bit_cast<float>(uint32_t{b} << 16); }

} // namespace fci
