// The rows of the op table, and for each op one block that names its buffers. See op_table.h.
#include "tests/op_table.h"

#include <array>

#include "tests/reference/attention.h"
#include "tests/reference/cross_entropy.h"
#include "tests/reference/embedding.h"
#include "tests/reference/gather.h"
#include "tests/reference/layer_norm.h"
#include "tests/reference/linear.h"
#include "tests/reference/pointwise.h"
#include "tests/reference/rank1_scores.h"
#include "tests/reference/rms_norm.h"
#include "tests/reference/routing_scores.h"
#include "tests/reference/selective_scan.h"
#include "tests/reference/top_k.h"

namespace fci::test {
namespace {

enum class Bias { no, yes };

OpCase linear_case(LinearShape s, Bias has_bias) {
    OpCase op{fmt::format("linear rows={} in={} out={}{}", s.rows, s.in, s.out, has_bias == Bias::yes ? " bias" : "")};
    const Buffer x = op.input("x", s.rows * s.in), w = op.input("w", s.out * s.in),
                 b = has_bias == Bias::yes ? op.input("b", s.out) : Buffer{}, y = op.output("y", s.rows * s.out);
    op.forward = OpCase::calls(FCI_VERSIONS(linear_forward), [=](auto& m, auto f) { f(s, m[x], m[w], m[b], m[y]); });
    op.backward = OpCase::calls(FCI_VERSIONS(linear_backward),
                                [=](auto& m, auto f) { f(s, m[x], m[w], m.grad(y), m.grad(x), m.grad(w), m.grad(b)); });
    op.node = [=](Tape& tape, auto& m) {
        return linear(tape, m.tensor(x, {s.rows, s.in}), m.tensor(w, {s.out, s.in}), m.tensor(b, {s.out}));
    };
    return op;
}

enum class Positions { no, yes };

OpCase embedding_case(EmbeddingShape s, int vocab, Positions has_positions) {
    const int longest = s.time + 2; // more positions than the sequence has
    OpCase op{fmt::format("embedding batch={} time={} d={} vocab={}{}", s.batch, s.time, s.d, vocab,
                          has_positions == Positions::yes ? " positions" : "")};
    const IndexBuffer id = op.index_input("id", s.batch * s.time, vocab);
    const Buffer e = op.input("E", vocab * s.d),
                 p = has_positions == Positions::yes ? op.input("P", longest * s.d) : Buffer{},
                 y = op.output("y", s.batch * s.time * s.d);
    op.forward =
        OpCase::calls(FCI_VERSIONS(embedding_forward), [=](auto& m, auto f) { f(s, m[id], m[e], m[p], m[y]); });
    op.backward = OpCase::calls(FCI_VERSIONS(embedding_backward),
                                [=](auto& m, auto f) { f(s, m[id], m.grad(y), m.grad(e), m.grad(p)); });
    op.node = [=](Tape& tape, auto& m) {
        return embedding(tape, m.tensor(id, {s.batch, s.time}), m.tensor(e, {vocab, s.d}), m.tensor(p, {longest, s.d}));
    };
    return op;
}

OpCase layer_norm_case(NormShape s, float range) {
    OpCase op{fmt::format("layer_norm rows={} d={} range={}", s.rows, s.d, range)};
    const Buffer x = op.input("x", s.rows * s.d, uniform(-range / 3, range)), w = op.input("w", s.d),
                 b = op.input("b", s.d), y = op.output("y", s.rows * s.d), mean = op.saved("mean", s.rows),
                 rstd = op.saved("rstd", s.rows);
    op.forward = OpCase::calls(FCI_VERSIONS(layer_norm_forward),
                               [=](auto& m, auto f) { f(s, m[x], m[w], m[b], m[y], m[mean], m[rstd]); });
    op.backward = OpCase::calls(FCI_VERSIONS(layer_norm_backward), [=](auto& m, auto f) {
        f(s, m[x], m[w], m[mean], m[rstd], m.grad(y), m.grad(x), m.grad(w), m.grad(b));
    });
    op.node = [=](Tape& tape, auto& m) {
        return layer_norm(tape, m.tensor(x, {s.rows, s.d}), m.tensor(w, {s.d}), m.tensor(b, {s.d}));
    };
    return op;
}

OpCase residual_norm_case(NormShape s) {
    OpCase op{fmt::format("residual_norm rows={} d={}", s.rows, s.d)};
    const Shape rows{s.rows, s.d};
    const Buffer x = op.input("x", rows.size()), z = op.input("z", rows.size(), uniform(-1, 3)), w = op.input("w", s.d),
                 b = op.input("b", s.d), h = op.output("h", rows.size()), y = op.output("y", rows.size()),
                 mean = op.saved("mean", s.rows), rstd = op.saved("rstd", s.rows);
    op.forward = OpCase::calls(FCI_VERSIONS(residual_norm_forward),
                               [=](auto& m, auto f) { f(s, m[x], m[z], m[w], m[b], m[h], m[y], m[mean], m[rstd]); });
    op.backward = OpCase::calls(FCI_VERSIONS(residual_norm_backward), [=](auto& m, auto f) {
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

OpCase rms_norm_case(NormShape s, float range, Weight has_weight) {
    OpCase op{fmt::format("rms_norm rows={} d={} range={} eps={}{}", s.rows, s.d, range, s.eps,
                          has_weight == Weight::yes ? " weight" : "")};
    const Buffer x = op.input("x", s.rows * s.d, uniform(-range / 3, range)),
                 w = has_weight == Weight::yes ? op.input("w", s.d) : Buffer{}, y = op.output("y", s.rows * s.d),
                 rstd = op.saved("rstd", s.rows);
    op.forward =
        OpCase::calls(FCI_VERSIONS(rms_norm_forward), [=](auto& m, auto f) { f(s, m[x], m[w], m[y], m[rstd]); });
    op.backward = OpCase::calls(FCI_VERSIONS(rms_norm_backward),
                                [=](auto& m, auto f) { f(s, m[x], m[w], m[rstd], m.grad(y), m.grad(x), m.grad(w)); });
    op.node = [=](Tape& tape, auto& m) {
        return rms_norm(tape, m.tensor(x, {s.rows, s.d}), m.tensor(w, {s.d}), s.eps);
    };
    return op;
}

// The pointwise ops of one and of two inputs.
template <class V, class W>
OpCase unary_case(const char* name, int n, V forward, W backward, Tensor (*node)(Tape&, Tensor), Fill fill) {
    OpCase op{fmt::format("{} n={}", name, n)};
    const Buffer x = op.input("x", n, fill), y = op.output("y", n);
    op.forward = OpCase::calls(forward, [=](auto& m, auto f) { f(n, m[x], m[y]); });
    op.backward = OpCase::calls(backward, [=](auto& m, auto f) { f(n, m[x], m.grad(y), m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) { return node(tape, m.tensor(x, {n})); };
    return op;
}
template <class V, class W>
OpCase binary_case(const char* name, int n, V forward, W backward, Tensor (*node)(Tape&, Tensor, Tensor)) {
    OpCase op{fmt::format("{} n={}", name, n)};
    const Buffer x = op.input("x", n), z = op.input("z", n, uniform(-6, 6)), y = op.output("y", n);
    op.forward = OpCase::calls(forward, [=](auto& m, auto f) { f(n, m[x], m[z], m[y]); });
    op.backward = OpCase::calls(backward, [=](auto& m, auto f) { f(n, m[x], m[z], m.grad(y), m.grad(x), m.grad(z)); });
    op.node = [=](Tape& tape, auto& m) { return node(tape, m.tensor(x, {n}), m.tensor(z, {n})); };
    return op;
}
#define FCI_POINTWISE(op) #op, n, FCI_VERSIONS(op##_forward), FCI_VERSIONS(op##_backward), op

OpCase selective_scan_case(ScanShape s) {
    OpCase op{fmt::format("selective_scan batch={} time={} channels={} states={} {}", s.batch, s.time, s.channels,
                          s.states, s.reverse ? "reverse" : "forward")};
    const int bt = s.batch * s.time, d = s.channels, n = s.states;
    const Buffer u = op.input("u", bt * d), dt = op.input("dt", bt * d, uniform(0.001f, 0.5f)),
                 A = op.input("A", d * n, uniform(-4, -0.1f)), B = op.input("B", bt * n), C = op.input("C", bt * n),
                 D = op.input("D", d), y = op.output("y", bt * d), saved = op.saved("saved", s.saved_size());
    op.forward = OpCase::calls(FCI_VERSIONS(selective_scan_forward),
                               [=](auto& m, auto f) { f(s, m[u], m[dt], m[A], m[B], m[C], m[D], m[y], m[saved]); });
    op.backward = OpCase::calls(FCI_VERSIONS(selective_scan_backward), [=](auto& m, auto f) {
        f(s, m[u], m[dt], m[A], m[B], m[C], m[D], m[saved], m.grad(y), m.grad(u), m.grad(dt), m.grad(A), m.grad(B),
          m.grad(C), m.grad(D));
    });
    op.node = [=](Tape& tape, auto& m) {
        const Shape btd{s.batch, s.time, d}, btn{s.batch, s.time, n};
        return selective_scan(tape, m.tensor(u, btd), m.tensor(dt, btd), m.tensor(A, {d, n}), m.tensor(B, btn),
                              m.tensor(C, btn), m.tensor(D, {d}), s.reverse);
    };
    return op;
}

// q, k and v are columns of one joint projection, as in the node.
OpCase self_attention_case(int batch, int time, int heads, int d_head, bool causal) {
    const int d = heads * d_head;
    const AttentionShape s{batch, time, time, heads, d_head, 3 * d, 3 * d, causal};
    OpCase op{fmt::format("self_attention batch={} time={} heads={} d_head={} {}", batch, time, heads, d_head,
                          causal ? "causal" : "full")};
    const Buffer qkv = op.input("qkv", batch * time * 3 * d, uniform(-2, 2)), y = op.output("y", batch * time * d),
                 lse = op.saved("lse", s.lse_size());
    op.forward = OpCase::calls(FCI_VERSIONS(attention_forward),
                               [=](auto& m, auto f) { f(s, m[qkv], m[qkv] + d, m[qkv] + 2 * d, m[y], m[lse]); });
    op.backward = OpCase::calls(FCI_VERSIONS(attention_backward), [=](auto& m, auto f) {
        auto* dqkv = m.grad(qkv);
        f(s, m[qkv], m[qkv] + d, m[qkv] + 2 * d, m[y], m[lse], m.grad(y), dqkv, dqkv + d, dqkv + 2 * d);
    });
    op.node = [=](Tape& tape, auto& m) {
        return self_attention(tape, m.tensor(qkv, {batch, time, 3 * d}), heads, causal);
    };
    return op;
}

OpCase query_attention_case(int batch, int queries, int keys, int heads, int d_head) {
    const int d = heads * d_head;
    const AttentionShape s{batch, queries, keys, heads, d_head, d, 2 * d, false};
    OpCase op{fmt::format("query_attention batch={} queries={} keys={} heads={} d_head={}", batch, queries, keys, heads,
                          d_head)};
    const Buffer q = op.input("q", batch * queries * d, uniform(-2, 2)),
                 kv = op.input("kv", batch * keys * 2 * d, uniform(-2, 2)), y = op.output("y", batch * queries * d),
                 lse = op.saved("lse", s.lse_size());
    op.forward = OpCase::calls(FCI_VERSIONS(attention_forward),
                               [=](auto& m, auto f) { f(s, m[q], m[kv], m[kv] + d, m[y], m[lse]); });
    op.backward = OpCase::calls(FCI_VERSIONS(attention_backward), [=](auto& m, auto f) {
        f(s, m[q], m[kv], m[kv] + d, m[y], m[lse], m.grad(y), m.grad(q), m.grad(kv), m.grad(kv) + d);
    });
    op.node = [=](Tape& tape, auto& m) {
        return query_attention(tape, m.tensor(q, {batch, queries, d}), m.tensor(kv, {batch, keys, 2 * d}), heads);
    };
    return op;
}

OpCase routing_scores_case(RoutingShape s) {
    OpCase op{
        fmt::format("routing_scores batch={} keys={} rows={} d={} heads={}", s.batch, s.keys, s.rows, s.d, s.heads)};
    const Buffer xq = op.input("xq", s.batch * s.rows * s.d), x = op.input("x", s.batch * s.keys * s.d),
                 wq = op.input("Wq", s.d * s.d), wk = op.input("Wk", s.d * s.d),
                 scores = op.output("s", s.batch * s.rows * s.keys), saved = op.saved("saved", 2 * s.vectors());
    op.forward = OpCase::calls(FCI_VERSIONS(routing_scores_forward),
                               [=](auto& m, auto f) { f(s, m[xq], m[x], m[wq], m[wk], m[scores], m[saved]); });
    op.backward = OpCase::calls(FCI_VERSIONS(routing_scores_backward), [=](auto& m, auto f) {
        f(s, m[xq], m[x], m[wq], m[wk], m[saved], m.grad(scores), m.grad(xq), m.grad(x), m.grad(wq), m.grad(wk));
    });
    op.node = [=](Tape& tape, auto& m) {
        return routing_scores(tape, m.tensor(xq, {s.batch, s.rows, s.d}), m.tensor(x, {s.batch, s.keys, s.d}),
                              m.tensor(wq, {s.d, s.d}), m.tensor(wk, {s.d, s.d}), s.heads);
    };
    return op;
}

OpCase rank1_scores_case(Rank1Shape s) {
    OpCase op{fmt::format("rank1_scores batch={} time={} rows={} d={}", s.batch, s.time, s.rows, s.d)};
    const IndexBuffer query = op.index_input("query", s.batch * s.rows, s.time);
    const Buffer x = op.input("x", s.batch * s.time * s.d), v = op.input("v", s.d),
                 scores = op.output("s", s.batch * s.rows * s.time), fingerprint = op.saved("f", s.batch * s.time);
    op.forward = OpCase::calls(FCI_VERSIONS(rank1_scores_forward),
                               [=](auto& m, auto f) { f(s, m[x], m[query], m[v], m[scores], m[fingerprint]); });
    op.backward = OpCase::calls(FCI_VERSIONS(rank1_scores_backward), [=](auto& m, auto f) {
        f(s, m[x], m[query], m[v], m[fingerprint], m.grad(scores), m.grad(x), m.grad(v));
    });
    op.node = [=](Tape& tape, auto& m) {
        return rank1_scores(tape, m.tensor(x, {s.batch, s.time, s.d}), m.tensor(query, {s.batch, s.rows}),
                            m.tensor(v, {s.d}));
    };
    return op;
}

OpCase top_k_case(TopKShape s, Fill fill) {
    OpCase op{fmt::format("top_k rows={} n={} k={}", s.rows, s.n, s.k)};
    const Buffer scores = op.input("scores", s.rows * s.n, fill);
    const IndexBuffer chosen = op.index_output("chosen", s.size());
    op.forward = OpCase::calls(FCI_VERSIONS(top_k_forward), [=](auto& m, auto f) { f(s, m[scores], m[chosen]); });
    return op;
}

OpCase gather_case(GatherShape s) {
    OpCase op{fmt::format("gather batch={} time={} rows={} d={}", s.batch, s.time, s.rows, s.d)};
    const IndexBuffer index = op.index_input("index", s.batch * s.rows, s.time);
    const Buffer x = op.input("x", s.batch * s.time * s.d), y = op.output("y", s.batch * s.rows * s.d);
    op.forward = OpCase::calls(FCI_VERSIONS(gather_forward), [=](auto& m, auto f) { f(s, m[x], m[index], m[y]); });
    op.backward =
        OpCase::calls(FCI_VERSIONS(gather_backward), [=](auto& m, auto f) { f(s, m[index], m.grad(y), m.grad(x)); });
    op.node = [=](Tape& tape, auto& m) {
        return gather(tape, m.tensor(x, {s.batch, s.time, s.d}), m.tensor(index, {s.batch, s.rows}));
    };
    return op;
}

OpCase cross_entropy_case(CrossEntropyShape s, float range) { // its node sets dloss itself
    OpCase op{fmt::format("cross_entropy rows={} classes={} range={}", s.rows, s.classes, range)};
    const IndexBuffer target = op.index_input("target", s.rows, s.classes);
    const Buffer z = op.input("z", s.rows * s.classes, uniform(-range, range)), loss = op.output("loss", s.rows),
                 lse = op.saved("lse", s.rows);
    op.forward = OpCase::calls(FCI_VERSIONS(cross_entropy_forward),
                               [=](auto& m, auto f) { f(s, m[z], m[target], m[loss], m[lse]); });
    op.backward = OpCase::calls(FCI_VERSIONS(cross_entropy_backward),
                                [=](auto& m, auto f) { f(s, m[z], m[target], m[lse], m.grad(loss), m.grad(z)); });
    return op;
}

std::vector<OpCase> make_table() {
    std::vector<OpCase> table;
    for (const LinearShape& s :
         {LinearShape{1, 1, 1}, {1, 7, 5}, {2, 3, 9}, {4, 17, 33}, {5, 16, 1}, {5, 31, 6}, {63, 65, 13}, {33, 128, 96}})
        for (Bias bias : {Bias::yes, Bias::no}) table.push_back(linear_case(s, bias));
    for (const EmbeddingShape& s : {EmbeddingShape{1, 1, 1}, {3, 5, 7}, {2, 33, 16}, {2, 150, 3}, {1, 9, 131}})
        for (Positions positions : {Positions::yes, Positions::no}) table.push_back(embedding_case(s, 6, positions));
    // The norm of 1 or 2 numbers has a gradient of 0 up to eps: rounding errors only, nothing to compare.
    for (const NormShape& s : {NormShape{3, 37}, {1, 3}, {5, 16}, {1, 17}, {2, 129}}) {
        table.push_back(residual_norm_case(s));
        for (float range : {3.f, 0.01f}) { // at 0.01, eps counts
            table.push_back(layer_norm_case(s, range));
            table.push_back(rms_norm_case(s, range, Weight::yes));
            table.push_back(rms_norm_case({s.rows, s.d, 1e-20f}, range, Weight::no)); // rows of length sqrt(d)
        }
    }
    for (int n : {1, 15, 16, 17, 1001}) {
        table.push_back(unary_case(FCI_POINTWISE(gelu), uniform(-6, 6)));
        table.push_back(unary_case(FCI_POINTWISE(softplus), uniform(-30, 30)));
        table.push_back(unary_case(FCI_POINTWISE(negative_exp), uniform(-5, 3)));
        table.push_back(unary_case(FCI_POINTWISE(elu_plus_one), uniform(-5, 3)));
        table.push_back(binary_case(FCI_POINTWISE(gate)));
        table.push_back(binary_case(FCI_POINTWISE(residual)));
    }
    for (bool reverse : {false, true}) {
        const int chunk = ScanShape::chunk;
        for (const auto& [batch, time, channels, states] : {std::array{2, chunk + 1, 3, 5},
                                                            {1, 1, 1, 1},
                                                            {2, 2, 1, 3},
                                                            {1, chunk - 1, 7, 4},
                                                            {2, chunk, 16, 1},
                                                            {1, 2 * chunk - 1, 17, 16},
                                                            {1, 2 * chunk + 1, 33, 3},
                                                            {1, 3 * chunk, 2, 2},
                                                            {2, chunk + 1, 5, 33}})
            table.push_back(selective_scan_case({batch, time, channels, states, reverse}));
    }
    const int block = AttentionShape::rows, tile = AttentionShape::tile;
    for (bool causal : {false, true}) {
        for (int time : {5, 1, 2, 4, 33}) table.push_back(self_attention_case(2, time, 2, 3, causal));
        for (int time : {block - 1, block, block + 1, tile - 1, tile, tile + 1, 2 * tile + 1})
            table.push_back(self_attention_case(1, time, 1, 4, causal));
        for (int d_head : {1, 15, 16, 17, 33}) table.push_back(self_attention_case(1, 7, 2, d_head, causal));
    }
    for (int keys : {1, 2, 7, tile + 1}) table.push_back(query_attention_case(2, 1, keys, 2, 5));
    table.push_back(query_attention_case(1, 3, 5, 3, 2));
    table.push_back(query_attention_case(2, block + 1, tile + 1, 2, 5));
    table.push_back(query_attention_case(1, 2 * block + 1, 3, 1, 2));
    add_mixers(table);
    for (const RoutingShape& s :
         {RoutingShape{1, 1, 1, 1, 1}, {2, 7, 1, 6, 3}, {3, 5, 2, 8, 4}, {1, 9, 5, 4, 2}, {2, 17, 9, 6, 1}})
        table.push_back(routing_scores_case(s));
    for (const Rank1Shape& s : {Rank1Shape{1, 1, 1, 1}, {2, 7, 1, 5}, {3, 9, 4, 3}, {1, 33, 40, 17}})
        table.push_back(rank1_scores_case(s));
    for (const TopKShape& s : {TopKShape{1, 1, 1}, {3, 2, 1}, {2, 9, 9}, {5, 31, 4}, {2, 129, 64}})
        for (const Fill& fill : {uniform(-1, 1), with_ties, with_nan}) table.push_back(top_k_case(s, fill));
    for (const GatherShape& s : {GatherShape{1, 1, 1, 1}, {2, 5, 3, 7}, {3, 4, 9, 5}, {1, 33, 2, 17}, {2, 3, 260, 3}})
        table.push_back(gather_case(s));
    for (const CrossEntropyShape& s : {CrossEntropyShape{1, 1}, {3, 2}, {5, 17}, {2, 129}})
        for (float range : {2.f, 100.f}) table.push_back(cross_entropy_case(s, range));
    add_routing_cases(table);
    return table;
}

} // namespace

const std::vector<OpCase>& op_table() {
    static const std::vector<OpCase> table = make_table();
    return table;
}

} // namespace fci::test
