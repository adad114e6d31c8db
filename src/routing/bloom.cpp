#include "routing/bloom.h"

#include <cmath>

#include "core/rng.h"

namespace fci {

BloomHashes::BloomHashes(uint64_t seed, int vocab, int bits, int hashes) : bits_(bits), hashes_(hashes) {
    table_.reserve(static_cast<size_t>(vocab) * hashes);
    for (int token = 0; token < vocab; ++token) {
        Rng rng(seed, Stream::index, token);
        for (int i = 0; i < hashes; ++i) table_.push_back(rng.below(bits));
    }
}

void BloomFilter::add(int token) {
    for (int i = 0; i < hashes_->count(); ++i) {
        const uint32_t bit = hashes_->of(token)[i];
        set_[bit / 64] |= uint64_t{1} << bit % 64;
    }
}

bool BloomFilter::may_hold(int token) const {
    bool all = true;
    for (int i = 0; i < hashes_->count(); ++i) {
        const uint32_t bit = hashes_->of(token)[i];
        all &= set_[bit / 64] >> bit % 64 & 1;
    }
    return all;
}

double bloom_false_positive_rate(int bits, int hashes, int n) {
    return std::pow(1 - std::pow(1 - 1.0 / bits, static_cast<double>(hashes) * n), hashes);
}

} // namespace fci
