// segment_pool: one vector for each of a few contiguous segments of a sequence, channel by channel
//   mean  y[b,s,c] = (1/n) sum_j x[b,s*n+j,c]     n = time/segments, j = 0 .. n-1               (1)
//   sum   y[b,s,c] = sum_j x[b,s*n+j,c]                                                        (2)
//   max   y[b,s,c] = max_j x[b,s*n+j,c], taken at argmax[b,s,c] = s*n + j, ties to the lower j (3)
// Shapes    x (b,t,d)   y (b,s,d)   argmax (b,s,d), saved by max only
// Backward  mean  dx[b,s*n+j,c] += dy[b,s,c] / n;   sum  the same without 1/n               (dx)
//           max   dx[b,argmax[b,s,c],c] += dy[b,s,c]                                        (dx)
// Contract  time is a multiple of segments. dx is ADDED to.
// Cost      O(b t d), bound by memory.
#pragma once
#include "core/tape.h"

namespace fci {

enum class Pool { mean, sum, max };

struct SegmentShape {
    int batch, time, segments, d;
    int length() const { return time / segments; } // of one segment
    int64_t size() const { return int64_t{batch} * segments * d; }
};

constexpr OpCost segment_pool_cost(SegmentShape s) {
    const double x = 1. * s.batch * s.time * s.d, y = 1. * s.batch * s.segments * s.d;
    return {{0, 0, x + y}, {0, 0, 2 * x + y}};
}

// argmax: null unless max
template <class T>
using SegmentPoolForward = void(SegmentShape, Pool, const T* x, T* y, int32_t* argmax);
template <class T>
using SegmentPoolBackward = void(SegmentShape, Pool, const int32_t* argmax, const T* dy, T* dx);

FCI_TWINS(SegmentPoolForward<float>, segment_pool_forward)
FCI_TWINS(SegmentPoolBackward<float>, segment_pool_backward)

// x (b,t,d) -> (b,segments,d)
Tensor segment_pool(Tape&, Tensor x, int segments, Pool);

} // namespace fci
