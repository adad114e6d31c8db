// DER: every example obeys its law, and the law's marginals have the right distributions (MQAR: test_mqar.cpp). The
// data of both are the same for every number of workers and never change by accident.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tasks/distant_evidence.h"
#include "tests/laws.h"
#include "train/chance.h"

using namespace fci;
using namespace fci::test;

namespace {

uint64_t fnv(const Dataset& d) { // FNV-1a over the little-endian bytes of the four arrays
    uint64_t hash = 14695981039346656037u;
    for (const auto* x : {&d.tokens, &d.query, &d.answer, &d.label})
        for (const int32_t v : *x)
            for (int b = 0; b < 4; ++b) hash = (hash ^ (static_cast<uint32_t>(v) >> 8 * b & 255)) * 1099511628211u;
    return hash;
}

// The rules of DER, checked on one finished example.
void expect_der(const TaskOptions& o, const Dataset& d, int i, const Annotation& note) {
    const int L = o.length, row = d.query[i], a = d.answer[i], v = d.label[i], V = o.vocab;
    const int q = o.query_row == "marker" ? row + 1 : row;
    const int32_t* x = &d.tokens[size_t(i) * L];
    const int k = x[q];
    const bool near = o.variant == "near", semantic = o.variant == "semantic";
    const auto in_window = [&](int p) { return p >= q - o.near_window && p + 1 <= q + o.near_window; };
    const auto far = [&](int p) { return std::abs(p - q) >= o.min_distance; };

    REQUIRE((q >= 1 && q < L && a >= 0 && a + 1 < L));
    REQUIRE(note.marker == q - 1);
    REQUIRE(x[q - 1] == 0);
    REQUIRE(x[a + 1] == v);
    REQUIRE((near ? in_window(a) : far(a)));
    if (o.query_at == "early") REQUIRE(q < L / 8);
    if (o.query_at == "fixed") REQUIRE(q >= L / 10);
    if (o.answer_side == "after") REQUIRE(a > q);
    if (o.answer_side == "before") REQUIRE(a < q);
    if (semantic)
        REQUIRE((x[a] != k && concept_of(x[a]) == concept_of(k)));
    else
        REQUIRE(x[a] == k);

    std::set<int> taken{q - 1, q, a, a + 1};
    REQUIRE(taken.size() == 4);
    REQUIRE(static_cast<int>(note.distractors.size()) == o.n_distractors);
    for (const int p : note.distractors) {
        REQUIRE((p >= 0 && p + 1 < L && (near ? far(p) : in_window(p))));
        REQUIRE(taken.insert(p).second);
        REQUIRE(taken.insert(p + 1).second);
        REQUIRE(x[p + 1] != v);
        if (o.distractor_key == "same")
            REQUIRE(x[p] == k);
        else
            REQUIRE((semantic ? concept_of(x[p]) != concept_of(k) : x[p] != k));
    }
    for (int p = 0; p < L; ++p) {
        if (p != q - 1) REQUIRE((x[p] >= 1 && x[p] < V));
        if (!taken.count(p) && !o.filler_repeats_key)
            REQUIRE((semantic ? concept_of(x[p]) != concept_of(k) : x[p] != k));
    }
}

} // namespace

TEST_CASE("der: every option combination obeys its law", "[tasks]") {
    for (const char* variant : {"far", "near", "semantic"})
        for (const char* key : {"same", "other"})
            for (const char* side : {"after", "either", "before"})
                for (const auto& [query_row, query_at] :
                     {std::pair{"key", "uniform"}, {"marker", "uniform"}, {"key", "early"}, {"marker", "fixed"}})
                    for (const int size : {0, 1, 2}) {
                        TaskOptions o = der();
                        o.variant = variant, o.distractor_key = key, o.answer_side = side, o.query_row = query_row;
                        o.query_at = query_at;
                        if (o.answer_side == "before" && o.query_at != "uniform") continue; // refused
                        o.filler_repeats_key = size == 1;
                        if (size == 1) o.length = 60, o.min_distance = 20, o.near_window = 9, o.n_distractors = 3;
                        if (size == 2) // tight: the answer competes with the distractors for room
                            o.length = o.query_at == "early" ? 48 : 24, o.min_distance = 3, o.near_window = 6,
                            o.n_distractors = 4, o.vocab = 11;
                        o = resolve(o);
                        CAPTURE(variant, key, side, query_row, query_at, size);
                        std::vector<Annotation> notes;
                        const Dataset d = make(o, size ? 300 : 40, &notes);
                        for (int i = 0; i < d.count; ++i) expect_der(o, d, i, notes[i]);
                    }
}

TEST_CASE("der: q is uniform over the feasible rows, a uniform given q", "[tasks]") {
    TaskOptions o = der();
    o.length = 80, o.min_distance = 40, o.near_window = 12;
    for (const std::string side : {"after", "either", "before"}) {
        o.answer_side = side;
        CAPTURE(side);
        const Dataset d = make(o, 40000);
        std::vector<int> rows; // by the definition: some a 40 or more away, clear of q-1 and q, pair inside [0,80)
        std::map<int, std::vector<double>> answers;
        const auto allowed = [&](int q, int a) {
            return std::abs(a - q) >= 40 && a + 1 < 80 && (side == "either" || (side == "after") == (a > q));
        };
        for (int q = 1; q < 80; ++q)
            for (int a = 0; a < 79; ++a)
                if (allowed(q, a) && (rows.empty() || rows.back() != q)) rows.push_back(q);
        REQUIRE(DistantEvidence(resolve(o)).rows() == rows);
        std::vector<double> by_row(rows.size());
        for (int i = 0; i < d.count; ++i) {
            by_row[std::find(rows.begin(), rows.end(), d.query[i]) - rows.begin()] += 1;
            auto& hits = answers[d.query[i]];
            hits.resize(80);
            hits[d.answer[i]] += 1;
        }
        expect_uniform(by_row);
        for (const auto& [q, hits] : answers) {
            std::vector<double> inside;
            for (int a = 0; a < 80; ++a)
                if (allowed(q, a))
                    inside.push_back(hits[a]);
                else
                    REQUIRE(hits[a] == 0);
            if (inside.size() > 1) expect_uniform(inside);
        }
    }
}

TEST_CASE("der: an early or a fixed row is one of the feasible ones, and the chance is its law's", "[tasks][chance]") {
    TaskOptions o = der();
    o.length = 83, o.min_distance = 40, o.near_window = 3, o.n_distractors = 2;
    // Distractors fit into [q-3, q+3] beside q-1 and q: two after it from q = 1 on? One pair only; so one before, q
    // >= 3.
    const auto rows = [&](const char* at, const char* side = "after") {
        o.query_at = at, o.answer_side = side;
        return DistantEvidence(resolve(o)).rows();
    };
    std::vector<int> all(39); // q + 40 and its neighbour inside [0,83)
    for (int i = 0; i < 39; ++i) all[i] = i + 3;
    REQUIRE(rows("uniform") == all);
    REQUIRE(rows("early") == std::vector{3, 4, 5, 6, 7, 8, 9}); // below floor(83/8) = 10
    REQUIRE(rows("fixed") == std::vector{8});                   // floor(83/10)
    o.length = 88;
    REQUIRE(rows("early").back() == 10); // 11 is not below floor(88/8) = 11
    o.length = 87;
    REQUIRE(rows("early").back() == 9);
    o.length = 89;
    REQUIRE(rows("fixed") == std::vector{8});
    o.length = 90;
    REQUIRE(rows("fixed", "either") == std::vector{9});
    o = der(), o.query_at = "fixed";
    REQUIRE(DistantEvidence(resolve(o)).rows() == std::vector{51});
    o.query_at = "early";
    REQUIRE(DistantEvidence(resolve(o)).rows().back() == 63);
    o.length = 20, o.min_distance = 3, o.near_window = 5, o.n_distractors = 4, o.query_at = "fixed";
    const std::vector<int> first = DistantEvidence(resolve(o)).rows(); // rows 2 and on have no room for four pairs
    o.query_at = "uniform";
    const std::vector<int> feasible = DistantEvidence(resolve(o)).rows();
    REQUIRE(feasible[0] > 2);
    REQUIRE(first == std::vector{feasible[0]});

    o = der(), o.length = 83, o.min_distance = 40, o.near_window = 12;
    for (const char* at : {"uniform", "early", "fixed"}) {
        CAPTURE(at);
        const std::vector<int> allowed = rows(at);
        const Dataset d = make(o, 40000), fresh = make(o, 40000, nullptr, 2, 8);
        std::vector<double> by_row(allowed.size()), by_answer(83), law(83), by_distance(83);
        for (int i = 0; i < d.count; ++i) {
            const auto q = std::find(allowed.begin(), allowed.end(), d.query[i]);
            REQUIRE(q != allowed.end());
            by_row[q - allowed.begin()] += 1, by_answer[d.answer[i]] += 1;
        }
        for (const int q : allowed) // a is uniform over the 83 - 1 - (q + 40) places after it
            for (int a = q + 40; a < 82; ++a) {
                const double p = 1.0 / static_cast<double>(allowed.size()) / (42 - q);
                law[a] += p, by_distance[a - q] += p;
            }
        if (allowed.size() > 1) expect_uniform(by_row);
        expect_law(by_answer, law);
        // The best rule that never looks, computed from the law itself: the 4 likeliest places, or distances.
        const auto best = [](std::vector<double> p) {
            std::sort(p.rbegin(), p.rend());
            return 100 * (p[0] + p[1] + p[2] + p[3]);
        };
        const Chance c = fit_chance(o, d, fresh, 4);
        const double exact = std::max(best(law), best(by_distance));
        CHECK(std::abs(c.at_k - exact) < 5 * std::sqrt(exact * (100 - exact) / 40000) + 0.3); // 0.3: rule is fitted
        if (allowed.size() == 1) CHECK(exact == Approx(400.0 / 34));
    }
}

TEST_CASE("tasks: the row that asks moves no token", "[tasks]") {
    TaskOptions fixed = der();
    fixed.query_at = "fixed";
    for (TaskOptions o : {der(), fixed, mqar("one")}) {
        const Dataset key = make(o, 50);
        o.query_row = "marker";
        std::vector<Annotation> notes;
        const Dataset marker = make(o, 50, &notes);
        REQUIRE((marker.tokens == key.tokens && marker.answer == key.answer && marker.label == key.label));
        for (int i = 0; i < 50; ++i) {
            REQUIRE(marker.query[i] == key.query[i] - 1);
            REQUIRE(notes[i].key == key.query[i]);
            REQUIRE(marker.tokens[size_t(i) * marker.length + marker.query[i]] == 0);
        }
    }
    TaskOptions o = mqar("one"); // the shortest: one filler
    o.query_row = "marker", o.length = 34;
    const Dataset d = make(o, 20);
    for (int i = 0; i < 20; ++i) REQUIRE((d.query[i] == 32 && d.tokens[34 * i + 32] == 0 && d.tokens[34 * i + 33] > 0));
}

TEST_CASE("der: the key stands a seventh time where a value equals it", "[tasks]") {
    const Dataset d = make(der(), 20000);
    double more = 0;
    for (int i = 0; i < d.count; ++i) {
        const int32_t* x = &d.tokens[size_t(i) * d.length];
        const auto copies = std::count(x, x + d.length, x[d.query[i]]);
        REQUIRE(copies >= 6);
        more += copies > 6;
    }
    const double p = 1 / 255.0 + 254 / 255.0 * (1 - std::pow(253 / 254.0, 4));
    CHECK(p == Approx(0.0195).margin(5e-5));
    CHECK(std::abs(more - 20000 * p) < 5 * std::sqrt(20000 * p * (1 - p)));
}

TEST_CASE("der: the set of distractor positions is uniform over all that fit", "[tasks]") {
    TaskOptions o = der();
    o.length = 60, o.min_distance = 30, o.near_window = 7, o.n_distractors = 3;
    std::vector<Annotation> notes;
    const Dataset d = make(o, 200000, &notes);
    for (const int q : {2, 5, 20}) { // windows clipped at the start, and one not clipped
        std::map<std::vector<int>, double> sets;
        const auto fits = [&](int p) { return p >= 0 && p >= q - 7 && p + 1 <= q + 7 && (p < q - 2 || p > q); };
        for (int a = 0; a < 60; ++a)
            for (int b = a + 2; b < 60; ++b)
                for (int c = b + 2; c < 60; ++c)
                    if (fits(a) && fits(b) && fits(c)) sets[{a, b, c}] = 0;
        for (int i = 0; i < d.count; ++i)
            if (d.query[i] == q) {
                REQUIRE(sets.count(notes[i].distractors));
                sets[notes[i].distractors] += 1;
            }
        std::vector<double> counts;
        for (const auto& entry : sets) counts.push_back(entry.second);
        expect_uniform(counts);
    }
}

TEST_CASE("der: keys, values, filler and semantic keys are uniform", "[tasks]") {
    TaskOptions o = der();
    o.variant = "semantic", o.length = 40, o.min_distance = 8, o.near_window = 16, o.vocab = 31;
    const Dataset d = make(o, 20000);
    std::vector<double> keys(30), values(30), twins(4), filler(25);
    for (int i = 0; i < d.count; ++i) {
        const int32_t* x = &d.tokens[size_t(i) * d.length];
        const int k = x[d.query[i]], a = x[d.answer[i]];
        keys[k - 1] += 1, values[d.label[i] - 1] += 1;
        twins[(a - k + 5) % 5 - 1] += 1;
        int t = x[39]; // filler, unless a pair reaches it
        if (d.answer[i] < 38 && d.query[i] < 20) filler[t < concept_of(k) * 5 + 1 ? t - 1 : t - 6] += 1;
    }
    expect_uniform(keys), expect_uniform(values), expect_uniform(twins), expect_uniform(filler);
}

TEST_CASE("tasks: the same data for every number of workers, and for a part", "[tasks][threads]") {
    for (const TaskOptions& o : {der(), mqar("one"), mqar("many")}) {
        const uint64_t hash = fnv(make(o, 100, nullptr, 1));
        REQUIRE(fnv(make(o, 100, nullptr, 4)) == hash);
        REQUIRE(fnv(make(o, 100, nullptr, 1, 8)) != hash);
        const Dataset all = make(o, 100), part = make(o, 10);
        REQUIRE(std::equal(part.tokens.begin(), part.tokens.end(), all.tokens.begin()));
        REQUIRE(resolve(resolve(o)).vocab == all.vocab);
    }
}

TEST_CASE("tasks: golden data", "[tasks]") { // a change here changes every recorded result
    TaskOptions near = der(), semantic = der(), random = mqar("many");
    near.variant = "near", semantic.variant = "semantic", random.random_non_queries = true;
    CHECK(fnv(make(der(), 64)) == 0x02b0913e95f25f73u);
    CHECK(fnv(make(near, 64)) == 0x9ceb302cb47278c4u);
    CHECK(fnv(make(semantic, 64)) == 0x46e6b8eef10bbff0u);
    CHECK(fnv(make(mqar("one"), 64)) == 0x36c92812747c7c38u);
    CHECK(fnv(make(mqar("many"), 64)) == 0x8a2d24952987aef5u);
    CHECK(fnv(make(random, 64)) == 0x15a2b00ad071e5b1u);
    TaskOptions early = der(), fixed = der(), filler = mqar("one");
    early.query_at = "early", fixed.query_at = "fixed", filler.query_row = "marker";
    CHECK(fnv(make(early, 64)) == 0xc8c9e217a3d62f8cu);
    CHECK(fnv(make(fixed, 64)) == 0xe0df87e8a5b2799cu);
    CHECK(fnv(make(filler, 64)) == 0xf3eb89f80871b238u);
}
