// Rank 1: s[q,j] = (v.x_q)(v.x_j)     ops/rank1_scores.h
#include <cmath>

#include "ops/rank1_scores.h"
#include "ops/top_k.h"
#include "routing/router.h"

namespace fci {
namespace {

struct Rank1 {
    Tensor v;

    Routed operator()(Tape& tape, Tensor x, Tensor, IntTensor query, int k) const {
        if (!tape.recording()) { // O(n): no scores
            const IntTensor best = rank1_choose(tape, x, query, v, k);
            return {{}, best, best};
        }
        const Tensor s = rank1_scores(tape, x, query, v);
        const IntTensor best = top_k(tape, s, k);
        return {s, best, best};
    }
};

} // namespace

namespace router_kinds {
extern const RouterKind rank1{
    .name = "rank1", .build = [](ParameterBinder& p, const std::string& name, int d, int) -> Router {
        return {Rank1{p.add(name + ".v.weight", {d}, {Init::uniform, 1.f / std::sqrt(static_cast<float>(d))})}};
    }};
} // namespace router_kinds

} // namespace fci
