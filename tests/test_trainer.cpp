// The trainer as a whole: the same bits for any number of threads and after any interruption, no heap allocation in a
// step, NaN and Inf refused with their step and op, every mixer learns; and chance, on data with a known answer.
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/safetensors.h"
#include "nn/representation.h"
#include "routing/router.h"
#include "tests/catch.h"
#include "tests/scratch.h"
#include "train/checkpoint.h"
#include "train/provenance.h"
#include "train/trainer.h"

// Counts every allocation of this program, also operator new's, which calls malloc; but not those of OpenBLAS, whose
// kernels for small matrices allocate a buffer each time. Sanitizers bring their own malloc.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FCI_COUNTS_ALLOCATIONS 1
#include <cblas.h>
#include <dlfcn.h>
namespace {
std::atomic<bool> counting = false;
std::atomic<int64_t> allocations = 0;
const void* library_of(const void* address) {
    Dl_info info{};
    return dladdr(address, &info) ? info.dli_fbase : nullptr;
}
void count(const void* caller) {
    if (counting && library_of(caller) != library_of(reinterpret_cast<void*>(&cblas_sgemm))) ++allocations;
}
} // namespace
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void* malloc(size_t n) { return count(__builtin_return_address(0)), __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return count(__builtin_return_address(0)), __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return count(__builtin_return_address(0)), __libc_realloc(p, n); }
void* memalign(size_t a, size_t n) { return count(__builtin_return_address(0)), __libc_memalign(a, n); }
void* aligned_alloc(size_t a, size_t n) { return count(__builtin_return_address(0)), __libc_memalign(a, n); }
int posix_memalign(void** p, size_t a, size_t n) {
    count(__builtin_return_address(0));
    return (*p = __libc_memalign(a, n)) ? 0 : ENOMEM;
}
}
#endif

using namespace fci;

namespace {

// 24 sequences, 3 steps per epoch, 2 epochs; small enough for ThreadSanitizer.
Options tiny(const std::string& representation, const std::string& router = "investigator",
             const std::string& queries = "one") {
    Options o;
    o.task.length = 20, o.task.pairs = 4, o.task.vocab = 16, o.task.queries = queries;
    o.model.representation = representation, o.model.router = router;
    o.model.d_model = 16, o.model.heads = 2, o.model.top_k = 2;
    o.train.sequences = 24, o.train.test_sequences = 30, o.train.batch = 8, o.train.epochs = 2,
    o.train.learning_rate = 1e-2;
    o.run.threads = 1;
    return o;
}

// The same on text, with a varying number of correct positions.
Options tiny_text(const std::string& representation, const std::string& router = "investigator") {
    Options o = tiny(representation, router);
    o.task = {};
    o.task.task = "hotpotqa", o.task.length = 96, o.task.vocab = 64;
    return o;
}

template <class F>
Options with(Options o, F change) {
    change(o);
    return o;
}

Trainer trainer_of(Options o) {
    resolve(o);
    return Trainer(make_data(o));
}

// Every kind of op and router.
std::vector<Options> kinds() {
    std::vector<Options> all{
        tiny("transformer:1"),
        tiny("causal-transformer:2"),
        tiny("flow:1"),
        tiny("bidir-flow:1"),
        tiny("sparse-transformer:2"),
        tiny("linear-attention:1"),
        tiny("rank1-attention:1"),
        tiny("perceiver:3"),
        tiny("fourier:2"),
        tiny("raw"),
        tiny("content-only", "rank1"),
        tiny("transformer", "none"),
        tiny("transformer:1", "investigator", "many"),
        tiny("bidir-flow:1", "rank1", "many"),
        tiny_text("transformer:1"),
        tiny_text("flow:1", "segment-max"),
        tiny("global-mean"),
        tiny("budgeted-attention:0.5", "investigator", "many"),
        tiny("raw", "closed-loop"),
        tiny("flow:1", "memory-bank", "many"),
        with(tiny("raw", "segment-mean"), [](Options& o) { o.task.length = 32; }),
        with(tiny("raw", "segment-max", "many"), [](Options& o) { o.task.length = 32; }),
        with(tiny("raw", "segment-linear"), [](Options& o) { o.task.length = 32; }),
        with(tiny("raw"), [](Options& o) { o.model.embeddings = "anchors"; }),
        with(tiny("raw"), [](Options& o) { o.train.contrastive = "frozen"; }),
        with(tiny("raw"), [](Options& o) { o.train.contrastive = "finetuned", o.model.embeddings = "structured"; })};
    const auto is_new = [&](auto name_of, const std::string& name) { // not among the ones above
        return std::none_of(all.begin(), all.end(), [&](const Options& o) { return name_of(o.model) == name; });
    };
    for (const RepresentationKind* r : representations())
        if (is_new([](const ModelOptions& m) { return Mixing(m.representation).kind->name; }, r->name))
            all.push_back(tiny(r->name));
    for (const RouterKind* k : routers())
        if (k->type == RouterKind::in_model && is_new([](const ModelOptions& m) { return m.router; }, k->name))
            all.push_back(tiny("raw", k->name));
    return all;
}

std::string name_of(const Options& o) {
    return o.model.representation + " " + o.model.router + " " + o.task.task + " " + o.task.queries;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct State {
    std::vector<float> parameters, m, v;
    explicit State(Trainer& t) : parameters(t.parameters()), m(t.optimiser().m), v(t.optimiser().v) {}
    bool operator==(const State& o) const { return same(parameters, o.parameters) && same(m, o.m) && same(v, o.v); }
};

State after(Trainer& t, int64_t steps) {
    while (t.steps_done() < steps) t.step();
    return State(t);
}

bool all_finite(const std::vector<float>& x) { return Tape::finite(x.data(), static_cast<int64_t>(x.size())); }

} // namespace

TEST_CASE("trainer: the same bits on every run and for any number of threads", "[trainer][threads]") {
    for (Options o : kinds()) {
        INFO(name_of(o));
        o.model.d_model = 8;
        Trainer first = trainer_of(o);
        const Step one = first.step();
        const State expected = after(first, 4); // into the second epoch
        const Counts counts = first.evaluate();
        CHECK(all_finite(expected.parameters));
        for (const int threads : {1, 2, 4}) {
            o.run.threads = threads;
            Trainer again = trainer_of(o);
            const Step s = again.step();
            CHECK((s.loss == one.loss && s.grad_norm == one.grad_norm && s.counts.at_k == one.counts.at_k));
            CHECK(after(again, 4) == expected);
            const Counts c = again.evaluate();
            CHECK((c.queries == counts.queries && c.at_k == counts.at_k && c.at_1 == counts.at_1 &&
                   c.correct == counts.correct));
        }
    }
}

TEST_CASE("trainer: another seed is another run", "[trainer]") {
    Options o = tiny("transformer:1");
    Trainer first = trainer_of(o);
    o.train.seed = 2;
    Trainer second = trainer_of(o);
    CHECK_FALSE(State(first) == State(second));
    CHECK(first.data_hash() != second.data_hash());
    CHECK(first.test_set().tokens == second.test_set().tokens); // the test set is the same for all seeds
}

TEST_CASE("trainer: stopped at any step and loaded, a run goes on with the same bits", "[trainer]") {
    const Scratch scratch;
    const std::string path = scratch / "checkpoint.safetensors";
    for (Options o : kinds()) {
        INFO(name_of(o));
        Trainer whole = trainer_of(o);
        const int64_t total = whole.steps_total();
        const State expected = after(whole, total);
        for (int64_t k = 0; k <= total; ++k) { // 3 is the end of an epoch, 0 and 6 the ends of the run
            INFO("stopped after step " << k);
            Trainer part = trainer_of(o);
            after(part, k);
            save_checkpoint(path, part, {17 * k, 2});
            o.run.threads = k % 2 ? 1 : 3;
            Trainer rest = trainer_of(o);
            after(rest, 5); // earlier steps must not matter
            const Progressed progressed = load_checkpoint(path, rest);
            CHECK(progressed.log_bytes == 17 * k);
            CHECK(progressed.transition_epoch == 2);
            CHECK(rest.steps_done() == k);
            CHECK(State(rest) == State(part));
            CHECK(after(rest, total) == expected);
        }
    }
}

TEST_CASE("trainer: a checkpoint of another build goes on with a note", "[trainer]") {
    const Scratch scratch;
    const std::string path = scratch / "checkpoint.safetensors", other = scratch / "other.safetensors";
    Trainer trainer = trainer_of(kinds().front());
    save_checkpoint(path, trainer, {});
    std::string note = "none yet";
    load_checkpoint(path, trainer, &note);
    CHECK(note == "");
    const SafetensorsFile file(path);
    Metadata metadata = file.metadata();
    metadata["build"] = "g++ 1";
    write_safetensors(other, file.tensors(), metadata);
    load_checkpoint(other, trainer, &note);
    CHECK_THAT(note, Catch::Matchers::Contains("another build (g++ 1; here " + build_name() + ")"));
    metadata.erase("build"); // as older versions wrote it
    write_safetensors(other, file.tensors(), metadata);
    load_checkpoint(other, trainer, &note);
    CHECK_THAT(note, Catch::Matchers::Contains("another build (not known; here"));
}

// The loss falls from ln 16 + ln 20 = 5.8, the cost of guessing, to below 0.1. Only content-only cannot tell the
// query's row from the key's; it then pays 0.1 ln 2 for routing.
TEST_CASE("trainer: every mixer learns one batch by heart", "[trainer]") {
    const auto learns = [](const std::string& representation, const std::string& router) {
        INFO(representation << " " << router);
        Options o = tiny(representation, router);
        o.train.sequences = o.train.batch = 8, o.train.epochs = 200, o.run.threads = 2;
        Trainer trainer = trainer_of(o);
        Step last = trainer.step();
        while (trainer.steps_done() < trainer.steps_total()) last = trainer.step();
        CHECK(last.loss < 0.1);
        CHECK(last.counts.at_k == (router == "none" ? 0 : 8));
        CHECK(last.counts.correct == 8);
    };
    std::vector<const char*> mixing{"perceiver:4"};
    for (const RepresentationKind* r : representations())
        if (r->counts_layers()) mixing.push_back(r->name);
    for (const char* r : {"raw", "content-only"})
        for (const char* router : {"investigator", "rank1"}) learns(r, router);
    for (const char* r : mixing)
        for (const char* router : {"investigator", "rank1", "none"}) learns(r, router);
}

#ifdef FCI_COUNTS_ALLOCATIONS
TEST_CASE("trainer: a step makes no heap allocation", "[trainer]") {
    const auto allocations_in = [](const auto& act) {
        allocations = 0;
        counting = true;
        act();
        counting = false;
        return allocations.load();
    };
    for (Options o : kinds())
        for (const int threads : {1, 2}) {
            INFO(name_of(o) << " threads " << threads);
            o.run.threads = threads;
            o.train.sequences = 48; // 6 steps an epoch
            Trainer trainer = trainer_of(o);
            CHECK(allocations_in([&] { trainer.step(); }) > 0); // the first step sizes the arenas
            const int64_t later = allocations_in([&] {
                for (int i = 2; i <= 6; ++i) trainer.step();
            });
            CHECK(later == 0);
        }
    CHECK(allocations_in([] { // control: the string object and its 100 letters
              const auto text = std::make_unique<std::string>(100, 'x');
              CHECK(text->size() == 100);
          }) >= 2);
}
#endif

TEST_CASE("trainer: NaN and Inf stop the run by step and op, and nothing is updated", "[trainer]") {
    const struct {
        std::string parameter, op;
        float value;
    } bad[] = {{"token.weight", "embedding", std::numeric_limits<float>::quiet_NaN()},
               {"block.0.norm1.bias", "layer_norm", std::numeric_limits<float>::infinity()},
               {"block.0.qkv.weight", "linear", std::numeric_limits<float>::quiet_NaN()},
               {"router.wk.weight", "routing_scores", -std::numeric_limits<float>::infinity()},
               {"head.linear.bias", "linear", std::numeric_limits<float>::infinity()}};
    for (const int threads : {1, 2})
        for (const auto& [parameter, op, value] : bad) {
            INFO(parameter << " threads " << threads);
            Options o = tiny("transformer:1");
            o.run.threads = threads;
            Trainer whole = trainer_of(o), trainer = trainer_of(o);
            const State expected = after(whole, 6);
            after(trainer, 3);
            float* number = nullptr;
            for (const ParameterInfo& p : trainer.infos()) // token 0 is in every sequence
                if (p.name == parameter) number = trainer.edit().parameters.data() + p.offset;
            const float good = std::exchange(*number, value);
            const State before(trainer);
            const std::string error = error_of([&] { trainer.step(); });
            expect_error(error, Exit::non_finite, "step 4: " + op + ": ");
            CHECK(error.find("nothing was updated") != std::string::npos);
            CHECK(State(trainer) == before);
            CHECK(trainer.steps_done() == 3);
            *number = good; // training continues unaffected
            CHECK(after(trainer, 6) == expected);
        }
}

TEST_CASE("trainer: a senseless learning rate ends in an error or stays finite", "[trainer]") {
    for (const char* representation : {"transformer:1", "bidir-flow:1", "raw", "sparse-transformer:1",
                                       "linear-attention:1", "rank1-attention:1", "perceiver:3", "fourier:1"})
        for (const double rate : {1e2, 1e4, 1e6}) {
            INFO(representation << " at " << rate);
            Options o = tiny(representation);
            o.train.learning_rate = rate;
            Trainer trainer = trainer_of(o);
            const std::string error = error_of([&] { after(trainer, trainer.steps_total()); });
            if (error.empty())
                CHECK(all_finite(trainer.parameters()));
            else
                expect_error(error, Exit::non_finite, fmt::format("step {}: ", trainer.steps_done() + 1));
        }
}

TEST_CASE("trainer: rank1 chooses the same positions with and without scores", "[trainer]") {
    ModelOptions o = tiny("content-only", "rank1").model;
    for (const int k : {1, 3, 20}) {
        o.top_k = k;
        ParameterBinder layout;
        Model(layout, o, 64, 20);
        std::vector<float> data(layout.block_size());
        initialise(layout.infos(), 5, data.data());
        ParameterBinder binder(data.data());
        const Model model(binder, o, 64, 20);
        Rng rng(1, Stream::golden);
        std::vector<int32_t> tokens(6 * 20), query(6 * 7); // tokens repeat, and so do scores: ties
        for (int32_t& t : tokens) t = rng.between(0, 64);
        for (int32_t& q : query) q = rng.between(0, 20);
        Arena arena, other;
        Tape tape(arena), forward_only(other, false);
        const Model::Output with = model(tape, {tokens.data(), {6, 20}}, {query.data(), {6, 7}}),
                            without = model(forward_only, {tokens.data(), {6, 20}}, {query.data(), {6, 7}});
        CHECK(with.scores);
        CHECK_FALSE(without.scores);
        REQUIRE(with.chosen.shape == without.chosen.shape);
        CHECK(std::equal(with.chosen.data, with.chosen.data + with.chosen.shape.size(), without.chosen.data));
    }
}
