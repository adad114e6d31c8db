// Mamba: gated selective state space  [Gu & Dao 2023, Fig. 3 and Alg. 2]
//   u = silu(conv(W_u x)),  z = W_z x,   (dt_low, B, C) = W_x u,   dt = softplus(W_dt dt_low + b)
//   y = W_out (scan(u, dt, -exp(A_log), B, C, D) gated by silu(z))
// as two ops between products: causal_conv1d makes u, gated_scan dt and what W_out takes (why two: ops/gated_scan.h).
// expand 2, state 16, conv 4, rank of dt d/16. The paper's Flow block is x + mamba(LN x); the
// bidirectional one adds two with separate weights, one of which runs from the end to the start.
#pragma once
#include <algorithm>
#include <optional>

#include "nn/basic.h"
#include "ops/causal_conv1d.h"
#include "ops/gated_scan.h"
#include "ops/linear_pair.h"

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

    // Rows of the joint projection are used as separate projections: no columns to split afterwards.
    Tensor in_rows(int part) const { return in_proj.weight.row_range(part * inner, (part + 1) * inner); } // W_u, W_z
    ConvInput conv_input(Tensor u) const { return {u, conv_weight, conv_bias, reverse}; }
    GatedScanInput scan_input(Tensor u, Tensor low, Tensor z) const {
        return {u, low, z, dt_weight, dt_bias, A_log, D, reverse};
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
    Tensor operator()(Tape& tape, Tensor x) const { // (b,t,d) -> (b,t,d)
        const Mamba* directions[] = {&forward, backward ? &*backward : nullptr};
        const int count = backward ? 2 : 1;
        const Tensor normed = norm(tape, x);
        ConvInput conv[most_directions];
        GatedScanInput scan[most_directions];
        Tensor z[most_directions];
        for (int i = 0; i < count; ++i) {
            const Mamba& m = *directions[i];
            const auto made = linear_pair(tape, {normed, normed}, {m.in_rows(0), m.in_rows(1)});
            conv[i] = m.conv_input(made[0]), z[i] = made[1];
        }
        const Tensor u = causal_conv1d(tape, {conv, conv + count});
        // of both directions, or of the one there is
        const auto project = [&](Tensor of, auto weight) -> std::array<Tensor, most_directions> {
            if (count == 1) return {linear(tape, direction_of(of, 0), weight(forward), {})};
            return linear_pair(tape, {direction_of(of, 0), direction_of(of, 1)}, {weight(forward), weight(*backward)});
        };
        const auto low = project(u, [](const Mamba& m) { return m.x_proj.weight; });
        for (int i = 0; i < count; ++i) scan[i] = directions[i]->scan_input(direction_of(u, i), low[i], z[i]);
        const Tensor y = gated_scan(tape, {scan, scan + count});
        const auto out = project(y, [](const Mamba& m) { return m.out_proj.weight; });
        for (int i = 0; i < count; ++i) x = residual(tape, x, out[i]);
        return x;
    }
};

} // namespace fci
