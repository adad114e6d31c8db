#include "ops/routing_scores.h"

#include <algorithm>

#include "core/gemm.h"

namespace fci {
namespace cpu {
namespace {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;

float score_scale(const RoutingShape& s) {
    return 1.f / std::sqrt(static_cast<float>(s.heads) * s.d);
} // 1/(H sqrt(d/H))

} // namespace

void routing_scores_forward(RoutingShape s, const float* x, const int32_t* query, const float* wq, const float* wk,
                            float* scores, float* saved) {
    const int rows = s.batch * s.rows;
    float *xq = saved, *p = xq + s.vectors(), *w = p + s.vectors();
    for (int i = 0; i < rows; ++i) {
        const float* from = x + (int64_t{i / s.rows} * s.time + query[i]) * s.d;
        std::copy(from, from + s.d, xq + int64_t{i} * s.d);
    }
    gemm(no, yes, rows, s.d, s.d, 1.f, xq, s.d, wq, s.d, 0.f, p, s.d); // (1)
    gemm(no, no, rows, s.d, s.d, 1.f, p, s.d, wk, s.d, 0.f, w, s.d);   // (2)
    for (int b = 0; b < s.batch; ++b)
        gemm(no, yes, s.rows, s.time, s.d, score_scale(s), w + int64_t{b} * s.rows * s.d, s.d,
             x + int64_t{b} * s.time * s.d, s.d, 0.f, scores + int64_t{b} * s.rows * s.time, s.time); // (3)
}

void routing_scores_backward(RoutingShape s, const float* x, const int32_t* query, const float* wq, const float* wk,
                             const float* saved, const float* dscores, float* dx, float* dwq, float* dwk,
                             float* scratch) {
    const int rows = s.batch * s.rows;
    const float *xq = saved, *p = xq + s.vectors(), *w = p + s.vectors();
    float *dw = scratch, *dp = dw + s.vectors(), *dxq = dp + s.vectors();
    for (int b = 0; b < s.batch; ++b) {
        const int64_t at_row = int64_t{b} * s.rows * s.d, at_x = int64_t{b} * s.time * s.d,
                      at_s = int64_t{b} * s.rows * s.time;
        gemm(no, no, s.rows, s.d, s.time, score_scale(s), dscores + at_s, s.time, x + at_x, s.d, 0.f, dw + at_row,
             s.d); // (dw)
        gemm(yes, no, s.time, s.d, s.rows, score_scale(s), dscores + at_s, s.time, w + at_row, s.d, 1.f, dx + at_x,
             s.d); // (dx)
    }
    gemm(yes, no, s.d, s.d, rows, 1.f, p, s.d, dw, s.d, 1.f, dwk, s.d);  // (dWk)
    gemm(no, yes, rows, s.d, s.d, 1.f, dw, s.d, wk, s.d, 0.f, dp, s.d);  // (dp)
    gemm(yes, no, s.d, s.d, rows, 1.f, dp, s.d, xq, s.d, 1.f, dwq, s.d); // (dWq)
    gemm(no, no, rows, s.d, s.d, 1.f, dp, s.d, wq, s.d, 0.f, dxq, s.d);
    for (int i = 0; i < rows; ++i) {
        float* to = dx + (int64_t{i / s.rows} * s.time + query[i]) * s.d;
        for (int c = 0; c < s.d; ++c) to[c] += dxq[int64_t{i} * s.d + c]; // (dxq)
    }
}

} // namespace cpu

Tensor routing_scores(Tape& tape, Tensor x, IntTensor query, Tensor wq, Tensor wk, int heads) {
    check(x.shape.rank == 3 && query.shape.rank == 2 && query.shape[0] == x.shape[0],
          "routing_scores: x is {}, query is {}, expected (b,t,d) and (b,r)", x.shape.text(), query.shape.text());
    const RoutingShape s{x.shape[0], x.shape[1], query.shape[1], x.shape[2], heads};
    expect_shape("routing_scores", "Wq", wq, {s.d, s.d});
    expect_shape("routing_scores", "Wk", wk, {s.d, s.d});
    for (int i = 0; i < s.batch * s.rows; ++i)
        check(query.data[i] >= 0 && query.data[i] < s.time, "routing_scores: query row {} is outside the length {}",
              query.data[i], s.time);
    Tensor scores = tape.tensor({s.batch, s.rows, s.time});
    float* saved = tape.arena().floats(3 * s.vectors());
    cpu::routing_scores_forward(s, x.data, query.data, wq.data, wk.data, scores.data, saved);
    tape.append("routing_scores", scores, [=, arena = &tape.arena()] {
        const Arena::Mark mark = arena->mark();
        cpu::routing_scores_backward(s, x.data, query.data, wq.data, wk.data, saved, scores.grad, x.grad, wq.grad,
                                     wk.grad, arena->floats(3 * s.vectors()));
        arena->release(mark);
    });
    return scores;
}

} // namespace fci
