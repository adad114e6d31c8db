#include "ops/layer_norm.h"

namespace fci {
namespace cpu {

void layer_norm_forward(NormShape s, const float* x, const float* w, const float* b, float* y, float* mean,
                        float* rstd) {
    for (int r = 0; r < s.rows; ++r) {
        const float* xr = x + int64_t{r} * s.d;
        float* yr = y + int64_t{r} * s.d;
        float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (int c = 0; c < s.d; ++c) sum += xr[c];
        const float m = sum / s.d;
#pragma omp simd reduction(+ : squares)
        for (int c = 0; c < s.d; ++c) squares += (xr[c] - m) * (xr[c] - m);
        const float rs = 1.f / std::sqrt(squares / s.d + norm_eps);
        for (int c = 0; c < s.d; ++c) yr[c] = (xr[c] - m) * rs * w[c] + b[c]; // (1)
        mean[r] = m;
        rstd[r] = rs;
    }
}

void layer_norm_backward(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                         const float* dy, float* dx, float* dw, float* db) {
    for (int r = 0; r < s.rows; ++r) {
        const float *xr = x + int64_t{r} * s.d, *dyr = dy + int64_t{r} * s.d;
        float* dxr = dx + int64_t{r} * s.d;
        const float m = mean[r], rs = rstd[r];
        float sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
        for (int c = 0; c < s.d; ++c) {
            const float g = dyr[c] * w[c];
            sum_g += g;
            sum_gx += g * ((xr[c] - m) * rs);
        }
        const float mean_g = sum_g / s.d, mean_gx = sum_gx / s.d;
#pragma omp simd
        for (int c = 0; c < s.d; ++c) {
            const float xhat = (xr[c] - m) * rs;
            dxr[c] += rs * (dyr[c] * w[c] - mean_g - xhat * mean_gx); // (dx)
            dw[c] += dyr[c] * xhat;                                   // (dw)
            db[c] += dyr[c];                                          // (db)
        }
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
    tape.append("layer_norm", y, [=] {
        FCI_ON(device, layer_norm_backward)(s, x.data, w.data, mean, rstd, y.grad, x.grad, w.grad, b.grad);
    });
    return y;
}

} // namespace fci
