#include "ops/rms_norm.h"

namespace fci {
namespace cpu {

void rms_norm_forward(NormShape s, const float* x, const float* w, float* y, float* rstd) {
    for (int r = 0; r < s.rows; ++r) {
        const float* xr = x + int64_t{r} * s.d;
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int c = 0; c < s.d; ++c) squares += xr[c] * xr[c];
        rstd[r] = 1.f / std::sqrt(squares / s.d + s.eps);
        for (int c = 0; c < s.d; ++c) y[int64_t{r} * s.d + c] = xr[c] * rstd[r] * (w ? w[c] : 1.f); // (1)
    }
}

void rms_norm_backward(NormShape s, const float* x, const float* w, const float* rstd, const float* dy, float* dx,
                       float* dw) {
    for (int r = 0; r < s.rows; ++r) {
        const float *xr = x + int64_t{r} * s.d, *dyr = dy + int64_t{r} * s.d, rs = rstd[r];
        float* dxr = dx + int64_t{r} * s.d;
        float sum_gx = 0;
#pragma omp simd reduction(+ : sum_gx)
        for (int c = 0; c < s.d; ++c) sum_gx += dyr[c] * (w ? w[c] : 1.f) * (xr[c] * rs);
        const float mean_gx = sum_gx / s.d;
#pragma omp simd
        for (int c = 0; c < s.d; ++c) {
            const float xhat = xr[c] * rs;
            dxr[c] += rs * (dyr[c] * (w ? w[c] : 1.f) - xhat * mean_gx); // (dx)
        }
        if (w)
            for (int c = 0; c < s.d; ++c) dw[c] += dyr[c] * (xr[c] * rs); // (dw)
    }
}

} // namespace cpu

Tensor rms_norm(Tape& tape, Tensor x, Tensor w, float eps) {
    const NormShape s{x.rows(), x.cols(), eps};
    if (w) expect_shape("rms_norm", "w", w, {s.d});
    Tensor y = tape.tensor(x.shape);
    float* rstd = tape.arena().floats(s.rows);
    const Device device = tape.device();
    FCI_ON(device, rms_norm_forward)(s, x.data, w.data, y.data, rstd);
    tape.append("rms_norm", y, rms_norm_cost(s, bool(w)), [=] {
        FCI_ON(device, rms_norm_backward)(s, x.data, w.data, rstd, y.grad, x.grad, w.grad);
    });
    return y;
}

} // namespace fci
