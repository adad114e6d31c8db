// Memory bank: 16 learned slots between the query and the positions. A position writes to the slots, the query reads
// them, by softmax over dot products. The score is ln p(j|q), see ops/memory_scores.h.
#include "nn/basic.h"
#include "ops/memory_scores.h"
#include "ops/top_k.h"
#include "routing/router.h"

namespace fci {
namespace {

struct MemoryBank {
    static constexpr int slots = 16;
    Tensor slot; // (slots,d)

    MemoryBank(ParameterBinder& p, const std::string& name, int d)
        : slot(p.add(name + ".slots", {slots, d}, {Init::uniform, 1.f / std::sqrt(static_cast<float>(d))})) {}

    Routed operator()(Tape& tape, Tensor x, Tensor xq, IntTensor, int k) const {
        const Tensor s = memory_scores(tape, linear(tape, x, slot, {}), linear(tape, xq, slot, {}));
        const IntTensor best = top_k(tape, s, k);
        return {s, best, best};
    }
};

} // namespace

namespace router_kinds {
extern const RouterKind memory_bank{.name = "memory-bank",
                                    .build = [](ParameterBinder& p, const std::string& name, int d, int) -> Router {
                                        return {MemoryBank(p, name, d)};
                                    }};
} // namespace router_kinds

} // namespace fci
