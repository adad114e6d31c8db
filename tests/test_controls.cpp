// Controls: the oracle reaches the ceiling of every law and the blind rule reaches its chance, but neither does on
// other data.
#include <cmath>
#include <functional>

#include "study/controls.h"
#include "tests/catch.h"

using namespace fci;

namespace {

TaskOptions der(const std::function<void(TaskOptions&)>& change = {}) {
    TaskOptions o;
    o.task = "der", o.length = 96, o.min_distance = 30, o.near_window = 12;
    if (change) change(o);
    return resolve(o);
}

Dataset make(const TaskOptions& o, int count = 5000, Stream stream = Stream::test_data) {
    Workers workers(2);
    return generate(o, count, 0, stream, workers);
}

const Choice positions{4, 1, false}, first{1, 1, false}, segments{4, 6, false}, arms{1, 6, true};

} // namespace

TEST_CASE("controls: both hold on every law", "[controls]") {
    std::vector<TaskOptions> laws{der(), der([](TaskOptions& o) { o.distractor_key = "other"; })};
    for (const char* side : {"either", "before"}) laws.push_back(der([&](TaskOptions& o) { o.answer_side = side; }));
    for (const char* variant : {"near", "semantic"})
        laws.push_back(der([&](TaskOptions& o) { o.variant = variant, o.answer_side = "either"; }));
    for (const char* at : {"uniform", "early", "fixed"})
        laws.push_back(der([&](TaskOptions& o) { o.query_row = "marker", o.query_at = at; }));
    laws.push_back(der([](TaskOptions& o) { o.query_at = "fixed"; }));
    TaskOptions mqar;
    mqar.task = "mqar", mqar.length = 64, mqar.pairs = 8;
    laws.push_back(resolve(mqar));
    mqar.query_row = "marker";
    laws.push_back(resolve(mqar));
    for (const TaskOptions& o : laws) {
        const Dataset d = make(o);
        for (const Choice& c : {positions, first, Choice{4, o.length / 16, false}, Choice{1, o.length / 16, true}}) {
            INFO(o.task << " " << o.variant << " " << o.answer_side << " " << o.query_row << " " << o.query_at << " k "
                        << c.k << " places of " << c.place_length);
            const Controls got = run_controls(o, c, d);
            REQUIRE(got.oracle);
            CHECK(got.oracle->got == 100);
            CHECK(got.oracle->expected == 100);
            REQUIRE(got.blind);
            CHECK(got.blind->expected == got.chance->at_k);
            CHECK(got.hold());
        }
    }
}

TEST_CASE("controls: where filler repeats the key, the oracle's ceiling is lower and exact", "[controls]") {
    for (const char* variant : {"far", "semantic", "near"}) {
        const TaskOptions o = der([&](TaskOptions& t) {
            t.variant = variant, t.filler_repeats_key = true, t.vocab = 21, t.answer_side = "either";
        });
        const Dataset d = make(o, 30000);
        for (const Choice& c : {first, Choice{2, 1, false}, positions}) {
            const Controls got = run_controls(o, c, d);
            INFO(variant << " k " << c.k << ": " << got.oracle->got << " of " << got.oracle->expected);
            CHECK(got.oracle->expected < 100);
            CHECK(got.oracle->got == Approx(got.oracle->expected).margin(1));
            CHECK(got.hold());
        }
        CHECK_FALSE(run_controls(o, segments, d).oracle); // no closed form
    }
}

TEST_CASE("controls: on other data than the law's they fail", "[controls]") {
    const TaskOptions o = der();
    const auto holds = [&](const TaskOptions& law, const Dataset& d) {
        const Controls c = run_controls(law, positions, d);
        return std::pair(c.oracle->holds, c.blind->holds);
    };
    CHECK(holds(o, make(o)) == std::pair(true, true));
    Dataset one = make(o); // one of 5,000 answers is off by one position
    ++one.answer[7];
    CHECK(holds(o, one) == std::pair(false, true));
    Dataset tokens = make(o); // one sequence loses the key's second copy
    tokens.tokens[tokens.answer[0]] = 0;
    CHECK_FALSE(holds(o, tokens).first);
    // The answers are at allowed places but more of them are near the end: only the blind rule notices.
    Dataset late = make(o, 20000);
    Dataset chosen{0, late.length, 1, late.vocab, {}, {}, {}, {}};
    for (int i = 0; i < late.count; ++i)
        if (late.answer[i] > late.query[i] + 32 || i % 2 == 0) {
            chosen.tokens.insert(chosen.tokens.end(), &late.tokens[size_t(i) * late.length],
                                 &late.tokens[size_t(i) * late.length] + late.length);
            chosen.query.push_back(late.query[i]), chosen.answer.push_back(late.answer[i]);
            ++chosen.count;
        }
    CHECK(holds(o, chosen) == std::pair(true, false));
    // Data of one law labelled as another.
    CHECK_FALSE(holds(o, make(der([](TaskOptions& t) { t.answer_side = "before"; }))).first);
    CHECK_FALSE(holds(o, make(der([](TaskOptions& t) { t.query_row = "marker"; }))).first);
    CHECK_FALSE(holds(o, make(der([](TaskOptions& t) { t.variant = "semantic"; }))).first);
    CHECK_FALSE(holds(der([](TaskOptions& t) { t.min_distance = 40; }), make(o)).first);
}

TEST_CASE("controls: which rows have them, and on what", "[controls]") {
    CHECK_FALSE(run_controls(der([](TaskOptions& o) { o.min_distance = 13; }), positions, make(der(), 10)).oracle);
    CHECK(run_controls(der([](TaskOptions& o) { o.min_distance = 14; }), positions, make(der(), 10)).oracle);
    TaskOptions many;
    many.queries = "many";
    const Controls none = run_controls(resolve(many), positions, make(resolve(many), 2));
    CHECK((!none.oracle && !none.blind && !none.chance && none.hold()));

    Options o;
    o.task = der();
    o.train.test_sequences = 50, o.train.sequences = 64;
    const auto choice = [&](const char* router) {
        o.model.router = router;
        const Choice c = choice_of(o);
        return fmt::format("{} {} {}", c.k, c.place_length, c.within);
    };
    CHECK(choice("investigator") == "4 1 false");
    CHECK(choice("memory-bank") == "4 1 false");
    CHECK(choice("segment-max") == "4 6 false");
    CHECK(choice("bloom") == "4 6 false");
    CHECK(choice("linucb") == "1 6 true");
    ControlsOfRows rows;
    CHECK(rows.of(o, false).chance->at_k == law_chance_within(o.task, 6)->at_k);
    o.model.router = "segment-mean";
    CHECK(rows.of(o, true).chance->at_k == law_chance(o.task, 4, 6)->at_k);
    CHECK(rows.of(o, true).oracle->holds);
    o.train.data = "folder";
    CHECK_FALSE(rows.of(o, true).oracle); // the law of data that were read is not known

    o.train.data = "";
    CHECK(paper_chance(o, "routing") == 25);
    o.model.router = "investigator";
    CHECK(paper_chance(o, "routing") == 1.6);
    CHECK(paper_chance(o, "accuracy") == 1.6);
    CHECK_FALSE(paper_chance(o, "rank"));
    o.model.router = "oful";
    CHECK(paper_chance(o, "routing") == 3.125);
    o.task = resolve(TaskOptions{}), o.model.router = "investigator";
    CHECK(paper_chance(o, "routing") == 25);
    CHECK(paper_chance(o, "accuracy") == 6.25);
    o.task.task = "hotpotqa";
    CHECK_FALSE(paper_chance(o, "routing"));
}
