#include "ops/anchors.h"

#include <algorithm>

#include "core/gemm.h"
#include "core/scalar.h"
#include "core/scratch.h"

namespace fci {
namespace cpu {

void anchors_forward(AnchorShape s, const float* x, const float* a, float* y, float* p) {
    const int n = s.anchors;
    gemm(Transpose::no, Transpose::yes, s.rows, n, s.d, 1.f, x, s.d, a, s.d, 0.f, p, n);
    for (int r = 0; r < s.rows; ++r) {
        float* pr = p + int64_t{r} * n;
        const float high = *std::max_element(pr, pr + n);
        float sum = 0;
        for (int c = 0; c < n; ++c) sum += pr[c] = exp(pr[c] - high);
        for (int c = 0; c < n; ++c) pr[c] /= sum; // (1)
    }
    std::copy(x, x + int64_t{s.rows} * s.d, y);
    gemm(Transpose::no, Transpose::no, s.rows, s.d, n, 1.f, p, n, a, s.d, 1.f, y, s.d); // (2)
}

void anchors_backward(AnchorShape s, const float* x, const float* a, const float* p, const float* dy, float* dx,
                      float* da) {
    const int n = s.anchors;
    Scratch scratch;
    float* dz = scratch.floats(int64_t{s.rows} * n);
    gemm(Transpose::no, Transpose::yes, s.rows, n, s.d, 1.f, dy, s.d, a, s.d, 0.f, dz, n); // (dP)
    for (int r = 0; r < s.rows; ++r) {
        const float* pr = p + int64_t{r} * n;
        float *g = dz + int64_t{r} * n, dot = 0;
        for (int c = 0; c < n; ++c) dot += pr[c] * g[c];
        for (int c = 0; c < n; ++c) g[c] = pr[c] * (g[c] - dot); // (dz)
    }
    for (int64_t i = 0; i < int64_t{s.rows} * s.d; ++i) dx[i] += dy[i];
    gemm(Transpose::no, Transpose::no, s.rows, s.d, n, 1.f, dz, n, a, s.d, 1.f, dx, s.d); // (dx)
    gemm(Transpose::yes, Transpose::no, n, s.d, s.rows, 1.f, p, n, dy, s.d, 1.f, da, s.d);
    gemm(Transpose::yes, Transpose::no, n, s.d, s.rows, 1.f, dz, n, x, s.d, 1.f, da, s.d); // (dA)
}

} // namespace cpu

Tensor anchors(Tape& tape, Tensor x, Tensor a) {
    check(a.shape.rank == 2 && a.shape[1] == x.cols(), "anchors: A is {}, expected (n,{})", a.shape.text(), x.cols());
    const AnchorShape s{x.rows(), a.shape[0], x.cols()};
    Tensor y = tape.tensor(x.shape);
    float* p = tape.arena().floats(int64_t{s.rows} * s.anchors);
    const Device device = tape.device();
    FCI_ON(device, anchors_forward)(s, x.data, a.data, y.data, p);
    tape.append("anchors", y, anchors_cost(s), [=] {
        FCI_ON(device, anchors_backward)(s, x.data, a.data, p, y.grad, x.grad, a.grad);
    });
    return y;
}

} // namespace fci
