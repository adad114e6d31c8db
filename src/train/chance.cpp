#include "train/chance.h"

#include <algorithm>
#include <numeric>

namespace fci {
namespace {

using Lists = std::vector<std::vector<int>>; // of each query the right places, counted somehow, ascending

// Shares, in percent, of lists that hold one of the `chosen`, and of those that hold nothing else.
struct Hits {
    double some, all;
};

// Of `test`, by the k most frequent values of `train`.
Hits hits_of_most_frequent(const Lists& train, const Lists& test, int k) {
    int low = train[0][0], high = low;
    for (const auto& list : train) low = std::min(low, list.front()), high = std::max(high, list.back());
    std::vector<int> count(high - low + 1), order(count.size());
    for (const auto& list : train)
        for (int v : list) ++count[v - low];
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return count[i] > count[j]; });
    order.resize(std::min<size_t>(order.size(), k));
    std::vector<bool> chosen(count.size());
    for (int i : order) chosen[i] = true;
    const auto is_chosen = [&](int v) { return v >= low && v <= high && chosen[v - low]; };
    int64_t some = 0, all = 0;
    for (const auto& list : test) {
        some += std::any_of(list.begin(), list.end(), is_chosen);
        all += std::all_of(list.begin(), list.end(), is_chosen);
    }
    const auto percent = [&](int64_t n) { return 100.0 * static_cast<double>(n) / static_cast<double>(test.size()); };
    return {percent(some), percent(all)};
}

std::vector<int> places_of(std::span<const int32_t> positions, int place_length) {
    std::vector<int> places;
    for (const int p : positions)
        if (places.empty() || places.back() != p / place_length) places.push_back(p / place_length);
    return places;
}

enum class Counted { from_start, from_query, by_sentence };

Lists right_places(const Dataset& d, int place_length, Counted how) {
    Lists lists(d.answer.size());
    for (size_t i = 0; i < lists.size(); ++i) {
        lists[i] = places_of(d.right_of(i), place_length);
        const std::vector<int> starts =
            how == Counted::by_sentence ? places_of(d.starts[i], place_length) : std::vector<int>{};
        for (int& p : lists[i])
            if (how == Counted::from_query)
                p -= d.query[i] / place_length;
            else if (how == Counted::by_sentence)
                p = static_cast<int>(std::lower_bound(starts.begin(), starts.end(), p) - starts.begin());
    }
    return lists;
}

Lists singly(const std::vector<int32_t>& values) {
    Lists lists;
    for (const int v : values) lists.push_back({v});
    return lists;
}

// k of n places drawn without replacement, m of them right, as shares of 1.
Hits drawn(int n, int m, int k) {
    if (n <= k) return {1, 1};
    Hits h{1, m <= k ? 1.0 : 0.0};
    for (int i = 0; i < k; ++i) h.some *= std::max(0.0, double(n - m - i) / (n - i)); // C(n-m,k)/C(n,k)
    for (int i = 0; i < m && m <= k; ++i) h.all *= double(k - i) / (n - i);           // C(n-m,k-m)/C(n,k)
    h.some = 1 - h.some;
    return h;
}

// Means over the test set.
Hits drawn_places(const Dataset& d, int place_length, int k, bool starts) {
    Hits sum{0, 0};
    const auto n = static_cast<double>(d.answer.size());
    for (size_t i = 0; i < d.answer.size(); ++i) {
        const size_t places = starts ? places_of(d.starts[i], place_length).size() : size_t(d.length / place_length);
        const Hits h =
            drawn(static_cast<int>(places), static_cast<int>(places_of(d.right_of(i), place_length).size()), k);
        sum.some += 100 * h.some / n, sum.all += 100 * h.all / n;
    }
    return sum;
}

} // namespace

Chance fit_chance(const TaskOptions& task, const Dataset& train, const Dataset& test, int k, int place_length) {
    Chance c;
    const bool several = !test.right.empty();
    const auto best = [&](int picks, Counted& how) {
        std::vector<Counted> rules{Counted::from_start, Counted::from_query};
        if (several) rules.push_back(Counted::by_sentence);
        double fit = -1;
        Hits hit{};
        for (const Counted rule : rules) {
            const Lists of_train = right_places(train, place_length, rule);
            if (const double x = hits_of_most_frequent(of_train, of_train, picks).some; x > fit) {
                fit = x, how = rule;
                hit = hits_of_most_frequent(of_train, right_places(test, place_length, rule), picks);
            }
        }
        return hit;
    };
    Counted how, at_1;
    const Hits at_k = best(k, how);
    c.at_k = at_k.some, c.at_1 = best(1, at_1).some, c.relative = how == Counted::from_query;
    if (several) {
        const Hits starts = drawn_places(test, place_length, k, true);
        c.drawn_starts = starts.some, c.drawn_positions = drawn_places(test, place_length, k, false).some;
        c.at_k = std::max(c.at_k, starts.some), c.all = std::max(at_k.all, starts.all);
        c.at_1 = std::max(c.at_1, drawn_places(test, place_length, 1, true).some);
    }
    if (test.label.empty()) return c; // nothing is answered
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
        c.accuracy = hits_of_most_frequent(singly(train.label), singly(test.label), 1).some;
    return c;
}

} // namespace fci
