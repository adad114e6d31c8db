// Budgeted attention: one attention block in which only the tokens that a Budget chooses take part, as queries, keys
// and values; the others pass through  [Basu 2026, Sec. 4.3, MF-OFUL]
#pragma once
#include "nn/transformer.h"
#include "ops/gather.h"
#include "ops/replace_rows.h"
#include "routing/budget.h"

namespace fci {

struct BudgetedBlock {
    TransformerBlock block;
    Budget budget;

    BudgetedBlock(ParameterBinder& p, const std::string& name, int d, int heads, double share)
        : block(p, name, d, heads, false), budget(p, name + ".budget", d, share) {}

    // x (b,t,d), positions that take part (b,m) -> (b,t,d)
    Tensor operator()(Tape& tape, Tensor x, IntTensor taking_part) const {
        return replace_rows(tape, x, taking_part, block(tape, gather(tape, x, taking_part)));
    }
};

} // namespace fci
