// Routers: what scores places for a query row, and so chooses the positions that the Council may see.
//   investigator     s[q,j] = scale (Wq x_q).(Wk x_j)                 ops/routing_scores.h
//   rank1            s[q,j] = (v.x_q)(v.x_j)                          ops/rank1_scores.h
//   segment-*        the same question asked of 16 segments           routing/segment.h
//   memory-bank      through slots, never position by position        routing/memory_bank.h
//   closed-loop      the Investigator, asked again after the Council  model/fci.cpp
// Scores learn from the routing loss alone: the choice itself has no derivative.
#pragma once
#include "nn/basic.h"
#include "ops/rank1_scores.h"
#include "ops/routing_scores.h"
#include "ops/top_k.h"

namespace fci {

// What a router answers. A place is a position, or a segment of positions.
struct Routed {
    Tensor scores;    // (b,r,places); empty at inference with rank1
    IntTensor picked; // (b,r,2k): the k places, best first, then their right neighbours
    IntTensor chosen; // (b,r,m): positions for the Council
};

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

struct Rank1 {
    Tensor v;

    Rank1(ParameterBinder& p, const std::string& name, int d)
        : v(p.add(name + ".v.weight", {d}, {Init::uniform, 1.f / std::sqrt(static_cast<float>(d))})) {}
    Tensor scores(Tape& tape, Tensor x, IntTensor query) const { return rank1_scores(tape, x, query, v); }
    Routed operator()(Tape& tape, Tensor x, Tensor, IntTensor query, int k) const {
        if (!tape.recording()) { // O(n): no scores
            const IntTensor best = rank1_choose(tape, x, query, v, k);
            return {{}, best, best};
        }
        const Tensor s = scores(tape, x, query);
        const IntTensor best = top_k(tape, s, k);
        return {s, best, best};
    }
};

} // namespace fci
