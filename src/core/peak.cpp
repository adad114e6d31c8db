#include "core/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/tile.h"

namespace fci {

double measured_peak(Workers& workers) {
    constexpr int rounds = 10000, calls = 10, samples = 12;
    std::vector<float> results(workers.count());
    double best = 1e300;
    for (int s = 0; s < samples; ++s) {
        const auto start = std::chrono::steady_clock::now();
        workers.run(workers.count() * calls, [&](int, int w) { results[w] += multiply_adds(rounds); });
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return 1.0 * multiply_adds_a_round * rounds * calls * workers.count() / best;
}

} // namespace fci
