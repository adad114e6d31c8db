#include "routing/budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/gemm.h"
#include "core/lapack.h"

namespace fci {

Budget::Budget(ParameterBinder& p, const std::string& name, int d, double share)
    : d_(d), share_(share), a_(p.add(name + ".A", {d, d}, {Init::identity, 1.f}, false)),
      inverse_(p.add(name + ".inverse", {d, d}, {Init::identity, 1.f}, false)), b_(p.add(name + ".b", {d}, {}, false)),
      theta_(p.add(name + ".theta", {d}, {}, false)), losses_(p.add(name + ".losses", {2}, {}, false)) {}

IntTensor Budget::choose(Tape& tape, Tensor x) const {
    const int batch = x.shape[0], t = x.shape[1], d = d_;
    const int m = std::clamp(static_cast<int>(std::lround(share_ * t)), 1, t);
    int32_t* chosen = tape.arena().array<int32_t>(int64_t{batch} * m);
    const Arena::Mark mark = tape.arena().mark();
    float *z = tape.arena().floats(int64_t{t} * d), *bound = tape.arena().floats(t);
    int32_t* order = tape.arena().array<int32_t>(t);
    for (int b = 0; b < batch; ++b) {
        const float* xb = x.data + int64_t{b} * t * d;
        gemm(Transpose::no, Transpose::no, t, d, d, 1.f, xb, d, inverse_.data, d, 0.f, z, d); // A^-1 x
        for (int j = 0; j < t; ++j) {
            float expected = 0, variance = 0;
            for (int c = 0; c < d; ++c) {
                expected += theta_.data[c] * xb[int64_t{j} * d + c];
                variance += z[int64_t{j} * d + c] * xb[int64_t{j} * d + c];
            }
            bound[j] = expected + std::sqrt(std::max(variance, 0.f)); // beta = 1
        }
        std::iota(order, order + t, 0);
        std::nth_element(order, order + m - 1, order + t,
                         [&](int i, int j) { return bound[i] != bound[j] ? bound[i] > bound[j] : i < j; });
        std::sort(order, order + m);
        std::copy(order, order + m, chosen + int64_t{b} * m);
    }
    tape.arena().release(mark);
    return {chosen, {batch, m}};
}

void Budget::Experience::set(int sequence, Tensor x, IntTensor chosen, int row, double routing_loss) {
    const int t = x.shape[1], d = x.shape[2], m = chosen.shape[1];
    float *squares = gram.data() + int64_t{sequence} * d * d, *total = sum.data() + int64_t{sequence} * d;
    std::fill(squares, squares + int64_t{d} * d, 0.f);
    std::fill(total, total + d, 0.f);
    constexpr int block = 16; // rows at a time, beside one another for the product
    float rows[block * widest];
    for (int first = 0; first < m; first += block) {
        const int n = std::min(block, m - first);
        for (int i = 0; i < n; ++i) {
            const float* from = x.data + (int64_t{row} * t + chosen.data[int64_t{row} * m + first + i]) * d;
            std::copy(from, from + d, rows + int64_t{i} * d);
            for (int c = 0; c < d; ++c) total[c] += from[c];
        }
        gemm(Transpose::yes, Transpose::no, d, d, n, 1.f, rows, d, rows, d, 1.f, squares, d);
    }
    loss[sequence] = routing_loss;
}

void Budget::learn(const std::vector<Experience>& groups, std::vector<double>& work) const {
    work.resize(a_.size() + d_);
    double *a = work.data(), *b = a + a_.size();
    std::copy(a_.data, a_.data + a_.size(), a);
    std::copy(b_.data, b_.data + d_, b);
    double sum = losses_.data[0], count = losses_.data[1];
    for (const Experience& e : groups) {
        for (size_t s = 0; s < e.loss.size(); ++s) {
            for (int64_t i = 0; i < a_.size(); ++i) a[i] += e.gram[static_cast<int64_t>(s) * a_.size() + i];
            const double reward = count > 0 ? sum / count - e.loss[s] : 0;
            for (int c = 0; c < d_; ++c) b[c] += reward * e.sum[s * d_ + c];
            sum += e.loss[s];
            count += 1;
        }
    }
    const auto store = [](const double* from, Tensor to) {
        std::transform(from, from + to.size(), to.data, [](double v) { return static_cast<float>(v); });
    };
    store(a, a_);
    store(b, b_);
    losses_.data[0] = static_cast<float>(sum), losses_.data[1] = static_cast<float>(count);
    invert_positive(d_, a);
    store(a, inverse_);
    for (int r = 0; r < d_; ++r)
        theta_.data[r] = static_cast<float>(std::inner_product(b, b + d_, a + int64_t{r} * d_, 0.0));
}

} // namespace fci
