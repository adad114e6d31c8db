#include "ops/replace_rows.h"

#include <algorithm>

namespace fci {
namespace cpu {

void replace_rows_forward(GatherShape s, const float* x, const int32_t* index, const float* z, float* y) {
    std::copy(x, x + int64_t{s.batch} * s.time * s.d, y);
    for (int i = 0; i < s.batch * s.rows; ++i) {
        const float* from = z + int64_t{i} * s.d;
        std::copy(from, from + s.d, y + (int64_t{i / s.rows} * s.time + index[i]) * s.d); // (1)
    }
}

void replace_rows_backward(GatherShape s, const int32_t* index, const float* dy, float* dx, float* dz) {
    for (int b = 0; b < s.batch; ++b)
        for (int j = 0, m = 0; j < s.time; ++j, dx += s.d, dy += s.d) {
            if (m < s.rows && index[int64_t{b} * s.rows + m] == j) {
                for (int c = 0; c < s.d; ++c) dz[c] += dy[c]; // (dz)
                dz += s.d;
                ++m;
            } else
                for (int c = 0; c < s.d; ++c) dx[c] += dy[c]; // (dx)
        }
}

} // namespace cpu

Tensor replace_rows(Tape& tape, Tensor x, IntTensor index, Tensor z) {
    check(x.shape.rank == 3 && index.shape.rank == 2 && index.shape[0] == x.shape[0],
          "replace_rows: x is {}, index is {}, expected (b,t,d) and (b,m)", x.shape.text(), index.shape.text());
    const GatherShape s{x.shape[0], x.shape[1], index.shape[1], x.shape[2]};
    expect_shape("replace_rows", "z", z, {s.batch, s.rows, s.d});
    for (int i = 0; tape.device() == Device::cpu && i < s.batch * s.rows; ++i)
        check(index.data[i] < s.time && index.data[i] > (i % s.rows ? index.data[i - 1] : -1),
              "replace_rows: index {} is not ascending, or outside the length {}", index.data[i], s.time);
    Tensor y = tape.tensor(x.shape);
    const Device device = tape.device();
    FCI_ON(device, replace_rows_forward)(s, x.data, index.data, z.data, y.data);
    tape.append("replace_rows", y, replace_rows_cost(s), [=] {
        FCI_ON(device, replace_rows_backward)(s, index.data, y.grad, x.grad, z.grad);
    });
    return y;
}

} // namespace fci
