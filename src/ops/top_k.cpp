#include "ops/top_k.h"

#include <algorithm>

namespace fci {
namespace cpu {

void top_k_forward(TopKShape s, const float* scores, int32_t* chosen) {
    for (int r = 0; r < s.rows; ++r) {
        const float* row = scores + int64_t{r} * s.n;
        int32_t* best = chosen + int64_t{r} * 2 * s.k;
        int found = 0;
        // i ranks before j < i only if it is strictly higher: so ties go to the lower index.
        const auto higher = [&](int i, int j) { return row[i] > row[j] || (row[j] != row[j] && row[i] == row[i]); };
        for (int i = 0; i < s.n; ++i) {
            if (found == s.k && !higher(i, best[s.k - 1])) continue;
            int at = found < s.k ? found++ : s.k - 1;
            for (; at > 0 && higher(i, best[at - 1]); --at) best[at] = best[at - 1];
            best[at] = i;
        }
        for (int i = 0; i < s.k; ++i) best[s.k + i] = std::min(best[i] + 1, s.n - 1);
    }
}

} // namespace cpu

IntTensor top_k(Tape& tape, Tensor scores, int k) {
    const TopKShape s{scores.rows(), scores.cols(), k};
    check(1 <= k && k <= s.n, "top_k: k is {}, expected 1 to {}, the length of a row of scores {}", k, s.n,
          scores.shape.text());
    int32_t* chosen = tape.arena().array<int32_t>(s.size());
    const Device device = tape.device();
    FCI_ON(device, top_k_forward)(s, scores.data, chosen);
    tape.append("top_k", {}, top_k_cost(s), [] {});
    Shape out = scores.shape;
    out.n[out.rank - 1] = 2 * k;
    return {chosen, out};
}

} // namespace fci
