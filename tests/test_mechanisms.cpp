// The defining properties of the paper's other mechanisms: segment routers, memory bank, closed loop, contrastive
// pretraining, budgeted attention, global mean, structured embeddings.
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

#include "model/fci.h"
#include "ops/cross_entropy.h"
#include "ops/routing_scores.h"
#include "tests/catch.h"
#include "train/trainer.h"

using namespace fci;

namespace {

// A model with its parameters, from seed 1.
struct Built {
    std::vector<ParameterInfo> infos;
    std::vector<float> data, grad;
    std::unique_ptr<Model> model;
    Arena arena;
    Tape tape{arena};

    Built(const ModelOptions& o, int vocab, int length) {
        ParameterBinder layout;
        Model measure(layout, o, vocab, length);
        infos = layout.infos();
        data.assign(layout.block_size(), 0.f), grad.assign(layout.block_size(), 0.f);
        initialise(infos, 1, data.data());
        ParameterBinder binder(data.data(), grad.data());
        model = std::make_unique<Model>(binder, o, vocab, length);
    }
    float* parameter(const std::string& name) {
        for (const ParameterInfo& p : infos)
            if (p.name == name) return data.data() + p.offset;
        fail(Exit::internal, "no parameter {}", name);
    }
};

ModelOptions small_model(const std::string& representation, const std::string& router) {
    ModelOptions o;
    o.representation = representation, o.router = router;
    o.d_model = 16, o.heads = 2, o.top_k = 2;
    return o;
}

const std::vector<int32_t> tokens = [] {
    std::vector<int32_t> t(2 * 32);
    for (size_t i = 0; i < t.size(); ++i) t[i] = static_cast<int32_t>(i * 7 % 20);
    return t;
}();
const std::vector<int32_t> rows{3, 9};

Options tiny_run(const std::string& representation, const std::string& router) {
    Options o;
    o.task.length = 32, o.task.pairs = 4, o.task.vocab = 16;
    o.model = small_model(representation, router);
    o.train.sequences = 64, o.train.test_sequences = 30, o.train.batch = 8, o.train.epochs = 2;
    o.train.learning_rate = 1e-2, o.run.threads = 2;
    resolve(o);
    return o;
}

std::vector<float> parameter(Trainer& t, const std::string& name) {
    for (const ParameterInfo& p : t.infos())
        if (p.name == name)
            return {t.parameters().begin() + p.offset, t.parameters().begin() + p.offset + p.shape.size()};
    fail(Exit::internal, "no parameter {}", name);
}

} // namespace

TEST_CASE("router norm: the router sees LN x, the council x, and nothing else starts otherwise", "[routing]") {
    ModelOptions o = small_model("transformer:1", "investigator");
    o.top_k = 32; // all positions: then only the scores can differ
    Built plain(o, 20, 32);
    o.router_norm = true;
    Built normed(o, 20, 32);
    REQUIRE(normed.infos.size() == plain.infos.size() + 2);
    REQUIRE(std::equal(plain.data.begin(), plain.data.end(), normed.data.begin()));
    float* scale = normed.parameter("router.norm.weight");
    for (int i = 0; i < 16; ++i) scale[i] = 0.5f + 0.1f * static_cast<float>(i); // not the initial value
    const IntTensor t{tokens.data(), {2, 32}}, q{rows.data(), {2, 1}};
    const auto a = (*plain.model)(plain.tape, t, q), b = (*normed.model)(normed.tape, t, q);
    const Tensor x = b.mixed.x, bias{normed.parameter("router.norm.bias"), nullptr, {16}};
    const Tensor seen = layer_norm(normed.tape, x, {scale, nullptr, {16}}, bias);
    const auto w = [&](const char* name) { return Tensor{normed.parameter(name), nullptr, {16, 16}}; };
    const Tensor scores = routing_scores(normed.tape, gather(normed.tape, seen, q), seen, w("router.wq.weight"),
                                         w("router.wk.weight"), 2);
    CHECK(std::memcmp(b.scores.data, scores.data, 64 * sizeof(float)) == 0);
    CHECK(std::memcmp(normed.model->represent(normed.tape, t).data, seen.data, 1024 * sizeof(float)) == 0);
    CHECK(std::memcmp(a.scores.data, scores.data, 64 * sizeof(float)) != 0);
    for (int64_t i = 0; i < a.logits.size(); ++i) CHECK(b.logits.data[i] == Approx(a.logits.data[i]).margin(1e-5));
}

TEST_CASE("router norm: it learns, from the routing loss", "[routing][trainer]") {
    Options o = tiny_run("raw", "investigator");
    o.model.router_norm = true;
    Trainer t(make_data(o));
    const std::vector<float> before = parameter(t, "router.norm.weight");
    t.step();
    CHECK(parameter(t, "router.norm.weight") != before);
}

TEST_CASE("segment router: 16 places, the council sees all of the chosen ones", "[routing]") {
    for (const char* router : {"segment-mean", "segment-max", "segment-linear"}) {
        INFO(router);
        Built b(small_model("raw", router), 20, 32);
        const auto out = (*b.model)(b.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
        CHECK(b.model->place_length() == 2);
        REQUIRE(out.scores.shape == Shape{2, 1, 16});
        REQUIRE(out.seen.shape == Shape{2, 1, 4});
        for (int s = 0; s < 2; ++s)
            for (int i = 0; i < 4; ++i) CHECK(out.seen.data[s * 4 + i] == out.chosen.data[s * 4 + i / 2] * 2 + i % 2);
    }
}

TEST_CASE("segment router: moving tokens within a segment changes nothing when it pools without positions",
          "[routing]") {
    ModelOptions o = small_model("content-only", "segment-mean");
    std::vector<int32_t> swapped = tokens;
    std::swap(swapped[20], swapped[21]);
    Built a(o, 20, 32), b(o, 20, 32);
    const auto x = (*a.model)(a.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
    const auto y = (*b.model)(b.tape, {swapped.data(), {2, 32}}, {rows.data(), {2, 1}});
    CHECK(std::memcmp(x.scores.data, y.scores.data, 32 * sizeof(float)) == 0);
}

TEST_CASE("segment router: chance counts segments", "[chance]") {
    Dataset d{4, 32, 1, 16, {}, {}, {}, {}};
    d.tokens.assign(4 * 32, 0), d.label.assign(4, 1), d.query = {0, 8, 16, 24};
    d.answer = {4, 13, 20, 29}; // segments of 2: always two after the query's segment
    TaskOptions task;
    task.task = "other";
    const Chance c = fit_chance(task, d, d, 1, 2);
    CHECK(c.relative);
    CHECK(c.at_1 == 100);
    CHECK(fit_chance(task, d, d, 1, 1).at_1 == 50); // positions: 4 or 5 after it
}

TEST_CASE("memory bank: the scores are the logarithms of a distribution over positions", "[routing]") {
    Built b(small_model("raw", "memory-bank"), 20, 32);
    float* slots = b.parameter("router.slots");
    for (int i = 0; i < 16 * 16; ++i) slots[i] *= 100; // far from uniform
    const auto out = (*b.model)(b.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
    double sum[2] = {}, low = 0, high = -1e9;
    for (int i = 0; i < 64; ++i) {
        sum[i / 32] += std::exp(double{out.scores.data[i]});
        low = std::min(low, double{out.scores.data[i]}), high = std::max(high, double{out.scores.data[i]});
    }
    CHECK(std::abs(sum[0] - 1) < 1e-5);
    CHECK(std::abs(sum[1] - 1) < 1e-5);
    CHECK(high - low > 0.1);
    // p(a|q) of sequence 0, from the slots themselves
    const float *token = b.parameter("token.weight"), *position = b.parameter("position.weight");
    const auto slots_of = [&](int j) {
        std::vector<double> p(16);
        double total = 0;
        for (int m = 0; m < 16; ++m) {
            double z = 0;
            for (int c = 0; c < 16; ++c)
                z += double{slots[m * 16 + c]} * (token[tokens[j] * 16 + c] + position[j * 16 + c]);
            total += p[m] = std::exp(z);
        }
        for (double& x : p) x /= total;
        return p;
    };
    const auto q = slots_of(rows[0]), a = slots_of(5);
    double p = 0;
    for (int m = 0; m < 16; ++m) {
        double written = 0;
        for (int j = 0; j < 32; ++j) written += slots_of(j)[m];
        p += q[m] * a[m] / written;
    }
    CHECK(std::abs(out.scores.data[5] - std::log(p)) < 1e-4);
}

TEST_CASE("closed loop: three rounds, and the council's answer moves the next question", "[routing]") {
    Built b(small_model("raw", "closed-loop"), 20, 32);
    const auto scores_differ = [&] {
        const auto out = (*b.model)(b.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
        const size_t bytes = 64 * sizeof(float);
        return std::pair{std::memcmp(out.earlier[0].data, out.earlier[1].data, bytes) != 0,
                         std::memcmp(out.earlier[1].data, out.scores.data, bytes) != 0};
    };
    CHECK(scores_differ() == std::pair{true, true});
    std::fill_n(b.parameter("router.feedback.weight"), 16 * 16, 0.f); // without it there is no feedback
    CHECK(scores_differ() == std::pair{false, false});
}

TEST_CASE("closed loop: the routing loss of a later round reaches the council", "[routing]") {
    Built b(small_model("raw", "closed-loop"), 20, 32);
    const auto out = (*b.model)(b.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
    const std::vector<int32_t> a{5, 6};
    cross_entropy(b.tape, out.scores, {a.data(), {2, 1}}, 1.f);
    b.tape.backward();
    for (const ParameterInfo& p : b.infos) {
        const auto g = b.grad.begin() + p.offset;
        const bool moved = std::any_of(g, g + p.shape.size(), [](float v) { return v != 0; });
        if (p.name.starts_with("council.ffn") || p.name == "router.feedback.weight") CHECK(moved);
        if (p.name.starts_with("head")) CHECK(!moved);
    }
}

TEST_CASE("contrastive: scores are cosines over the temperature", "[contrastive]") {
    Built b(small_model("raw", "investigator"), 20, 32);
    const Tensor s = b.model->contrastive_scores(b.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
    const float *token = b.parameter("token.weight"), *position = b.parameter("position.weight");
    const auto project = [&](const char* name, int row, int sequence) {
        std::vector<double> y(16);
        for (int o = 0; o < 16; ++o)
            for (int c = 0; c < 16; ++c)
                y[o] += double{b.parameter(name)[o * 16 + c]} *
                        (token[tokens[sequence * 32 + row] * 16 + c] + position[row * 16 + c]);
        return y;
    };
    const auto dot = [](const auto& x, const auto& y) {
        return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
    };
    const auto q = project("router.wq.weight", 9, 1), k = project("router.wk.weight", 17, 1);
    const double cosine = dot(q, k) / std::sqrt(dot(q, q) * dot(k, k));
    CHECK(std::abs(s.data[32 + 17] - cosine / 0.07) < 1e-4);
}

TEST_CASE("contrastive: frozen projections stay, finetuned ones learn on, and only the target is pretrained",
          "[contrastive]") {
    const auto run = [](const std::string& contrastive, const std::string& target) {
        Options o = tiny_run("raw", "investigator");
        o.train.contrastive = contrastive, o.train.contrastive_target = target;
        return Trainer(make_data(o));
    };
    Trainer plain = run("none", "projections"), frozen = run("frozen", "projections"),
            finetuned = run("finetuned", "projections");
    const auto start = parameter(plain, "router.wq.weight");
    plain.step(), frozen.step(), finetuned.step();
    const auto pretrained = parameter(frozen, "router.wq.weight");
    CHECK(pretrained != start);
    CHECK(pretrained != parameter(plain, "router.wq.weight"));
    while (frozen.steps_done() < frozen.steps_total()) frozen.step(), finetuned.step();
    CHECK(parameter(frozen, "router.wq.weight") == pretrained);
    CHECK(parameter(finetuned, "router.wq.weight") != pretrained);
}

TEST_CASE("contrastive: the target is pretrained, and nothing else", "[contrastive]") {
    const auto farthest = [](const std::string& target, const std::string& name) { // from its start, after one step
        Options o = tiny_run("raw", "investigator");
        o.train.contrastive = "frozen", o.train.contrastive_target = target;
        Trainer t(make_data(o));
        const auto before = parameter(t, name);
        t.step();
        const auto now = parameter(t, name);
        float far = 0;
        for (size_t i = 0; i < now.size(); ++i) far = std::max(far, std::abs(now[i] - before[i]));
        return far;
    };
    const float one_step = 1.1e-2f / 25; // OneCycle's first step moves nothing farther
    for (const char* name : {"token.weight", "position.weight"}) {
        CHECK(farthest("projections", name) < one_step);
        CHECK(farthest("embeddings", name) > 10 * one_step);
    }
    for (const char* target : {"projections", "embeddings"}) {
        CHECK(farthest(target, "router.wk.weight") > 10 * one_step);
        CHECK(farthest(target, "council.q.weight") < one_step);
    }
}

TEST_CASE("budgeted attention: takes the highest upper bounds, and the rest pass through", "[budget]") {
    ModelOptions o = small_model("budgeted-attention:0.25", "investigator");
    Built b(o, 20, 32);
    float* theta = b.parameter("block.0.budget.theta");
    for (int c = 0; c < 16; ++c) theta[c] = static_cast<float>(c % 3) - 1;
    const auto out = (*b.model)(b.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
    REQUIRE(out.mixed.taking_part.shape == Shape{2, 8});
    for (int s = 0; s < 2; ++s) {
        const auto bound = [&](int j) { // A is still the identity
            double expected = 0, squares = 0;
            for (int c = 0; c < 16; ++c) {
                const double x = out.mixed.features.data[(s * 32 + j) * 16 + c];
                expected += theta[c] * x, squares += x * x;
            }
            return expected + std::sqrt(squares);
        };
        std::vector<bool> in(32);
        double least = 1e9, greatest_out = -1e9;
        for (int i = 0; i < 8; ++i) in[out.mixed.taking_part.data[s * 8 + i]] = true;
        for (int j = 0; j < 32; ++j)
            in[j] ? least = std::min(least, bound(j)) : greatest_out = std::max(greatest_out, bound(j));
        CHECK(least >= greatest_out - 1e-6);
    }
}

TEST_CASE("budgeted attention: the bandit is ridge regression on the drop of the loss", "[budget]") {
    const int d = 3;
    ParameterBinder layout;
    Budget measure(layout, "b", d, 0.5);
    std::vector<float> data(layout.block_size());
    initialise(layout.infos(), 1, data.data());
    ParameterBinder binder(data.data());
    const Budget budget(binder, "b", d, 0.5);
    std::vector<float> x{1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1}; // four tokens, all in one sequence
    const Tensor features{x.data(), nullptr, {1, 4, d}};
    const std::vector<int32_t> first{0, 2}, second{1, 3};
    Arena arena;
    Budget::Observations seen(arena, {2, 1, d});
    seen.set(0, features, {first.data(), {1, 2}});
    seen.set(1, features, {second.data(), {1, 2}});
    const float loss[] = {5, 2}; // the first has no mean to compare with: reward 0; the second is 3 below the mean
    budget.learn(seen, loss);
    // A = I + sum x x^T = [[3,1,0],[1,3,0],[0,0,2]],  b = 3 (0,1,1),  theta = A^-1 b = (-3/8, 9/8, 3/2)
    std::map<std::string, const float*> kept;
    for (const ParameterInfo& p : layout.infos()) kept[p.name] = data.data() + p.offset;
    const float expected[] = {-0.375f, 1.125f, 1.5f};
    for (int c = 0; c < d; ++c) CHECK(std::abs(kept["b.theta"][c] - expected[c]) < 1e-6);
    CHECK(std::abs(kept["b.inverse"][1] + 0.125f) < 1e-6);
    CHECK(kept["b.losses"][0] == 7);
    CHECK(kept["b.losses"][1] == 2);
}

TEST_CASE("budgeted attention: its numbers are kept, not counted as learned, and change with every batch", "[budget]") {
    Trainer whole(make_data(tiny_run("transformer:1", "investigator"))),
        half(make_data(tiny_run("budgeted-attention:0.5", "investigator")));
    CHECK(whole.parameter_count() == half.parameter_count());
    CHECK(parameter(half, "block.0.budget.A") == parameter(half, "block.0.budget.inverse"));
    half.step();
    const auto a = parameter(half, "block.0.budget.A");
    CHECK(a[0] > 1);
    half.step();
    CHECK(parameter(half, "block.0.budget.A")[0] > a[0]);
    CHECK(parameter(half, "block.0.budget.losses")[1] == 16);
}

TEST_CASE("global mean: all positions alike, unless each keeps its own", "[representation]") {
    for (const bool residual : {false, true}) {
        ModelOptions o = small_model("global-mean", "investigator");
        o.mean_residual = residual;
        Built b(o, 20, 32);
        const auto out = (*b.model)(b.tape, {tokens.data(), {2, 32}}, {rows.data(), {2, 1}});
        const auto same = std::all_of(out.scores.data, out.scores.data + 32,
                                      [&](float s) { return std::abs(s - out.scores.data[0]) < 1e-7; });
        CHECK(same == !residual);
        if (!residual) CHECK(out.chosen.data[0] == 0); // a tie goes to the lowest
    }
}

TEST_CASE("raw without positions is content-only, bit for bit: results of one stand for the other",
          "[representation]") {
    Options none = tiny_run("raw", "investigator");
    none.model.positions = "none";
    Trainer a(make_data(none)), b(make_data(tiny_run("content-only", "investigator")));
    for (int i = 0; i < 3; ++i) a.step(), b.step();
    CHECK(a.parameters() == b.parameters());
}

TEST_CASE("structured embeddings: tokens of one concept resemble one another", "[representation]") {
    ModelOptions o = small_model("raw", "investigator");
    o.embeddings = "structured", o.d_model = 128, o.heads = 4;
    Built b(o, 256, 32);
    const float* e = b.parameter("token.weight");
    const auto cosine = [&](int i, int j) {
        double xy = 0, xx = 0, yy = 0;
        for (int c = 0; c < 128; ++c) {
            const double x = e[i * 128 + c], y = e[j * 128 + c];
            xy += x * y, xx += x * x, yy += y * y;
        }
        return xy / std::sqrt(xx * yy);
    };
    double within = 0, across = 0;
    for (int concept_ = 0; concept_ < 50; ++concept_) {
        within += cosine(5 * concept_ + 1, 5 * concept_ + 5) / 50;
        across += cosine(5 * concept_ + 5, 5 * concept_ + 6) / 50;
    }
    CHECK(std::abs(within - 0.8) < 0.05); // 1 / (1 + 1/4)
    CHECK(std::abs(across) < 0.05);
}

TEST_CASE("bad combinations of mechanisms are refused with the remedy", "[routing]") {
    const auto refused = [](auto change, const std::string& words) {
        Options o = tiny_run("raw", "investigator");
        change(o);
        try {
            resolve(o);
        } catch (const Error& e) {
            INFO(e.what());
            CHECK(e.exit == Exit::usage);
            CHECK(std::string(e.what()).find(words) != std::string::npos);
            return;
        }
        FAIL("not refused: " << words);
    };
    refused([](Options& o) { o.model.router = "segment-mean", o.task.length = 40; }, "not a multiple");
    refused([](Options& o) { o.model.router = "segment-max", o.model.top_k = 17; }, "16 segments");
    refused([](Options& o) { o.model.representation = "budgeted-attention:1.5"; }, "the share of the tokens");
    refused([](Options& o) { o.model.representation = "budgeted-attention:0.5", o.model.router = "none"; }, "reward");
    refused([](Options& o) { o.train.contrastive = "frozen", o.model.router = "rank1"; }, "--router investigator");
    refused([](Options& o) { o.model.representation = "global-mean:2"; }, "has no layers");
}
