#include "train/chance.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

namespace fci {
namespace {

using Lists = std::vector<std::vector<int>>; // of each query the correct places, counted somehow, ascending

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

// k of n places drawn without replacement, m of them correct, as shares of 1.
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

double percent(double n, size_t of) { return 100 * n / static_cast<double>(of); }

// The i-th of `n` queries that are even, or odd; `half` -1: all.
std::vector<size_t> part(size_t n, int half) {
    std::vector<size_t> which;
    for (size_t i = half < 0 ? 0 : half; i < n; i += half < 0 ? 1 : 2) which.push_back(i);
    return which;
}

// One correct place a query. Hits among `to` of the rule for each q fit on `from`, and of the rule that it leans on,
// `base` (from_start or from_query).
struct Compared {
    int64_t given_q = 0, base = 0;
};
Compared compare_given_q(const Dataset& train, const std::vector<size_t>& from, const Dataset& test,
                         const std::vector<size_t>& to, int k, int place_length, Counted base) {
    constexpr double weight = 64;
    const auto place = [&](const Dataset& d, size_t i) { return d.answer[i] / place_length; };
    const auto row = [&](const Dataset& d, size_t i) { return d.query[i] / place_length; };
    const int places = (std::max(train.length, test.length) + place_length - 1) / place_length;
    std::vector<double> share(2 * places + 1);   // of places, or of distances from -places
    std::map<int32_t, std::map<int, double>> at; // of q: answers at a place
    const auto origin = [&](int q_place) { return base == Counted::from_query ? places - q_place : 0; };
    for (const size_t i : from) {
        share[place(train, i) + origin(row(train, i))] += 1 / static_cast<double>(from.size());
        ++at[train.query[i]][place(train, i)];
    }
    const auto first_k = [&](const std::vector<double>& score) {
        std::vector<int> order(score.size());
        std::iota(order.begin(), order.end(), 0);
        const int n = std::min<int>(k, static_cast<int>(order.size()));
        std::partial_sort(order.begin(), order.begin() + n, order.end(),
                          [&](int i, int j) { return score[i] != score[j] ? score[i] > score[j] : i < j; });
        order.resize(n);
        return order;
    };
    struct Rule {
        std::vector<int> given_q, base;
    };
    std::map<int32_t, Rule> rules;
    Compared hits;
    for (const size_t i : to) {
        const auto [rule, is_new] = rules.try_emplace(test.query[i]);
        if (is_new) {
            std::vector<double> score(places);
            for (int p = 0; p < places; ++p) score[p] = weight * share[p + origin(row(test, i))];
            rule->second.base = first_k(score);
            if (const auto found = at.find(test.query[i]); found != at.end())
                for (const auto& [p, n] : found->second) score[p] += n;
            rule->second.given_q = first_k(score);
        }
        const auto hit = [&](const std::vector<int>& chosen) {
            return std::find(chosen.begin(), chosen.end(), place(test, i)) != chosen.end();
        };
        hits.given_q += hit(rule->second.given_q), hits.base += hit(rule->second.base);
    }
    return hits;
}

} // namespace

std::optional<AnswerLaw> answer_law(const TaskOptions& o) {
    const Task& task = task_of(o);
    return task.law ? task.law(o) : std::nullopt;
}

namespace {

// Mean over q of value(how many of q's answers are in each place).
double mean_over_rows(const AnswerLaw& law, int place_length, const std::function<double(std::vector<int>&)>& value) {
    double sum = 0;
    for (const std::vector<int>& answers : law.answers) {
        std::vector<int> counts;
        for (size_t i = 0; i < answers.size(); ++i)
            if (i && answers[i] / place_length == answers[i - 1] / place_length)
                ++counts.back();
            else
                counts.push_back(1);
        sum += value(counts) / static_cast<double>(answers.size());
    }
    return percent(sum, law.answers.size());
}

} // namespace

std::optional<Chance> law_chance(const TaskOptions& o, int k, int place_length) {
    const std::optional<AnswerLaw> law = answer_law(o);
    if (!law) return std::nullopt;
    const auto at = [&](int picks) {
        return mean_over_rows(*law, place_length, [&](std::vector<int>& counts) {
            std::sort(counts.begin(), counts.end(), std::greater<>());
            return std::accumulate(counts.begin(), counts.begin() + std::min<int64_t>(picks, counts.size()), 0.0);
        });
    };
    Chance c;
    c.at_k = at(k), c.at_1 = at(1), c.accuracy = task_of(o).law_accuracy(o);
    return c;
}

std::optional<Chance> law_chance_within(const TaskOptions& o, int width) {
    const std::optional<AnswerLaw> law = answer_law(o);
    if (!law) return std::nullopt;
    Chance c; // one correct arm of those in the segment where the answer may be
    c.at_k = c.at_1 =
        mean_over_rows(*law, width, [](std::vector<int>& counts) { return static_cast<double>(counts.size()); });
    return c;
}

Chance fit_chance(const TaskOptions& task, const Dataset& train, const Dataset& test, int k, int place_length) {
    Chance c;
    const bool several = !test.correct.empty();
    const auto best = [&](int picks, Counted& how, bool& given_q) {
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
        if (several) return hit;
        const size_t n = train.answer.size();
        Compared crosswise;
        for (const int half : {0, 1}) {
            const Compared x =
                compare_given_q(train, part(n, half), train, part(n, 1 - half), picks, place_length, how);
            crosswise.given_q += x.given_q, crosswise.base += x.base;
        }
        given_q = crosswise.given_q > crosswise.base;
        if (given_q) {
            const auto all = part(test.answer.size(), -1);
            const Compared x = compare_given_q(train, part(n, -1), test, all, picks, place_length, how);
            hit.some = percent(static_cast<double>(x.given_q), all.size());
        }
        return hit;
    };
    Counted how, at_1;
    bool ignored = false;
    const Hits at_k = best(k, how, c.given_q);
    c.at_k = at_k.some, c.at_1 = best(1, at_1, ignored).some;
    c.relative = !c.given_q && how == Counted::from_query;
    if (several) {
        const Hits starts = drawn_places(test, place_length, k, true);
        c.drawn_starts = starts.some, c.drawn_positions = drawn_places(test, place_length, k, false).some;
        c.at_k = std::max(c.at_k, starts.some), c.all = std::max(at_k.all, starts.all);
        c.at_1 = std::max(c.at_1, drawn_places(test, place_length, 1, true).some);
    }
    if (test.label.empty()) return c; // nothing is answered
    if (const auto accuracy = task_of(task).accuracy)
        c.accuracy = accuracy(task, test);
    else
        c.accuracy = hits_of_most_frequent(singly(train.label), singly(test.label), 1).some;
    return c;
}

} // namespace fci
