// Training on the GPU, here on the emulator, against the CPU: the same steps within the rounding of float sums in
// another order, the same bits on every run, and nothing lost between calls.
#include <cmath>
#include <cstring>
#include <future>

#include "routing/router.h"
#include "tests/catch.h"
#include "tests/tiny_backbone.h"
#include "train/trainer.h"

using namespace fci;

namespace emulator {
[[gnu::weak]] void set_order(int); // order of a kernel's threads; not linked on a GPU
[[gnu::weak]] void set_free_memory(size_t);
} // namespace emulator

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
    std::vector<ParameterInfo> infos;
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
    t.infos = trainer.infos(), t.parameters = trainer.parameters();
    return t;
}

// Sums in another order differ by a few ulp. AdamW's first steps have the size of the learning rate and the direction
// of the gradient's sign, so the numbers diverge as they do between two CPUs: slowly, from the last digits on.
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
    for (const char* representation : {"raw", "transformer:1", "budgeted-attention:0.5", "flow:1", "bidir-flow:1"}) {
        INFO(representation);
        expect_close(train(tiny(representation, "cpu")), train(tiny(representation, "cuda")));
    }
}

// Edge cases of sizes and routers: more choices than lanes, a test set smaller than a batch, many queries per sequence.
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
    for (const RouterKind* router : routers())
        if (router->type == RouterKind::in_model)
            both(router->name, [&](Options& o) { o.model.router = router->name; });
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

TEST_CASE("on the GPU the final test counts what its evaluation counts", "[gpu]") {
    for (const char* router : {"investigator", "rank1", "none"}) {
        INFO(router);
        Options o = tiny("raw", "cuda");
        o.model.router = router;
        resolve(o);
        Trainer trainer(make_data(o));
        trainer.advance(trainer.steps_total());
        const Counts test = trainer.evaluate(), final = trainer.final_test().value();
        CHECK(final.queries == 100);
        CHECK(final.compared == (std::string(router) == "investigator" ? 100 : 0));
        CHECK(trainer.evaluate().at_k == test.at_k); // the test set is restored
        trainer.set_test_set(*final_test_set(o, trainer.workers()), o.task, "final");
        const Counts counted = trainer.evaluate(); // counted by the kernel
        CHECK(counted.queries == final.queries);
        CHECK((counted.at_k == final.at_k && counted.at_1 == final.at_1 && counted.correct == final.correct));
    }
}

TEST_CASE("on the GPU contrastive pretraining is the CPU's, and a test before it changes no bit", "[gpu]") {
    const auto on = [](const char* device) {
        Options o = tiny("raw", device);
        o.train.sequences = 8, o.train.epochs = 1, o.train.contrastive = "finetuned";
        return o;
    };
    const Trained gpu = train(on("cuda"));
    expect_close(train(on("cpu")), gpu);
    Options o = on("cuda");
    resolve(o);
    Trainer tested(make_data(o));
    tested.evaluate(); // copies the parameters to the GPU
    while (tested.steps_done() < tested.steps_total()) tested.advance(tested.steps_total());
    CHECK(tested.parameters() == gpu.parameters);
}

TEST_CASE("on the GPU the number of steps in a call changes no bit, and a run repeats", "[gpu]") {
    for (const char* representation : {"transformer:1", "budgeted-attention:0.25"}) {
        const Options o = tiny(representation, "cuda");
        const Trained whole = train(o), by_one = train(o, 1, true), by_four = train(o, 4); // by_one: also tests
        CHECK(whole.parameters == by_one.parameters);
        CHECK(whole.parameters == by_four.parameters);
        CHECK(whole.counts.at_k == by_four.counts.at_k);
    }
}

TEST_CASE("on the GPU a backbone's features are the CPU's, on the device or sent batch by batch", "[gpu]") {
    const TinyBackbone::Folder folder;
    const auto run = [&](const char* representation, const char* width, const char* precision, const char* device) {
        Options o = tiny(representation, device);
        o.task.length = 20, o.task.vocab = 32;
        o.model.backbone = folder.path, o.model.backbone_precision = precision, o.model.backbone_width = width;
        o.run.backbone_cache = folder.path + "/cache", o.run.quiet = true, o.run.threads = 2;
        return train(o, 3, true);
    };
    for (const auto& [representation, width, precision] :
         {std::tuple("raw", "native", "fp16"), {"transformer:1", "native", "fp32"}, {"bidir-flow:1", "12", "fp16"}}) {
        INFO(representation << ", width " << width << ", " << precision);
        const Trained gpu = run(representation, width, precision, "cuda");
        expect_close(run(representation, width, precision, "cpu"), gpu);
        if (!emulator::set_free_memory) continue; // a GPU's is what it is
        emulator::set_free_memory(0);
        const Trained sent = run(representation, width, precision, "cuda");
        emulator::set_free_memory(size_t{80} << 30);
        CHECK(sent.parameters == gpu.parameters);
        CHECK(sent.counts.at_k == gpu.counts.at_k);
        CHECK(sent.counts.correct == gpu.counts.correct);
    }
}

// These two runs upload constants in captured steps. ThreadSanitizer checks the order of their locks; it also counts
// the emulator's threads, and has room for those of one run.
TEST_CASE("on the GPU two runs at once have the bits that each has alone", "[gpu][threads]") {
#if defined(__SANITIZE_THREAD__)
    constexpr auto when = std::launch::deferred;
#else
    constexpr auto when = std::launch::async;
#endif
    std::vector<std::future<Trained>> at_once;
    const char* representations[] = {"fourier:1", "sparse-transformer:1"};
    const auto run = [](const char* representation) {
        Options o = tiny(representation, "cuda");
        o.train.sequences = 8, o.train.test_sequences = 4, o.train.epochs = 1; // two steps: one captured
        return train(o);
    };
    for (const char* r : representations) at_once.push_back(std::async(when, run, r));
    for (size_t i = 0; i < at_once.size(); ++i) {
        INFO(representations[i]);
        CHECK(at_once[i].get().parameters == run(representations[i]).parameters);
    }
}

// Rewards are small differences of losses, so their last digits are lost: tolerance 1e-3 of the largest number of each
// kind.
TEST_CASE("on the GPU the bandit of budgeted attention learns what it learns on the CPU", "[gpu]") {
    const auto both = [](const char* device) {
        Options o = tiny("budgeted-attention:0.5", device);
        o.task.queries = "many", o.task.length = 64, o.task.vocab = 8192;
        o.model.d_model = 24; // not a multiple of the tile size
        return train(o);
    };
    const Trained cpu = both("cpu"), gpu = both("cuda");
    expect_close(cpu, gpu);
    int kinds = 0;
    for (const ParameterInfo& p : cpu.infos) {
        if (p.learned) continue;
        INFO(p.name);
        ++kinds;
        double most = 0, off = 0;
        for (int64_t i = p.offset; i < p.offset + p.shape.size(); ++i) {
            most = std::max(most, std::abs(double{cpu.parameters[i]}));
            off = std::max(off, std::abs(double{cpu.parameters[i]} - gpu.parameters[i]));
        }
        CHECK(most > 0);
        CHECK(off <= 1e-3 * most);
    }
    CHECK(kinds == 5);
}

TEST_CASE("on the GPU budgeted attention has the same bits in every order of threads, and resumed", "[gpu]") {
    const Options o = tiny("budgeted-attention:0.5", "cuda");
    const Trained first = train(o);
    for (const int order : {1, 2}) {
        if (emulator::set_order) emulator::set_order(order);
        CHECK(train(o).parameters == first.parameters);
    }
    if (emulator::set_order) emulator::set_order(0);

    Options resolved = o;
    resolve(resolved);
    Trainer half(make_data(resolved)), rest(make_data(resolved));
    while (half.steps_done() < 5) half.advance(5);
    rest.edit().parameters = half.parameters(), rest.edit().optimiser = half.optimiser();
    rest.set_steps_done(5);
    while (rest.steps_done() < rest.steps_total()) rest.advance(rest.steps_total());
    CHECK(rest.parameters() == first.parameters);
}

TEST_CASE("on the GPU too a bandit that cannot invert its matrix says so", "[gpu]") {
    for (const char* device : {"cpu", "cuda"}) {
        Options o = tiny("budgeted-attention:0.5", device);
        resolve(o);
        Trainer trainer(make_data(o));
        trainer.parameter("block.0.budget.A").data[0] = -1e6f;
        CHECK_THROWS_WITH(trainer.step(), Catch::Matchers::Contains("not positive definite"));
    }
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
    for (const char* representation : {"raw", "budgeted-attention:0.5"}) { // its bandit must then not learn either
        Options o = tiny(representation, "cuda");
        resolve(o);
        Trainer trainer(make_data(o));
        trainer.step();
        trainer.edit().parameters[3] = NAN;
        const std::vector<float> before = trainer.optimiser().m, parameters = trainer.parameters();
        CHECK_THROWS_WITH(trainer.step(), Catch::Matchers::Contains("step 2: embedding"));
        CHECK(trainer.steps_done() == 1);
        CHECK(trainer.optimiser().m == before);
        CHECK(std::memcmp(trainer.parameters().data(), parameters.data(), parameters.size() * sizeof(float)) == 0);
    }
}

TEST_CASE("on the GPU too a test of numbers that are not finite is refused", "[gpu]") {
    for (const char* device : {"cpu", "cuda"})
        for (const auto& [first, second] : {std::pair("router.wq.weight", "router.wk.weight"), // the scores
                                            {"head.linear.weight", "head.linear.bias"}}) {     // the logits
            Options o = tiny("transformer:1", device);
            resolve(o);
            Trainer trainer(make_data(o));
            trainer.evaluate();
            for (const char* changed : {first, second}) {
                const Tensor w = trainer.parameter(changed);
                std::fill_n(w.data, w.size(), 3e38f);
            }
            INFO(device << ' ' << first);
            CHECK_THROWS_WITH(trainer.evaluate(), Catch::Matchers::Contains("has a NaN or Inf"));
        }
}
