// The Council: softmax attention of a query row over its chosen positions, then a feed-forward layer
// [Basu 2026, Sec. 3.2]
//   u = x_q + W_o attention(W_q LN x_q, W_kv LN x_chosen);   u <- u + FFN(LN u)
#pragma once
#include "nn/basic.h"
#include "ops/attention.h"
#include "ops/gather.h"

namespace fci {

struct Council {
    int heads;
    LayerNorm norm1;
    Linear q, kv, out;
    LayerNorm norm2;
    FeedForward ffn;

    Council(ParameterBinder& p, const std::string& name, int d, int n_heads)
        : heads(n_heads), norm1(p, name + ".norm1", d), q(p, name + ".q", d, d), kv(p, name + ".kv", d, 2 * d),
          out(p, name + ".out", d, d), norm2(p, name + ".norm2", d), ffn(p, name + ".ffn", d) {}

    // x (b,t,d), xq (b,r,d) the query rows of x, chosen (b,r,m) -> (b,r,d)
    Tensor operator()(Tape& tape, Tensor x, Tensor xq, IntTensor chosen) const {
        const int b = x.shape[0], r = chosen.shape[1], m = chosen.shape[2], d = x.shape[2];
        const Tensor seen = norm1(tape, gather(tape, x, chosen)); // (b,r m,d)
        // Each query row sees its own m positions: a batch of b r sequences of m.
        const Tensor joint = kv(tape, seen).reshape({b * r, m, 2 * d});
        const Tensor row = q(tape, norm1(tape, xq)).reshape({b * r, 1, d});
        const Tensor answer = out(tape, query_attention(tape, row, joint, heads)).reshape({b, r, d});
        const auto [u, normed] = norm2.of_sum(tape, xq, answer);
        return residual(tape, u, ffn(tape, normed));
    }
};

} // namespace fci
