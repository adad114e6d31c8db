// Linear bandits: routing by trial and error. In a round each arm j has a context x_j (d); one is chosen, and only
// its reward is seen. They assume E[reward] = theta . x, one theta for all arms, and keep
//   A = ridge I + sum x x^T,   b = sum reward x,   theta_hat = A^-1 b  (ridge regression)               (1)
//   lin_ucb   argmax_j theta_hat . x_j + alpha sqrt(x_j^T A^-1 x_j)          [Li et al. 2010; Chu et al. 2011]
//   oful      argmax_j max over |theta - theta_hat|_A <= beta of theta . x_j [Abbasi-Yadkori et al. 2011]
//             = argmax_j theta_hat . x_j + beta sqrt(x_j^T A^-1 x_j)         (Cauchy-Schwarz)
//   thompson  argmax_j theta . x_j,  theta ~ N(theta_hat, v^2 A^-1)          [Agrawal & Goyal 2013]
// OFUL and LinUCB differ in how the factor is set, not in the rule: OFUL's beta comes from a confidence bound,
// R sqrt(2 ln(det(A)^1/2 det(ridge I)^-1/2 / delta)) + ridge^1/2 S, and grows with the rounds; LinUCB's alpha is a
// constant. Here alpha = v = beta = 1 are constants, so that LinUCB and OFUL choose the same arms, bit for bit.
//
// A is kept as U^T U, U upper triangular, and U updated in place, O(d^2) a round; A^-1 is never formed:
//   x^T A^-1 x = |U^-T x|^2     theta_hat = U^-1 U^-T b     U^-1 z, z ~ N(0, I), has covariance A^-1    (2)
// Cost: O(d^2) a round and O(d^2) an arm (lin_ucb, oful) or O(d) an arm (thompson). Double precision.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fci {

enum class BanditRule : int { lin_ucb, thompson, oful };

class LinearBandit {
public:
    // exploration: alpha, v or beta.
    LinearBandit(BanditRule, int d, uint64_t seed, double ridge = 1, double exploration = 1);

    // The arm of this round among `arms` (n,d); ties go to the lower index.
    int choose(const std::vector<double>& arms, int n);
    int greedy(const std::vector<double>& arms, int n); // by theta_hat alone
    void learn(const double* x, double reward);         // of the chosen arm: ends the round

    const std::vector<double>& estimate(); // theta_hat
    std::vector<double> sample();          // theta of this round, as Thompson sampling draws it

private:
    void score(const std::vector<double>& arms, int n, const double* theta); // scores_ = arms theta

    BanditRule rule_;
    int d_;
    uint64_t seed_, round_ = 0;
    double exploration_;
    bool stale_ = false;                                // theta_ is that of an earlier round
    std::vector<double> u_, b_, theta_, work_, scores_; // u_ (d,d)
};

} // namespace fci
