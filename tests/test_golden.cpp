// The layers, the optimiser and the trainer against tests/golden, computed by PyTorch in float64 (tools/golden.py).
//
// Tolerance. With u = 2^-24 (half of eps), a number after n ops in series, each a sum of up to K products, has had n K
// roundings. They are random, so their sum grows as sqrt(n K) u [Higham & Mary 2019]; the largest of a tensor's few
// thousand errors is within six such deviations. Forward and backward through a block and the Council is n = 20, and K
// = 64 is the feed-forward layer's inner width: 6 sqrt(20 * 64) u = 1.3e-5 (107 eps), relative to the largest entry of
// a tensor. Correct float32 code has only errors of this kind. A mistake in the mathematics gives errors of 1e-3 and
// more; the smallest that we could think of, eps = 1e-6 instead of 1e-5 in the norms, gives 5e-5.
//
// Twenty steps: AdamW divides a gradient by its own size, so it enlarges the rounding errors of small gradients.
// PyTorch's own curve in float32 is off by 1.6e-6 of its largest value, its final parameters by 1.8e-6; ours may be off
// ten times as far.
// off ten times as far.
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/safetensors.h"
#include "model/fci.h"
#include "nn/mixers.h"
#include "ops/cross_entropy.h"
#include "tests/catch.h"
#include "train/trainer.h"

using namespace fci;

namespace {

constexpr double u = 0x1p-24, layer_tolerance = 6 * 35.8 * u, curve_tolerance = 2e-5; // 35.8 = sqrt(20 * 64)
constexpr int d = 16, heads = 4, top_k_of_golden = 4, vocab = 32, steps = 20;

std::string golden(const std::string& name) { return "tests/golden/" + name + ".safetensors"; }

template <class T>
std::vector<T> numbers(const SafetensorsFile& file, const std::string& name) {
    const StoredTensor* t = file.find(name);
    check(t && t->dtype == (std::is_same_v<T, float> ? "F32" : "I32"),
          "golden: no {} among the file's tensors of this type", name);
    std::vector<T> x(t->bytes / sizeof(T));
    std::memcpy(x.data(), t->data, t->bytes);
    return x;
}

// "" or the worst entry. allowed(i) is the greatest |got - expected| of entry i.
template <class Allowed>
std::string compare(const std::string& name, const float* got, const std::vector<float>& expected, Allowed allowed) {
    for (size_t i = 0; i < expected.size(); ++i)
        if (const double off = std::abs(double{got[i]} - expected[i]); !(off <= allowed(i))) // NaN, too
            return fmt::format("{}[{}] is {:.9g}, expected {:.9g}: off by {:.2g}, allowed {:.2g}\n", name, i, got[i],
                               expected[i], off, allowed(i));
    return "";
}

std::string compare(const SafetensorsFile& file, const std::string& name, const float* got, double tolerance) {
    const std::vector<float> expected = numbers<float>(file, name);
    double largest = 0;
    for (const float x : expected) largest = std::max(largest, std::abs(double{x}));
    return compare(name, got, expected, [&](size_t) { return tolerance * largest; });
}

struct Parameters {
    std::vector<ParameterInfo> infos;
    std::vector<float> data, grad;

    // Binds the parameters that build(binder) creates to the file's param/NAME, all of them and no others.
    template <class Build>
    auto bind(const SafetensorsFile& file, Build build) {
        ParameterBinder layout;
        build(layout);
        infos = layout.infos();
        data.assign(layout.block_size(), 0.f);
        grad.assign(layout.block_size(), 0.f);
        fill(file, "param/", infos, data);
        ParameterBinder binder(data.data(), grad.data());
        return build(binder);
    }
    static void fill(const SafetensorsFile& file, const std::string& prefix, const std::vector<ParameterInfo>& infos,
                     std::vector<float>& block) {
        size_t stored = 0;
        for (const StoredTensor& t : file.tensors()) stored += t.name.starts_with("param/");
        check(stored == infos.size(), "golden: the file has {} parameters, the model {}", stored, infos.size());
        for (const ParameterInfo& p : infos) {
            const StoredTensor& t =
                file.require(prefix + p.name, "F32", {p.shape.n.begin(), p.shape.n.begin() + p.shape.rank});
            std::memcpy(block.data() + p.offset, t.data, t.bytes);
        }
    }
    // The first number of a weight, or the last of a bias: nothing depends on the keys' part of a joint bias (q | k
    // ends with that of k). For A_log not the states that forget at once.
    float& sensitive(const std::string& name) {
        const bool last = name.ends_with("bias") && !name.ends_with(".qk.bias");
        for (const ParameterInfo& p : infos)
            if (p.name == name) return data[p.offset + (last ? p.shape.size() - 1 : 0)];
        fail(Exit::internal, "golden: no parameter {}", name);
    }
    std::string compare_gradients(const SafetensorsFile& file) const {
        std::string wrong;
        for (const ParameterInfo& p : infos)
            wrong += compare(file, "grad/" + p.name, grad.data() + p.offset, layer_tolerance);
        return wrong;
    }
};

// An input that has a gradient.
struct Input {
    std::vector<float> data, grad;
    Tensor tensor;
    Input(const SafetensorsFile& file, const std::string& name, Shape shape)
        : data(numbers<float>(file, name)), grad(data.size()), tensor{data.data(), grad.data(), shape} {}
};

// Forward and backward through a block; "" or the differences. `spoil` may change a parameter first.
using Spoil = std::function<void(Parameters&)>;
std::string block_differences(const std::string& kind, const SafetensorsFile& file, const Spoil& spoil = {}) {
    Parameters parameters;
    const std::string name = "block.0";
    const int length = static_cast<int>(numbers<float>(file, "input/x").size()) / (2 * d);
    const auto build = [&](ParameterBinder& p) -> Block {
        if (kind == "sparse_transformer") // the file's positions instead of randomly drawn ones
            return {PreNormBlock<SparseAttention>(p, name, d, heads, numbers<int32_t>(file, "input/global"))};
        std::string registered = kind;
        std::replace(registered.begin(), registered.end(), '_', '-');
        return Mixing(registered).kind->build(p, name, {d, heads, length, 3, false, 1}); // 3: hubs
    };
    const auto block = parameters.bind(file, build);
    if (spoil) spoil(parameters);
    Input x(file, "input/x", {2, length, d});
    const std::vector<float> dy = numbers<float>(file, "input/dy");
    Arena arena;
    Tape tape(arena);
    const Tensor y = block.mix(tape, x.tensor).x;
    std::copy(dy.begin(), dy.end(), y.grad);
    tape.backward();
    return compare(file, "output/y", y.data, layer_tolerance) +
           compare(file, "grad/x", x.grad.data(), layer_tolerance) + parameters.compare_gradients(file);
}

double mean(const Tensor& t) { return std::accumulate(t.data, t.data + t.size(), 0.0) / static_cast<double>(t.size()); }

// The mean losses of a tape's two roots, and its backward pass.
std::vector<float> losses_and_backward(Tape& tape, Tensor logits, Tensor scores, IntTensor label, IntTensor answer,
                                       float w) {
    const float share = 1.f / static_cast<float>(label.shape.size());
    const double answer_loss = mean(cross_entropy(tape, logits, label, share));
    const double routing_loss = mean(cross_entropy(tape, scores, answer, w * share));
    tape.backward();
    return {static_cast<float>(answer_loss + w * routing_loss), static_cast<float>(answer_loss),
            static_cast<float>(routing_loss)};
}

std::string council_differences(const std::string& router, const SafetensorsFile& file, const Spoil& spoil = {}) {
    struct Parts {
        Router router;
        Council council;
        LayerNorm head_norm;
        Linear head;
    };
    Parameters parameters;
    const Parts parts = parameters.bind(file, [&](ParameterBinder& p) { // in the order of Model
        return Parts{router_kind(router).build(p, "router", d, heads),
                     {p, "council", d, heads},
                     {p, "head.norm", d},
                     {p, "head.linear", d, vocab}};
    });
    if (spoil) spoil(parameters);
    Input h(file, "input/h", {2, 13, d});
    const auto query = numbers<int32_t>(file, "input/query"), answer = numbers<int32_t>(file, "input/answer"),
               label = numbers<int32_t>(file, "input/label"), expected = numbers<int32_t>(file, "output/chosen");
    const IntTensor rows{query.data(), {2, 1}};
    Arena arena, other;
    Tape tape(arena), forward_only(other, false);
    const auto route = [&](Tape& on) {
        return parts.router.route(on, h.tensor, gather(on, h.tensor, rows), rows, top_k_of_golden);
    };
    const auto [scores, chosen, seen] = route(tape);
    std::string wrong;
    if (!std::equal(expected.begin(), expected.end(), seen.data)) wrong += "output/chosen differs\n";
    if (!std::equal(expected.begin(), expected.end(), route(forward_only).seen.data)) // rank1 chooses without scores
        wrong += "output/chosen at inference differs\n";
    const Tensor u_q = parts.council(tape, h.tensor, gather(tape, h.tensor, rows), seen);
    const Tensor logits = parts.head(tape, parts.head_norm(tape, u_q));
    const std::vector<float> loss = losses_and_backward(tape, logits, scores, {label.data(), {2}}, {answer.data(), {2}},
                                                        numbers<float>(file, "input/routing_weight")[0]);
    return wrong + compare(file, "output/scores", scores.data, layer_tolerance) +
           compare(file, "output/logits", logits.data, layer_tolerance) +
           compare(file, "output/loss", &loss[0], layer_tolerance) +
           compare(file, "output/answer_loss", &loss[1], layer_tolerance) +
           compare(file, "output/routing_loss", &loss[2], layer_tolerance) +
           compare(file, "grad/h", h.grad.data(), layer_tolerance) + parameters.compare_gradients(file);
}

const std::string blocks[] = {"transformer",
                              "causal_transformer",
                              "sparse_transformer",
                              "linear_attention",
                              "rank1_attention",
                              "perceiver",
                              "fourier",
                              "flow",
                              "bidir_flow"};
const std::string councils[] = {"investigator", "rank1"}; // the routers

// Options and data for which the Trainer takes the file's batches in the file's order: the Trainer shuffles, so the
// data are first permuted with the inverse.
TrainerData curve_data(const SafetensorsFile& file, const std::string& representation) {
    Options o;
    o.task.task = "other";
    o.model.representation = representation;
    o.model.d_model = d, o.model.heads = heads, o.model.top_k = top_k_of_golden;
    o.train.learning_rate = 1e-2;
    o.train.epochs = 1; // so that the routing loss has weight 1
    o.train.batch = 8;
    o.run.threads = 2;
    const int count = steps * o.train.batch;
    std::vector<int> order(count);
    std::iota(order.begin(), order.end(), 0);
    Rng rng(static_cast<uint64_t>(o.train.seed), Stream::order, 0);
    for (int i = count - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);

    Dataset data{count, 24, 1, vocab, {}, {}, {}, {}};
    const auto placed = [&](const std::string& name, int width) {
        const std::vector<int32_t> from = numbers<int32_t>(file, name);
        std::vector<int32_t> to(from.size());
        for (int i = 0; i < count; ++i) std::copy_n(from.begin() + i * width, width, to.begin() + order[i] * width);
        return to;
    };
    data.tokens = placed("input/tokens", data.length);
    data.query = placed("input/query", 1), data.answer = placed("input/answer", 1),
    data.label = placed("input/label", 1);
    return {o, data, data};
}

std::string curve_differences(const SafetensorsFile& file, const std::string& representation, const Spoil& spoil = {}) {
    Trainer trainer(curve_data(file, representation));
    Parameters start{trainer.infos(), trainer.parameters(), {}};
    Parameters::fill(file, "param/", start.infos, start.data);
    if (spoil) spoil(start);
    trainer.edit().parameters = start.data;
    std::vector<float> loss, answer_loss, routing_loss, norm;
    while (trainer.steps_done() < steps) {
        const Step s = trainer.step();
        loss.push_back(static_cast<float>(s.loss)), norm.push_back(static_cast<float>(s.grad_norm));
        answer_loss.push_back(static_cast<float>(s.answer_loss)),
            routing_loss.push_back(static_cast<float>(s.routing_loss));
    }
    std::string wrong = compare(file, "output/loss", loss.data(), curve_tolerance) +
                        compare(file, "output/answer_loss", answer_loss.data(), curve_tolerance) +
                        compare(file, "output/routing_loss", routing_loss.data(), curve_tolerance) +
                        compare(file, "output/gradient_norm", norm.data(), curve_tolerance);
    for (const ParameterInfo& p : trainer.infos()) {
        // A bias of keys shifts all scores of a softmax equally: its gradient is rounding noise, which AdamW enlarges.
        const bool full = p.name == "block.0.qkv.bias", joint = p.name == "council.kv.bias";
        const size_t no_begin = full ? d : 0, no_end = full ? 2 * d : joint ? d : 0;
        wrong +=
            compare("final/" + p.name, trainer.parameters().data() + p.offset, numbers<float>(file, "final/" + p.name),
                    [&](size_t i) { return no_begin <= i && i < no_end ? 1e30 : curve_tolerance; });
    }
    return wrong;
}

std::string first_gradient_differences(const SafetensorsFile& file, const std::string& representation) {
    Parameters parameters;
    ModelOptions o;
    o.representation = representation, o.d_model = d, o.heads = heads, o.top_k = top_k_of_golden;
    const Model model = parameters.bind(file, [&](ParameterBinder& p) { return Model(p, o, vocab, 24); });
    const auto tokens = numbers<int32_t>(file, "input/tokens"), query = numbers<int32_t>(file, "input/query"),
               answer = numbers<int32_t>(file, "input/answer"), label = numbers<int32_t>(file, "input/label");
    Arena arena;
    Tape tape(arena);
    const Model::Output out = model(tape, {tokens.data(), {8, 24}}, {query.data(), {8, 1}});
    losses_and_backward(tape, out.logits, out.scores, {label.data(), {8}}, {answer.data(), {8}}, 1.f);
    return parameters.compare_gradients(file);
}

const std::pair<std::string, std::string> curves[] = {{"curve_transformer", "transformer:1"},
                                                      {"curve_bidir_flow", "bidir-flow:1"}};

} // namespace

TEST_CASE("golden: blocks, forward and backward", "[golden]") {
    for (const std::string& kind : blocks) {
        INFO(kind);
        CHECK(block_differences(kind, SafetensorsFile(golden(kind))) == "");
    }
}

TEST_CASE("golden: router, choice, Council, head and both losses", "[golden]") {
    for (const std::string& name : councils) {
        INFO(name);
        CHECK(council_differences(name, SafetensorsFile(golden(name + "_council"))) == "");
    }
}

TEST_CASE("golden: the gradients of a whole model", "[golden]") {
    for (const auto& [name, representation] : curves) {
        INFO(name);
        CHECK(first_gradient_differences(SafetensorsFile(golden(name)), representation) == "");
    }
}

TEST_CASE("golden: twenty steps of the trainer", "[golden]") {
    for (const auto& [name, representation] : curves) {
        INFO(name);
        CHECK(curve_differences(SafetensorsFile(golden(name)), representation) == "");
    }
}

// A step rounds p three times (the decay factor, the product, the difference): 3 u |p|. The rest of the step is below 4
// * rate and has about a dozen roundings: at most 1e-9 per step, 2e-8 in twenty steps.
TEST_CASE("golden: AdamW under OneCycle, with clipping", "[golden]") {
    const SafetensorsFile file(golden("adamw"));
    const int n = 64;
    std::vector<float> p = numbers<float>(file, "param/p"), grads = numbers<float>(file, "input/grad");
    const auto rate = numbers<float>(file, "output/learning_rate"), beta1 = numbers<float>(file, "output/beta1"),
               norms = numbers<float>(file, "output/gradient_norm"), after = numbers<float>(file, "output/p");
    const OneCycle schedule{3e-4, steps};
    AdamW adamw(n);
    Workers workers(1);
    std::vector<double> partial(slices(n));
    for (int t = 0; t < steps; ++t) {
        INFO("step " << t + 1);
        float* grad = grads.data() + t * n;
        const OneCycle::Point at = schedule.at(t);
        const double norm = sum_and_norm({grad}, n, partial, workers);
        CHECK(std::abs(at.rate / rate[t] - 1) <= 2 * u);
        CHECK(std::abs(at.beta1 / beta1[t] - 1) <= 2 * u);
        CHECK(std::abs(norm / norms[t] - 1) <= 2 * u);
        adamw.step(t + 1, at, clip_factor(norm, 1.0), grad, p.data(), workers);
        const std::vector<float> expected(after.begin() + t * n, after.begin() + (t + 1) * n);
        CHECK(compare("p", p.data(), expected,
                      [&](size_t i) { return (t + 1) * (3 * u * std::abs(expected[i]) + 1e-9); }) == "");
    }
}

TEST_CASE("golden, control: one wrong number in any parameter is found", "[golden][control]") {
    const auto spoiled = [](const SafetensorsFile& file, const auto& differences) {
        for (const StoredTensor& t : file.tensors()) {
            if (!t.name.starts_with("param/")) continue;
            INFO(t.name);
            CHECK(differences([&](Parameters& p) { p.sensitive(t.name.substr(6)) += 1e-3f; }) != "");
        }
    };
    for (const std::string& kind : blocks) {
        const SafetensorsFile file(golden(kind));
        spoiled(file, [&](const Spoil& spoil) { return block_differences(kind, file, spoil); });
    }
    for (const std::string& name : councils) {
        const SafetensorsFile file(golden(name + "_council"));
        spoiled(file, [&](const Spoil& spoil) { return council_differences(name, file, spoil); });
    }
    for (const auto& [name, representation] : curves) {
        const SafetensorsFile file(golden(name));
        CHECK(curve_differences(file, representation,
                                [](Parameters& p) { p.sensitive("router.wk.weight") += 1e-3f; }) != "");
    }
}

TEST_CASE("golden, control: one wrong number in the file is found, and a file of another block is refused",
          "[golden][control]") {
    const SafetensorsFile flow(golden("flow"));
    CHECK_THROWS_AS(block_differences("bidir_flow", flow), Error);
    for (const std::string name :
         {"output/y", "grad/x", "grad/block.0.forward.A_log", "grad/block.0.norm.bias", "input/dy"}) {
        INFO(name);
        std::vector<float> changed = numbers<float>(flow, name);
        double largest = 0;
        for (const float x : changed) largest = std::max(largest, std::abs(double{x}));
        changed.back() += static_cast<float>(1e-4 * largest);
        std::vector<StoredTensor> tensors = flow.tensors();
        for (StoredTensor& t : tensors)
            if (t.name == name) t.data = changed.data();
        CHECK(block_differences("flow", SafetensorsFile(name, safetensors_bytes(tensors))) != "");
    }
}
