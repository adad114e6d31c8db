// indices on the GPU; src/ops/indices.h says what they are. One thread per index.
#include "ops/indices.h"

#include "cuda/common.cuh"

namespace fci::cuda {

void cycle_forward(int n, int period, int32_t* y) {
    each(n, [=] __device__(int64_t i) { y[i] = static_cast<int32_t>(i % period); });
}

void expand_places_forward(int rows, int k, int length, const int32_t* chosen, int32_t* y) {
    each(int64_t{rows} * k * length, [=] __device__(int64_t at) {
        const int64_t i = at / (int64_t{k} * length), s = at / length % k;
        y[at] = chosen[i * 2 * k + s] * length + static_cast<int32_t>(at % length);
    });
}

} // namespace fci::cuda
