// Budgeted attention, MF-OFUL: only a share of the tokens takes part in attention, and a linear bandit learns which
// [Basu 2026, Sec. 4.3; Abbasi-Yadkori et al. 2011]
//   a token's features are its embedding x; reward expected theta . x, theta = A^-1 b
//   chosen: the share of a sequence with the highest  theta . x + beta sqrt(x^T A^-1 x),  beta = 1, ties to the lower
//   after a batch, sequence by sequence in order, with l its routing loss and l' the mean of all losses before:
//     A += sum_chosen x x^T,   b += (l' - l) sum_chosen x                                    (1)
// A starts as the identity (ridge 1). Its numbers stand among the model's parameters, not learned by gradient, so that
// a checkpoint holds them and every gradient group reads the same.
// Cost: 2 t d^2 flops a sequence to choose, 2 m d^2 to learn, one inverse a batch.
#pragma once
#include <vector>

#include "core/tape.h"
#include "nn/parameters.h"

namespace fci {

class Budget {
public:
    static constexpr int widest = 512; // features

    Budget(ParameterBinder&, const std::string& name, int d, double share);

    // x (b,t,d) -> the positions that take part, (b,m), ascending
    IntTensor choose(Tape&, Tensor x) const;

    // What one gradient group saw, sequence by sequence; room is taken once.
    struct Experience {
        std::vector<float> gram;  // a sequence's sum of x x^T over the chosen (n,d,d)
        std::vector<float> sum;   // and of x (n,d)
        std::vector<double> loss; // and its routing loss (n)

        Experience(int sequences, int d)
            : gram(int64_t{sequences} * d * d), sum(int64_t{sequences} * d), loss(sequences) {}
        void set(int sequence, Tensor x, IntTensor chosen, int row, double routing_loss); // row of x and chosen
    };
    // (1), the groups in order; `work` gets its size at the first call.
    void learn(const std::vector<Experience>&, std::vector<double>& work) const;

private:
    int d_;
    double share_;
    Tensor a_, inverse_, b_, theta_, losses_; // (d,d) (d,d) (d) (d), and sum and number of the losses so far (2)
};

} // namespace fci
