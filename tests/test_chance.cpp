// Chance: the exact chance of the laws against enumeration, values by hand and generated data; the rule per q.
#include <cmath>
#include <map>

#include "tests/catch.h"
#include "train/chance.h"

using namespace fci;

namespace {

TaskOptions der(int length, int distance, int window, int distractors, const std::string& side = "after") {
    TaskOptions o;
    o.task = "der", o.length = length, o.min_distance = distance, o.near_window = window;
    o.n_distractors = distractors, o.answer_side = side;
    return resolve(o);
}

// From examples alone: for each q, the k places where the answer was most often in one half of the data, and how often
// it is at one of them in the other half.
double sampled(const Dataset& d, int k, int place_length) {
    const int count = d.count;
    std::map<int, std::map<int, int>> at;
    for (int i = 0; i < count; i += 2) ++at[d.query[i]][d.answer[i] / place_length];
    std::map<int, std::vector<std::pair<int, int>>> best; // (times, place)
    for (const auto& [q, places] : at) {
        for (const auto& [place, times] : places) best[q].emplace_back(times, place);
        std::sort(best[q].rbegin(), best[q].rend());
        best[q].resize(std::min<size_t>(k, best[q].size()));
    }
    int64_t hits = 0;
    for (int i = 1; i < count; i += 2)
        for (const auto& [times, place] : best[d.query[i]]) hits += place == d.answer[i] / place_length;
    return 200.0 * static_cast<double>(hits) / count;
}

Dataset labelled(std::vector<int32_t> query, std::vector<int32_t> answer, std::vector<int32_t> label) {
    const int n = static_cast<int>(query.size());
    return {n, 10, 1, 16, std::vector<int32_t>(10 * n), std::move(query), std::move(answer), std::move(label)};
}

} // namespace

TEST_CASE("chance: of the laws it is exact", "[chance]") {
    SECTION("der by default: rows 1 to 310, and 311 - q answers each") {
        double sum = 0;
        for (int n = 1; n <= 310; ++n) sum += std::min(4.0, 1.0 * n) / n;
        const Chance c = law_chance(der(512, 200, 24, 4), 4).value();
        CHECK(c.at_k == Approx(100 * sum / 310));
        CHECK(c.at_k == Approx(6.75).margin(0.005));
        CHECK(c.accuracy == 20);
    }
    SECTION("der by enumeration, no distractors: a pair beside nothing but q-1 and q") {
        for (const std::string side : {"after", "before", "either"})
            for (const int place_length : {1, 4})
                for (const int k : {1, 3}) {
                    INFO(side << " places of " << place_length << " k " << k);
                    double sum = 0;
                    int rows = 0;
                    for (int q = 1; q < 32; ++q) {
                        std::map<int, int> places;
                        int all = 0;
                        for (int a = 0; a + 1 < 32; ++a)
                            if (std::abs(a - q) >= 9 && (a > q ? side != "before" : side != "after"))
                                ++places[a / place_length], ++all;
                        if (!all) continue;
                        ++rows;
                        std::vector<int> n;
                        for (const auto& [place, times] : places) n.push_back(times);
                        std::sort(n.rbegin(), n.rend());
                        for (int i = 0; i < std::min<int>(k, static_cast<int>(n.size())); ++i) sum += 1.0 * n[i] / all;
                    }
                    const Chance c = law_chance(der(32, 9, 3, 0, side), k, place_length).value();
                    CHECK(c.at_k == Approx(100 * sum / rows));
                }
    }
    SECTION("near, where the answer must leave room for itself alone, and a tight fit: as what is generated") {
        TaskOptions near = der(40, 20, 4, 2);
        near.variant = "near", near.answer_side = "either";
        Workers workers(2);
        for (const TaskOptions& o : {near, der(24, 6, 4, 2), der(20, 3, 5, 2, "either")}) { // the ranges overlap
            const Dataset d = generate(o, 200000, 3, Stream::train_data, workers);
            for (const int k : {1, 2, 4}) {
                INFO(o.variant << " L " << o.length << " k " << k);
                CHECK(law_chance(o, k)->at_k == Approx(sampled(d, k, 1)).margin(0.6));
                CHECK(law_chance(o, k, 4)->at_k == Approx(sampled(d, k, 4)).margin(0.6));
            }
        }
    }
    SECTION("mqar: k of N keys; another value equals the label once in 128") {
        TaskOptions o;
        const Chance c = law_chance(resolve(o), 4).value();
        CHECK(c.at_k == 25);
        CHECK(c.at_1 == 6.25);
        CHECK(c.accuracy == Approx(100 * (1 + 15. / 128) / 16));
        CHECK(law_chance(resolve(o), 99)->at_k == 100);
        CHECK(law_chance(resolve(o), 1, 16)->at_k == 50); // 8 keys in each of two places
        o.queries = "many";
        CHECK_FALSE(law_chance(resolve(o), 4));
    }
    SECTION("hotpotqa and data that were read have none") {
        TaskOptions o;
        for (const char* task : {"hotpotqa", "other"}) {
            o.task = task;
            CHECK_FALSE(law_chance(o, 4));
        }
    }
    SECTION("within the answer's segment, by enumeration") {
        const TaskOptions o = der(32, 9, 3, 0);
        double sum = 0;
        for (int q = 1; q <= 21; ++q) {
            std::map<int, int> segments;
            for (int a = q + 9; a <= 30; ++a) ++segments[a / 8];
            sum += 1.0 * static_cast<double>(segments.size()) / (22 - q); // one place in all is chosen in each of them
        }
        CHECK(law_chance_within(o, 8)->at_1 == Approx(100 * sum / 21));
        CHECK(law_chance_within(o, 8)->at_k == law_chance_within(o, 8)->at_1);
    }
}

TEST_CASE("chance: a rule for each q is fit where it holds on the other half, and only there", "[chance]") {
    TaskOptions other;
    other.task = "other";
    Rng rng(1, Stream::golden);
    const auto data = [&](int count, auto answer) {
        Dataset d{count, 64, 1, 16, std::vector<int32_t>(64 * count), {}, {}, {}};
        for (int i = 0; i < count; ++i) {
            d.query.push_back(rng.between(0, 64));
            d.answer.push_back(answer(d.query.back()));
            d.label.push_back(1);
        }
        return d;
    };
    const auto scattered = [](int q) { return 37 * q % 64; }; // neither a place nor a distance
    const Chance c = fit_chance(other, data(4000, scattered), data(500, scattered), 1);
    CHECK(c.given_q);
    CHECK(c.at_k == 100);
    CHECK(c.at_1 == 100);
    CHECK_FALSE(c.relative);

    const auto anywhere = [&](int) { return rng.between(0, 64); };
    const Dataset train = data(640, anywhere), test = data(2000, anywhere);
    const Chance none = fit_chance(other, train, test, 4);
    CHECK(none.at_k == Approx(6.25).margin(3)); // no rule has any information
    // Smoothed: a single answer seen at q does not outweigh the rule for all q.
    const auto mostly_9 = [&](int) { return rng.between(0, 4) ? 9 : rng.between(0, 64); };
    CHECK(fit_chance(other, data(640, mostly_9), data(2000, mostly_9), 1).at_k == Approx(75.4).margin(4));

    TaskOptions law; // on der the fitted rule is as close to the exact one as the training set allows
    law.task = "der";
    law = resolve(law);
    Workers workers(2);
    const double exact = law_chance(law, 4)->at_k;
    const double fitted = fit_chance(law, generate(law, 8000, 1, Stream::train_data, workers),
                                     generate(law, 8000, 0, Stream::test_data, workers), 4)
                              .at_k;
    CHECK(fitted < exact + 1);
    CHECK(fitted > exact - 1.5);
}

TEST_CASE("chance: the best blind rule, by hand", "[trainer]") {
    TaskOptions other;
    other.task = "other";
    SECTION("positions from the start; ties go to the lower") {
        const Dataset train = labelled({9, 9, 9, 9, 9, 9}, {3, 3, 3, 7, 5, 5}, {1, 2, 2, 3, 3, 3});
        const Dataset test = labelled({9, 9, 9, 9}, {3, 5, 7, 8}, {3, 2, 3, 1});
        CHECK(fit_chance(other, train, test, 1).at_k == 25);
        CHECK(fit_chance(other, train, test, 2).at_k == 50);
        CHECK(fit_chance(other, train, test, 3).at_k == 75);
        CHECK(fit_chance(other, train, test, 9).at_k == 75); // 8 never occurred in training
        CHECK(fit_chance(other, train, test, 3).at_1 == 25);
        CHECK(fit_chance(other, train, test, 3).accuracy == 50); // label 3
        CHECK_FALSE(fit_chance(other, train, test, 2).relative);
        const Dataset tie = labelled({9, 9, 9, 9}, {6, 2, 2, 6}, {5, 4, 4, 5});
        CHECK(fit_chance(other, tie, labelled({9, 9}, {2, 2}, {4, 4}), 1).at_k == 100);
        CHECK(fit_chance(other, tie, labelled({9, 9}, {6, 6}, {4, 4}), 1).at_k == 0);
        CHECK(fit_chance(other, tie, labelled({9, 9}, {6, 6}, {4, 4}), 1).accuracy == 100);
    }
    SECTION("positions from the query, where that hits more of the training set") {
        const Dataset train = labelled({1, 2, 3, 4, 5}, {3, 4, 5, 6, 5}, {1, 1, 1, 1, 1});
        const Dataset test = labelled({2, 7}, {4, 5}, {1, 2});
        const Chance c = fit_chance(other, train, test, 1);
        CHECK(c.relative); // +2 hits four of five, position 5 only two
        CHECK(c.at_k == 50);
        CHECK(c.accuracy == 50);
    }
    SECTION("der: one of the values in pairs") {
        TaskOptions der;
        der.task = "der", der.n_distractors = 3;
        const Dataset d = labelled({1}, {2}, {3});
        CHECK(fit_chance(der, d, d, 1).accuracy == 25);
    }
    SECTION("mqar: the label's share of the values") {
        TaskOptions mqar;
        mqar.pairs = 3;
        Dataset d = labelled({9, 9}, {0, 2}, {12, 13});
        d.tokens = {1, 12, 2, 12, 3, 14, 0, 0, 0, 1, /**/ 4, 12, 5, 13, 6, 15, 0, 0, 0, 5};
        CHECK(fit_chance(mqar, d, d, 1).accuracy == Approx(100 * (2. / 3 + 1. / 3) / 2));
        mqar.queries = "many"; // two queries of one sequence
        const Dataset many{1, 10, 2, 16, {1, 12, 2, 12, 3, 14, 1, 0, 3, 0}, {6, 8}, {0, 4}, {12, 14}};
        CHECK(fit_chance(mqar, many, many, 1).accuracy == Approx(100 * (2. / 3 + 1. / 3) / 2));
    }
}

TEST_CASE("chance: half way to 100% is a transition, and where chance is 100% nothing is", "[chance]") {
    CHECK(transition_at(0) == 50);
    CHECK(transition_at(25) == 62.5);
    CHECK_FALSE(100 >= transition_at(100));
}
