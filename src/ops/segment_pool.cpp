#include "ops/segment_pool.h"

#include <algorithm>

namespace fci {
namespace cpu {

void segment_pool_forward(SegmentShape s, Pool pool, const float* x, float* y, int32_t* argmax) {
    const int n = s.length();
    for (int i = 0; i < s.batch * s.segments; ++i) { // segments of one sequence follow one another, as sequences do
        const float* from = x + int64_t{i} * n * s.d;
        float* to = y + int64_t{i} * s.d;
        std::copy(from, from + s.d, to);
        if (pool == Pool::max) {
            int32_t* at = argmax + int64_t{i} * s.d;
            const int first = i % s.segments * n;
            std::fill(at, at + s.d, first);
            for (int j = 1; j < n; ++j)
                for (int c = 0; c < s.d; ++c) {
                    const float v = from[int64_t{j} * s.d + c];
                    at[c] = v > to[c] ? first + j : at[c];
                    to[c] = v > to[c] ? v : to[c]; // (3)
                }
            continue;
        }
        for (int j = 1; j < n; ++j)
            for (int c = 0; c < s.d; ++c) to[c] += from[int64_t{j} * s.d + c]; // (2)
        if (pool == Pool::mean)
            for (int c = 0; c < s.d; ++c) to[c] /= static_cast<float>(n); // (1)
    }
}

void segment_pool_backward(SegmentShape s, Pool pool, const int32_t* argmax, const float* dy, float* dx) {
    const int n = s.length();
    const float share = pool == Pool::mean ? 1.f / static_cast<float>(n) : 1.f;
    for (int i = 0; i < s.batch * s.segments; ++i) {
        const float* from = dy + int64_t{i} * s.d;
        if (pool == Pool::max) {
            float* sequence = dx + int64_t{i / s.segments} * s.time * s.d;
            for (int c = 0; c < s.d; ++c) sequence[int64_t{argmax[int64_t{i} * s.d + c]} * s.d + c] += from[c]; // (dx)
            continue;
        }
        for (int j = 0; j < n; ++j)
            for (int c = 0; c < s.d; ++c) dx[(int64_t{i} * n + j) * s.d + c] += share * from[c]; // (dx)
    }
}

} // namespace cpu

Tensor segment_pool(Tape& tape, Tensor x, int segments, Pool pool) {
    check(x.shape.rank == 3 && segments > 0 && x.shape[1] % segments == 0,
          "segment_pool: x is {}, expected (b,t,d) with t a multiple of {}", x.shape.text(), segments);
    const SegmentShape s{x.shape[0], x.shape[1], segments, x.shape[2]};
    Tensor y = tape.tensor({s.batch, s.segments, s.d});
    int32_t* argmax = pool == Pool::max ? tape.arena().array<int32_t>(s.size()) : nullptr;
    const Device device = tape.device();
    FCI_ON(device, segment_pool_forward)(s, pool, x.data, y.data, argmax);
    tape.append("segment_pool", y, segment_pool_cost(s), [=] {
        FCI_ON(device, segment_pool_backward)(s, pool, argmax, y.grad, x.grad);
    });
    return y;
}

} // namespace fci
