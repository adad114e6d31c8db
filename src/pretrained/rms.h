// The RMSNorm of Llama and Mamba, with its weight.
#pragma once
#include "ops/rms_norm.h"
#include "pretrained/layered.h"

namespace fci {

struct RmsPart {
    Tensor weight;
    RmsPart(ParameterBinder& p, const std::string& name, int d)
        : weight(p.add(name + ".weight", {d}, {Init::constant, 1.f})) {}
    void operator()(Space& at, float eps, const float* x, float* y) const {
        const NormShape s{at.length, weight.shape[0], eps};
        FCI_ON(at.device, rms_norm_forward)(s, x, weight.data, y, at.floats(s.rows));
    }
};

} // namespace fci
