#include "ops/linear_attention.h"

#include <algorithm>

#include "core/gemm.h"
#include "core/scalar.h"
#include "core/scratch.h"

namespace fci {
namespace cpu {
namespace {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;

// f(where its columns begin in qkv, in y, its S and z in saved)
template <class F>
void for_each_head(const LinearAttentionShape& s, F f) {
    for (int b = 0; b < s.batch; ++b)
        for (int head = 0; head < s.heads; ++head) {
            const int64_t row = int64_t{b} * s.time, column = int64_t{head} * s.d_head;
            f(row * 3 * s.d() + column, row * s.d() + column, (int64_t{b} * s.heads + head) * s.sums());
        }
}

// Rows of d_head numbers, `stride` apart -> phi of them, dense
void features(const LinearAttentionShape& s, const float* from, int stride, float* to) {
    for (int i = 0; i < s.time; ++i)
        for (int c = 0; c < s.d_head; ++c) to[int64_t{i} * s.d_head + c] = elu_plus_one(from[int64_t{i} * stride + c]);
}

float dot(int n, const float* x, const float* y) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < n; ++c) sum += x[c] * y[c];
    return sum;
}

// dx += da phi'(x)
void through_features(const LinearAttentionShape& s, const float* da, const float* x, int stride, float* dx) {
    for (int i = 0; i < s.time; ++i) {
        const float *x_row = x + int64_t{i} * stride, *da_row = da + int64_t{i} * s.d_head;
        float* to = dx + int64_t{i} * stride;
#pragma omp simd
        for (int c = 0; c < s.d_head; ++c) to[c] += da_row[c] * elu_plus_one_derivative(x_row[c]);
    }
}

} // namespace

void linear_attention_forward(LinearAttentionShape s, const float* qkv, float* y, float* saved) {
    const int d = s.d_head, t = s.time, stride = 3 * s.d();
    Scratch scratch;
    float *A = scratch.floats(int64_t{t} * d), *B = scratch.floats(int64_t{t} * d);
    for_each_head(s, [&](int64_t in, int64_t out, int64_t at_sums) {
        const float *q = qkv + in, *k = q + s.d(), *v = k + s.d();
        float *S = saved + at_sums, *z = S + d * d;
        features(s, q, stride, A); // (1)
        features(s, k, stride, B);
        gemm(yes, no, d, d, t, 1.f, B, d, v, stride, 0.f, S, d); // (2)
        std::fill(z, z + d, 0.f);
        for (int j = 0; j < t; ++j)
            for (int c = 0; c < d; ++c) z[c] += B[int64_t{j} * d + c];
        gemm(no, no, t, d, d, 1.f, A, d, S, d, 0.f, y + out, s.d()); // (3), still to be divided by n
        for (int i = 0; i < t; ++i) {
            float* row = y + out + int64_t{i} * s.d();
            const float n = dot(d, A + int64_t{i} * d, z);
            for (int c = 0; c < d; ++c) row[c] /= n;
        }
    });
}

void linear_attention_backward(LinearAttentionShape s, const float* qkv, const float* y, const float* saved,
                               const float* dy, float* dqkv) {
    const int d = s.d_head, t = s.time, stride = 3 * s.d();
    const int64_t n = int64_t{t} * d;
    Scratch scratch;
    float *A = scratch.floats(n), *B = scratch.floats(n), *G = scratch.floats(n),
          *dA = scratch.floats(n); // dA: then dB
    float *dS = scratch.floats(d * d), *dz = scratch.floats(d);
    for_each_head(s, [&](int64_t in, int64_t out, int64_t at_sums) {
        const float *q = qkv + in, *k = q + s.d(), *v = k + s.d(), *S = saved + at_sums, *z = S + d * d;
        float *dq = dqkv + in, *dk = dq + s.d(), *dv = dk + s.d();
        features(s, q, stride, A);
        features(s, k, stride, B);
        std::fill(dz, dz + d, 0.f);
        for (int i = 0; i < t; ++i) {
            const float *a = A + int64_t{i} * d, *dy_row = dy + out + int64_t{i} * s.d();
            float *g = G + int64_t{i} * d, *da = dA + int64_t{i} * d;
            const float norm = dot(d, a, z);
            for (int c = 0; c < d; ++c) g[c] = dy_row[c] / norm;     // (g)
            const float e = dot(d, y + out + int64_t{i} * s.d(), g); // (e)
            for (int c = 0; c < d; ++c) {
                da[c] = -e * z[c]; // (da), second term
                dz[c] -= e * a[c]; // (dz)
            }
        }
        gemm(no, yes, t, d, d, 1.f, G, d, S, d, 1.f, dA, d);      // (da)
        through_features(s, dA, q, stride, dq);                   // (dq)
        gemm(yes, no, d, d, t, 1.f, A, d, G, d, 0.f, dS, d);      // (dS)
        gemm(no, no, t, d, d, 1.f, B, d, dS, d, 1.f, dv, stride); // (dv)
        for (int j = 0; j < t; ++j) std::copy_n(dz, d, dA + int64_t{j} * d);
        gemm(no, yes, t, d, d, 1.f, v, stride, dS, d, 1.f, dA, d); // (db)
        through_features(s, dA, k, stride, dk);                    // (dk)
    });
}

} // namespace cpu

Tensor linear_attention(Tape& tape, Tensor qkv, int heads) {
    check(qkv.shape.rank == 3 && qkv.shape[2] % (3 * heads) == 0,
          "linear_attention: qkv is {}, expected (b,t,3d), d a multiple of {} heads", qkv.shape.text(), heads);
    const int d = qkv.shape[2] / 3;
    const LinearAttentionShape s{qkv.shape[0], qkv.shape[1], heads, d / heads};
    Tensor y = tape.tensor({s.batch, s.time, d});
    float* saved = tape.arena().floats(s.saved_size());
    const Device device = tape.device();
    FCI_ON(device, linear_attention_forward)(s, qkv.data, y.data, saved);
    tape.append("linear_attention", y, linear_attention_cost(s), [=] {
        FCI_ON(device, linear_attention_backward)(s, qkv.data, y.data, saved, y.grad, qkv.grad);
    });
    return y;
}

} // namespace fci
