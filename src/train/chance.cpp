#include "train/chance.h"

#include <algorithm>
#include <numeric>

namespace fci {
namespace {

// Share of `test` hit by the k most frequent values of `train`, in percent.
double hit_by_most_frequent(const std::vector<int>& train, const std::vector<int>& test, int k) {
    const int low = *std::min_element(train.begin(), train.end()), high = *std::max_element(train.begin(), train.end());
    std::vector<int> count(high - low + 1), order(count.size());
    for (int v : train) ++count[v - low];
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return count[i] > count[j]; });
    order.resize(std::min<size_t>(order.size(), k));
    std::vector<bool> chosen(count.size());
    for (int i : order) chosen[i] = true;
    const auto hits =
        std::count_if(test.begin(), test.end(), [&](int v) { return v >= low && v <= high && chosen[v - low]; });
    return 100.0 * static_cast<double>(hits) / static_cast<double>(test.size());
}

std::vector<int> places(const Dataset& d, int place_length, bool relative) {
    std::vector<int> a(d.answer.begin(), d.answer.end());
    for (size_t i = 0; i < a.size(); ++i) a[i] = a[i] / place_length - (relative ? d.query[i] / place_length : 0);
    return a;
}

} // namespace

Chance fit_chance(const TaskOptions& task, const Dataset& train, const Dataset& test, int k, int place_length) {
    Chance c;
    const auto best = [&](int picks, bool& relative) {
        double fit[2], hit[2];
        for (int r = 0; r < 2; ++r) {
            const std::vector<int> a = places(train, place_length, r);
            fit[r] = hit_by_most_frequent(a, a, picks);
            hit[r] = hit_by_most_frequent(a, places(test, place_length, r), picks);
        }
        relative = fit[1] > fit[0];
        return hit[relative];
    };
    bool relative_at_1;
    c.at_k = best(k, c.relative);
    c.at_1 = best(1, relative_at_1);
    if (task.task == "der")
        c.accuracy = 100.0 / (1 + task.n_distractors);
    else if (task.task == "mqar") {
        double share = 0; // the pairs stand first: key, value, key, value, ...
        for (size_t i = 0; i < test.label.size(); ++i) {
            const int32_t* pairs = test.tokens.data() + static_cast<int64_t>(i / test.queries) * test.length;
            for (int p = 0; p < task.pairs; ++p) share += pairs[2 * p + 1] == test.label[i];
        }
        c.accuracy = 100.0 * share / task.pairs / static_cast<double>(test.label.size());
    } else
        c.accuracy =
            hit_by_most_frequent({train.label.begin(), train.label.end()}, {test.label.begin(), test.label.end()}, 1);
    return c;
}

} // namespace fci
