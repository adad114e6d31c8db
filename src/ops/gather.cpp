#include "ops/gather.h"

#include <algorithm>

namespace fci {
namespace cpu {

void gather_forward(GatherShape s, const float* x, const int32_t* index, float* y) {
    for (int i = 0; i < s.batch * s.rows; ++i) {
        const float* from = x + (int64_t{i / s.rows} * s.time + index[i]) * s.d;
        std::copy(from, from + s.d, y + int64_t{i} * s.d); // (1)
    }
}

void gather_backward(GatherShape s, const int32_t* index, const float* dy, float* dx) {
    for (int i = 0; i < s.batch * s.rows; ++i) {
        float* to = dx + (int64_t{i / s.rows} * s.time + index[i]) * s.d;
        for (int c = 0; c < s.d; ++c) to[c] += dy[int64_t{i} * s.d + c]; // (dx)
    }
}

} // namespace cpu

Tensor gather(Tape& tape, Tensor x, IntTensor index) {
    check(x.shape.rank == 3 && index.shape.rank >= 2 && index.shape[0] == x.shape[0],
          "gather: x is {}, index is {}, expected (b,t,d) and (b,...)", x.shape.text(), index.shape.text());
    const GatherShape s{x.shape[0], x.shape[1], static_cast<int>(index.shape.size() / std::max(1, x.shape[0])),
                        x.shape[2]};
    tape.expect_indices("gather", "index", index, s.time);
    Tensor y = tape.tensor({s.batch, s.rows, s.d});
    const Device device = tape.device();
    FCI_ON(device, gather_forward)(s, x.data, index.data, y.data);
    tape.append("gather", y, gather_cost(s), [=] { FCI_ON(device, gather_backward)(s, index.data, y.grad, x.grad); });
    return y;
}

} // namespace fci
