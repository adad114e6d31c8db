#include "ops/cross_entropy.h"

#include <algorithm>

namespace fci {
namespace cpu {

LogSum<float> log_sum_exp(int n, const float* row) {
    float highest = row[0], sum = 0;
#pragma omp simd reduction(max : highest)
    for (int c = 0; c < n; ++c) highest = row[c] > highest ? row[c] : highest;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < n; ++c) sum += exp(row[c] - highest);
    return LogSum<float>::of(highest, std::log(sum));
}

void cross_entropy_forward(CrossEntropyShape s, const float* z, const int32_t* target, float* loss, float* lse) {
    for (int r = 0; r < s.rows; ++r) {
        const float* row = z + int64_t{r} * s.classes;
        const LogSum<float> l = log_sum_exp(s.classes, row); // (1)
        l.save(lse, r);
        loss[r] = l.minus(LogSum<float>::of(row[target[r]], 0)); // (2)
    }
}

void cross_entropy_backward(CrossEntropyShape s, const float* z, const int32_t* target, const float* lse,
                            const float* dloss, float* dz) {
    for (int r = 0; r < s.rows; ++r) {
        const float *row = z + int64_t{r} * s.classes, weight = dloss[r];
        const auto l = LogSum<float>::load(lse, r);
        float* drow = dz + int64_t{r} * s.classes;
#pragma omp simd
        for (int c = 0; c < s.classes; ++c) drow[c] += weight * exp(l.share(row[c])); // (dz)
        drow[target[r]] -= weight;
    }
}

void fill_forward(int rows, float weight, const float* factor, float* dloss) {
    std::fill(dloss, dloss + rows, factor ? weight * *factor : weight);
}

} // namespace cpu

Tensor cross_entropy(Tape& tape, Tensor z, IntTensor target, float weight, const float* factor) {
    const CrossEntropyShape s{z.rows(), z.cols()};
    check(target.shape.size() == s.rows, "cross_entropy: z is {}, but there are {} targets", z.shape.text(),
          target.shape.size());
    tape.expect_indices("cross_entropy", "target", target, s.classes);
    Tensor loss = tape.tensor({s.rows});
    float* lse = tape.arena().floats(2 * int64_t{s.rows});
    const Device device = tape.device();
    FCI_ON(device, cross_entropy_forward)(s, z.data, target.data, loss.data, lse);
    tape.append("cross_entropy", loss, cross_entropy_cost(s), [=] {
        FCI_ON(device, fill_forward)(s.rows, weight, factor, loss.grad);
        FCI_ON(device, cross_entropy_backward)(s, z.data, target.data, lse, loss.grad, z.grad);
    });
    return loss;
}

} // namespace fci
