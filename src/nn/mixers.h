// Mixers that can replace full softmax attention in a pre-norm block: (b,t,d) -> (b,t,d), of a
// normed x. The mathematics is in the ops.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "nn/transformer.h"
#include "ops/embedding.h"
#include "ops/fourier.h"
#include "ops/indices.h"
#include "ops/linear_attention.h"
#include "ops/sparse_attention.h"

namespace fci {

// A window and a few positions, the same for all sequences; see sparse_attention.h.
struct SparseAttention {
    int heads;
    Linear qkv, out;
    std::vector<int32_t> global;

    SparseAttention(ParameterBinder& p, const std::string& name, int d, int n_heads, std::vector<int32_t> positions)
        : heads(n_heads), qkv(p, name + ".qkv", d, 3 * d), out(p, name + ".out", d, d), global(std::move(positions)) {}
    Tensor operator()(Tape& tape, Tensor x) const {
        const IntTensor positions{global.data(), {static_cast<int>(global.size())}};
        return out(tape, sparse_attention(tape, qkv(tape, x), positions, heads));
    }
};

// The feature map elu + 1 instead of the softmax; see linear_attention.h.
struct LinearAttention {
    int heads;
    Linear qkv, out;

    LinearAttention(ParameterBinder& p, const std::string& name, int d, int n_heads)
        : heads(n_heads), qkv(p, name + ".qkv", d, 3 * d), out(p, name + ".out", d, d) {}
    Tensor operator()(Tape& tape, Tensor x) const { return out(tape, linear_attention(tape, qkv(tape, x), heads)); }
};

// Queries and keys are one number a head, so the scores have rank 1; values have full width.
struct Rank1Attention {
    int heads;
    Linear qk, v, out;

    Rank1Attention(ParameterBinder& p, const std::string& name, int d, int n_heads)
        : heads(n_heads), qk(p, name + ".qk", d, 2 * n_heads), v(p, name + ".v", d, d), out(p, name + ".out", d, d) {}
    Tensor operator()(Tape& tape, Tensor x) const {
        return out(tape, rank1_attention(tape, qk(tape, x), v(tape, x), heads));
    }
};

// A few learned hubs read all positions, then every position reads the hubs  [after Jaegle et al. 2021, "Perceiver"]
//   h <- h + W_r attention(h, W_kv x);   y = W_s attention(W_q x, W'_kv h)
// The hubs are queries as they are, without norm or projection.
struct HubAttention {
    int heads;
    Tensor hubs; // (m,d)
    Linear read_kv, read_out, send_q, send_kv, send_out;

    HubAttention(ParameterBinder& p, const std::string& name, int d, int n_heads, int n_hubs)
        : heads(n_heads), hubs(p.add(name + ".hubs", {n_hubs, d}, {Init::normal, 0.02f})),
          read_kv(p, name + ".read_kv", d, 2 * d), read_out(p, name + ".read_out", d, d),
          send_q(p, name + ".send_q", d, d), send_kv(p, name + ".send_kv", d, 2 * d),
          send_out(p, name + ".send_out", d, d) {}
    Tensor operator()(Tape& tape, Tensor x) const {
        const int b = x.shape[0], m = hubs.shape[0];
        Tensor h = embedding(tape, cycle(tape, {b, m}, m), hubs, {}); // the same hubs for each sequence
        h = residual(tape, h, read_out(tape, query_attention(tape, h, read_kv(tape, x), heads)));
        return send_out(tape, query_attention(tape, send_q(tape, x), send_kv(tape, h), heads));
    }
};

// No parameters; see fourier.h.
struct FourierMixing {
    std::shared_ptr<const FourierTables> tables;

    FourierMixing(ParameterBinder&, const std::string&, int d, int length) : tables(fourier_tables(length, d)) {}
    Tensor operator()(Tape& tape, Tensor x) const { return fourier(tape, x, *tables); }
};

} // namespace fci
