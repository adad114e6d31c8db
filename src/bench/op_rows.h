// Descriptions of the ops of layers, router and losses. See op_table.h.
#pragma once
#include "bench/op_table.h"
#include "ops/attention.h"
#include "ops/cross_entropy.h"
#include "ops/embedding.h"
#include "ops/gather.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/pointwise.h"
#include "ops/rank1_scores.h"
#include "ops/rms_norm.h"
#include "ops/routing_scores.h"
#include "ops/selective_scan.h"
#include "ops/top_k.h"

namespace fci {

enum class Bias { no, yes };

template <class Op>
Op linear_op(LinearShape s, Bias has_bias) {
    Op op{fmt::format("linear rows={} in={} out={}{}", s.rows, s.in, s.out, has_bias == Bias::yes ? " bias" : "")};
    const Buffer x = op.input("x", s.rows * s.in), w = op.input("w", s.out * s.in),
                 b = has_bias == Bias::yes ? op.input("b", s.out) : Buffer{}, y = op.output("y", s.rows * s.out);
    op.cost = linear_cost(s, has_bias == Bias::yes);
    op.forward = Op::calls_of(FCI_TWIN(linear_forward), [=](auto& m, auto f) { f(s, m[x], m[w], m[b], m[y]); });
    op.backward = Op::calls_of(FCI_TWIN(linear_backward),
                               [=](auto& m, auto f) { f(s, m[x], m[w], m.grad(y), m.grad(x), m.grad(w), m.grad(b)); });
    op.node = [=](Tape& tape, auto& m) {
        return linear(tape, m.tensor(x, {s.rows, s.in}), m.tensor(w, {s.out, s.in}), m.tensor(b, {s.out}));
    };
    return op;
}

enum class Positions { no, yes };

template <class Op>
Op embedding_op(EmbeddingShape s, int vocab, Positions has_positions) {
    const int longest = s.time + 2; // more positions than the sequence has
    Op op{fmt::format("embedding batch={} time={} d={} vocab={}{}", s.batch, s.time, s.d, vocab,
                      has_positions == Positions::yes ? " positions" : "")};
    const IndexBuffer id = op.index_input("id", s.batch * s.time, vocab);
    const Buffer e = op.input("E", vocab * s.d),
                 p = has_positions == Positions::yes ? op.input("P", longest * s.d) : Buffer{},
                 y = op.output("y", s.batch * s.time * s.d);
    op.cost = embedding_cost(s, has_positions == Positions::yes);
    op.forward = Op::calls_of(FCI_TWIN(embedding_forward), [=](auto& m, auto f) { f(s, m[id], m[e], m[p], m[y]); });
    op.backward = Op::calls_of(FCI_TWIN(embedding_backward),
                               [=](auto& m, auto f) { f(s, m[id], m.grad(y), m.grad(e), m.grad(p)); });
    op.node = [=](Tape& tape, auto& m) {
        return embedding(tape, m.tensor(id, {s.batch, s.time}), m.tensor(e, {vocab, s.d}), m.tensor(p, {longest, s.d}));
    };
    return op;
}

template <class Op>
Op layer_norm_op(NormShape s, float range) {
    Op op{fmt::format("layer_norm rows={} d={} range={}", s.rows, s.d, range)};
    const Buffer x = op.input("x", s.rows * s.d, uniform(-range / 3, range)), w = op.input("w", s.d),
                 b = op.input("b", s.d), y = op.output("y", s.rows * s.d), mean = op.saved("mean", s.rows),
                 rstd = op.saved("rstd", s.rows);
    op.cost = layer_norm_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(layer_norm_forward),
                              [=](auto& m, auto f) { f(s, m[x], m[w], m[b], m[y], m[mean], m[rstd]); });
    op.backward = Op::calls_of(FCI_TWIN(layer_norm_backward), [=](auto& m, auto f) {
        f(s, m[x], m[w], m[mean], m[rstd], m.grad(y), m.grad(x), m.grad(w), m.grad(b));
    });
    op.node = [=](Tape& tape, auto& m) {
        return layer_norm(tape, m.tensor(x, {s.rows, s.d}), m.tensor(w, {s.d}), m.tensor(b, {s.d}));
    };
    return op;
}

template <class Op>
Op residual_norm_op(NormShape s) {
    Op op{fmt::format("residual_norm rows={} d={}", s.rows, s.d)};
    const Shape rows{s.rows, s.d};
    const Buffer x = op.input("x", rows.size()), z = op.input("z", rows.size(), uniform(-1, 3)), w = op.input("w", s.d),
                 b = op.input("b", s.d), h = op.output("h", rows.size()), y = op.output("y", rows.size()),
                 mean = op.saved("mean", s.rows), rstd = op.saved("rstd", s.rows);
    op.cost = residual_norm_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(residual_norm_forward),
                              [=](auto& m, auto f) { f(s, m[x], m[z], m[w], m[b], m[h], m[y], m[mean], m[rstd]); });
    op.backward = Op::calls_of(FCI_TWIN(residual_norm_backward), [=](auto& m, auto f) {
        f(s, m[h], m[w], m[mean], m[rstd], m.grad(h), m.grad(y), m.grad(x), m.grad(z), m.grad(w), m.grad(b));
    });
    op.node = [=](Tape& tape, auto& m) {
        const SumAndNorm made =
            residual_norm(tape, m.tensor(x, rows), m.tensor(z, rows), m.tensor(w, {s.d}), m.tensor(b, {s.d}));
        return Outputs{made.h, made.y};
    };
    return op;
}

enum class Weight { no, yes };

template <class Op>
Op rms_norm_op(NormShape s, float range, Weight has_weight) {
    Op op{fmt::format("rms_norm rows={} d={} range={} eps={}{}", s.rows, s.d, range, s.eps,
                      has_weight == Weight::yes ? " weight" : "")};
    const Buffer x = op.input("x", s.rows * s.d, uniform(-range / 3, range)),
                 w = has_weight == Weight::yes ? op.input("w", s.d) : Buffer{}, y = op.output("y", s.rows * s.d),
                 rstd = op.saved("rstd", s.rows);
    op.cost = rms_norm_cost(s, has_weight == Weight::yes);
    op.forward = Op::calls_of(FCI_TWIN(rms_norm_forward), [=](auto& m, auto f) { f(s, m[x], m[w], m[y], m[rstd]); });
    op.backward = Op::calls_of(FCI_TWIN(rms_norm_backward),
                               [=](auto& m, auto f) { f(s, m[x], m[w], m[rstd], m.grad(y), m.grad(x), m.grad(w)); });
    op.node = [=](Tape& tape, auto& m) {
        return rms_norm(tape, m.tensor(x, {s.rows, s.d}), m.tensor(w, {s.d}), s.eps);
    };
    return op;
}

// The pointwise ops with one and with two inputs.
template <class Op, class V, class W>
Op unary_op(const char* name, int n, OpCost cost, V forward, W backward, Tensor (*node)(Tape&, Tensor), Fill fill) {
    Op op{fmt::format("{} n={}", name, n)};
    const Buffer x = op.input("x", n, fill), y = op.output("y", n);
    op.cost = cost;
    op.forward = Op::calls_of(forward, [=](auto& m, auto f) { f(n, m[x], m[y]); });
    op.backward = Op::calls_of(backward, [=](auto& m, auto f) { f(n, m[x], m.grad(y), m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) { return node(tape, m.tensor(x, {n})); };
    return op;
}
template <class Op, class V, class W>
Op binary_op(const char* name, int n, OpCost cost, V forward, W backward, Tensor (*node)(Tape&, Tensor, Tensor)) {
    Op op{fmt::format("{} n={}", name, n)};
    const Buffer x = op.input("x", n), z = op.input("z", n, uniform(-6, 6)), y = op.output("y", n);
    op.cost = cost;
    op.forward = Op::calls_of(forward, [=](auto& m, auto f) { f(n, m[x], m[z], m[y]); });
    op.backward = Op::calls_of(backward, [=](auto& m, auto f) { f(n, m[x], m[z], m.grad(y), m.grad(x), m.grad(z)); });
    op.node = [=](Tape& tape, auto& m) { return node(tape, m.tensor(x, {n}), m.tensor(z, {n})); };
    return op;
}
#define FCI_POINTWISE(op, n) #op, n, op##_cost(n), FCI_TWIN(op##_forward), FCI_TWIN(op##_backward), fci::op

template <class Op>
Op selective_scan_op(ScanShape s) {
    Op op{fmt::format("selective_scan batch={} time={} channels={} states={} {}", s.batch, s.time, s.channels, s.states,
                      s.reverse ? "reverse" : "forward")};
    const int bt = s.batch * s.time, c = s.channels, n = s.states;
    const Buffer u = op.input("u", bt * c), dt = op.input("dt", bt * c, uniform(0.001f, 0.5f)),
                 A = op.input("A", c * n, uniform(-4, -0.1f)), B = op.input("B", bt * n), C = op.input("C", bt * n),
                 D = op.input("D", c), y = op.output("y", bt * c), saved = op.saved("saved", s.saved_size());
    op.cost = selective_scan_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(selective_scan_forward),
                              [=](auto& m, auto f) { f(s, m[u], m[dt], m[A], m[B], m[C], m[D], m[y], m[saved]); });
    op.backward = Op::calls_of(FCI_TWIN(selective_scan_backward), [=](auto& m, auto f) {
        f(s, m[u], m[dt], m[A], m[B], m[C], m[D], m[saved], m.grad(y), m.grad(u), m.grad(dt), m.grad(A), m.grad(B),
          m.grad(C), m.grad(D));
    });
    op.node = [=](Tape& tape, auto& m) {
        const Shape btc{s.batch, s.time, c}, btn{s.batch, s.time, n};
        return selective_scan(tape, m.tensor(u, btc), m.tensor(dt, btc), m.tensor(A, {c, n}), m.tensor(B, btn),
                              m.tensor(C, btn), m.tensor(D, {c}), s.reverse);
    };
    return op;
}

// q, k and v begin at columns of the buffers that contain them, as in the nodes.
struct Columns {
    Buffer of;
    int first;
};
template <class Op>
void attend(Op& op, AttentionShape s, Columns q, Columns k, Columns v) {
    const Buffer y = op.output("y", s.batch * s.queries * s.heads * s.value_width()),
                 lse = op.saved("lse", s.lse_size());
    const auto x = [](auto& m, Columns c) { return m[c.of] + c.first; };
    const auto dx = [](auto& m, Columns c) { return m.grad(c.of) + c.first; };
    op.cost = attention_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(attention_forward),
                              [=](auto& m, auto f) { f(s, x(m, q), x(m, k), x(m, v), m[y], m[lse]); });
    op.backward = Op::calls_of(FCI_TWIN(attention_backward), [=](auto& m, auto f) {
        f(s, x(m, q), x(m, k), x(m, v), m[y], m[lse], m.grad(y), dx(m, q), dx(m, k), dx(m, v));
    });
}

template <class Op>
Op self_attention_op(int batch, int time, int heads, int d_head, bool causal) {
    const int d = heads * d_head;
    Op op{fmt::format("self_attention batch={} time={} heads={} d_head={} {}", batch, time, heads, d_head,
                      causal ? "causal" : "full")};
    const Buffer qkv = op.input("qkv", batch * time * 3 * d, uniform(-2, 2));
    attend(op, {batch, time, time, heads, d_head, 3 * d, 3 * d, causal}, {qkv, 0}, {qkv, d}, {qkv, 2 * d});
    op.node = [=](Tape& tape, auto& m) {
        return self_attention(tape, m.tensor(qkv, {batch, time, 3 * d}), heads, causal);
    };
    return op;
}

// As frozen models use it: causal, forward only.
template <class Op>
Op grouped_attention_op(int time, int heads, int shared, int d_head) {
    Op op{fmt::format("grouped_attention time={} heads={} shared={} d_head={}", time, heads, shared, d_head)};
    const int kv = heads / shared * d_head;
    const Buffer q = op.input("q", time * heads * d_head, uniform(-2, 2)), k = op.input("k", time * kv, uniform(-2, 2)),
                 v = op.input("v", time * kv, uniform(-2, 2));
    AttentionShape s{1, time, time, heads, d_head, heads * d_head, kv, true};
    s.shared = shared;
    attend(op, s, {q, 0}, {k, 0}, {v, 0});
    op.backward = {};
    return op;
}

template <class Op>
Op query_attention_op(int batch, int queries, int keys, int heads, int d_head) {
    const int d = heads * d_head;
    Op op{fmt::format("query_attention batch={} queries={} keys={} heads={} d_head={}", batch, queries, keys, heads,
                      d_head)};
    const Buffer q = op.input("q", batch * queries * d, uniform(-2, 2)),
                 kv = op.input("kv", batch * keys * 2 * d, uniform(-2, 2));
    attend(op, {batch, queries, keys, heads, d_head, d, 2 * d, false}, {q, 0}, {kv, 0}, {kv, d});
    op.node = [=](Tape& tape, auto& m) {
        return query_attention(tape, m.tensor(q, {batch, queries, d}), m.tensor(kv, {batch, keys, 2 * d}), heads);
    };
    return op;
}

template <class Op>
Op rank1_attention_op(int batch, int time, int heads, int d_head) {
    const int d = heads * d_head;
    Op op{fmt::format("rank1_attention batch={} time={} heads={} d_head={}", batch, time, heads, d_head)};
    const Buffer qk = op.input("qk", batch * time * 2 * heads, uniform(-2, 2)), v = op.input("v", batch * time * d);
    attend(op, {batch, time, time, heads, 1, 2 * heads, 2 * heads, false, d_head, d}, {qk, 0}, {qk, heads}, {v, 0});
    op.node = [=](Tape& tape, auto& m) {
        return rank1_attention(tape, m.tensor(qk, {batch, time, 2 * heads}), m.tensor(v, {batch, time, d}), heads);
    };
    return op;
}

template <class Op>
Op routing_scores_op(RoutingShape s) {
    Op op{fmt::format("routing_scores batch={} keys={} rows={} d={} heads={}", s.batch, s.keys, s.rows, s.d, s.heads)};
    const Buffer xq = op.input("xq", s.batch * s.rows * s.d), x = op.input("x", s.batch * s.keys * s.d),
                 wq = op.input("Wq", s.d * s.d), wk = op.input("Wk", s.d * s.d),
                 scores = op.output("s", s.batch * s.rows * s.keys), saved = op.saved("saved", 2 * s.vectors());
    op.cost = routing_scores_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(routing_scores_forward),
                              [=](auto& m, auto f) { f(s, m[xq], m[x], m[wq], m[wk], m[scores], m[saved]); });
    op.backward = Op::calls_of(FCI_TWIN(routing_scores_backward), [=](auto& m, auto f) {
        f(s, m[xq], m[x], m[wq], m[wk], m[saved], m.grad(scores), m.grad(xq), m.grad(x), m.grad(wq), m.grad(wk));
    });
    op.node = [=](Tape& tape, auto& m) {
        return routing_scores(tape, m.tensor(xq, {s.batch, s.rows, s.d}), m.tensor(x, {s.batch, s.keys, s.d}),
                              m.tensor(wq, {s.d, s.d}), m.tensor(wk, {s.d, s.d}), s.heads);
    };
    return op;
}

template <class Op>
Op rank1_scores_op(Rank1Shape s) {
    Op op{fmt::format("rank1_scores batch={} time={} rows={} d={}", s.batch, s.time, s.rows, s.d)};
    const IndexBuffer query = op.index_input("query", s.batch * s.rows, s.time);
    const Buffer x = op.input("x", s.batch * s.time * s.d), v = op.input("v", s.d),
                 scores = op.output("s", s.batch * s.rows * s.time), fingerprint = op.saved("f", s.batch * s.time);
    op.cost = rank1_scores_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(rank1_scores_forward),
                              [=](auto& m, auto f) { f(s, m[x], m[query], m[v], m[scores], m[fingerprint]); });
    op.backward = Op::calls_of(FCI_TWIN(rank1_scores_backward), [=](auto& m, auto f) {
        f(s, m[x], m[query], m[v], m[fingerprint], m.grad(scores), m.grad(x), m.grad(v));
    });
    op.node = [=](Tape& tape, auto& m) {
        return rank1_scores(tape, m.tensor(x, {s.batch, s.time, s.d}), m.tensor(query, {s.batch, s.rows}),
                            m.tensor(v, {s.d}));
    };
    return op;
}

template <class Op>
Op top_k_op(TopKShape s, Fill fill) {
    Op op{fmt::format("top_k rows={} n={} k={}", s.rows, s.n, s.k)};
    const Buffer scores = op.input("scores", s.rows * s.n, fill);
    const IndexBuffer chosen = op.index_output("chosen", s.size());
    op.cost = top_k_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(top_k_forward), [=](auto& m, auto f) { f(s, m[scores], m[chosen]); });
    return op;
}

template <class Op>
Op gather_op(GatherShape s) {
    Op op{fmt::format("gather batch={} time={} rows={} d={}", s.batch, s.time, s.rows, s.d)};
    const IndexBuffer index = op.index_input("index", s.batch * s.rows, s.time);
    const Buffer x = op.input("x", s.batch * s.time * s.d), y = op.output("y", s.batch * s.rows * s.d);
    op.cost = gather_cost(s);
    op.forward = Op::calls_of(FCI_TWIN(gather_forward), [=](auto& m, auto f) { f(s, m[x], m[index], m[y]); });
    op.backward =
        Op::calls_of(FCI_TWIN(gather_backward), [=](auto& m, auto f) { f(s, m[index], m.grad(y), m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) {
        return gather(tape, m.tensor(x, {s.batch, s.time, s.d}), m.tensor(index, {s.batch, s.rows}));
    };
    return op;
}

// Logits are `offset` +- `range`.
template <class Op>
Op cross_entropy_op(CrossEntropyShape s, float range, float offset = 0) { // its node sets dloss itself
    Op op{fmt::format("cross_entropy rows={} classes={} range={}", s.rows, s.classes, range)};
    if (offset != 0) op.name += fmt::format(" offset={}", offset);
    const IndexBuffer target = op.index_input("target", s.rows, s.classes);
    const Buffer z = op.input("z", s.rows * s.classes, uniform(offset - range, offset + range)),
                 loss = op.output("loss", s.rows), lse = op.saved("lse", 2 * s.rows);
    op.cost = cross_entropy_cost(s);
    op.forward =
        Op::calls_of(FCI_TWIN(cross_entropy_forward), [=](auto& m, auto f) { f(s, m[z], m[target], m[loss], m[lse]); });
    op.backward = Op::calls_of(FCI_TWIN(cross_entropy_backward),
                               [=](auto& m, auto f) { f(s, m[z], m[target], m[lse], m.grad(loss), m.grad(z)); });
    return op;
}

} // namespace fci
