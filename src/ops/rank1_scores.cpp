#include "ops/rank1_scores.h"

#include <algorithm>

#include "core/gemm.h"
#include "core/scratch.h"
#include "ops/top_k.h"

namespace fci {
namespace cpu {

void rank1_scores_forward(Rank1Shape s, const float* x, const int32_t* query, const float* v, float* scores, float* f) {
    gemm(Transpose::no, Transpose::yes, 1, s.batch * s.time, s.d, 1.f, v, s.d, x, s.d, 0.f, f, s.batch * s.time); // (1)
    for (int b = 0; b < s.batch; ++b)
        for (int r = 0; r < s.rows; ++r) {
            const float *fb = f + int64_t{b} * s.time, fq = fb[query[b * s.rows + r]];
            float* row = scores + (int64_t{b} * s.rows + r) * s.time;
            for (int j = 0; j < s.time; ++j) row[j] = fq * fb[j]; // (2)
        }
}

void rank1_scores_backward(Rank1Shape s, const float* x, const int32_t* query, const float* v, const float* f,
                           const float* dscores, float* dx, float* dv) {
    const int n = s.batch * s.time;
    Scratch scratch;
    float* all_df = scratch.floats(n);
    for (int b = 0; b < s.batch; ++b) {
        const float* fb = f + int64_t{b} * s.time;
        float* df = all_df + int64_t{b} * s.time;
        std::fill(df, df + s.time, 0.f);
        for (int r = 0; r < s.rows; ++r) {
            const int q = query[b * s.rows + r];
            const float *ds = dscores + (int64_t{b} * s.rows + r) * s.time, fq = fb[q];
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int j = 0; j < s.time; ++j) {
                df[j] += ds[j] * fq; // (df), first term
                sum += ds[j] * fb[j];
            }
            df[q] += sum; // (df), second term
        }
    }
    gemm(Transpose::yes, Transpose::no, n, s.d, 1, 1.f, all_df, n, v, s.d, 1.f, dx, s.d); // (dx)
    gemm(Transpose::no, Transpose::no, 1, s.d, n, 1.f, all_df, n, x, s.d, 1.f, dv, s.d);  // (dv)
}

} // namespace cpu

namespace {

Rank1Shape shape_of(const Tape& tape, const char* op, Tensor x, IntTensor query, Tensor v) {
    check(x.shape.rank == 3 && query.shape.rank == 2 && query.shape[0] == x.shape[0],
          "{}: x is {}, query is {}, expected (b,t,d) and (b,r)", op, x.shape.text(), query.shape.text());
    const Rank1Shape s{x.shape[0], x.shape[1], query.shape[1], x.shape[2]};
    expect_shape(op, "v", v, {s.d});
    tape.expect_indices(op, "query row", query, s.time);
    return s;
}

} // namespace

Tensor rank1_scores(Tape& tape, Tensor x, IntTensor query, Tensor v) {
    const Rank1Shape s = shape_of(tape, "rank1_scores", x, query, v);
    Tensor scores = tape.tensor({s.batch, s.rows, s.time});
    float* f = tape.arena().floats(int64_t{s.batch} * s.time);
    const Device device = tape.device();
    FCI_ON(device, rank1_scores_forward)(s, x.data, query.data, v.data, scores.data, f);
    tape.append("rank1_scores", scores, rank1_scores_cost(s), [=] {
        FCI_ON(device, rank1_scores_backward)
        (s, x.data, query.data, v.data, f, scores.grad, x.grad, v.grad);
    });
    return scores;
}

IntTensor rank1_choose(Tape& tape, Tensor x, IntTensor query, Tensor v, int k) {
    if (tape.device() != Device::cpu) return top_k(tape, rank1_scores(tape, x, query, v), k);
    const Rank1Shape s = shape_of(tape, "rank1_choose", x, query, v);
    const int n = s.batch * s.time;
    float *f = tape.arena().floats(n), *minus_f = tape.arena().floats(n), *zero = tape.arena().floats(s.time);
    gemm(Transpose::no, Transpose::yes, 1, n, s.d, 1.f, v.data, s.d, x.data, s.d, 0.f, f, n); // (1)
    for (int j = 0; j < n; ++j) minus_f[j] = -f[j];
    std::fill(zero, zero + s.time, 0.f);
    const TopKShape each{s.batch, s.time, k}, one{1, s.time, k};
    int32_t *largest = tape.arena().array<int32_t>(each.size()), *smallest = tape.arena().array<int32_t>(each.size()),
            *lowest = tape.arena().array<int32_t>(one.size()); // all scores equal: the lowest indices
    const Device device = tape.device();
    FCI_ON(device, top_k_forward)(each, f, largest);
    FCI_ON(device, top_k_forward)(each, minus_f, smallest);
    FCI_ON(device, top_k_forward)(one, zero, lowest);
    int32_t* chosen = tape.arena().array<int32_t>(int64_t{s.batch} * s.rows * 2 * k);
    for (int b = 0; b < s.batch; ++b)
        for (int r = 0; r < s.rows; ++r) {
            const float fq = f[b * s.time + query.data[b * s.rows + r]];
            const int32_t* from = fq > 0.f   ? largest + int64_t{b} * 2 * k
                                  : fq < 0.f ? smallest + int64_t{b} * 2 * k
                                             : lowest;
            std::copy(from, from + 2 * k, chosen + (int64_t{b} * s.rows + r) * 2 * k);
        }
    return {chosen, {s.batch, s.rows, 2 * k}};
}

} // namespace fci
