// A pre-norm block: a mixer over positions, then a feed-forward layer, each added to its input
//   x <- x + mix(LN x);   x <- x + FFN(LN x)                    [Vaswani et al. 2017; Xiong et al. 2020]
// With softmax attention it is a transformer block; src/nn/mixers.h has the other mixers.
#pragma once
#include <utility>

#include "nn/basic.h"
#include "ops/attention.h"

namespace fci {

template <class Mixer>
struct PreNormBlock {
    LayerNorm norm1;
    Mixer mix;
    LayerNorm norm2;
    FeedForward ffn;

    // more: the mixer's constructor arguments after the width
    template <class... More>
    PreNormBlock(ParameterBinder& p, const std::string& name, int d, More&&... more)
        : norm1(p, name + ".norm1", d), mix(p, name, d, std::forward<More>(more)...), norm2(p, name + ".norm2", d),
          ffn(p, name + ".ffn", d) {}

    Tensor operator()(Tape& tape, Tensor x) const { // (b,t,d) -> (b,t,d)
        const auto [h, normed] = norm2.of_sum(tape, x, mix(tape, norm1(tape, x)));
        return residual(tape, h, ffn(tape, normed));
    }
};

// W_o attention(W_q x, W_k x, W_v x)
struct SelfAttention {
    int heads;
    bool causal;
    Linear qkv, out;

    SelfAttention(ParameterBinder& p, const std::string& name, int d, int n_heads, bool is_causal)
        : heads(n_heads), causal(is_causal), qkv(p, name + ".qkv", d, 3 * d), out(p, name + ".out", d, d) {}
    Tensor operator()(Tape& tape, Tensor x) const {
        return out(tape, self_attention(tape, qkv(tape, x), heads, causal));
    }
};

using TransformerBlock = PreNormBlock<SelfAttention>;

} // namespace fci
