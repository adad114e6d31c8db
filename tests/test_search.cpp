// The search: which readings survive, their scores, and the scores to expect by chance.
#include "study/order.h"
#include "study/search.h"
#include "tests/catch.h"
#include "tests/faults/program.h"
#include "train/run.h"

using namespace fci;

namespace {

const Study& study() {
    static const Study s = load_study(find_runs_folder());
    return s;
}

Scored::Cell cell(const std::string& row, double paper, std::optional<double> ours, bool chooses, bool unseen = false) {
    Scored::Cell c{row, row, PaperValue{paper, paper, true}, {}, {}, {}};
    (chooses ? c.early : c.ours) = ours;
    c.chance = 6, c.chooses = chooses, c.unseen = unseen;
    return c;
}

Scored survivor(int departures, std::vector<Scored::Cell> cells) {
    Scored s;
    s.of.state = Survival::survives, s.departures = departures, s.cells = std::move(cells);
    return s;
}

} // namespace

TEST_CASE("search: points off the paper, on the rows that choose and on those that judge", "[study][search]") {
    CHECK(off_by(*parse_paper("98.4"), "routing", 100) == 0); // within 2 points
    CHECK(off_by(*parse_paper("98.4"), "routing", 90) == Approx(6.4));
    CHECK(off_by(*parse_paper("1.2"), "routing", 99.8) == Approx(96.6));
    CHECK(off_by(*parse_paper("<=2.5"), "routing", 3) == Approx(0.5)); // a bound has no band
    CHECK(off_by(*parse_paper("9-29"), "routing", 5) == Approx(4));
    CHECK(off_by(*parse_paper("74.5"), "accuracy", 60) == Approx(9.5));

    const Scored s = survivor(1, {cell("a", 98, 90, true), cell("b", 2, 10, true), cell("c", 98, 86, false, true),
                                  cell("d", 98, 98, false), cell("e", 98, {}, false, true)});
    CHECK((score(s, 'c').cells == 2 && score(s, 'c').mean == Approx(6)));
    CHECK((score(s, 'j').cells == 2 && score(s, 'j').mean == Approx(5))); // e did not run
    CHECK((score(s, 'u').cells == 1 && score(s, 'u').mean == Approx(10)));
    CHECK((score(s, 'a').cells == 4 && score(s, 'a').mean == Approx(5.5)));
}

TEST_CASE("search: the best survives, is nearest, and of equal ones departs least", "[study][search]") {
    const auto with = [](int departures, double a, std::optional<double> b) {
        return survivor(departures, {cell("a", 98, a, true), cell("b", 2, b, true), cell("c", 98, 0, false)});
    };
    std::vector<Scored> all{with(3, 99, 3), with(2, 97, 1), with(0, 99, 50), with(1, 98, {})};
    CHECK(best(all) == &all[1]); // 3 and 2 departures at 0.0; one that lacks a row cannot win
    all[1].of.state = Survival::out;
    CHECK(best(all) == &all[0]);
    all[0].of.state = Survival::not_run;
    CHECK(best(all) == &all[2]);
    all[2].of.state = Survival::out;
    CHECK(best(all) == nullptr);
}

TEST_CASE("search: what the best of the readings would be by luck", "[study][search]") {
    // Two rows: the values are right or swapped, half of the time each.
    const std::vector<Scored> one{survivor(0, {cell("a", 98, 98, true), cell("b", 2, 2, false)})};
    const Shuffled luck = shuffle(one).value();
    CHECK((luck.readings == 1 && luck.real == 0 && luck.lowest.size() == 10000));
    const auto right = std::count(luck.lowest.begin(), luck.lowest.end(), 0.0);
    CHECK((right > 4800 && right < 5200)); // 4 standard deviations
    CHECK(luck.lowest.back() == Approx(94));
    CHECK(shuffle(one)->lowest == luck.lowest); // the seed is fixed
    // If the opposite reading is included, one of the two is always right.
    std::vector<Scored> two = one;
    two.push_back(survivor(0, {cell("a", 98, 2, true), cell("b", 2, 98, false)}));
    CHECK(shuffle(two)->lowest.back() == 0);
    // A reading with results for less than half of the rows does not count.
    CHECK_FALSE(shuffle({survivor(0, {cell("a", 98, 98, true), cell("b", 2, {}, false), cell("c", 2, {}, false)})}));
}

TEST_CASE("search: a reading survives with raw and content-only at chance, and a tie is marked", "[study][search]") {
    const Registered all = load_registered(study());
    const Scratch scratch;
    const auto put = [&](const char* row, const char* reading, double routing, int seed = 1, int stopped = 0) {
        Result r;
        r.options = plan({study().select({fmt::format("{}@{}", row, reading)})[0]}, study().scale("paper"))[0].options;
        r.options.train.seed = r.seed = seed;
        r.hash = run_hash(r.options), r.scale = "paper", r.metrics.at_k = routing, r.chance.at_k = 6.8;
        r.queries = 1000, r.stopped_after = stopped, r.curve = {{15, routing, 0, 0}};
        r.provenance = provenance_json(r.options, 0);
        append_result(scratch.path, r);
    };
    put("f2.raw", "marker-fixed-same-everywhere", 2.5), put("f2.content-only", "marker-fixed-same-everywhere", 1);
    put("f2.raw", "marker-fixed-other-everywhere", 2.5), put("f2.raw", "key-fixed-same-everywhere", 50);
    put("f2.content-only", "key-uniform-same-everywhere", 0); // both rows under in_mixer, one of everywhere
    put("f2.raw", "marker-early-same-everywhere", 1, 2), put("f2.content-only", "marker-early-same-everywhere", 1, 2);
    put("f2.transformer1", "marker-fixed-same-everywhere", 98, 1, 15);
    put("s46.flow2", "marker-fixed-same-everywhere", 1.5);
    std::vector<std::string> notes;
    const Results own(scratch.path, "paper", notes);
    ControlsOfRows controls;
    const auto found = stage1(all, study(), own, {}, controls);
    const auto of = [&](const std::string& name) {
        return *std::find_if(found.begin(), found.end(), [&](const Survival& s) { return s.reading.name == name; });
    };
    CHECK(of("marker-fixed-same-everywhere").state == Survival::survives); // chance 1.54
    CHECK_FALSE(of("marker-fixed-same-everywhere").tie);
    CHECK(of("marker-fixed-other-everywhere").state == Survival::not_run);
    CHECK(of("key-fixed-same-everywhere").state == Survival::out); // only raw decides
    CHECK(of("key-uniform-same-everywhere").state == Survival::not_run);
    CHECK(of("key-uniform-same-in_mixer").state == Survival::survives);
    CHECK(of("key-uniform-same-in_mixer").tie);
    CHECK(of("marker-early-same-everywhere").state == Survival::not_run); // seed 2 only
    CHECK(departures(of("key-uniform-same-everywhere").reading) == 0);
    CHECK(departures(of("marker-fixed-other-in_mixer").reading) == 4);

    const std::vector<Scored> readings = scored(all, study(), own, {}, controls);
    REQUIRE(best(readings));
    CHECK(best(readings)->of.reading.name == "marker-fixed-same-everywhere"); // from a stopped run and a whole one
    CHECK((score(*best(readings), 'c').cells == 2 && score(*best(readings), 'c').mean == 0));
    CHECK(score(*best(readings), 'j').cells == 0);
    CHECK(best(readings)->cells.size() == 11); // 16 rows, 5 of them follow by arithmetic

    // The runs that are requested under the survivors.
    const Order order = read_order("scale = \"paper\"\n[[entry]]\nwhat = \"x\"\nrows = [\"f2.raw\"]\nseeds = [1]\n"
                                   "[[entry]]\nwhat = \"y\"\nrows = [\"s46.flow2\"]\nreading = [\"survivors\"]\n"
                                   "seeds = [1]\nstop_after = 15\n",
                                   "o.toml");
    CHECK(parts_of(order).size() == 2);
    CHECK(runs_of(order, study()).at(1).runs.empty());
    const std::vector<PlannedEntry> entries = runs_of(order, study(), survivors(found));
    CHECK(of("marker-fixed-same-in_mixer").state == Survival::survives); // under it, raw is content-only
    REQUIRE(entries.at(1).runs.size() == 3);
    CHECK(entries[1].runs[0].stop_after == 15);
}

TEST_CASE("search: the table of it, as people ask for it", "[study][search][cli][recorded]") {
    expect_ran(run({"table", "--score", "--scale", "paper"}), 0, "numbers that the paper gives for these rows");
    expect_ran(run({"table", "--registered", "--scale", "paper"}), 0, "stage 1: of 24 readings");
    expect_refused(run({"table", "--score"}), 2, "--score: ");
    expect_refused(run({"table", "f2.raw", "--score", "--scale", "paper"}), 2, "leave the rows out");
    expect_ran(run({"table", "--score", "--registered"}), 2, "excludes");
}
