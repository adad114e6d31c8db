// The RMSNorm of Llama and Mamba, with its weight.
#pragma once
#include <algorithm>

#include "core/scratch.h"
#include "nn/parameters.h"
#include "ops/rms_norm.h"

namespace fci {

struct RmsPart {
    Tensor weight;
    RmsPart(ParameterBinder& p, const std::string& name, int d)
        : weight(p.add(name + ".weight", {d}, {Init::constant, 1.f})) {}
    void operator()(NormShape s, const float* x, float* y) const {
        cpu::Scratch scratch;
        cpu::rms_norm_forward(s, x, weight.data, y, scratch.floats(s.rows));
    }
};

} // namespace fci
