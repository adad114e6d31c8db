// routing_scores on the GPU; the mathematics is in src/ops/routing_scores.h. cuBLAS computes the products, those of all
// sequences in one call. There is no n x n matrix: w = Wk^T Wq xq is multiplied with x itself.
#include "ops/routing_scores.h"

#include "cuda/gemm.cuh"

namespace fci::cuda {
namespace {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;

} // namespace

void routing_scores_forward(RoutingShape s, const float* xq, const float* x, const float* wq, const float* wk,
                            float* scores, float* saved) {
    const int rows = s.batch * s.rows;
    const int64_t of_rows = int64_t{s.rows} * s.d, of_x = int64_t{s.keys} * s.d, of_s = int64_t{s.rows} * s.keys;
    float *p = saved, *w = p + s.vectors();
    device_gemm(no, yes, rows, s.d, s.d, 1.f, xq, s.d, wq, s.d, 0.f, p, s.d); // (1)
    device_gemm(no, no, rows, s.d, s.d, 1.f, p, s.d, wk, s.d, 0.f, w, s.d);   // (2)
    device_gemm_batched(s.batch, no, yes, s.rows, s.keys, s.d, s.scale(), w, s.d, of_rows, x, s.d, of_x, 0.f, scores,
                        s.keys, of_s); // (3)
}

void routing_scores_backward(RoutingShape s, const float* xq, const float* x, const float* wq, const float* wk,
                             const float* saved, const float* dscores, float* dxq, float* dx, float* dwq, float* dwk) {
    const int rows = s.batch * s.rows;
    const int64_t of_rows = int64_t{s.rows} * s.d, of_x = int64_t{s.keys} * s.d, of_s = int64_t{s.rows} * s.keys;
    const float *p = saved, *w = p + s.vectors();
    Scratch scratch;
    float *dw = scratch.floats(s.vectors()), *dp = scratch.floats(s.vectors());
    device_gemm_batched(s.batch, no, no, s.rows, s.d, s.keys, s.scale(), dscores, s.keys, of_s, x, s.d, of_x, 0.f, dw,
                        s.d, of_rows); // (dw)
    device_gemm_batched(s.batch, yes, no, s.keys, s.d, s.rows, s.scale(), dscores, s.keys, of_s, w, s.d, of_rows, 1.f,
                        dx, s.d, of_x);                                         // (dx)
    device_gemm(yes, no, s.d, s.d, rows, 1.f, p, s.d, dw, s.d, 1.f, dwk, s.d);  // (dWk)
    device_gemm(no, yes, rows, s.d, s.d, 1.f, dw, s.d, wk, s.d, 0.f, dp, s.d);  // (dp)
    device_gemm(yes, no, s.d, s.d, rows, 1.f, dp, s.d, xq, s.d, 1.f, dwq, s.d); // (dWq)
    device_gemm(no, no, rows, s.d, s.d, 1.f, dp, s.d, wq, s.d, 1.f, dxq, s.d);  // (dxq)
}

} // namespace fci::cuda
