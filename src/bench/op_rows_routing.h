// Descriptions of the ops of segment routers, the memory bank, InfoNCE, anchors and budgeted attention. See op_table.h.
#pragma once
#include "bench/op_table.h"
#include "ops/anchors.h"
#include "ops/budget.h"
#include "ops/dot_scores.h"
#include "ops/memory_scores.h"
#include "ops/replace_rows.h"
#include "ops/segment_pool.h"
#include "ops/set_cross_entropy.h"

namespace fci {

template <class Op>
Op segment_pool_op(SegmentShape s, Pool pool, const char* pool_name) {
    Op op{
        fmt::format("segment_pool {} batch={} time={} segments={} d={}", pool_name, s.batch, s.time, s.segments, s.d)};
    const Buffer x = op.input("x", s.batch * s.time * s.d), y = op.output("y", s.size());
    const IndexBuffer argmax = pool == Pool::max ? op.index_output("argmax", s.size()) : IndexBuffer{};
    op.cost = segment_pool_cost(s);
    op.forward =
        Op::calls_of(FCI_TWIN(segment_pool_forward), [=](auto& m, auto f) { f(s, pool, m[x], m[y], m[argmax]); });
    op.backward = Op::calls_of(FCI_TWIN(segment_pool_backward),
                               [=](auto& m, auto f) { f(s, pool, m[argmax], m.grad(y), m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) {
        return segment_pool(tape, m.tensor(x, {s.batch, s.time, s.d}), s.segments, pool);
    };
    return op;
}

// The sets have 1, 2, ... `most` classes and then 1 again, spread over all classes.
template <class Op>
Op set_cross_entropy_op(SetCrossEntropyShape s, int most, float range, float offset = 0) { // its node sets dloss itself
    Op op{fmt::format("set_cross_entropy rows={} classes={} most={} range={}", s.rows, s.classes, most, range)};
    if (offset != 0) op.name += fmt::format(" offset={}", offset);
    std::vector<int32_t> begins{0}, targets;
    for (int r = 0; r < s.rows; ++r) {
        const int size = 1 + r % most;
        for (int i = 0; i < size; ++i) targets.push_back((i * s.classes + r) / size % s.classes);
        begins.push_back(static_cast<int32_t>(targets.size()));
    }
    const IndexBuffer begin = op.index_input("begin", begins), target = op.index_input("target", targets);
    const Buffer z = op.input("z", s.rows * s.classes, uniform(offset - range, offset + range)),
                 loss = op.output("loss", s.rows), lse = op.saved("lse", 2 * s.rows),
                 held = op.saved("held", 2 * s.rows);
    op.cost = set_cross_entropy_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(set_cross_entropy_forward),
                              [=](auto& m, auto f) { f(s, m[z], m[begin], m[target], m[loss], m[lse], m[held]); });
    op.backward = Op::calls_of(FCI_TWIN(set_cross_entropy_backward), [=](auto& m, auto f) {
        f(s, m[z], m[begin], m[target], m[lse], m[held], m.grad(loss), m.grad(z));
    });
    return op;
}

template <class Op>
Op dot_scores_op(DotShape s) {
    Op op{fmt::format("dot_scores batch={} rows={} keys={} d={}", s.batch, s.rows, s.keys, s.d)};
    const float scale = 0.375f;
    const Buffer q = op.input("q", s.batch * s.rows * s.d), k = op.input("k", s.batch * s.keys * s.d),
                 scores = op.output("s", s.batch * s.rows * s.keys);
    op.cost = dot_scores_cost(s);
    op.forward =
        Op::calls_of(FCI_TWIN(dot_scores_forward), [=](auto& m, auto f) { f(s, scale, m[q], m[k], m[scores]); });
    op.backward = Op::calls_of(FCI_TWIN(dot_scores_backward),
                               [=](auto& m, auto f) { f(s, scale, m[q], m[k], m.grad(scores), m.grad(q), m.grad(k)); });
    op.node = [=](Tape& tape, auto& m) {
        return dot_scores(tape, m.tensor(q, {s.batch, s.rows, s.d}), m.tensor(k, {s.batch, s.keys, s.d}), scale);
    };
    return op;
}

template <class Op>
Op memory_scores_op(MemoryShape s) {
    Op op{fmt::format("memory_scores batch={} time={} rows={} slots={}", s.batch, s.time, s.rows, s.slots)};
    const Buffer z = op.input("z", s.batch * s.time * s.slots, uniform(-3, 3)),
                 zq = op.input("zq", s.batch * s.rows * s.slots, uniform(-3, 3)),
                 scores = op.output("s", s.batch * s.rows * s.time), saved = op.saved("saved", s.saved());
    op.cost = memory_scores_cost(s);
    op.forward =
        Op::calls_of(FCI_TWIN(memory_scores_forward), [=](auto& m, auto f) { f(s, m[z], m[zq], m[scores], m[saved]); });
    op.backward = Op::calls_of(FCI_TWIN(memory_scores_backward), [=](auto& m, auto f) {
        f(s, m[saved], m[scores], m.grad(scores), m.grad(z), m.grad(zq));
    });
    op.node = [=](Tape& tape, auto& m) {
        return memory_scores(tape, m.tensor(z, {s.batch, s.time, s.slots}), m.tensor(zq, {s.batch, s.rows, s.slots}));
    };
    return op;
}

template <class Op>
Op anchors_op(AnchorShape s) {
    Op op{fmt::format("anchors rows={} anchors={} d={}", s.rows, s.anchors, s.d)};
    const Buffer x = op.input("x", s.rows * s.d), a = op.input("A", s.anchors * s.d), y = op.output("y", s.rows * s.d),
                 p = op.saved("P", s.rows * s.anchors);
    op.cost = anchors_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(anchors_forward), [=](auto& m, auto f) { f(s, m[x], m[a], m[y], m[p]); });
    op.backward = Op::calls_of(FCI_TWIN(anchors_backward),
                               [=](auto& m, auto f) { f(s, m[x], m[a], m[p], m.grad(y), m.grad(x), m.grad(a)); });
    op.node = [=](Tape& tape, auto& m) {
        return anchors(tape, m.tensor(x, {s.rows, s.d}), m.tensor(a, {s.anchors, s.d}));
    };
    return op;
}

template <class Op>
Op replace_rows_op(GatherShape s) {
    Op op{fmt::format("replace_rows batch={} time={} rows={} d={}", s.batch, s.time, s.rows, s.d)};
    const IndexBuffer index = op.index_input("index", s.batch * s.rows, s.time, s.rows);
    const Buffer x = op.input("x", s.batch * s.time * s.d), z = op.input("z", s.batch * s.rows * s.d),
                 y = op.output("y", s.batch * s.time * s.d);
    op.cost = replace_rows_cost(s);
    op.forward =
        Op::calls_of(FCI_TWIN(replace_rows_forward), [=](auto& m, auto f) { f(s, m[x], m[index], m[z], m[y]); });
    op.backward = Op::calls_of(FCI_TWIN(replace_rows_backward),
                               [=](auto& m, auto f) { f(s, m[index], m.grad(y), m.grad(x), m.grad(z)); });
    op.node = [=](Tape& tape, auto& m) {
        return replace_rows(tape, m.tensor(x, {s.batch, s.time, s.d}), m.tensor(index, {s.batch, s.rows}),
                            m.tensor(z, {s.batch, s.rows, s.d}));
    };
    return op;
}

template <class Op>
Op budget_bounds_op(BudgetShape s, float low, float high) {
    Op op{fmt::format("budget_bounds batch={} time={} d={} A^-1 from {}", s.batch, s.time, s.d, low)};
    const Buffer x = op.input("x", s.batch * s.time * s.d, uniform(0.2f, 1)), // keeps x . A^-1 x far from 0
        inverse = op.input("inverse", s.d * s.d, uniform(low, high)), theta = op.input("theta", s.d),
                 bound = op.output("bound", s.batch * s.time);
    op.forward =
        Op::calls_of(FCI_TWIN(budget_bounds), [=](auto& m, auto f) { f(s, m[x], m[inverse], m[theta], m[bound]); });
    return op;
}

template <class Op>
Op budget_choose_op(BudgetShape s, const char* kind, Fill fill) {
    Op op{fmt::format("budget_choose batch={} time={} chosen={} {}", s.batch, s.time, s.chosen, kind)};
    const Buffer bound = op.input("bound", s.batch * s.time, fill);
    const IndexBuffer chosen = op.index_output("chosen", s.batch * s.chosen);
    op.forward = Op::calls_of(FCI_TWIN(budget_choose), [=](auto& m, auto f) { f(s, m[bound], m[chosen]); });
    return op;
}

template <class Op>
Op budget_gram_op(BudgetShape s) {
    Op op{fmt::format("budget_gram batch={} time={} chosen={} d={}", s.batch, s.time, s.chosen, s.d)};
    const Buffer x = op.input("x", s.batch * s.time * s.d), gram = op.output("gram", s.batch * s.d * s.d),
                 sum = op.output("sum", s.batch * s.d);
    const IndexBuffer chosen = op.index_input("chosen", s.batch * s.chosen, s.time, s.chosen);
    op.forward = Op::calls_of(FCI_TWIN(budget_gram), [=](auto& m, auto f) { f(s, m[x], m[chosen], m[gram], m[sum]); });
    return op;
}

// Starts from `before` losses with the mean 1/2, A = I and the sums of squares of three tokens per sequence.
template <class Op>
Op budget_learn_op(BudgetLearnShape s, int before) {
    Op op{fmt::format("budget_learn batch={} rows={} d={} before={}", s.batch, s.rows, s.d, before)};
    constexpr int tokens = 3;
    const Buffer x = op.input("x", s.batch * tokens * s.d), c = op.input("c", s.d),
                 loss = op.input("loss", s.batch * s.rows, uniform(0, 2)), new_A = op.output("A", s.d * s.d),
                 inverse = op.output("A^-1", s.d * s.d), new_c = op.output("new c", s.d),
                 theta = op.output("theta", s.d), losses = op.output("losses", 2),
                 gram = op.saved("gram", s.batch * s.d * s.d), sum = op.saved("sum", s.batch * s.d);
    const IndexBuffer skip = before ? op.index_input("skip", 1, 1) : IndexBuffer{}; // 0
    op.forward = Op::calls_of(FCI_TWIN(budget_learn), [=](auto& m, auto f) {
        const int d = s.d;
        for (int i = 0; i < s.batch * d; ++i) m[sum][i] = 0;
        for (int i = 0; i < s.batch * d * d; ++i) m[gram][i] = 0;
        for (int r = 0; r < s.batch * tokens; ++r)
            for (int b = r / tokens, i = 0; i < d; ++i) {
                m[sum][b * d + i] += m[x][r * d + i];
                for (int j = 0; j < d; ++j) m[gram][(b * d + i) * d + j] += m[x][r * d + i] * m[x][r * d + j];
            }
        for (int i = 0; i < s.d * s.d; ++i) m[new_A][i] = i % (s.d + 1) == 0;
        std::copy_n(m[c], s.d, m[new_c]);
        m[losses][0] = 0.5f * static_cast<float>(before), m[losses][1] = static_cast<float>(before);
        f(s, m[gram], m[sum], m[loss], {m[new_A], m[inverse], m[new_c], m[theta], m[losses]}, m[skip]);
    });
    return op;
}

} // namespace fci
