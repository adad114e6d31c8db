// dot_scores on the GPU; the mathematics is in src/ops/dot_scores.h. cuBLAS computes the products of all sequences in
// one call.
#include "ops/dot_scores.h"

#include "cuda/gemm.cuh"

namespace fci::cuda {
namespace {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;

} // namespace

void dot_scores_forward(DotShape s, float scale, const float* q, const float* k, float* scores) {
    const int64_t of_q = int64_t{s.rows} * s.d, of_k = int64_t{s.keys} * s.d, of_s = int64_t{s.rows} * s.keys;
    device_gemm_batched(s.batch, no, yes, s.rows, s.keys, s.d, scale, q, s.d, of_q, k, s.d, of_k, 0.f, scores, s.keys,
                        of_s); // (1)
}

void dot_scores_backward(DotShape s, float scale, const float* q, const float* k, const float* dscores, float* dq,
                         float* dk) {
    const int64_t of_q = int64_t{s.rows} * s.d, of_k = int64_t{s.keys} * s.d, of_s = int64_t{s.rows} * s.keys;
    device_gemm_batched(s.batch, no, no, s.rows, s.d, s.keys, scale, dscores, s.keys, of_s, k, s.d, of_k, 1.f, dq, s.d,
                        of_q); // (dq)
    device_gemm_batched(s.batch, yes, no, s.keys, s.d, s.rows, scale, dscores, s.keys, of_s, q, s.d, of_q, 1.f, dk, s.d,
                        of_k); // (dk)
}

} // namespace fci::cuda
