#include "nn/budget.h"

#include <algorithm>
#include <cmath>

#include "nn/representation.h"
#include "nn/transformer.h"
#include "ops/gather.h"
#include "ops/replace_rows.h"

namespace fci {

Budget::Budget(ParameterBinder& p, const std::string& name, int d, double share)
    : d_(d), share_(share), a_(p.add(name + ".A", {d, d}, {Init::identity, 1.f}, false)),
      inverse_(p.add(name + ".inverse", {d, d}, {Init::identity, 1.f}, false)), c_(p.add(name + ".b", {d}, {}, false)),
      theta_(p.add(name + ".theta", {d}, {}, false)), losses_(p.add(name + ".losses", {2}, {}, false)) {}

IntTensor Budget::choose(Tape& tape, Tensor x) const {
    const int batch = x.shape[0], t = x.shape[1];
    const BudgetShape s{batch, t, std::clamp(static_cast<int>(std::lround(share_ * t)), 1, t), d_};
    const Device device = tape.device();
    Arena& arena = tape.arena();
    int32_t* chosen = arena.array<int32_t>(int64_t{batch} * s.chosen);
    const Arena::Mark mark = arena.mark();
    float* bound = arena.floats(int64_t{batch} * t);
    FCI_ON(device, budget_bounds)(s, x.data, inverse_.data, theta_.data, bound);
    FCI_ON(device, budget_choose)(s, bound, chosen);
    arena.release(mark);
    tape.append("budget", {}, budget_cost(s), [] {});
    return {chosen, {batch, s.chosen}};
}

Budget::Observations::Observations(Arena& arena, BudgetLearnShape s)
    : shape(s), device(arena.device()), gram(arena.floats(int64_t{s.batch} * s.d * s.d)),
      sum(arena.floats(int64_t{s.batch} * s.d)) {}

void Budget::Observations::set(int first, Tensor x, IntTensor chosen) {
    const int64_t d = shape.d;
    FCI_ON(device, budget_gram)
    ({x.shape[0], x.shape[1], chosen.shape[1], shape.d}, x.data, chosen.data, gram + first * d * d, sum + first * d);
}

void Budget::learn(const Observations& e, const float* loss, const int* skip) const {
    FCI_ON(e.device, budget_learn)
    (e.shape, e.gram, e.sum, loss, {a_.data, inverse_.data, c_.data, theta_.data, losses_.data}, skip);
}

void Budget::expect_finite() const {
    if (!Tape::finite(inverse_.data, inverse_.size()))
        fail(Exit::non_finite, "budgeted attention: the bandit's A ({0},{0}) is not positive definite", d_);
}

namespace {

Block build(ParameterBinder& p, const std::string& name, const BlockShape& s) {
    const TransformerBlock block(p, name, s.d, s.heads, false);
    const Budget budget(p, name + ".budget", s.d, s.number);
    const auto mix = [block, budget](Tape& tape, Tensor x) {
        Mixed out;
        out.features = x;
        out.taking_part = budget.choose(tape, x);
        out.x = replace_rows(tape, x, out.taking_part, block(tape, gather(tape, x, out.taking_part)));
        return out;
    };
    return {mix, budget};
}

} // namespace

namespace representation_kinds {
extern const RepresentationKind budgeted_attention{.name = "budgeted-attention",
                                                   .number = {"the share of the tokens", 0.001, 1, 0.5, "0.5", false},
                                                   .attends = true,
                                                   .needs_routing = true,
                                                   .widest = BudgetShape::widest,
                                                   .build = build};
} // namespace representation_kinds

} // namespace fci
