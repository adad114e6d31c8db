#include "ops/indices.h"

namespace fci {
namespace cpu {

void cycle_forward(int n, int period, int32_t* y) {
    for (int i = 0; i < n; ++i) y[i] = i % period;
}

void expand_places_forward(int rows, int k, int length, const int32_t* chosen, int32_t* y) {
    for (int i = 0; i < rows; ++i)
        for (int s = 0; s < k; ++s)
            for (int j = 0; j < length; ++j) *y++ = chosen[i * 2 * k + s] * length + j;
}

} // namespace cpu

IntTensor cycle(Tape& tape, Shape shape, int period) {
    int32_t* y = tape.arena().array<int32_t>(shape.size());
    FCI_ON(tape.device(), cycle_forward)(static_cast<int>(shape.size()), period, y);
    return {y, shape};
}

IntTensor expand_places(Tape& tape, IntTensor chosen, int length) {
    const int b = chosen.shape[0], r = chosen.shape[1], k = chosen.shape[2] / 2;
    int32_t* y = tape.arena().array<int32_t>(int64_t{b} * r * k * length);
    FCI_ON(tape.device(), expand_places_forward)(b * r, k, length, chosen.data, y);
    return {y, {b, r, k * length}};
}

} // namespace fci
