#include "core/hash.h"

#include <bit>
#include <cstring>

namespace fci {

// XXH64 [Collet, xxHash fast digest algorithm, 64-bit variant]: four lanes of multiply and rotate, then mixed.
uint64_t hash64(std::string_view bytes, uint64_t seed) {
    static_assert(std::endian::native == std::endian::little);
    constexpr uint64_t p1 = 0x9E3779B185EBCA87, p2 = 0xC2B2AE3D27D4EB4F, p3 = 0x165667B19E3779F9,
                       p4 = 0x85EBCA77C2B2AE63, p5 = 0x27D4EB2F165667C5;
    const char* p = bytes.data();
    size_t left = bytes.size();
    const auto take = [&]<class Word>(Word word) {
        std::memcpy(&word, p, sizeof word);
        p += sizeof word, left -= sizeof word;
        return word;
    };
    const auto round = [](uint64_t lane, uint64_t word) { return std::rotl(lane + word * p2, 31) * p1; };

    uint64_t h = seed + p5;
    if (left >= 32) {
        uint64_t lane[4] = {seed + p1 + p2, seed + p2, seed, seed - p1};
        while (left >= 32)
            for (uint64_t& v : lane) v = round(v, take(uint64_t{}));
        h = std::rotl(lane[0], 1) + std::rotl(lane[1], 7) + std::rotl(lane[2], 12) + std::rotl(lane[3], 18);
        for (const uint64_t v : lane) h = (h ^ round(0, v)) * p1 + p4;
    }
    h += bytes.size();
    while (left >= 8) h = std::rotl(h ^ round(0, take(uint64_t{})), 27) * p1 + p4;
    if (left >= 4) h = std::rotl(h ^ take(uint32_t{}) * p1, 23) * p2 + p3;
    while (left) h = std::rotl(h ^ take(uint8_t{}) * p5, 11) * p1;
    h = (h ^ h >> 33) * p2;
    h = (h ^ h >> 29) * p3;
    return h ^ h >> 32;
}

} // namespace fci
