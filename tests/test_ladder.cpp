// Every step of the teaching kernels in cuda/ladder, on the emulator at a tiny size, against the CPU ops.
#include "core/device.h"
#include "cuda/ladder/ladder.cuh"
#include "tests/catch.h"

TEST_CASE("every step of the ladders computes what the CPU op does", "[twin]") {
    std::deque<fci::cuda::Ladder> ladders;
    fci::cuda::add_ladders(ladders, true);
    for (fci::cuda::Ladder& ladder : ladders)
        for (const auto& step : ladder.steps()) CHECK(ladder.check(step) == "");
}
