// Budgeted attention, MF-OFUL: one attention block in which only some of the tokens take part, as queries, keys and
// values; the others pass through. A linear bandit, whose features are a token's embedding x, learns which; its
// equations are in ops/budget.h  [Basu 2026, Sec. 4.3]
// Its state lies among the model's parameters but is not learned by gradient, so that a checkpoint holds it and every
// gradient group reads the same. A starts as the identity (ridge 1).
#pragma once
#include "core/tape.h"
#include "nn/parameters.h"
#include "ops/budget.h"

namespace fci {

class Budget {
public:
    Budget(ParameterBinder&, const std::string& name, int d, double share);

    // x (b,t,d) -> the positions that take part, (b,m), ascending
    IntTensor choose(Tape&, Tensor x) const;

    // What the bandit observed in a batch, on the arena's device; allocated once.
    struct Observations {
        BudgetLearnShape shape;
        Device device;
        float *gram, *sum; // (b,d,d) (b,d)

        Observations(Arena&, BudgetLearnShape);
        void set(int first, Tensor x, IntTensor chosen); // sequences first, first + 1, .. : x (n,t,d), chosen (n,m)
    };
    // loss: of the batch's routing (b,r); skip: see ops/budget.h
    void learn(const Observations&, const float* loss, const int* skip = nullptr) const;
    void expect_finite() const; // on the host: Exit::non_finite where the GPU could not invert A

private:
    int d_;
    double share_;
    Tensor a_, inverse_, c_, theta_, losses_; // (d,d) (d,d) (d) (d) (2)
};

} // namespace fci
