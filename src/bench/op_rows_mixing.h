// Descriptions of the ops that mix positions in other ways than full attention and the scan. See op_table.h.
#pragma once
#include <memory>

#include "bench/op_table.h"
#include "ops/causal_conv1d.h"
#include "ops/fourier.h"
#include "ops/gated_scan.h"
#include "ops/linear_attention.h"
#include "ops/rotary.h"
#include "ops/sparse_attention.h"

namespace fci {

template <class Op>
Op sparse_attention_op(int batch, int time, int heads, int d_head, const std::vector<int32_t>& positions) {
    const int d = heads * d_head, g = static_cast<int>(positions.size());
    const SparseShape s{batch, time, heads, d_head, g};
    Op op{fmt::format("sparse_attention batch={} time={} heads={} d_head={} globals={}", batch, time, heads, d_head,
                      fmt::join(positions, ","))};
    const IndexBuffer global = op.index_input("global", positions);
    const Buffer qkv = op.input("qkv", batch * time * 3 * d, uniform(-2, 2)), y = op.output("y", batch * time * d),
                 lse = op.saved("lse", s.lse_size());
    op.cost = sparse_attention_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(sparse_attention_forward),
                              [=](auto& m, auto f) { f(s, m[qkv], m[global], m[y], m[lse]); });
    op.backward = Op::calls_of(FCI_TWIN(sparse_attention_backward),
                               [=](auto& m, auto f) { f(s, m[qkv], m[global], m[y], m[lse], m.grad(y), m.grad(qkv)); });
    op.node = [=](Tape& tape, auto& m) {
        return sparse_attention(tape, m.tensor(qkv, {batch, time, 3 * d}), m.tensor(global, {g}), heads);
    };
    return op;
}

template <class Op>
Op linear_attention_op(LinearAttentionShape s) {
    Op op{fmt::format("linear_attention batch={} time={} heads={} d_head={}", s.batch, s.time, s.heads, s.d_head)};
    const int n = s.batch * s.time * s.d();
    const Buffer qkv = op.input("qkv", 3 * n, uniform(-3, 3)), y = op.output("y", n),
                 saved = op.saved("saved", s.saved_size());
    op.cost = linear_attention_cost(s);
    op.forward =
        Op::calls_of(FCI_TWIN(linear_attention_forward), [=](auto& m, auto f) { f(s, m[qkv], m[y], m[saved]); });
    op.backward = Op::calls_of(FCI_TWIN(linear_attention_backward),
                               [=](auto& m, auto f) { f(s, m[qkv], m[y], m[saved], m.grad(y), m.grad(qkv)); });
    op.node = [=](Tape& tape, auto& m) {
        return linear_attention(tape, m.tensor(qkv, {s.batch, s.time, 3 * s.d()}), s.heads);
    };
    return op;
}

template <class Op>
Op fourier_op(FourierShape s) {
    Op op{fmt::format("fourier batch={} time={} d={}", s.batch, s.time, s.d)};
    const auto tables = std::make_shared<FourierTables>(s.time, s.d);
    const Buffer x = op.input("x", s.batch * s.time * s.d), y = op.output("y", s.batch * s.time * s.d);
    op.cost = fourier_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(fourier_forward), [=](auto& m, auto f) { f(s, m[x], *tables, m[y]); });
    op.backward =
        Op::calls_of(FCI_TWIN(fourier_backward), [=](auto& m, auto f) { f(s, m.grad(y), *tables, m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) { return fourier(tape, m.tensor(x, {s.batch, s.time, s.d}), *tables); };
    return op;
}

// Directions of time: for each, is it reversed? A buffer holds the first direction's part, then the second's.
using Reversed = std::vector<bool>;

inline std::string text(const Reversed& reversed) {
    std::string s;
    for (bool r : reversed) s += r ? " reverse" : " forward";
    return s;
}

template <class Op>
Op causal_conv1d_op(ConvShape s, const Reversed& reversed) {
    Op op{fmt::format("causal_conv1d batch={} time={} channels={} width={}{}", s.batch, s.time, s.channels, s.width,
                      text(reversed))};
    const int count = static_cast<int>(reversed.size()), n = s.batch * s.time * s.channels;
    const Buffer x = op.input("x", count * n), w = op.input("w", count * s.channels * s.width),
                 bias = op.input("bias", count * s.channels), y = op.output("y", count * n);
    op.cost = conv_cost(s, count);
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
    op.forward = Op::calls_of(FCI_TWIN(causal_conv1d_forward), [=](auto& m, auto f) { f(s, directions(m)); });
    op.backward = Op::calls_of(FCI_TWIN(causal_conv1d_backward), [=](auto& m, auto f) { f(s, directions(m)); });
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

template <class Op>
Op gated_scan_op(GatedScanShape s, const Reversed& reversed) {
    Op op{fmt::format("gated_scan batch={} time={} channels={} states={} rank={}{}", s.batch, s.time, s.channels,
                      s.states, s.rank, text(reversed))};
    const int count = static_cast<int>(reversed.size());
    struct Input {
        Buffer buffer;
        Shape shape; // of one direction
    };
    const auto input = [&](const char* name, Shape shape, Fill fill = uniform(-1, 1)) {
        return Input{op.input(name, count * shape.size(), fill), shape};
    };
    const Shape btc{s.batch, s.time, s.channels};
    const Input u = input("u", btc), low = input("low", {s.batch, s.time, s.low_width()}),
                z = input("z", btc, uniform(-3, 3)), dt_weight = input("dt_weight", {s.channels, s.rank}),
                dt_bias = input("dt_bias", {s.channels}, uniform(-6, 1)),
                A_log = input("A_log", {s.channels, s.states}, uniform(-2, 1.4f)), D = input("D", {s.channels});
    const Buffer y = op.output("y", count * s.size()), saved = op.saved("saved", count * s.saved_size()),
                 kept = op.saved("kept", count * s.kept_size());
    op.cost = gated_scan_cost(s, count);
    const auto directions = [=](auto& m) {
        using T = std::remove_pointer_t<decltype(m[y])>;
        Directions<GatedScanDirection<T>> all;
        for (int i = 0; i < count; ++i) {
            const auto x = [&](const Input& in) { return m[in.buffer] + i * in.shape.size(); };
            const auto d = [&](const Input& in) { return m.grad(in.buffer) + i * in.shape.size(); };
            all.add({.reverse = reversed[i],
                     .u = x(u),
                     .low = x(low),
                     .z = x(z),
                     .dt_weight = x(dt_weight),
                     .dt_bias = x(dt_bias),
                     .A_log = x(A_log),
                     .D = x(D),
                     .y = m[y] + i * s.size(),
                     .saved = m[saved] + i * s.saved_size(),
                     .kept = m[kept] + i * s.kept_size(),
                     .dy = m.grad(y) + i * s.size(),
                     .du = d(u),
                     .d_low = d(low),
                     .dz = d(z),
                     .d_dt_weight = d(dt_weight),
                     .d_dt_bias = d(dt_bias),
                     .dA_log = d(A_log),
                     .dD = d(D)});
        }
        return all;
    };
    op.forward = Op::calls_of(FCI_TWIN(gated_scan_forward), [=](auto& m, auto f) { f(s, directions(m)); });
    op.backward = Op::calls_of(FCI_TWIN(gated_scan_backward), [=](auto& m, auto f) { f(s, directions(m)); });
    op.node = [=](Tape& tape, auto& m) {
        std::vector<GatedScanInput> in;
        for (int i = 0; i < count; ++i) {
            const auto of = [&](const Input& from) {
                Shape all{count};
                for (int n = 0; n < from.shape.rank; ++n) all.n[all.rank++] = from.shape[n];
                return direction_of(m.tensor(from.buffer, all), i);
            };
            in.push_back({of(u), of(low), of(z), of(dt_weight), of(dt_bias), of(A_log), of(D), reversed[i]});
        }
        return gated_scan(tape, in);
    };
    return op;
}

template <class Op>
Op rotary_op(RotaryShape s) {
    Op op{fmt::format("rotary batch={} time={} heads={} d_head={} rotated={} step={} stride={}", s.batch, s.time,
                      s.heads, s.d_head, s.rotated, s.head_step, s.stride)};
    const Buffer x = op.input("x", int64_t{s.batch} * s.time * s.stride), cos = op.input("cos", s.time * s.rotated / 2),
                 sin = op.input("sin", s.time * s.rotated / 2),
                 y = op.output("y", int64_t{s.batch} * s.time * s.heads * s.d_head);
    op.cost = rotary_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(rotary_forward), [=](auto& m, auto f) { f(s, m[x], m[cos], m[sin], m[y]); });
    return op;
}

} // namespace fci
