// The damage that any format may suffer, for the fuzz tests: each adds ways of its own.
#pragma once
#include <string>

#include "core/rng.h"

namespace fci {

constexpr uint32_t common_damages = 4;

// way 0: another byte; 1: a flipped bit; 2: n bytes from `at` lost; 3: n bytes twice
inline void common_damage(Rng& rng, std::string& s, uint32_t way, size_t at, size_t n) {
    if (way < 2 && at == s.size()) return;
    if (way == 0) s[at] = static_cast<char>(rng.bits());
    if (way == 1) s[at] = static_cast<char>(s[at] ^ 1 << rng.below(8));
    if (way == 2) s.erase(at, n);
    if (way == 3) s.insert(at, s.substr(at, n));
}

} // namespace fci
