// HotpotQA examples for tests.
#pragma once
#include "tasks/hotpot_world.h"
#include "tasks/hotpotqa.h"

namespace fci {

inline HotpotFile parsed(const std::string& text, int threads = 2) {
    Workers workers(threads);
    return parse_hotpot("test", text, workers);
}
inline std::vector<HotpotExample> made(int count, uint64_t seed = 1, int threads = 2) {
    Workers workers(threads);
    return make_hotpot(count, seed, Stream::train_data, workers);
}

} // namespace fci
