// Mamba: gated selective state space  [Gu & Dao 2023, Fig. 3 and Alg. 2]
//   u = silu(conv(W_u x)),  z = W_z x,   (dt_low, B, C) = W_x u,   dt = softplus(W_dt dt_low + b)
//   y = W_out (scan(u, dt, -exp(A_log), B, C, D) gated by silu(z))
// expand 2, state 16, conv 4, rank of dt d/16. The paper's Flow block adds it to its input after a norm; the
// bidirectional one adds two, one of them running from the end to the start, with weights of its own.
#pragma once
#include <algorithm>
#include <optional>

#include "nn/basic.h"
#include "ops/causal_conv1d.h"
#include "ops/selective_scan.h"

namespace fci {

struct Mamba {
    static constexpr int expand = 2, state = 16, conv_width = 4;
    bool reverse;
    int inner, rank;
    Linear in_proj;
    Tensor conv_weight, conv_bias;
    Linear x_proj;
    Tensor dt_weight, dt_bias, A_log, D;
    Linear out_proj;

    Mamba(ParameterBinder& p, const std::string& name, int d, bool in_reverse)
        : reverse(in_reverse), inner(expand * d), rank(std::max(1, d / 16)),
          in_proj(p, name + ".in_proj", d, 2 * inner, false),
          conv_weight(p.add(name + ".conv.weight", {inner, conv_width}, {Init::uniform, 0.5f})), // 1/sqrt(conv_width)
          conv_bias(p.add(name + ".conv.bias", {inner}, {Init::uniform, 0.5f})),
          x_proj(p, name + ".x_proj", inner, rank + 2 * state, false),
          dt_weight(p.add(name + ".dt_proj.weight", {inner, rank},
                          {Init::uniform, 1.f / std::sqrt(static_cast<float>(rank))})),
          dt_bias(p.add(name + ".dt_proj.bias", {inner}, {Init::dt_bias})),
          A_log(p.add(name + ".A_log", {inner, state}, {Init::log_index})),
          D(p.add(name + ".D", {inner}, {Init::constant, 1.f})), out_proj(p, name + ".out_proj", inner, d, false) {}

    Tensor operator()(Tape& tape, Tensor x) const { // (b,t,d) -> (b,t,d)
        // Rows of a joint projection are projections of their own: no columns to split afterwards.
        const auto rows = [&](const Linear& joint, Tensor from, int begin, int end) {
            return linear(tape, from, joint.weight.row_range(begin, end), {});
        };
        Tensor u = rows(in_proj, x, 0, inner);
        const Tensor z = rows(in_proj, x, inner, 2 * inner);
        u = silu(tape, causal_conv1d(tape, u, conv_weight, conv_bias, reverse));
        const Tensor dt = softplus(tape, linear(tape, rows(x_proj, u, 0, rank), dt_weight, dt_bias));
        const Tensor B = rows(x_proj, u, rank, rank + state), C = rows(x_proj, u, rank + state, rank + 2 * state);
        const Tensor y = selective_scan(tape, u, dt, negative_exp(tape, A_log), B, C, D, reverse);
        return out_proj(tape, gate(tape, y, z));
    }
};

struct FlowBlock {
    LayerNorm norm;
    Mamba forward;
    std::optional<Mamba> backward;

    FlowBlock(ParameterBinder& p, const std::string& name, int d, bool bidirectional)
        : norm(p, name + ".norm", d), forward(p, name + ".forward", d, false) {
        if (bidirectional) backward.emplace(p, name + ".backward", d, true);
    }
    Tensor operator()(Tape& tape, Tensor x) const {
        const Tensor z = norm(tape, x);
        Tensor y = residual(tape, x, forward(tape, z));
        return backward ? residual(tape, y, (*backward)(tape, z)) : y;
    }
};

} // namespace fci
