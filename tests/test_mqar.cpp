// MQAR: the layouts of the paper and of Zoology, and the laws of gaps, queries and draws.
#include <algorithm>
#include <set>

#include "tasks/mqar.h"
#include "tests/laws.h"

using namespace fci;
using namespace fci::test;

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
    for (const int slots : {1, 2, 3, 7, 8, 100}) { // all slots are drawn: each occurs once
        Rng rng(3, Stream::golden, slots);
        std::vector<int> all = draw_slots(rng, slot_weights(slots), slots);
        std::sort(all.begin(), all.end());
        for (int i = 0; i < slots; ++i) REQUIRE(all[i] == i);
    }
    TaskOptions o = mqar("many"); // every slot and every key is used
    o.pairs = 127, o.vocab = 256, o.length = 508;
    const Dataset d = make(o, 3);
    REQUIRE(std::set<int>(d.query.begin(), d.query.begin() + 127).size() == 127);
}
