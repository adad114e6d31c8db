// The final test: its additional counts, its sequences, and that it changes nothing in a run.
#include "core/files.h"
#include "study/execute.h"
#include "study/index_run.h"
#include "tests/catch.h"
#include "tests/scratch.h"

using namespace fci;

namespace {

Options tiny(const std::string& representation, const std::string& router = "investigator") {
    Options o;
    o.task.task = "der", o.task.length = 48, o.task.min_distance = 20, o.task.near_window = 8, o.task.vocab = 32;
    o.model.representation = representation, o.model.router = router, o.model.d_model = 16, o.model.heads = 2;
    o.train.sequences = 64, o.train.test_sequences = 20, o.train.batch = 8, o.train.epochs = 1;
    o.run.threads = 2, o.run.device = "cpu";
    resolve(o);
    return o;
}

} // namespace

TEST_CASE("final test: strict hits, ties across the cut and neighbours, by hand", "[final]") {
    // Two of five are chosen; arguments: scores, chosen, the answer's place
    const auto look = [](std::vector<float> scores, std::vector<int32_t> chosen, std::vector<int32_t> correct) {
        std::vector<float> logits{1, 0};
        const auto places = static_cast<int32_t>(correct.size());
        std::vector<int32_t> bounds{0, places};
        Model::Output out;
        out.scores = {scores.data(), nullptr, {1, 1, 5}}, out.chosen = {chosen.data(), {1, 1, 4}};
        out.logits = {logits.data(), nullptr, {1, 2}};
        Batch b;
        b.query.shape = {1, 1}, b.place = {correct.data(), {places}};
        if (places > 1) b.bounds = {bounds.data(), {2}};
        const Counts c = count(out, b, 2, true), plain = count(out, b, 2);
        CHECK(plain.compared + plain.neighbours + plain.strict + plain.tied == 0);
        CHECK(plain.at_k == c.at_k);
        CHECK((c.queries == 1 && c.compared == 1));
        return fmt::format("{}{}{} {}", c.at_k, c.strict, c.tied, c.neighbours);
    };
    CHECK(look({5, 4, 3, 2, 1}, {0, 1, 1, 2}, {0}) == "110 1"); // strictly among the chosen
    CHECK(look({5, 4, 3, 2, 1}, {0, 1, 1, 2}, {1}) == "110 1"); // as the last one
    CHECK(look({5, 4, 3, 2, 1}, {0, 1, 1, 2}, {2}) == "000 1"); // only its neighbour
    CHECK(look({5, 4, 3, 2, 1}, {0, 1, 1, 2}, {3}) == "000 0");
    CHECK(look({5, 4, 4, 2, 1}, {0, 1, 1, 2}, {1}) == "101 1");    // tied, and chosen by its index
    CHECK(look({5, 4, 4, 2, 1}, {0, 1, 1, 2}, {2}) == "001 1");    // tied, and left out by its index
    CHECK(look({5, 4, 4, 2, 1}, {0, 1, 1, 2}, {0}) == "110 1");    // above the tie
    CHECK(look({5, 4, 4, 2, 1}, {0, 1, 1, 2}, {3}) == "000 0");    // below it
    CHECK(look({4, 4, 3, 2, 1}, {0, 1, 1, 2}, {1}) == "110 1");    // a tie within the chosen decides nothing
    CHECK(look({5, 4, 3, 3, 1}, {0, 1, 1, 2}, {2}) == "000 1");    // nor one below the cut
    CHECK(look({1, 1, 1, 1, 1}, {0, 1, 1, 2}, {4}) == "001 0");    // as from a mean: all equal
    CHECK(look({5, 4, 4, 2, 1}, {0, 1, 1, 2}, {0, 2}) == "110 1"); // the best of several correct ones counts
    CHECK(look({5, 4, 4, 2, 1}, {0, 1, 1, 2}, {2, 3}) == "001 1");
}

TEST_CASE("final test: ten times the test set, of a stream of its own", "[final]") {
    Workers workers(2);
    Options o = tiny("raw");
    const Dataset d = final_test_set(o, workers).value();
    CHECK(d.count == 200);
    const TrainerData data = make_data(o);
    for (int i = 0; i < 20; ++i) // its first sequences differ from those of the test and training sets
        for (const Dataset* other : {&data.test, &data.train})
            CHECK_FALSE(
                std::equal(&d.tokens[size_t(i) * 48], &d.tokens[size_t(i) * 48] + 48, &other->tokens[size_t(i) * 48]));
    o.train.seed = 2;
    CHECK(final_test_set(o, workers)->tokens == d.tokens); // the same for all seeds
    CHECK(final_test_set(Options(), workers)->count == 10000);
    o.train.data = "folder";
    CHECK_FALSE(final_test_set(o, workers));
    o = Options();
    o.task.task = "hotpotqa";
    CHECK_FALSE(final_test_set(o, workers));
}

TEST_CASE("final test: it counts as an evaluation does, and leaves the model as it is", "[final]") {
    for (const char* router : {"investigator", "rank1", "segment-mean", "memory-bank", "closed-loop", "none"}) {
        INFO(router);
        const Options o = tiny("raw", router);
        Trainer trainer(make_data(o));
        while (trainer.steps_done() < trainer.steps_total()) trainer.step();
        const std::vector<float> before = trainer.parameters();
        const Counts of_test = trainer.evaluate(), closely = trainer.final_test().value();
        CHECK(trainer.parameters() == before);
        CHECK(trainer.evaluate().at_k == of_test.at_k); // the test set is unchanged
        CHECK(closely.queries == 200);
        CHECK(closely.neighbours >= closely.at_k);
        CHECK(closely.compared == (std::string(router) == "none" || std::string(router) == "rank1" ? 0 : 200));
        if (closely.compared) {
            CHECK(closely.strict <= closely.at_k);
            CHECK(closely.at_k <= closely.strict + closely.tied);
        }
        trainer.set_test_set(*final_test_set(o, trainer.workers()), o.task, "final");
        const Counts same = trainer.evaluate();
        CHECK((same.at_k == closely.at_k && same.at_1 == closely.at_1 && same.correct == closely.correct));
    }
}

TEST_CASE("final test: a mean's score is made by ties alone, one with positions is not", "[final]") {
    const auto of = [](const std::string& representation) {
        Trainer trainer(make_data(tiny(representation)));
        trainer.step();
        return trainer.final_test().value();
    };
    const Counts mean = of("global-mean"), raw = of("raw");
    CHECK(mean.tied == 200); // every position has the same score
    CHECK(mean.strict == 0);
    CHECK(mean.at_k == 0); // the lowest positions are chosen, and answers come after the query
    CHECK(raw.tied == 0);
    const Counts content = of("content-only"); // the answer's token is the query's, and four more positions have it
    CHECK(content.strict == 0);
}

TEST_CASE("final test: a run's result has it, at the run's end, and resumed runs too", "[final]") {
    const Scratch scratch;
    Progress progress(stdout, true);
    const PlannedRun run{run_hash(tiny("raw")), "raw", tiny("raw")};
    RunOptions how;
    how.threads = 1, how.device = "cpu";
    const auto lines = [&](const std::string& type) {
        const std::string log = read_file(scratch / "run/log.jsonl");
        int n = 0;
        for (size_t at = 0; (at = log.find("\"type\":\"" + type + "\"", at)) != std::string::npos; ++at) ++n;
        return n;
    };
    std::filesystem::create_directory(scratch / "run");
    const Result r = execute(run, "smoke", scratch / "run", how, progress).value();
    REQUIRE(r.final);
    CHECK(r.final->queries == 200);
    CHECK((r.final->metrics.at_k && r.final->metrics.accuracy && r.final->neighbours && r.final->ties));
    CHECK(r.queries == 20); // the epochs' results are unchanged
    CHECK(lines("final") == 1);
    CHECK(lines("epoch") == 1);
    const Result again = execute(run, "smoke", scratch / "run", how, progress).value(); // the run is already complete
    CHECK(again.final->metrics.at_k == r.final->metrics.at_k);
    CHECK(lines("final") == 1);

    for (const char* router : {"bloom", "linucb", "random", "blind", "segment-mean"}) {
        INFO(router);
        const Options o = tiny("raw", router);
        std::filesystem::create_directory(scratch / router);
        const Result x = execute({run_hash(o), router, o}, "smoke", scratch / router, how, progress).value();
        REQUIRE(x.final);
        CHECK(x.final->queries == 200);
        CHECK(x.final->metrics.at_k);
        CHECK_FALSE(x.final->neighbours); // segments and arms have no neighbours; indices do not look at scores
    }
}
