// Philox4x32-10: a counter-based generator [Salmon et al. 2011, "Parallel random numbers: as easy as
// 1, 2, 3"]. Ten rounds of multiply, xor and key bump turn a 128-bit counter and a 64-bit key into 128
// random bits, with no state: draw i of a stream is a function of (seed, stream, step, i), so any part of
// the data, any step of a resumed run and any thread gets its numbers without the others.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace fci {

using Philox4 = std::array<uint32_t, 4>;

inline Philox4 philox4x32_10(Philox4 c, std::array<uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
        c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
             static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
        key[0] += 0x9E3779B9u; // golden ratio
        key[1] += 0xBB67AE85u; // sqrt(3) - 1
    }
    return c;
}

// What a random number is for. Streams of one seed are independent of one another.
enum class Stream : uint32_t {
    train_data = 1,
    test_data = 2,
    init = 3,
    order = 4,
    pattern = 5,
    golden = 6,
    bandit = 7,   // arms and posterior samples
    index = 8,    // what an index leaves to chance
    analysis = 9, // random projections and pairs
    contrastive = 10,
    final_test = 11
};

class Rng {
public:
    // step: the epoch, example or parameter that these draws belong to.
    Rng(uint64_t seed, Stream stream, uint64_t step = 0)
        : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, counter_{
                                                                                    0, static_cast<uint32_t>(step),
                                                                                    static_cast<uint32_t>(step >> 32),
                                                                                    static_cast<uint32_t>(stream)} {}

    uint32_t bits() {
        if (used_ == 4) {
            block_ = philox4x32_10(counter_, key_);
            ++counter_[0];
            used_ = 0;
        }
        return block_[used_++];
    }
    uint64_t bits64() {
        const uint64_t high = bits();
        return high << 32 | bits();
    }

    // Uniform integer in [0, n), without bias [Lemire 2019, "Fast random integer generation in an interval"].
    uint32_t below(uint32_t n) {
        uint64_t m = uint64_t{bits()} * n;
        if (static_cast<uint32_t>(m) < n)
            for (const uint32_t least = -n % n; static_cast<uint32_t>(m) < least;) m = uint64_t{bits()} * n;
        return static_cast<uint32_t>(m >> 32);
    }
    int between(int low, int high) {
        return low + static_cast<int>(below(static_cast<uint32_t>(high - low)));
    } // [low, high)

    float uniform() { return static_cast<float>(bits() >> 8) * 0x1p-24f; }       // [0, 1), 24 bits
    double uniform64() { return static_cast<double>(bits64() >> 11) * 0x1p-53; } // [0, 1), 53 bits
    float uniform(float low, float high) { return low + (high - low) * uniform(); }

    float normal() { // Box-Muller, one of the pair
        const double radius = std::sqrt(-2 * std::log(1 - uniform64())), angle = 2 * M_PI * uniform64();
        return static_cast<float>(radius * std::cos(angle));
    }

private:
    std::array<uint32_t, 2> key_;
    Philox4 counter_, block_{};
    int used_ = 4;
};

} // namespace fci
