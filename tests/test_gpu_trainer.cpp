// Training on the GPU, here on the emulator, against the CPU: the same steps within what float sums in another order
// allow, the same bits on every run, and nothing lost between calls.
#include <cmath>

#include "tests/catch.h"
#include "train/trainer.h"

using namespace fci;

namespace {

Options tiny(const std::string& representation, const std::string& device) {
    Options o;
    o.task.task = "mqar", o.task.length = 32, o.task.pairs = 4;
    o.model.representation = representation, o.model.d_model = 16, o.model.heads = 2;
    o.train.sequences = 24, o.train.test_sequences = 10, o.train.batch = 4, o.train.epochs = 2;
    o.train.learning_rate = 1e-3;
    o.run.threads = 1, o.run.device = device;
    return o;
}

struct Trained {
    std::vector<Step> steps;
    std::vector<float> parameters;
    Counts counts;
};

Trained train(Options o, int64_t at_once = 1 << 20, bool test_between = false) {
    resolve(o);
    Trainer trainer(make_data(o));
    Trained t;
    while (trainer.steps_done() < trainer.steps_total()) {
        const auto made = trainer.advance(std::min(trainer.steps_total(), trainer.steps_done() + at_once));
        t.steps.insert(t.steps.end(), made.begin(), made.end());
        if (test_between) trainer.evaluate();
    }
    t.counts = trainer.evaluate();
    t.parameters = trainer.parameters();
    return t;
}

// Sums in another order differ by a few ulp, and AdamW's first steps are of the size of the learning rate in the
// direction of the gradient's sign, so numbers part as they do between two CPUs: slowly, from the last digits on.
void expect_close(const Trained& cpu, const Trained& gpu) {
    REQUIRE(cpu.steps.size() == gpu.steps.size());
    for (size_t i = 0; i < cpu.steps.size(); ++i) {
        INFO("step " << i + 1);
        CHECK(gpu.steps[i].number == cpu.steps[i].number);
        CHECK(gpu.steps[i].epoch == cpu.steps[i].epoch);
        CHECK(gpu.steps[i].learning_rate == cpu.steps[i].learning_rate);
        CHECK(std::abs(gpu.steps[i].loss - cpu.steps[i].loss) <= 1e-4 * cpu.steps[i].loss);
        CHECK(std::abs(gpu.steps[i].grad_norm - cpu.steps[i].grad_norm) <= 1e-3 * cpu.steps[i].grad_norm);
        CHECK(gpu.steps[i].counts.queries == cpu.steps[i].counts.queries);
    }
    CHECK(gpu.counts.queries == cpu.counts.queries);
}

} // namespace

TEST_CASE("on the GPU a run makes the CPU's steps", "[gpu]") {
    for (const char* representation : {"raw", "transformer:1", "flow:1", "bidir-flow:1"}) {
        INFO(representation);
        expect_close(train(tiny(representation, "cpu")), train(tiny(representation, "cuda")));
    }
}

// Sizes and routers at the edges: more choices than lanes, a test set smaller than a batch, many queries a sequence.
TEST_CASE("on the GPU every router trains as on the CPU, at unusual sizes too", "[gpu]") {
    const auto both = [](const char* name, auto change) {
        INFO(name);
        const auto on = [&](const char* device) {
            Options o = tiny("raw", device);
            o.train.sequences = 12, o.train.epochs = 1, o.train.test_sequences = 3;
            change(o);
            return train(o);
        };
        expect_close(on("cpu"), on("cuda"));
    };
    for (const char* router : {"rank1", "segment-max", "segment-linear", "memory-bank", "closed-loop", "none"})
        both(router, [&](Options& o) { o.model.router = router; });
    both("many queries", [](Options& o) { o.task.queries = "many", o.task.length = 64, o.task.vocab = 8192; });
    both("top-k 40", [](Options& o) { o.task.length = 64, o.model.top_k = 40; });
}

TEST_CASE("on the GPU text, of which several positions are right, is the CPU's", "[gpu]") {
    const auto both = [](const char* device) {
        Options o = tiny("transformer:1", device);
        o.task = TaskOptions{};
        o.task.task = "hotpotqa", o.task.length = 96, o.task.vocab = 256;
        return train(o);
    };
    const Trained cpu = both("cpu"), gpu = both("cuda");
    expect_close(cpu, gpu);
    CHECK(gpu.counts.all <= gpu.counts.at_k);
}

TEST_CASE("on the GPU the number of steps in a call changes no bit, and a run repeats", "[gpu]") {
    const Options o = tiny("transformer:1", "cuda");
    const Trained whole = train(o), by_one = train(o, 1, true), by_four = train(o, 4); // by_one: and tests
    CHECK(whole.parameters == by_one.parameters);
    CHECK(whole.parameters == by_four.parameters);
    CHECK(whole.counts.at_k == by_four.counts.at_k);
}

TEST_CASE("on the GPU contrastive pretraining and frozen projections are the CPU's", "[gpu]") {
    const auto both = [](const char* device) {
        Options o = tiny("raw", device);
        o.train.contrastive = "frozen";
        return train(o);
    };
    expect_close(both("cpu"), both("cuda"));
}

TEST_CASE("on the GPU a step that is not finite is not made, and names its op", "[gpu]") {
    Options o = tiny("raw", "cuda");
    resolve(o);
    Trainer trainer(make_data(o));
    trainer.step();
    trainer.parameters()[3] = NAN;
    const std::vector<float> before = trainer.optimiser().m;
    CHECK_THROWS_WITH(trainer.step(), Catch::Matchers::Contains("step 2: embedding"));
    CHECK(trainer.steps_done() == 1);
    CHECK(trainer.optimiser().m == before);
}
