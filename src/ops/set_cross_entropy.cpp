#include "ops/set_cross_entropy.h"

#include <algorithm>

namespace fci {
namespace cpu {

void set_cross_entropy_forward(SetCrossEntropyShape s, const float* z, const int32_t* begin, const int32_t* target,
                               float* loss, float* lse, float* held) {
    for (int r = 0; r < s.rows; ++r) {
        const float* row = z + int64_t{r} * s.classes;
        const LogSum<float> all = log_sum_exp(s.classes, row); // (1)
        const int32_t *first = target + begin[r], *last = target + begin[r + 1];
        float highest_held = row[*first], sum_held = 0; // its own: the set may lie far below the highest of all
        for (const int32_t* c = first; c < last; ++c) highest_held = std::max(highest_held, row[*c]);
        for (const int32_t* c = first; c < last; ++c) sum_held += exp(row[*c] - highest_held);
        const auto of_set = LogSum<float>::of(highest_held, std::log(sum_held)); // (2)
        loss[r] = all.minus(of_set);                                             // (3)
        all.save(lse, r);
        of_set.save(held, r);
    }
}

void set_cross_entropy_backward(SetCrossEntropyShape s, const float* z, const int32_t* begin, const int32_t* target,
                                const float* lse, const float* held, const float* dloss, float* dz) {
    for (int r = 0; r < s.rows; ++r) {
        const float *row = z + int64_t{r} * s.classes, weight = dloss[r];
        const auto all = LogSum<float>::load(lse, r), of_set = LogSum<float>::load(held, r);
        float* drow = dz + int64_t{r} * s.classes;
#pragma omp simd
        for (int c = 0; c < s.classes; ++c) drow[c] += weight * exp(all.share(row[c])); // (dz)
        for (int i = begin[r]; i < begin[r + 1]; ++i) drow[target[i]] -= weight * exp(of_set.share(row[target[i]]));
    }
}

} // namespace cpu

Tensor set_cross_entropy(Tape& tape, Tensor z, IntTensor begin, IntTensor target, float weight, const float* factor) {
    const SetCrossEntropyShape s{z.rows(), z.cols()};
    check(begin.shape.size() == s.rows + 1, "set_cross_entropy: z is {}, but there are {} bounds of sets",
          z.shape.text(), begin.shape.size());
    const Device device = tape.device();
    for (int r = 0; device == Device::cpu && r < s.rows; ++r)
        check(begin.data[r] < begin.data[r + 1], "set_cross_entropy: the set of row {} is empty", r);
    tape.expect_indices("set_cross_entropy", "target", target, s.classes);
    Tensor loss = tape.tensor({s.rows});
    float *lse = tape.arena().floats(2 * int64_t{s.rows}), *held = tape.arena().floats(2 * int64_t{s.rows});
    FCI_ON(device, set_cross_entropy_forward)(s, z.data, begin.data, target.data, loss.data, lse, held);
    tape.append("set_cross_entropy", loss, set_cross_entropy_cost(s), [=] {
        FCI_ON(device, fill_forward)(s.rows, weight, factor, loss.grad);
        FCI_ON(device, set_cross_entropy_backward)(s, z.data, begin.data, target.data, lse, held, loss.grad, z.grad);
    });
    return loss;
}

} // namespace fci
