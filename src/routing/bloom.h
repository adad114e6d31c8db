// Bloom filter: a set of tokens in m bits  [Bloom 1970]. Adding a token sets the k bits that its hashes name; a token
// may be in the set if its k bits are set. A token that was added is never missed; any other passes with probability
//   (1 - (1 - 1/m)^(k n))^k                                                                              (1)
// after n distinct tokens, taking bits as independent. This index learns nothing: it answers "which segments
// may hold this token?" by the token's identity alone.
// Hashes: the token's own draws of Philox, a function of (seed, token), uniform over the m bits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fci {

// The k bits of each token, computed once for all filters.
class BloomHashes {
public:
    BloomHashes(uint64_t seed, int vocab, int bits = 256, int hashes = 3);
    int bits() const { return bits_; }
    int count() const { return hashes_; }
    const uint32_t* of(int token) const { return table_.data() + static_cast<size_t>(token) * hashes_; }

private:
    int bits_, hashes_;
    std::vector<uint32_t> table_; // (vocab, hashes)
};

class BloomFilter {
public:
    explicit BloomFilter(const BloomHashes& h) : hashes_(&h), set_((h.bits() + 63) / 64) {}
    void add(int token);
    bool may_hold(int token) const;

private:
    const BloomHashes* hashes_;
    std::vector<uint64_t> set_;
};

double bloom_false_positive_rate(int bits, int hashes, int distinct_tokens); // (1)

} // namespace fci
