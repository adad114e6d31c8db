#include "ops/linear.h"

#include <algorithm>

#include "core/gemm.h"

namespace fci {
namespace cpu {

void linear_forward(LinearShape s, const float* x, const float* w, const float* b, float* y) {
    if (b)
        for (int r = 0; r < s.rows; ++r) std::copy(b, b + s.out, y + int64_t{r} * s.out);
    gemm(Transpose::no, Transpose::yes, s.rows, s.out, s.in, 1.f, x, s.in, w, s.in, b ? 1.f : 0.f, y, s.out); // (1)
}

void linear_backward(LinearShape s, const float* x, const float* w, const float* dy, float* dx, float* dw, float* db) {
    if (dx) gemm(Transpose::no, Transpose::no, s.rows, s.in, s.out, 1.f, dy, s.out, w, s.in, 1.f, dx, s.in); // (dx)
    gemm(Transpose::yes, Transpose::no, s.out, s.in, s.rows, 1.f, dy, s.out, x, s.in, 1.f, dw, s.in); // (dW)
    if (!db) return;
    for (int r = 0; r < s.rows; ++r)
        for (int o = 0; o < s.out; ++o) db[o] += dy[int64_t{r} * s.out + o]; // (db)
}

} // namespace cpu

Tensor linear(Tape& tape, Tensor x, Tensor w, Tensor b) {
    check(w.shape.rank == 2 && x.cols() == w.shape[1], "linear: x is {}, W is {}: x needs {} columns", x.shape.text(),
          w.shape.text(), w.shape[1]);
    if (b) expect_shape("linear", "b", b, {w.shape[0]});
    const LinearShape s{x.rows(), w.shape[1], w.shape[0]};
    Shape out = x.shape;
    out.n[out.rank - 1] = s.out;
    Tensor y = tape.tensor(out);
    const Device device = tape.device();
    FCI_ON(device, linear_forward)(s, x.data, w.data, b.data, y.data);
    tape.append("linear", y, linear_cost(s, bool(b)), [=] {
        FCI_ON(device, linear_backward)(s, x.data, w.data, y.grad, x.grad, w.grad, b.grad);
    });
    return y;
}

} // namespace fci
