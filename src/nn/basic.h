// The basic layers: linear, layer norm, feed-forward. A layer is a plain struct of
// parameters; calling it appends its ops to the tape. Initial values are PyTorch's defaults.
#pragma once
#include <cmath>

#include "nn/parameters.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/pointwise.h"

namespace fci {

struct Linear {
    Tensor weight, bias;

    Linear(ParameterBinder& p, const std::string& name, int in, int out, bool with_bias = true) {
        const Init start{Init::uniform, 1.f / std::sqrt(static_cast<float>(in))};
        weight = p.add(name + ".weight", {out, in}, start);
        if (with_bias) bias = p.add(name + ".bias", {out}, start);
    }
    Tensor operator()(Tape& tape, Tensor x) const { return linear(tape, x, weight, bias); }
};

struct LayerNorm {
    Tensor weight, bias;

    LayerNorm(ParameterBinder& p, const std::string& name, int d)
        : weight(p.add(name + ".weight", {d}, {Init::constant, 1.f})), bias(p.add(name + ".bias", {d}, {})) {}
    Tensor operator()(Tape& tape, Tensor x) const { return layer_norm(tape, x, weight, bias); }
    // h = x + z, and its norm
    SumAndNorm of_sum(Tape& tape, Tensor x, Tensor z) const { return residual_norm(tape, x, z, weight, bias); }
};

// W2 gelu(W1 x), with a hidden width of 4 d
struct FeedForward {
    Linear up, down;

    FeedForward(ParameterBinder& p, const std::string& name, int d)
        : up(p, name + ".0", d, 4 * d), down(p, name + ".2", 4 * d, d) {}
    Tensor operator()(Tape& tape, Tensor x) const { return down(tape, gelu(tape, up(tape, x))); }
};

} // namespace fci
