// Rows of the op table: the ops of segment routers, the memory bank, InfoNCE, anchors and budgeted attention.
#include <array>

#include "tests/op_table.h"
#include "tests/reference/anchors.h"
#include "tests/reference/budget.h"
#include "tests/reference/dot_scores.h"
#include "tests/reference/memory_scores.h"
#include "tests/reference/replace_rows.h"
#include "tests/reference/segment_pool.h"
#include "tests/reference/set_cross_entropy.h"

namespace fci::test {
namespace {

OpCase segment_pool_case(SegmentShape s, Pool pool, const char* pool_name) {
    OpCase op{
        fmt::format("segment_pool {} batch={} time={} segments={} d={}", pool_name, s.batch, s.time, s.segments, s.d)};
    const Buffer x = op.input("x", s.batch * s.time * s.d), y = op.output("y", s.size());
    const IndexBuffer argmax = pool == Pool::max ? op.index_output("argmax", s.size()) : IndexBuffer{};
    op.forward =
        OpCase::calls(FCI_VERSIONS(segment_pool_forward), [=](auto& m, auto f) { f(s, pool, m[x], m[y], m[argmax]); });
    op.backward = OpCase::calls(FCI_VERSIONS(segment_pool_backward),
                                [=](auto& m, auto f) { f(s, pool, m[argmax], m.grad(y), m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) {
        return segment_pool(tape, m.tensor(x, {s.batch, s.time, s.d}), s.segments, pool);
    };
    return op;
}

// The sets are of 1, 2, ... `most` classes and then of 1 again, spread over all.
OpCase set_cross_entropy_case(SetCrossEntropyShape s, int most, float range) { // its node sets dloss itself
    OpCase op{fmt::format("set_cross_entropy rows={} classes={} most={} range={}", s.rows, s.classes, most, range)};
    VisibleVector<int32_t> begin{0}, target;
    for (int r = 0; r < s.rows; ++r) {
        const int size = 1 + r % most;
        for (int i = 0; i < size; ++i) target.push_back((i * s.classes + r) / size % s.classes);
        begin.push_back(static_cast<int32_t>(target.size()));
    }
    const Buffer z = op.input("z", s.rows * s.classes, uniform(-range, range)), loss = op.output("loss", s.rows),
                 lse = op.saved("lse", s.rows), held = op.saved("held", s.rows);
    op.forward = OpCase::calls(FCI_VERSIONS(set_cross_entropy_forward), [=](auto& m, auto f) {
        f(s, m[z], begin.data(), target.data(), m[loss], m[lse], m[held]);
    });
    op.backward = OpCase::calls(FCI_VERSIONS(set_cross_entropy_backward), [=](auto& m, auto f) {
        f(s, m[z], begin.data(), target.data(), m[lse], m[held], m.grad(loss), m.grad(z));
    });
    return op;
}

OpCase dot_scores_case(DotShape s) {
    OpCase op{fmt::format("dot_scores batch={} rows={} keys={} d={}", s.batch, s.rows, s.keys, s.d)};
    const float scale = 0.375f;
    const Buffer q = op.input("q", s.batch * s.rows * s.d), k = op.input("k", s.batch * s.keys * s.d),
                 scores = op.output("s", s.batch * s.rows * s.keys);
    op.forward =
        OpCase::calls(FCI_VERSIONS(dot_scores_forward), [=](auto& m, auto f) { f(s, scale, m[q], m[k], m[scores]); });
    op.backward = OpCase::calls(FCI_VERSIONS(dot_scores_backward), [=](auto& m, auto f) {
        f(s, scale, m[q], m[k], m.grad(scores), m.grad(q), m.grad(k));
    });
    op.node = [=](Tape& tape, auto& m) {
        return dot_scores(tape, m.tensor(q, {s.batch, s.rows, s.d}), m.tensor(k, {s.batch, s.keys, s.d}), scale);
    };
    return op;
}

OpCase memory_scores_case(MemoryShape s) {
    OpCase op{fmt::format("memory_scores batch={} time={} rows={} slots={}", s.batch, s.time, s.rows, s.slots)};
    const Buffer z = op.input("z", s.batch * s.time * s.slots, uniform(-3, 3)),
                 zq = op.input("zq", s.batch * s.rows * s.slots, uniform(-3, 3)),
                 scores = op.output("s", s.batch * s.rows * s.time), saved = op.saved("saved", s.saved());
    op.forward = OpCase::calls(FCI_VERSIONS(memory_scores_forward),
                               [=](auto& m, auto f) { f(s, m[z], m[zq], m[scores], m[saved]); });
    op.backward = OpCase::calls(FCI_VERSIONS(memory_scores_backward), [=](auto& m, auto f) {
        f(s, m[saved], m[scores], m.grad(scores), m.grad(z), m.grad(zq));
    });
    op.node = [=](Tape& tape, auto& m) {
        return memory_scores(tape, m.tensor(z, {s.batch, s.time, s.slots}), m.tensor(zq, {s.batch, s.rows, s.slots}));
    };
    return op;
}

OpCase anchors_case(AnchorShape s) {
    OpCase op{fmt::format("anchors rows={} anchors={} d={}", s.rows, s.anchors, s.d)};
    const Buffer x = op.input("x", s.rows * s.d), a = op.input("A", s.anchors * s.d), y = op.output("y", s.rows * s.d),
                 p = op.saved("P", s.rows * s.anchors);
    op.forward = OpCase::calls(FCI_VERSIONS(anchors_forward), [=](auto& m, auto f) { f(s, m[x], m[a], m[y], m[p]); });
    op.backward = OpCase::calls(FCI_VERSIONS(anchors_backward),
                                [=](auto& m, auto f) { f(s, m[x], m[a], m[p], m.grad(y), m.grad(x), m.grad(a)); });
    op.node = [=](Tape& tape, auto& m) {
        return anchors(tape, m.tensor(x, {s.rows, s.d}), m.tensor(a, {s.anchors, s.d}));
    };
    return op;
}

OpCase replace_rows_case(GatherShape s) {
    OpCase op{fmt::format("replace_rows batch={} time={} rows={} d={}", s.batch, s.time, s.rows, s.d)};
    const IndexBuffer index = op.index_input("index", s.batch * s.rows, s.time, s.rows);
    const Buffer x = op.input("x", s.batch * s.time * s.d), z = op.input("z", s.batch * s.rows * s.d),
                 y = op.output("y", s.batch * s.time * s.d);
    op.forward =
        OpCase::calls(FCI_VERSIONS(replace_rows_forward), [=](auto& m, auto f) { f(s, m[x], m[index], m[z], m[y]); });
    op.backward = OpCase::calls(FCI_VERSIONS(replace_rows_backward),
                                [=](auto& m, auto f) { f(s, m[index], m.grad(y), m.grad(x), m.grad(z)); });
    op.node = [=](Tape& tape, auto& m) {
        return replace_rows(tape, m.tensor(x, {s.batch, s.time, s.d}), m.tensor(index, {s.batch, s.rows}),
                            m.tensor(z, {s.batch, s.rows, s.d}));
    };
    return op;
}

OpCase budget_bounds_case(BudgetShape s, float low, float high) {
    OpCase op{fmt::format("budget_bounds batch={} time={} d={} A^-1 from {}", s.batch, s.time, s.d, low)};
    const Buffer x = op.input("x", s.batch * s.time * s.d, uniform(0.2f, 1)), // x . A^-1 x far from 0
        inverse = op.input("inverse", s.d * s.d, uniform(low, high)), theta = op.input("theta", s.d),
                 bound = op.output("bound", s.batch * s.time);
    op.forward = OpCase::calls(FCI_VERSIONS(budget_bounds),
                               [=](auto& m, auto f) { f(s, m[x], m[inverse], m[theta], m[bound]); });
    return op;
}

OpCase budget_choose_case(BudgetShape s, const char* kind, Fill fill) {
    OpCase op{fmt::format("budget_choose batch={} time={} chosen={} {}", s.batch, s.time, s.chosen, kind)};
    const Buffer bound = op.input("bound", s.batch * s.time, fill);
    const IndexBuffer chosen = op.index_output("chosen", s.batch * s.chosen);
    op.forward = OpCase::calls(FCI_VERSIONS(budget_choose), [=](auto& m, auto f) { f(s, m[bound], m[chosen]); });
    return op;
}

OpCase budget_gram_case(BudgetShape s) {
    OpCase op{fmt::format("budget_gram batch={} time={} chosen={} d={}", s.batch, s.time, s.chosen, s.d)};
    const Buffer x = op.input("x", s.batch * s.time * s.d), gram = op.output("gram", s.batch * s.d * s.d),
                 sum = op.output("sum", s.batch * s.d);
    const IndexBuffer chosen = op.index_input("chosen", s.batch * s.chosen, s.time, s.chosen);
    op.forward =
        OpCase::calls(FCI_VERSIONS(budget_gram), [=](auto& m, auto f) { f(s, m[x], m[chosen], m[gram], m[sum]); });
    return op;
}

// From `before` losses with the mean 1/2, A = I and the sums of squares of three tokens a sequence.
OpCase budget_learn_case(BudgetLesson s, int before) {
    OpCase op{fmt::format("budget_learn batch={} rows={} d={} before={}", s.batch, s.rows, s.d, before)};
    constexpr int tokens = 3;
    const Buffer x = op.input("x", s.batch * tokens * s.d), c = op.input("c", s.d),
                 loss = op.input("loss", s.batch * s.rows, uniform(0, 2)), new_A = op.output("A", s.d * s.d),
                 inverse = op.output("A^-1", s.d * s.d), new_c = op.output("new c", s.d),
                 theta = op.output("theta", s.d), losses = op.output("losses", 2),
                 gram = op.saved("gram", s.batch * s.d * s.d), sum = op.saved("sum", s.batch * s.d);
    const IndexBuffer skip = before ? op.index_input("skip", 1, 1) : IndexBuffer{}; // 0
    op.forward = OpCase::calls(FCI_VERSIONS(budget_learn), [=](auto& m, auto f) {
        std::vector<int32_t> all(s.batch * tokens);
        for (int i = 0; i < s.batch * tokens; ++i) all[i] = i % tokens;
        reference::budget_gram({s.batch, tokens, tokens, s.d}, m[x], all.data(), m[gram], m[sum]);
        for (int i = 0; i < s.d * s.d; ++i) m[new_A][i] = i % (s.d + 1) == 0;
        std::copy_n(m[c], s.d, m[new_c]);
        m[losses][0] = 0.5f * static_cast<float>(before), m[losses][1] = static_cast<float>(before);
        f(s, m[gram], m[sum], m[loss], {m[new_A], m[inverse], m[new_c], m[theta], m[losses]}, m[skip]);
    });
    return op;
}

} // namespace

void add_routing_cases(std::vector<OpCase>& table) {
    for (const SegmentShape& s : {SegmentShape{1, 1, 1, 1}, {2, 12, 4, 3}, {3, 7, 1, 5}, {1, 5, 5, 2}, {2, 64, 16, 17}})
        for (const auto& [pool, name] : {std::pair{Pool::mean, "mean"}, {Pool::sum, "sum"}, {Pool::max, "max"}})
            table.push_back(segment_pool_case(s, pool, name));
    for (const DotShape& s : {DotShape{1, 1, 1, 1}, {2, 1, 7, 5}, {3, 4, 9, 3}, {1, 33, 40, 17}})
        table.push_back(dot_scores_case(s));
    for (const MemoryShape& s : {MemoryShape{1, 2, 1, 2}, {2, 7, 1, 5}, {3, 9, 4, 16}, {1, 33, 5, 64}, {2, 5, 3, 1}})
        table.push_back(memory_scores_case(s));
    for (const AnchorShape& s : {AnchorShape{1, 2, 3}, {5, 51, 8}, {7, 1, 5}, {33, 17, 16}})
        table.push_back(anchors_case(s));
    for (const GatherShape& s : {GatherShape{1, 1, 1, 1}, {2, 5, 3, 7}, {3, 9, 9, 5}, {1, 33, 16, 17}})
        table.push_back(replace_rows_case(s));
    for (const BudgetShape& s : {BudgetShape{1, 1, 1, 1}, {2, 5, 1, 3}, {1, 33, 1, 40}, {3, 17, 1, 64}})
        for (const auto& [low, high] : {std::pair{0.f, 1.f}, {-1.f, 0.f}}) // below 0 only theta . x is left
            table.push_back(budget_bounds_case(s, low, high));
    for (const BudgetShape& s :
         {BudgetShape{1, 1, 1, 1}, {3, 9, 9, 1}, {2, 31, 4, 1}, {2, 257, 256, 1}, {1, 1500, 7, 1}})
        for (const auto& [kind, fill] : {std::pair{"distinct", uniform(-1, 1)}, {"ties", with_ties}, {"NaN", with_nan}})
            table.push_back(budget_choose_case(s, kind, fill));
    for (const BudgetShape& s : {BudgetShape{1, 1, 1, 1}, {3, 9, 4, 5}, {2, 40, 33, 17}, {1, 7, 7, 34}})
        table.push_back(budget_gram_case(s));
    for (const BudgetLesson& s : {BudgetLesson{1, 1, 1}, {4, 3, 5}, {2, 1, 16}, {3, 2, 17}, {1, 5, 33}})
        for (int before : {0, 7}) table.push_back(budget_learn_case(s, before));
    for (const auto& [rows, classes, most] : {std::array{1, 1, 1}, {3, 2, 2}, {5, 17, 4}, {9, 17, 17}, {2, 129, 2}})
        for (float range : {2.f, 100.f}) table.push_back(set_cross_entropy_case({rows, classes}, most, range));
}

} // namespace fci::test
