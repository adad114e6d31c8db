// A pre-norm transformer block  [Vaswani et al. 2017; Xiong et al. 2020]
//   x <- x + W_o attention(LN x);   x <- x + FFN(LN x)
#pragma once
#include "nn/basic.h"
#include "ops/attention.h"

namespace fci {

struct TransformerBlock {
    int heads;
    bool causal;
    LayerNorm norm1;
    Linear qkv, out;
    LayerNorm norm2;
    FeedForward ffn;

    TransformerBlock(ParameterBinder& p, const std::string& name, int d, int n_heads, bool is_causal)
        : heads(n_heads), causal(is_causal), norm1(p, name + ".norm1", d), qkv(p, name + ".qkv", d, 3 * d),
          out(p, name + ".out", d, d), norm2(p, name + ".norm2", d), ffn(p, name + ".ffn", d) {}

    Tensor operator()(Tape& tape, Tensor x) const { // (b,t,d) -> (b,t,d)
        x = residual(tape, x, out(tape, self_attention(tape, qkv(tape, norm1(tape, x)), heads, causal)));
        return residual(tape, x, ffn(tape, norm2(tape, x)));
    }
};

} // namespace fci
