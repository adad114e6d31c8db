// Rows of the op table for the ops that mix positions in other ways than full attention and the scan. See op_table.h.
#include <array>
#include <memory>

#include "tests/op_table.h"
#include "tests/reference/attention.h"
#include "tests/reference/causal_conv1d.h"
#include "tests/reference/fourier.h"
#include "tests/reference/gated_scan.h"
#include "tests/reference/linear_attention.h"
#include "tests/reference/sparse_attention.h"

namespace fci::test {
namespace {

OpCase rank1_attention_case(int batch, int time, int heads, int d_head) {
    const int d = heads * d_head;
    const AttentionShape s{batch, time, time, heads, 1, 2 * heads, 2 * heads, false, d_head, d};
    OpCase op{fmt::format("rank1_attention batch={} time={} heads={} d_head={}", batch, time, heads, d_head)};
    const Buffer qk = op.input("qk", batch * time * 2 * heads, uniform(-2, 2)), v = op.input("v", batch * time * d),
                 y = op.output("y", batch * time * d), lse = op.saved("lse", s.lse_size());
    op.forward = OpCase::calls(FCI_VERSIONS(attention_forward),
                               [=](auto& m, auto f) { f(s, m[qk], m[qk] + heads, m[v], m[y], m[lse]); });
    op.backward = OpCase::calls(FCI_VERSIONS(attention_backward), [=](auto& m, auto f) {
        f(s, m[qk], m[qk] + heads, m[v], m[y], m[lse], m.grad(y), m.grad(qk), m.grad(qk) + heads, m.grad(v));
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
                 lse = op.saved("lse", s.lse_size());
    op.forward = OpCase::calls(FCI_VERSIONS(sparse_attention_forward),
                               [=](auto& m, auto f) { f(s, m[qkv], global.data(), m[y], m[lse]); });
    op.backward = OpCase::calls(FCI_VERSIONS(sparse_attention_backward), [=](auto& m, auto f) {
        f(s, m[qkv], global.data(), m[y], m[lse], m.grad(y), m.grad(qkv));
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
                 saved = op.saved("saved", s.saved_size());
    op.forward =
        OpCase::calls(FCI_VERSIONS(linear_attention_forward), [=](auto& m, auto f) { f(s, m[qkv], m[y], m[saved]); });
    op.backward = OpCase::calls(FCI_VERSIONS(linear_attention_backward),
                                [=](auto& m, auto f) { f(s, m[qkv], m[y], m[saved], m.grad(y), m.grad(qkv)); });
    op.node = [=](Tape& tape, auto& m) {
        return linear_attention(tape, m.tensor(qkv, {s.batch, s.time, 3 * s.d()}), s.heads);
    };
    return op;
}

OpCase fourier_case(FourierShape s) {
    OpCase op{fmt::format("fourier batch={} time={} d={}", s.batch, s.time, s.d)};
    const auto tables = std::make_shared<FourierTables>(s.time, s.d);
    const Buffer x = op.input("x", s.batch * s.time * s.d), y = op.output("y", s.batch * s.time * s.d);
    op.forward = OpCase::calls(FCI_VERSIONS(fourier_forward), [=](auto& m, auto f) { f(s, m[x], *tables, m[y]); });
    op.backward =
        OpCase::calls(FCI_VERSIONS(fourier_backward), [=](auto& m, auto f) { f(s, m.grad(y), *tables, m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) { return fourier(tape, m.tensor(x, {s.batch, s.time, s.d}), *tables); };
    return op;
}

// Directions of time: for each whether it is reversed. A buffer holds what belongs to the first, then to the second.
using Reversed = std::vector<bool>;

std::string text(const Reversed& reversed) {
    std::string s;
    for (bool r : reversed) s += r ? " reverse" : " forward";
    return s;
}

OpCase causal_conv1d_case(ConvShape s, const Reversed& reversed) {
    OpCase op{fmt::format("causal_conv1d batch={} time={} channels={} width={}{}", s.batch, s.time, s.channels, s.width,
                          text(reversed))};
    const int count = static_cast<int>(reversed.size()), n = s.batch * s.time * s.channels;
    const Buffer x = op.input("x", count * n), w = op.input("w", count * s.channels * s.width),
                 bias = op.input("bias", count * s.channels), y = op.output("y", count * n);
    const auto directions = [=](auto& m) {
        using T = std::remove_pointer_t<decltype(m[x])>;
        Directions<ConvDirection<T>> all;
        for (int i = 0; i < count; ++i) {
            const int weight = i * s.channels * s.width, channel = i * s.channels;
            all.add({reversed[i], m[x] + i * n, m[w] + weight, m[bias] + channel, m[y] + i * n, m.grad(y) + i * n,
                     m.grad(x) + i * n, m.grad(w) + weight, m.grad(bias) + channel});
        }
        return all;
    };
    op.forward = OpCase::calls(FCI_VERSIONS(causal_conv1d_forward), [=](auto& m, auto f) { f(s, directions(m)); });
    op.backward = OpCase::calls(FCI_VERSIONS(causal_conv1d_backward), [=](auto& m, auto f) { f(s, directions(m)); });
    op.node = [=](Tape& tape, auto& m) {
        std::vector<ConvInput> in;
        for (int i = 0; i < count; ++i)
            in.push_back({direction_of(m.tensor(x, {count, s.batch, s.time, s.channels}), i),
                          direction_of(m.tensor(w, {count, s.channels, s.width}), i),
                          direction_of(m.tensor(bias, {count, s.channels}), i), reversed[i]});
        return causal_conv1d(tape, in);
    };
    return op;
}

OpCase gated_scan_case(GatedScanShape s, const Reversed& reversed) {
    OpCase op{fmt::format("gated_scan batch={} time={} channels={} states={} rank={}{}", s.batch, s.time, s.channels,
                          s.states, s.rank, text(reversed))};
    const int count = static_cast<int>(reversed.size());
    struct Input {
        Buffer buffer;
        Shape shape; // of one direction
    };
    const auto input = [&](const char* name, Shape shape, Fill fill = uniform(-1, 1)) {
        return Input{op.input(name, count * shape.size(), fill), shape};
    };
    const Shape btc{s.batch, s.time, s.channels}, btn{s.batch, s.time, s.states};
    const Input u = input("u", btc), dt_low = input("dt_low", {s.batch, s.time, s.rank}), B = input("B", btn),
                C = input("C", btn), z = input("z", btc, uniform(-3, 3)),
                dt_weight = input("dt_weight", {s.channels, s.rank}),
                dt_bias = input("dt_bias", {s.channels}, uniform(-6, 1)),
                A_log = input("A_log", {s.channels, s.states}, uniform(-2, 1.4f)), D = input("D", {s.channels});
    const Buffer y = op.output("y", count * s.size()), saved = op.saved("saved", count * s.saved_size()),
                 kept = op.saved("kept", count * s.kept_size());
    const auto directions = [=](auto& m) {
        using T = std::remove_pointer_t<decltype(m[y])>;
        Directions<GatedScanDirection<T>> all;
        for (int i = 0; i < count; ++i) {
            const auto x = [&](const Input& in) { return m[in.buffer] + i * in.shape.size(); };
            const auto d = [&](const Input& in) { return m.grad(in.buffer) + i * in.shape.size(); };
            all.add({reversed[i],
                     x(u),
                     x(dt_low),
                     x(B),
                     x(C),
                     x(z),
                     x(dt_weight),
                     x(dt_bias),
                     x(A_log),
                     x(D),
                     m[y] + i * s.size(),
                     m[saved] + i * s.saved_size(),
                     m[kept] + i * s.kept_size(),
                     m.grad(y) + i * s.size(),
                     d(u),
                     d(dt_low),
                     d(B),
                     d(C),
                     d(z),
                     d(dt_weight),
                     d(dt_bias),
                     d(A_log),
                     d(D)});
        }
        return all;
    };
    op.forward = OpCase::calls(FCI_VERSIONS(gated_scan_forward), [=](auto& m, auto f) { f(s, directions(m)); });
    op.backward = OpCase::calls(FCI_VERSIONS(gated_scan_backward), [=](auto& m, auto f) { f(s, directions(m)); });
    op.node = [=](Tape& tape, auto& m) {
        std::vector<GatedScanInput> in;
        for (int i = 0; i < count; ++i) {
            const auto of = [&](const Input& from) {
                Shape all{count};
                for (int n = 0; n < from.shape.rank; ++n) all.n[all.rank++] = from.shape[n];
                return direction_of(m.tensor(from.buffer, all), i);
            };
            in.push_back(
                {of(u), of(dt_low), of(B), of(C), of(z), of(dt_weight), of(dt_bias), of(A_log), of(D), reversed[i]});
        }
        return gated_scan(tape, in);
    };
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

    const std::vector<Reversed> one{{false}, {true}}, all{{false}, {true}, {false, true}, {true, true}};
    for (const ConvShape& s : {ConvShape{1, 1, 1, 1}, {2, 1, 3, 4}, {2, 3, 5, 4}, {1, 4, 16, 4}, {3, 33, 17, 4}})
        for (const Reversed& r : all) table.push_back(causal_conv1d_case(s, r));
    for (const ConvShape& s : {ConvShape{1, 7, 2, 9}, {2, 257, 3, 2}, {1, 66, 33, 4}})
        for (const Reversed& r : one) table.push_back(causal_conv1d_case(s, r));

    const int chunk = ScanShape::chunk;
    for (const GatedScanShape& s : {GatedScanShape{2, chunk + 1, 3, 5, 2}, {1, 1, 1, 1, 1}, {2, 2, 1, 3, 4}})
        for (const Reversed& r : all) table.push_back(gated_scan_case(s, r));
    for (const GatedScanShape& s : {GatedScanShape{1, chunk - 1, 7, 4, 3},
                                    {2, chunk, 16, 1, 1},
                                    {1, 2 * chunk - 1, 17, 16, 8},
                                    {1, 2 * chunk + 1, 33, 3, 5},
                                    {1, 3 * chunk, 2, 2, 19},
                                    {2, chunk + 1, 5, 33, 2}})
        for (const Reversed& r : one) table.push_back(gated_scan_case(s, r));
    table.push_back(gated_scan_case({2, chunk + 3, 34, 16, 4}, {false, true}));
}

} // namespace fci::test
