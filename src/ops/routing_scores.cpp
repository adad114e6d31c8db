#include "ops/routing_scores.h"

#include "core/gemm.h"
#include "core/scratch.h"

namespace fci {
namespace cpu {
namespace {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;

} // namespace

void routing_scores_forward(RoutingShape s, const float* xq, const float* x, const float* wq, const float* wk,
                            float* scores, float* saved) {
    const int rows = s.batch * s.rows;
    float *p = saved, *w = p + s.vectors();
    gemm(no, yes, rows, s.d, s.d, 1.f, xq, s.d, wq, s.d, 0.f, p, s.d); // (1)
    gemm(no, no, rows, s.d, s.d, 1.f, p, s.d, wk, s.d, 0.f, w, s.d);   // (2)
    for (int b = 0; b < s.batch; ++b)
        gemm(no, yes, s.rows, s.keys, s.d, s.scale(), w + int64_t{b} * s.rows * s.d, s.d, x + int64_t{b} * s.keys * s.d,
             s.d, 0.f, scores + int64_t{b} * s.rows * s.keys, s.keys); // (3)
}

void routing_scores_backward(RoutingShape s, const float* xq, const float* x, const float* wq, const float* wk,
                             const float* saved, const float* dscores, float* dxq, float* dx, float* dwq, float* dwk) {
    const int rows = s.batch * s.rows;
    const float *p = saved, *w = p + s.vectors();
    Scratch scratch;
    float *dw = scratch.floats(s.vectors()), *dp = scratch.floats(s.vectors());
    for (int b = 0; b < s.batch; ++b) {
        const int64_t at_row = int64_t{b} * s.rows * s.d, at_x = int64_t{b} * s.keys * s.d,
                      at_s = int64_t{b} * s.rows * s.keys;
        gemm(no, no, s.rows, s.d, s.keys, s.scale(), dscores + at_s, s.keys, x + at_x, s.d, 0.f, dw + at_row,
             s.d); // (dw)
        gemm(yes, no, s.keys, s.d, s.rows, s.scale(), dscores + at_s, s.keys, w + at_row, s.d, 1.f, dx + at_x,
             s.d); // (dx)
    }
    gemm(yes, no, s.d, s.d, rows, 1.f, p, s.d, dw, s.d, 1.f, dwk, s.d);  // (dWk)
    gemm(no, yes, rows, s.d, s.d, 1.f, dw, s.d, wk, s.d, 0.f, dp, s.d);  // (dp)
    gemm(yes, no, s.d, s.d, rows, 1.f, dp, s.d, xq, s.d, 1.f, dwq, s.d); // (dWq)
    gemm(no, no, rows, s.d, s.d, 1.f, dp, s.d, wq, s.d, 1.f, dxq, s.d);  // (dxq)
}

} // namespace cpu

Tensor routing_scores(Tape& tape, Tensor xq, Tensor x, Tensor wq, Tensor wk, int heads) {
    check(xq.shape.rank == 3 && x.shape.rank == 3 && xq.shape[0] == x.shape[0] && xq.shape[2] == x.shape[2],
          "routing_scores: xq is {}, x is {}, expected (b,r,d) and (b,n,d)", xq.shape.text(), x.shape.text());
    const RoutingShape s{x.shape[0], x.shape[1], xq.shape[1], x.shape[2], heads};
    expect_shape("routing_scores", "Wq", wq, {s.d, s.d});
    expect_shape("routing_scores", "Wk", wk, {s.d, s.d});
    Tensor scores = tape.tensor({s.batch, s.rows, s.keys});
    float* saved = tape.arena().floats(2 * s.vectors());
    const Device device = tape.device();
    FCI_ON(device, routing_scores_forward)(s, xq.data, x.data, wq.data, wk.data, scores.data, saved);
    tape.append("routing_scores", scores, routing_scores_cost(s), [=] {
        FCI_ON(device, routing_scores_backward)
        (s, xq.data, x.data, wq.data, wk.data, saved, scores.grad, xq.grad, x.grad, wq.grad, wk.grad);
    });
    return scores;
}

} // namespace fci
