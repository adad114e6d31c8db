#include "routing/bandit.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/lapack.h"
#include "core/rng.h"
#include "routing/router.h"

namespace fci {

LinearBandit::LinearBandit(BanditRule rule, int d, uint64_t seed, double ridge, double exploration)
    : rule_(rule), d_(d), seed_(seed), exploration_(exploration), u_(static_cast<size_t>(d) * d), b_(d), theta_(d) {
    check(d >= 1 && ridge > 0, "bandit: d {} and ridge {} must be above 0", d, ridge);
    for (int i = 0; i < d; ++i) u_[static_cast<size_t>(i) * d + i] = std::sqrt(ridge);
}

const std::vector<double>& LinearBandit::estimate() {
    if (stale_) {
        theta_ = b_;
        solve_upper_transposed(d_, u_.data(), theta_.data());
        solve_upper(d_, u_.data(), theta_.data());
        stale_ = false;
    }
    return theta_;
}

std::vector<double> LinearBandit::sample() {
    Rng rng(seed_, Stream::bandit, round_);
    std::vector<double> theta(d_);
    for (double& z : theta) z = exploration_ * rng.normal();
    solve_upper(d_, u_.data(), theta.data()); // (2)
    const std::vector<double>& mean = estimate();
    for (int i = 0; i < d_; ++i) theta[i] += mean[i];
    return theta;
}

void LinearBandit::score(const std::vector<double>& arms, int n, const double* theta) {
    check(n >= 1 && arms.size() == static_cast<size_t>(n) * d_, "bandit: {} numbers, expected ({},{})", arms.size(), n,
          d_);
    scores_.resize(n);
    for (int j = 0; j < n; ++j) {
        const double* x = arms.data() + static_cast<size_t>(j) * d_;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < d_; ++i) sum += x[i] * theta[i];
        scores_[j] = sum;
    }
}

int LinearBandit::greedy(const std::vector<double>& arms, int n) {
    score(arms, n, estimate().data());
    return static_cast<int>(std::max_element(scores_.begin(), scores_.end()) - scores_.begin());
}

int LinearBandit::choose(const std::vector<double>& arms, int n) {
    if (rule_ == BanditRule::thompson)
        score(arms, n, sample().data());
    else {
        score(arms, n, estimate().data());
        work_ = arms;
        solve_upper_transposed(d_, u_.data(), n, work_.data());
        for (int j = 0; j < n; ++j) {
            const double* y = work_.data() + static_cast<size_t>(j) * d_;
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int i = 0; i < d_; ++i) sum += y[i] * y[i];
            scores_[j] += exploration_ * std::sqrt(sum); // (2)
        }
    }
    return static_cast<int>(std::max_element(scores_.begin(), scores_.end()) - scores_.begin());
}

void LinearBandit::learn(const double* x, double reward) {
    for (int i = 0; i < d_; ++i) b_[i] += reward * x[i];
    work_.assign(x, x + d_);
    cholesky_update(d_, u_.data(), work_.data()); // (1)
    ++round_;
    stale_ = true;
}

namespace router_kinds {
extern const RouterKind linucb{.name = "linucb", .type = RouterKind::bandit, .rule = BanditRule::lin_ucb};
extern const RouterKind thompson{.name = "thompson", .type = RouterKind::bandit, .rule = BanditRule::thompson};
extern const RouterKind oful{.name = "oful", .type = RouterKind::bandit, .rule = BanditRule::oful};
} // namespace router_kinds

} // namespace fci
