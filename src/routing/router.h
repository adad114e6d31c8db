// Routers: what scores positions for a query row, and so chooses those that the Council may see.
//   investigator  s[q,j] = scale (Wq x_q).(Wk x_j)         ops/routing_scores.h
//   rank1         s[q,j] = (v.x_q)(v.x_j)                  ops/rank1_scores.h
// Scores learn from the routing loss alone: the choice itself has no derivative.
#pragma once
#include "nn/basic.h"
#include "ops/rank1_scores.h"
#include "ops/routing_scores.h"

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
};

struct Rank1 {
    Tensor v;

    Rank1(ParameterBinder& p, const std::string& name, int d)
        : v(p.add(name + ".v.weight", {d}, {Init::uniform, 1.f / std::sqrt(static_cast<float>(d))})) {}
    Tensor scores(Tape& tape, Tensor x, IntTensor query) const { return rank1_scores(tape, x, query, v); }
};

} // namespace fci
