// Rows of the op table for the ops that mix positions in other ways than full attention and the scan. See op_table.h.
#include <array>
#include <memory>

#include "tests/op_table.h"
#include "tests/reference/attention.h"
#include "tests/reference/fourier.h"
#include "tests/reference/linear_attention.h"
#include "tests/reference/sparse_attention.h"

namespace fci::test {
namespace {

OpCase rank1_attention_case(int batch, int time, int heads, int d_head) {
    const int d = heads * d_head;
    const AttentionShape s{batch, time, time, heads, 1, 2 * heads, 2 * heads, false, d_head, d};
    OpCase op{fmt::format("rank1_attention batch={} time={} heads={} d_head={}", batch, time, heads, d_head)};
    const Buffer qk = op.input("qk", batch * time * 2 * heads, uniform(-2, 2)), v = op.input("v", batch * time * d),
                 y = op.output("y", batch * time * d), lse = op.saved("lse", s.lse_size()),
                 scratch = op.scratch("scratch", s.scratch());
    op.forward = OpCase::calls(FCI_VERSIONS(attention_forward),
                               [=](auto& m, auto f) { f(s, m[qk], m[qk] + heads, m[v], m[y], m[lse], m[scratch]); });
    op.backward = OpCase::calls(FCI_VERSIONS(attention_backward), [=](auto& m, auto f) {
        f(s, m[qk], m[qk] + heads, m[v], m[y], m[lse], m.grad(y), m.grad(qk), m.grad(qk) + heads, m.grad(v),
          m[scratch]);
    });
    op.node = [=](Tape& tape, auto& m) {
        return rank1_attention(tape, m.tensor(qk, {batch, time, 2 * heads}), m.tensor(v, {batch, time, d}), heads);
    };
    return op;
}

OpCase sparse_attention_case(int batch, int time, int heads, int d_head, const std::vector<int32_t>& positions) {
    const int d = heads * d_head, g = static_cast<int>(positions.size());
    const VisibleVector<int32_t> global(positions.begin(), positions.end());
    const SparseShape s{batch, time, heads, d_head, g};
    OpCase op{fmt::format("sparse_attention batch={} time={} heads={} d_head={} globals={}", batch, time, heads, d_head,
                          fmt::join(positions, ","))};
    const Buffer qkv = op.input("qkv", batch * time * 3 * d, uniform(-2, 2)), y = op.output("y", batch * time * d),
                 lse = op.saved("lse", s.lse_size()), scratch = op.scratch("scratch", s.scratch());
    op.forward = OpCase::calls(FCI_VERSIONS(sparse_attention_forward),
                               [=](auto& m, auto f) { f(s, m[qkv], global.data(), m[y], m[lse], m[scratch]); });
    op.backward = OpCase::calls(FCI_VERSIONS(sparse_attention_backward), [=](auto& m, auto f) {
        f(s, m[qkv], global.data(), m[y], m[lse], m.grad(y), m.grad(qkv), m[scratch]);
    });
    op.node = [=](Tape& tape, auto& m) {
        return sparse_attention(tape, m.tensor(qkv, {batch, time, 3 * d}), {global.data(), {g}}, heads);
    };
    return op;
}

OpCase linear_attention_case(LinearAttentionShape s) {
    OpCase op{fmt::format("linear_attention batch={} time={} heads={} d_head={}", s.batch, s.time, s.heads, s.d_head)};
    const int n = s.batch * s.time * s.d();
    const Buffer qkv = op.input("qkv", 3 * n, uniform(-3, 3)), y = op.output("y", n),
                 saved = op.saved("saved", s.saved_size()), scratch = op.scratch("scratch", s.scratch());
    op.forward = OpCase::calls(FCI_VERSIONS(linear_attention_forward),
                               [=](auto& m, auto f) { f(s, m[qkv], m[y], m[saved], m[scratch]); });
    op.backward = OpCase::calls(FCI_VERSIONS(linear_attention_backward), [=](auto& m, auto f) {
        f(s, m[qkv], m[y], m[saved], m.grad(y), m.grad(qkv), m[scratch]);
    });
    op.node = [=](Tape& tape, auto& m) {
        return linear_attention(tape, m.tensor(qkv, {s.batch, s.time, 3 * s.d()}), s.heads);
    };
    return op;
}

OpCase fourier_case(FourierShape s) {
    OpCase op{fmt::format("fourier batch={} time={} d={}", s.batch, s.time, s.d)};
    const auto tables = std::make_shared<FourierTables>(s.time, s.d);
    const Buffer x = op.input("x", s.batch * s.time * s.d), y = op.output("y", s.batch * s.time * s.d),
                 scratch = op.scratch("scratch", s.scratch());
    op.forward =
        OpCase::calls(FCI_VERSIONS(fourier_forward), [=](auto& m, auto f) { f(s, m[x], *tables, m[y], m[scratch]); });
    op.backward = OpCase::calls(FCI_VERSIONS(fourier_backward),
                                [=](auto& m, auto f) { f(s, m.grad(y), *tables, m.grad(x), m[scratch]); });
    op.node = [=](Tape& tape, auto& m) { return fourier(tape, m.tensor(x, {s.batch, s.time, s.d}), *tables); };
    return op;
}

} // namespace

void add_mixers(std::vector<OpCase>& table) {
    const int tile = AttentionShape::tile, reach = SparseShape::reach, rows = SparseShape::rows;
    for (const auto& [batch, time, heads, d_head] :
         {std::array{1, 1, 1, 1}, {2, 5, 3, 4}, {1, AttentionShape::rows + 1, 1, 17}, {1, tile + 1, 2, 5}})
        table.push_back(rank1_attention_case(batch, time, heads, d_head));

    for (int time : {1, 2, reach - 1, reach, reach + 1, 2 * reach - 1, 2 * reach, 2 * reach + 1, 3 * rows + 1, 70})
        table.push_back(sparse_attention_case(1, time, 1, 3, global_positions(time, time)));
    for (int d_head : {1, 15, 16, 17, 33})
        table.push_back(sparse_attention_case(1, 37, 2, d_head, global_positions(37, d_head)));
    table.push_back(sparse_attention_case(2, 41, 3, 2, {7}));
    table.push_back(sparse_attention_case(1, 41, 1, 2, {}));
    // At the ends, beside one another, and on both edges of row 32's window.
    table.push_back(sparse_attention_case(2, 67, 1, 4, {0, 15, 16, 17, 47, 48, 66}));

    for (const LinearAttentionShape& s :
         {LinearAttentionShape{1, 1, 1, 1}, {2, 2, 1, 3}, {2, 7, 3, 5}, {1, 33, 2, 16}, {1, 5, 1, 17}, {1, 70, 1, 33}})
        table.push_back(linear_attention_case(s));

    for (const FourierShape& s :
         {FourierShape{1, 1, 1}, {2, 2, 3}, {1, 3, 2}, {2, 7, 5}, {1, 8, 16}, {1, 17, 17}, {1, 12, 33}})
        table.push_back(fourier_case(s));
}

} // namespace fci::test
