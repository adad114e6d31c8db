// The Investigator  [Basu 2026, Sec. 3.2]
//   s[q,j] = scale (Wq x_q).(Wk x_j)     ops/routing_scores.h
#pragma once
#include "nn/basic.h"
#include "ops/routing_scores.h"
#include "ops/top_k.h"
#include "routing/router.h"

namespace fci {

struct Investigator {
    int heads;
    Tensor wq, wk;

    Investigator(ParameterBinder& p, const std::string& name, int d, int n_heads) : heads(n_heads) {
        const Init start{Init::uniform, 1.f / std::sqrt(static_cast<float>(d))};
        wq = p.add(name + ".wq.weight", {d, d}, start);
        wk = p.add(name + ".wk.weight", {d, d}, start);
    }
    // xq (b,r,d), x (b,n,d) -> (b,r,n)
    Tensor scores(Tape& tape, Tensor xq, Tensor x) const { return routing_scores(tape, xq, x, wq, wk, heads); }
    Routed operator()(Tape& tape, Tensor x, Tensor xq, IntTensor, int k) const {
        const Tensor s = scores(tape, xq, x);
        const IntTensor best = top_k(tape, s, k);
        return {s, best, best};
    }
};

} // namespace fci
