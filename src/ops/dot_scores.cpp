#include "ops/dot_scores.h"

#include "core/gemm.h"

namespace fci {
namespace cpu {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;

void dot_scores_forward(DotShape s, float scale, const float* q, const float* k, float* scores) {
    for (int64_t b = 0; b < s.batch; ++b)
        gemm(no, yes, s.rows, s.keys, s.d, scale, q + b * s.rows * s.d, s.d, k + b * s.keys * s.d, s.d, 0.f,
             scores + b * s.rows * s.keys, s.keys); // (1)
}

void dot_scores_backward(DotShape s, float scale, const float* q, const float* k, const float* dscores, float* dq,
                         float* dk) {
    for (int64_t b = 0; b < s.batch; ++b) {
        const float* ds = dscores + b * s.rows * s.keys;
        gemm(no, no, s.rows, s.d, s.keys, scale, ds, s.keys, k + b * s.keys * s.d, s.d, 1.f, dq + b * s.rows * s.d,
             s.d); // (dq)
        gemm(yes, no, s.keys, s.d, s.rows, scale, ds, s.keys, q + b * s.rows * s.d, s.d, 1.f, dk + b * s.keys * s.d,
             s.d); // (dk)
    }
}

} // namespace cpu

Tensor dot_scores(Tape& tape, Tensor q, Tensor k, float scale) {
    check(q.shape.rank == 3 && k.shape.rank == 3 && q.shape[0] == k.shape[0] && q.shape[2] == k.shape[2],
          "dot_scores: q is {}, k is {}, expected (b,r,d) and (b,n,d)", q.shape.text(), k.shape.text());
    const DotShape s{q.shape[0], q.shape[1], k.shape[1], q.shape[2]};
    Tensor scores = tape.tensor({s.batch, s.rows, s.keys});
    const Device device = tape.device();
    FCI_ON(device, dot_scores_forward)(s, scale, q.data, k.data, scores.data);
    tape.append("dot_scores", scores, dot_scores_cost(s), [=] {
        FCI_ON(device, dot_scores_backward)(s, scale, q.data, k.data, scores.grad, q.grad, k.grad);
    });
    return scores;
}

} // namespace fci
