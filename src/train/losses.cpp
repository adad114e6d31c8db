#include "train/losses.h"

#include <algorithm>
#include <cstring>

#include "ops/cross_entropy.h"
#include "ops/set_cross_entropy.h"

namespace fci {
namespace {

Tensor routing_loss(Tape& tape, Tensor scores, const Batch& b, float weight, const float* factor) {
    return b.bounds.data ? set_cross_entropy(tape, scores, b.bounds, b.place, weight, factor)
                         : cross_entropy(tape, scores, b.place, weight, factor);
}

int most_correct(const Dataset& d) { // of a query
    int most = 1;
    for (size_t i = 1; i < d.correct.begin.size(); ++i)
        most = std::max(most, d.correct.begin[i] - d.correct.begin[i - 1]);
    return most;
}

// Of one query's n scores, the last place chosen being chosen[k-1].
void look_closely(Counts& c, const float* scores, int n, const int32_t* chosen, int k,
                  std::span<const int32_t> correct) {
    const float cut = scores[chosen[k - 1]];
    float best = scores[correct[0]];
    for (const int32_t place : correct) best = std::max(best, scores[place]);
    const auto as_high = std::count_if(scores, scores + n, [&](float s) { return s >= cut; });
    ++c.compared;
    c.strict += best > cut || (best == cut && as_high <= k);
    c.tied += best == cut && as_high > k;
}

} // namespace

Batch gather_targets(Arena& arena, const Dataset& d, int place_length, int first, int n, const int* order) {
    const auto index_of = [&](int i) { return int64_t{order ? order[first + i] : first + i}; };
    const auto rows = [&](const std::vector<int32_t>& from, int width) {
        int32_t* to = arena.array<int32_t>(int64_t{n} * width);
        for (int i = 0; i < n; ++i)
            std::memcpy(to + int64_t{i} * width, from.data() + index_of(i) * width, width * sizeof(int32_t));
        return IntTensor{to, {n, width}};
    };
    Batch b{rows(d.tokens, d.length), rows(d.query, d.queries), {}, {}, {}};
    if (!d.label.empty()) b.label = rows(d.label, d.queries);
    const int queries = n * d.queries;
    int32_t* place = arena.array<int32_t>(int64_t{queries} * most_correct(d));
    if (d.correct.empty()) {
        const IntTensor answer = rows(d.answer, d.queries);
        for (int64_t i = 0; i < queries; ++i) place[i] = answer.data[i] / place_length;
        b.place = {place, answer.shape};
        return b;
    }
    int32_t *bounds = arena.array<int32_t>(queries + 1), *to = place;
    for (int i = 0; i < queries; ++i) {
        bounds[i] = static_cast<int32_t>(to - place);
        for (const int32_t p : d.correct[index_of(i / d.queries) * d.queries + i % d.queries])
            if (to == place + bounds[i] || to[-1] != p / place_length) *to++ = p / place_length; // each once
    }
    bounds[queries] = static_cast<int32_t>(to - place);
    b.place = {place, {bounds[queries]}}, b.bounds = {bounds, {queries + 1}};
    return b;
}

Batch gather_batch(Arena& arena, const Dataset& d, int place_length, int first, int n, const int* order) {
    Batch b = gather_targets(arena, d, place_length, first, n, order);
    if (!d.features) return b;
    int* sequences = arena.array<int>(n);
    for (int i = 0; i < n; ++i) sequences[i] = order ? order[first + i] : first + i;
    const Shape shape{n, d.length, d.features->width};
    b.features = {arena.floats(shape.size()), nullptr, shape};
    d.features->read(sequences, n, b.features.data);
    return b;
}

Counts count(const Model::Output& out, const Batch& batch, int k, bool closely) {
    Counts c;
    c.queries = batch.query.shape.size();
    const int classes = out.logits.cols();
    for (int64_t i = 0; i < c.queries; ++i) {
        if (out.chosen.data) {
            const int32_t *chosen = out.chosen.data + i * 2 * k, *end = chosen + k;
            const std::span<const int32_t> correct = batch.correct(i);
            const auto is_chosen = [&](int32_t place) { return std::find(chosen, end, place) != end; };
            c.at_1 += std::find(correct.begin(), correct.end(), chosen[0]) != correct.end();
            c.at_k += std::any_of(correct.begin(), correct.end(), is_chosen);
            c.all += std::all_of(correct.begin(), correct.end(), is_chosen);
            if (closely) {
                c.neighbours += std::find_first_of(chosen, end + k, correct.begin(), correct.end()) != end + k;
                if (out.scores) {
                    const int n = out.scores.cols();
                    look_closely(c, out.scores.data + i * n, n, chosen, k, correct);
                }
            }
        }
        if (!batch.label.data) continue;
        const float* z = out.logits.data + i * classes;
        c.correct += std::max_element(z, z + classes) - z == batch.label.data[i];
    }
    return c;
}

void Counts::add(const Counts& o) {
    queries += o.queries, at_k += o.at_k, at_1 += o.at_1, correct += o.correct, all += o.all;
    answer_loss += o.answer_loss, routing_loss += o.routing_loss;
    neighbours += o.neighbours, strict += o.strict, tied += o.tied, compared += o.compared;
}

Losses losses(Tape& tape, const Model::Output& out, const Batch& b, float weight, float w, const float* factor) {
    Losses l;
    if (b.label.data) l.answer = cross_entropy(tape, out.logits, b.label, weight);
    if (!out.scores) return l;
    l.rounds = out.earlier[0] ? static_cast<int>(out.earlier.size()) + 1 : 1;
    for (int r = 0; r < l.rounds; ++r)
        l.routing[r] = routing_loss(tape, r + 1 < l.rounds ? out.earlier[r] : out.scores, b,
                                    w * weight / static_cast<float>(l.rounds), factor);
    return l;
}

Tensor contrastive_loss(Tape& tape, const Model& model, const Batch& b, float weight) {
    return routing_loss(tape, model.contrastive_scores(tape, b.tokens, b.query), b, weight, nullptr);
}

std::vector<Tape::Call> calls_of_step(const Options& o, int sequences) {
    const int length = o.task.length, queries = o.task.queries == "many" ? o.task.pairs : 1;
    Arena nowhere(Device::none);
    ParameterBinder layout;
    const Model measure(layout, o.model, o.task.vocab, length);
    ParameterBinder binder(nowhere.floats(layout.block_size()), nowhere.floats(layout.block_size()));
    const Model model(binder, o.model, o.task.vocab, length);
    const auto indices = [&](int n) {
        return IntTensor{nowhere.array<int32_t>(int64_t{sequences} * n), {sequences, n}};
    };
    Batch b{indices(length), indices(queries), indices(queries), indices(queries), {}};
    if (o.model.has_backbone()) {
        const Shape shape{sequences, length, o.model.feature_width};
        b.features = {nowhere.floats(shape.size()), nullptr, shape};
    }
    Tape tape(nowhere);
    losses(tape, model(tape, b.tokens, b.query, b.features), b, 1.f, 1.f);
    std::vector<Tape::Call> calls;
    for (size_t i = 0; i < tape.size(); ++i) calls.push_back(tape[i]);
    return calls;
}

double sequence_gflop(const Options& o) {
    double flops = 0;
    for (const Tape::Call& call : calls_of_step(o, 1))
        flops += call.cost.forward.products + call.cost.backward.products;
    return 1e-9 * flops;
}

} // namespace fci
