// hash64: XXH64 of bytes, the same number that `xxh64sum` prints.
#pragma once
#include <cstdint>
#include <string_view>

namespace fci {

uint64_t hash64(std::string_view bytes, uint64_t seed = 0);

} // namespace fci
