// Parts of the CUDA twins that no row of the op table reaches: arrays of positions, the root of the tape, and the step
// of a whole model on a GPU's tape against the CPU's. On the emulator, or on a GPU.
#include <algorithm>
#include <cmath>
#include <limits>

#include "model/fci.h"
#include "ops/cross_entropy.h"
#include "ops/indices.h"
#include "tests/catch.h"
#include "tests/side.h"
#include "train/gpu.h"

using namespace fci;

namespace emulator {
[[gnu::weak]] void set_order(int); // order of a kernel's threads; not linked on a GPU
}

namespace {

struct Step {
    std::vector<ParameterInfo> infos;
    std::vector<float> scores, logits, losses, grad;
    std::vector<int32_t> chosen, seen;
};

struct Sizes {
    int vocab = 40, length = 32, batch = 2, queries = 2;
};

enum class Loss { routing_and_answer, contrastive };

// Forward and backward with the same parameters on the same tokens. No token occurs twice in a sequence: with equal
// scores, rounding would decide the choice.
Step step_on(Device device, const ModelOptions& o, Loss loss = Loss::routing_and_answer, Sizes sizes = {}) {
    const auto [vocab, length, batch, queries] = sizes;
    Side side(device);
    Tape& tape = side.tape;
    Step step;
    ParameterBinder layout;
    const Model measure(layout, o, vocab, length);
    step.infos = layout.infos();
    std::vector<float> start(layout.block_size());
    initialise(step.infos, 1, start.data());
    for (const ParameterInfo& p : step.infos) // embeddings of order 1: attention that is not uniform, whose gradients
        for (int64_t i = 0; p.init.kind == Init::normal && i < p.shape.size(); ++i) // are not all cancellation
            start[p.offset + i] *= 50;
    float *data = side.in(start), *grad = side.in(std::vector<float>(start.size(), 0.f));
    ParameterBinder binder(data, grad);
    const Model model(binder, o, vocab, length);

    std::vector<int32_t> token(batch * length), answer(batch * queries), asking{3, 30, 17, 3}; // once and twice
    for (int i = 4; i < batch * queries; ++i) asking.push_back(i * 13 % length);
    for (int i = 0; i < batch * length; ++i) token[i] = i * 7 % 37;
    const int places = length / model.place_length();
    for (int i = 0; i < batch * queries; ++i) answer[i] = (5 * i + 3) % places;
    const IntTensor tokens{side.in(token), {batch, length}}, query{side.in(asking), {batch, queries}},
        target{side.in(answer), {batch, queries}};
    const auto add_loss = [&](Tensor z) {
        const std::vector<float> l = side.out(cross_entropy(tape, z, target, 0.25f));
        step.losses.insert(step.losses.end(), l.begin(), l.end());
    };
    if (loss == Loss::contrastive) {
        const Tensor scores = model.contrastive_scores(tape, tokens, query);
        add_loss(scores);
        step.scores = side.out(scores);
    } else {
        const Model::Output out = model(tape, tokens, query);
        if (out.scores) {
            add_loss(out.scores);
            step.scores = side.out(out.scores), step.chosen = side.out(out.chosen), step.seen = side.out(out.seen);
        }
        add_loss(out.logits);
        step.logits = side.out(out.logits);
    }
    tape.backward();
    step.grad = side.out(grad, static_cast<int64_t>(start.size()));
    return step;
}

// The largest difference, as a share of the largest entry.
double difference(const float* x, const float* y, int64_t n) {
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; ++i) {
        if (!std::isfinite(y[i])) return INFINITY;
        most = std::max(most, std::abs(double{x[i]} - y[i]));
        scale = std::max(scale, std::abs(double{x[i]}));
    }
    return scale > 0 ? most / scale : most;
}

// Both sides evaluate the same formulas in float and differ in the order of sums alone. A sum of n numbers is off by
// about sqrt(n) eps/2 of their size; here n <= 200 and some 20 sums follow one another: 1.7e-5, of the largest entry.
void compare(const ModelOptions& o, Loss loss = Loss::routing_and_answer, Sizes sizes = {}) {
    INFO(o.representation << " " << o.router << " " << o.embeddings << ", d " << o.d_model << ", k " << o.top_k);
    const Step cpu = step_on(Device::cpu, o, loss, sizes), gpu = step_on(Device::cuda, o, loss, sizes);
    constexpr double tolerance = 3e-5;
    const auto close = [&](const std::vector<float>& x, const std::vector<float>& y) {
        return x.size() == y.size() && difference(x.data(), y.data(), static_cast<int64_t>(x.size())) < tolerance;
    };
    CHECK(close(cpu.scores, gpu.scores));
    CHECK(close(cpu.logits, gpu.logits));
    CHECK(close(cpu.losses, gpu.losses));
    CHECK(cpu.chosen == gpu.chosen);
    CHECK(cpu.seen == gpu.seen);
    for (const ParameterInfo& p : cpu.infos) {
        INFO(p.name);
        const float* expected = cpu.grad.data() + p.offset;
        CHECK(difference(expected, gpu.grad.data() + p.offset, p.shape.size()) < tolerance);
        const bool learns = std::any_of(expected, expected + p.shape.size(), [](float g) { return g != 0; });
        CHECK((learns || !p.learned || loss == Loss::contrastive)); // there the mixing and the head take no part
    }
    for (const int order : {1, 2}) { // the same bits again
        if (emulator::set_order) emulator::set_order(order);
        CHECK(step_on(Device::cuda, o, loss, sizes).grad == gpu.grad);
    }
    if (emulator::set_order) emulator::set_order(0);
}

ModelOptions small_model(const std::string& representation, const std::string& router) {
    ModelOptions o;
    o.representation = representation, o.router = router;
    o.d_model = 16, o.heads = 2, o.top_k = 3;
    o.mean_residual = true; // else global-mean makes all positions alike, and the choice has no reason
    return o;
}

} // namespace

TEST_CASE("twins: arrays of positions", "[twin]") {
    for (const auto& [n, period] : {std::pair{1, 1}, {300, 1}, {257, 3}, {6, 9}}) {
        Side cpu(Device::cpu), gpu(Device::cuda);
        CHECK(gpu.out(cycle(gpu.tape, {n}, period)) == cpu.out(cycle(cpu.tape, {n}, period)));
    }
    for (const auto& [rows, k, size] : {std::array{1, 1, 1}, {3, 2, 5}, {40, 3, 4}}) {
        std::vector<int32_t> chosen(2 * rows * 2 * k);
        for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = static_cast<int32_t>(i * 5 % 16);
        std::vector<int32_t> places[2];
        for (const Device device : {Device::cpu, Device::cuda}) {
            Side side(device);
            const IntTensor of{side.in(chosen), {2, rows, 2 * k}};
            places[device == Device::cuda] = side.out(expand_places(side.tape, of, size));
        }
        CHECK(places[0] == places[1]);
        CHECK(places[0][size - 1] == chosen[0] * size + size - 1);
    }
}

TEST_CASE("twins: the root of the tape, with and without a factor on the device", "[twin]") {
    const int rows = 5, classes = 130;
    std::vector<float> z(rows * classes);
    for (size_t i = 0; i < z.size(); ++i) z[i] = std::sin(static_cast<float>(i) * 0.7f) * 4;
    for (const bool with_factor : {false, true}) {
        std::vector<float> loss[2], dloss[2], dz[2];
        for (const Device device : {Device::cpu, Device::cuda}) {
            Side side(device);
            const float* factor = side.in(std::vector{0.375f});
            const Tensor scores{side.in(z), side.in(std::vector<float>(z.size(), 0.f)), {rows, classes}};
            const IntTensor target{side.in(std::vector{0, 129, 64, 31, 32}), {rows}};
            const Tensor y = cross_entropy(side.tape, scores, target, 0.5f, with_factor ? factor : nullptr);
            side.tape.backward();
            const int at = device == Device::cuda;
            loss[at] = side.out(y), dloss[at] = side.out(y.grad, rows);
            dz[at] = side.out(scores.grad, static_cast<int64_t>(z.size()));
        }
        CHECK(dloss[1] == std::vector<float>(rows, with_factor ? 0.1875f : 0.5f));
        CHECK(dloss[0] == dloss[1]);
        CHECK(difference(loss[0].data(), loss[1].data(), rows) < 1e-6);
        CHECK(difference(dz[0].data(), dz[1].data(), rows * classes) < 1e-6);
    }
}

TEST_CASE("twins: losses and hits at once are those of the ops, bit for bit", "[twin]") {
    constexpr int queries = 3, classes = 130, places = 65, k = 2;
    std::vector<float> logits(queries * classes), scores(queries * places);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i) * 0.7f) * 4;
    for (size_t i = 0; i < scores.size(); ++i) scores[i] = std::cos(static_cast<float>(i) * 0.9f) * 200;
    Side gpu(Device::cuda);
    const auto tensor = [&](const std::vector<float>& x, int columns) {
        return Tensor{gpu.in(x), gpu.in(std::vector<float>(x.size(), 0.f)), {queries, columns}};
    };
    const IntTensor label{gpu.in(std::vector{0, 129, 64}), {queries}}, place{gpu.in(std::vector{7, 64, 0}), {queries}};
    const int32_t* chosen = gpu.in(std::vector{7, 1, 8, 2, 3, 64, 4, 64, 1, 2, 2, 3});
    const float* factor = gpu.in(std::vector{0.375f});
    std::vector<std::vector<float>> numbers[2];
    std::vector<int32_t> hits[2];
    for (const bool at_once : {false, true}) {
        const Tensor z = tensor(logits, classes), s = tensor(scores, places);
        GpuCount count{queries,    k,          classes,
                       chosen,     place.data, nullptr,
                       label.data, z.data,     gpu.in(std::vector<int32_t>(5 * queries, -1)),
                       s.data,     places};
        Tensor answer{gpu.arena.floats(queries), nullptr, {queries}},
            routing{gpu.arena.floats(queries), nullptr, {queries}};
        if (at_once) {
            cuda::losses_and_hits(count, {0.5f, 0.25f, factor, answer.data, routing.data, z.grad, s.grad});
        } else {
            answer = cross_entropy(gpu.tape, z, label, 0.5f),
            routing = cross_entropy(gpu.tape, s, place, 0.25f, factor);
            cuda::count_hits(count);
            gpu.tape.backward();
        }
        numbers[at_once] = {gpu.out(answer), gpu.out(routing), gpu.out(z.grad, z.size()), gpu.out(s.grad, s.size())};
        hits[at_once] = gpu.out(count.hits, 5 * queries);
    }
    CHECK(numbers[0] == numbers[1]);
    CHECK(hits[0] == hits[1]);
    CHECK(std::vector(hits[1].begin(), hits[1].begin() + 6) == std::vector{1, 1, 0, 1, 0, 0}); // at k, at 1
}

TEST_CASE("twins: the right places of a batch, each once, for more queries than threads", "[twin]") {
    const int count = 3, queries = 200, length = 12, place_length = 3, first = 1, batch = 3; // one more than there are
    std::vector<int32_t> begin{0}, correct, places, bounds{0};
    for (int q = 0; q < count * queries; ++q) {
        for (int at = q % 5; at < length; at += 1 + q % 7) correct.push_back(at);
        begin.push_back(static_cast<int32_t>(correct.size()));
    }
    for (int i = first; i < first + batch; ++i)
        for (int q = std::min(i, count - 1) * queries, end = q + queries; q < end; ++q) {
            for (int r = begin[q]; r < begin[q + 1]; ++r)
                if (r == begin[q] || correct[r] / place_length != places.back())
                    places.push_back(correct[r] / place_length);
            bounds.push_back(static_cast<int32_t>(places.size()));
        }
    Side gpu(Device::cuda);
    GpuSequences from{};
    from.tokens = gpu.in(std::vector<int32_t>(count * length)),
    from.query = gpu.in(std::vector<int32_t>(count * queries));
    from.begin = gpu.in(begin), from.correct = gpu.in(correct);
    from.count = count, from.length = length, from.queries = queries, from.place_length = place_length;
    GpuBatch to{};
    to.tokens = gpu.arena.array<int32_t>(batch * length), to.query = gpu.arena.array<int32_t>(batch * queries);
    to.place = gpu.arena.array<int32_t>(places.size()), to.bounds = gpu.arena.array<int32_t>(bounds.size());
    to.batch = batch;
    GpuTest begun{};
    begun.first = first;
    GpuTest* test = gpu.in(std::vector{begun});
    cuda::gather_batch(from, test, to);
    CHECK(gpu.out(to.bounds, static_cast<int64_t>(bounds.size())) == bounds);
    CHECK(gpu.out(to.place, static_cast<int64_t>(places.size())) == places);
}

TEST_CASE("twins: a test counts each sequence once, also where its last batch is not full", "[twin]") {
    constexpr int batch = 3, queries = 100, n = batch * queries;
    for (const int count : {1, 3, 7}) {
        Side gpu(Device::cuda);
        std::vector<int32_t> hits(5 * n);
        for (int kind = 0; kind < 5; ++kind)
            for (int i = 0; i < n; ++i) hits[kind * n + i] = (i / queries + i) % (kind + 2) == 0;
        GpuSequences of{};
        of.count = count, of.queries = queries;
        GpuCount counted{};
        counted.queries = n, counted.hits = gpu.in(hits);
        GpuTest* test = gpu.in(std::vector{GpuTest{}});
        int64_t expected[5] = {}, first = 0;
        for (; first < count; first += batch) {
            cuda::finish_test_batch(of, counted, batch, test);
            for (int kind = 0; kind < 5; ++kind)
                for (int i = 0; i < std::min<int64_t>(count - first, batch) * queries; ++i)
                    expected[kind] += hits[kind * n + i];
        }
        const GpuTest t = gpu.out(test, 1)[0];
        INFO(count << " sequences");
        CHECK(t.first == first);
        CHECK((t.at_k == expected[0] && t.at_1 == expected[1] && t.correct == expected[2] && t.all == expected[3]));
        CHECK(t.not_finite == expected[4]);
    }
}

TEST_CASE("twins: a step of every representation on the GPU against the CPU", "[twin]") {
    for (const RepresentationKind* kind : representations()) { // one hub alone would get no gradient of its queries
        const bool has_number = kind->number.what && !kind->counts_layers();
        compare(small_model(has_number ? fmt::format("{}:{}", kind->name, kind->number.example) : kind->name,
                            "investigator"));
    }
    for (const char* more : {"causal-transformer:2", "bidir-flow:2"}) compare(small_model(more, "investigator"));
}

TEST_CASE("twins: a step of every router on the GPU against the CPU", "[twin]") {
    for (const RouterKind* kind : routers())
        if (kind->type == RouterKind::in_model && std::string(kind->name) != "investigator")
            compare(small_model("transformer:1", kind->name));
    ModelOptions normed = small_model("transformer:1", "closed-loop");
    normed.router_norm = true; // of every row, and three times of the query's
    compare(normed);
    ModelOptions anchored = small_model("raw", "investigator");
    anchored.embeddings = "anchors";
    compare(anchored);
    compare(small_model("raw", "investigator"), Loss::contrastive);
}

// Where the tail is one node (model/tail.h), and a width that it does not take, beside the CPU's ops.
TEST_CASE("twins: router, Council and head at once, of every shape, are the CPU's ops", "[twin]") {
#if defined(__SANITIZE_THREAD__) // a thread's turn takes 1000 times as long there
    constexpr int most = 2;
#else
    constexpr int most = 7;
#endif
    struct {
        int d, heads, k;
        Sizes sizes;
    } const shapes[] = {{4, 1, 1, {}},
                        {20, 5, 2, {41, 33, 2, 2}},
                        {16, 4, 17, {40, 35, 2, 2}}, // more choices than lanes
                        {36, 3, 5, {39, 31, 1, 4}},
                        {136, 2, 3, {300, 32, 1, 4}},
                        {18, 2, 3, {}},
                        {64, 4, 4, {40, 37, 3, 2}}};
    for (int i = 0; i < most; ++i) {
        ModelOptions o = small_model("raw", "investigator");
        o.d_model = shapes[i].d, o.heads = shapes[i].heads, o.top_k = shapes[i].k;
        compare(o, Loss::routing_and_answer, shapes[i].sizes);
    }
}
