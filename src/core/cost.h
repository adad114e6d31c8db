// Cost: the analytic work of an op, stated once, beside the op's mathematics: for rates, limits and estimates.
#pragma once

namespace fci {

struct Cost {             // of one call, one way
    double products = 0;  // flops of products, convolutions and recurrences; an exp2 counts 18, as its polynomial
    double pointwise = 0; // flops of the formulas in core/scalar.h (exp 22, erf 49); other O(n) work is not counted
    double floats = 0;    // numbers that must move: each input read and each output written once, a gradient that is
                          // added to both
    constexpr double flops() const { return products + pointwise; }
    bool operator==(const Cost&) const = default;
};

struct OpCost {
    Cost forward, backward;
    bool operator==(const OpCost&) const = default;
};

} // namespace fci
