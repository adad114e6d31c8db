#include "ops/layer_norm.h"

namespace fci {
namespace {

void forward_row(int d, float eps, const float* x, const float* w, const float* b, float* y, float& mean, float& rstd) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < d; ++c) sum += x[c];
    const float m = sum / d;
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < d; ++c) squares += (x[c] - m) * (x[c] - m);
    const float rs = 1.f / std::sqrt(squares / d + eps);
    for (int c = 0; c < d; ++c) y[c] = (x[c] - m) * rs * w[c] + b[c]; // (1)
    mean = m;
    rstd = rs;
}

// add(c, g): what becomes of the summand (dx)
template <class Add>
inline void backward_row(int d, const float* x, const float* w, float m, float rs, const float* dy, float* dw,
                         float* db, Add add) {
    float sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
    for (int c = 0; c < d; ++c) {
        const float g = dy[c] * w[c];
        sum_g += g;
        sum_gx += g * ((x[c] - m) * rs);
    }
    const float mean_g = sum_g / d, mean_gx = sum_gx / d;
#pragma omp simd
    for (int c = 0; c < d; ++c) {
        const float xhat = (x[c] - m) * rs;
        add(c, rs * (dy[c] * w[c] - mean_g - xhat * mean_gx)); // (dx)
        dw[c] += dy[c] * xhat;                                 // (dw)
        db[c] += dy[c];                                        // (db)
    }
}

} // namespace
namespace cpu {

void layer_norm_forward(NormShape s, const float* x, const float* w, const float* b, float* y, float* mean,
                        float* rstd) {
    for (int r = 0; r < s.rows; ++r)
        forward_row(s.d, s.eps, x + int64_t{r} * s.d, w, b, y + int64_t{r} * s.d, mean[r], rstd[r]);
}

void layer_norm_backward(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                         const float* dy, float* dx, float* dw, float* db) {
    for (int r = 0; r < s.rows; ++r) {
        const int64_t at = int64_t{r} * s.d;
        float* dxr = dx + at;
        backward_row(s.d, x + at, w, mean[r], rstd[r], dy + at, dw, db, [=](int c, float g) { dxr[c] += g; });
    }
}

void residual_norm_forward(NormShape s, const float* x, const float* z, const float* w, const float* b, float* h,
                           float* y, float* mean, float* rstd) {
    for (int r = 0; r < s.rows; ++r) {
        const int64_t at = int64_t{r} * s.d;
        for (int64_t i = at; i < at + s.d; ++i) h[i] = x[i] + z[i]; // (2)
        forward_row(s.d, s.eps, h + at, w, b, y + at, mean[r], rstd[r]);
    }
}

void residual_norm_backward(NormShape s, const float* h, const float* w, const float* mean, const float* rstd,
                            const float* dh, const float* dy, float* dx, float* dz, float* dw, float* db) {
    for (int r = 0; r < s.rows; ++r) {
        const int64_t at = int64_t{r} * s.d;
        const float* dhr = dh + at;
        float *dxr = dx + at, *dzr = dz + at;
        backward_row(s.d, h + at, w, mean[r], rstd[r], dy + at, dw, db, [=](int c, float g) {
            const float all = dhr[c] + g; // (dh)
            dxr[c] += all;
            dzr[c] += all;
        });
    }
}

} // namespace cpu

Tensor layer_norm(Tape& tape, Tensor x, Tensor w, Tensor b) {
    const NormShape s{x.rows(), x.cols()};
    expect_shape("layer_norm", "w", w, {s.d});
    expect_shape("layer_norm", "b", b, {s.d});
    Tensor y = tape.tensor(x.shape);
    float *mean = tape.arena().floats(s.rows), *rstd = tape.arena().floats(s.rows);
    const Device device = tape.device();
    FCI_ON(device, layer_norm_forward)(s, x.data, w.data, b.data, y.data, mean, rstd);
    tape.append("layer_norm", y, layer_norm_cost(s), [=] {
        FCI_ON(device, layer_norm_backward)(s, x.data, w.data, mean, rstd, y.grad, x.grad, w.grad, b.grad);
    });
    return y;
}

SumAndNorm residual_norm(Tape& tape, Tensor x, Tensor z, Tensor w, Tensor b) {
    const NormShape s{x.rows(), x.cols()};
    expect_shape("residual_norm", "z", z, x.shape);
    expect_shape("residual_norm", "w", w, {s.d});
    expect_shape("residual_norm", "b", b, {s.d});
    const Tensor h = tape.tensor(x.shape), y = tape.tensor(x.shape);
    float *mean = tape.arena().floats(s.rows), *rstd = tape.arena().floats(s.rows);
    const Device device = tape.device();
    FCI_ON(device, residual_norm_forward)(s, x.data, z.data, w.data, b.data, h.data, y.data, mean, rstd);
    tape.append("residual_norm", y, residual_norm_cost(s), [=] {
        FCI_ON(device, residual_norm_backward)
        (s, h.data, w.data, mean, rstd, h.grad, y.grad, x.grad, z.grad, w.grad, b.grad);
    });
    return {h, y};
}

} // namespace fci
