// The synthetic tasks: every example obeys its law, the laws' marginals have the right distributions, the data
// are the same for every number of workers and never change by accident.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tasks/distant_evidence.h"
#include "tasks/mqar.h"
#include "tests/catch.h"
#include "train/chance.h"

using namespace fci;

namespace {

Dataset make(const TaskOptions& o, int count, std::vector<Annotation>* notes = nullptr, int workers = 2,
             uint64_t seed = 7) {
    Workers w(workers);
    return generate(o, count, seed, Stream::train_data, w, notes);
}

TaskOptions der() {
    TaskOptions o;
    o.task = "der";
    return o;
}
TaskOptions mqar(const std::string& queries) {
    TaskOptions o;
    o.queries = queries;
    return o;
}

// Pearson's statistic of counts against probabilities stays below the point that a chi-squared variable of
// cells - 1 degrees of freedom passes as rarely as a normal one passes 5 sigma, 3e-7 [Wilson & Hilferty 1931].
// Cells are merged, in order, until each expects at least 8.
void expect_law(const std::vector<double>& counts, const std::vector<double>& probabilities) {
    double total = 0, mass = 0, x2 = 0;
    for (const double c : counts) total += c;
    for (const double p : probabilities) mass += p;
    REQUIRE(mass == Approx(1));
    std::vector<std::pair<double, double>> cells; // count, expected
    double c = 0, e = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
        if (probabilities[i] == 0) REQUIRE(counts[i] == 0);
        c += counts[i], e += total * probabilities[i];
        if (e < 8) continue;
        cells.push_back({c, e});
        c = e = 0;
    }
    REQUIRE(cells.size() > 1);
    cells.back().first += c, cells.back().second += e;
    for (const auto& [seen, expected] : cells) x2 += (seen - expected) * (seen - expected) / expected;
    const double dof = static_cast<double>(cells.size()) - 1, v = 2 / (9 * dof);
    INFO("chi squared " << x2 << " with " << dof << " degrees of freedom");
    CHECK(x2 < dof * std::pow(1 - v + 5 * std::sqrt(v), 3));
}
void expect_uniform(const std::vector<double>& counts) {
    expect_law(counts, std::vector<double>(counts.size(), 1.0 / static_cast<double>(counts.size())));
}

uint64_t fnv(const Dataset& d) { // FNV-1a over the little-endian bytes of the four arrays
    uint64_t hash = 14695981039346656037u;
    for (const auto* x : {&d.tokens, &d.query, &d.answer, &d.label})
        for (const int32_t v : *x)
            for (int b = 0; b < 4; ++b) hash = (hash ^ (static_cast<uint32_t>(v) >> 8 * b & 255)) * 1099511628211u;
    return hash;
}

// The rules of DER, read off one finished example.
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
        std::vector<int> rows; // by the definition: some a at 40 or more, clear of q-1 and q, pair inside [0,80)
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
    REQUIRE(rows("early").back() == 10); // floor(88/8) = 11 is not below itself
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
        // The best rule that never looks, of the law itself: the 4 likeliest places, or distances.
        const auto best = [](std::vector<double> p) {
            std::sort(p.rbegin(), p.rend());
            return 100 * (p[0] + p[1] + p[2] + p[3]);
        };
        const Chance c = fit_chance(o, d, fresh, 4);
        const double exact = std::max(best(law), best(by_distance));
        CHECK(std::abs(c.at_k - exact) < 5 * std::sqrt(exact * (100 - exact) / 40000) + 0.3); // 0.3: it was fit
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
    for (const int q : {2, 5, 20}) { // windows clipped at the start and not
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

TEST_CASE("mqar, one query: the paper's layout, and a uniform query", "[tasks]") {
    std::vector<Annotation> notes;
    const Dataset d = make(mqar("one"), 20000, &notes);
    REQUIRE((d.length == 256 && d.queries == 1 && d.vocab == 256));
    std::vector<double> asked(16), keys(127), values(128);
    for (int i = 0; i < d.count; ++i) {
        const int32_t* x = &d.tokens[size_t(i) * 256];
        std::set<int> distinct;
        for (int n = 0; n < 16; ++n) {
            REQUIRE((x[2 * n] >= 1 && x[2 * n] < 128 && x[2 * n + 1] >= 128 && x[2 * n + 1] < 256));
            REQUIRE(distinct.insert(x[2 * n]).second);
            REQUIRE(notes[i].pairs[n] == 2 * n);
        }
        keys[x[0] - 1] += 1, values[x[31] - 128] += 1;
        for (int p = 32; p < 255; ++p) REQUIRE(x[p] == 0);
        REQUIRE((d.query[i] == 255 && d.answer[i] % 2 == 0 && d.answer[i] < 32));
        REQUIRE((x[255] == x[d.answer[i]] && d.label[i] == x[d.answer[i] + 1]));
        asked[d.answer[i] / 2] += 1;
    }
    expect_uniform(asked), expect_uniform(keys), expect_uniform(values);
}

TEST_CASE("mqar, many queries: Zoology's layout and gaps", "[tasks]") {
    for (const bool random : {false, true}) {
        TaskOptions o = mqar("many");
        o.pairs = 8, o.length = 64, o.random_non_queries = random;
        const Dataset d = make(o, 40000);
        REQUIRE((d.queries == 8 && d.vocab == 8192));
        std::vector<double> first(24), second(24), law(24), after(24), rest(64);
        for (int i = 0; i < d.count; ++i) {
            const int32_t* x = &d.tokens[size_t(i) * 64];
            std::set<int> keys, values, rows;
            for (int j = 0; j < 8; ++j) {
                const int key = x[2 * j], value = x[2 * j + 1], row = d.query[8 * i + j];
                REQUIRE((key >= 1 && key < 4096 && value >= 4096 && value < 8192));
                REQUIRE((keys.insert(key).second && values.insert(value).second && rows.insert(row).second));
                REQUIRE((row >= 16 && row < 64 && row % 2 == 0 && x[row] == key));
                REQUIRE((d.answer[8 * i + j] == 2 * j && d.label[8 * i + j] == value));
            }
            for (int p = 16; p < 64; ++p)
                if (!rows.count(p)) {
                    REQUIRE((x[p] >= 0 && (random ? x[p] < 8192 : x[p] == 0)));
                    rest[x[p] / 128] += 1;
                }
            first[(d.query[8 * i] - 16) / 2] += 1, second[(d.query[8 * i + 1] - 16) / 2] += 1;
        }
        if (random) expect_uniform(rest);
        double sum = 0; // P(first = i) = w_i;  P(second = i) = sum over j != i of w_j w_i / (1 - w_j)
        for (int i = 0; i < 24; ++i) sum += law[i] = 0.01 * std::pow(i + 1, 0.01 - 1);
        for (double& w : law) w /= sum;
        for (int i = 0; i < 24; ++i)
            for (int j = 0; j < 24; ++j)
                if (i != j) after[i] += law[j] * law[i] / (1 - law[j]);
        expect_law(first, law), expect_law(second, after);
    }
}

TEST_CASE("mqar: slot weights and full draws", "[tasks]") {
    const std::vector<uint64_t> w = slot_weights(4096);
    for (int i = 1; i <= 4096; ++i)
        REQUIRE(static_cast<double>(w[i - 1]) == Approx(std::ldexp(std::pow(i, 0.01 - 1), 40)).epsilon(1e-8));
    for (const int slots : {1, 2, 3, 7, 8, 100}) { // draws that leave no slot: each comes once
        Rng rng(3, Stream::golden, slots);
        std::vector<int> all = draw_slots(rng, slot_weights(slots), slots);
        std::sort(all.begin(), all.end());
        for (int i = 0; i < slots; ++i) REQUIRE(all[i] == i);
    }
    TaskOptions o = mqar("many"); // every slot and every key taken
    o.pairs = 127, o.vocab = 256, o.length = 508;
    const Dataset d = make(o, 3);
    REQUIRE(std::set<int>(d.query.begin(), d.query.begin() + 127).size() == 127);
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
