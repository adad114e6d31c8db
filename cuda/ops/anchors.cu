// anchors on the GPU; the mathematics is in src/ops/anchors.h. cuBLAS computes the products; between them one warp
// computes a row of P.
#include "ops/anchors.h"

#include "cuda/gemm.cuh"
#include "cuda/softmax.cuh"

namespace fci::cuda {
namespace {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;
constexpr int threads = 128, rows_per_block = threads / 32;

__global__ void softmax_backward_kernel(int rows, int n, const float* p, float* dz) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32;
    const int64_t at = int64_t{r} * n;
    if (r < rows) warp_softmax_backward(n, p + at, dz + at, dz + at, true);
}

} // namespace

void anchors_forward(AnchorShape s, const float* x, const float* a, float* y, float* p) {
    if (s.rows == 0) return;
    const int n = s.anchors;
    device_gemm(no, yes, s.rows, n, s.d, 1.f, x, s.d, a, s.d, 0.f, p, n);
    softmax_rows(s.rows, n, p, p); // (1)
    each(int64_t{s.rows} * s.d, [=] __device__(int64_t i) { y[i] = x[i]; });
    device_gemm(no, no, s.rows, s.d, n, 1.f, p, n, a, s.d, 1.f, y, s.d); // (2)
}

void anchors_backward(AnchorShape s, const float* x, const float* a, const float* p, const float* dy, float* dx,
                      float* da) {
    if (s.rows == 0) return;
    const int n = s.anchors;
    Scratch scratch;
    float* dz = scratch.floats(int64_t{s.rows} * n);
    device_gemm(no, yes, s.rows, n, s.d, 1.f, dy, s.d, a, s.d, 0.f, dz, n);                                // (dP)
    FCI_LAUNCH(softmax_backward_kernel, blocks_for(s.rows, rows_per_block), threads, 0, s.rows, n, p, dz); // (dz)
    each(int64_t{s.rows} * s.d, [=] __device__(int64_t i) { dx[i] += dy[i]; });
    device_gemm(no, no, s.rows, s.d, n, 1.f, dz, n, a, s.d, 1.f, dx, s.d); // (dx)
    device_gemm(yes, no, n, s.d, s.rows, 1.f, p, n, dy, s.d, 1.f, da, s.d);
    device_gemm(yes, no, n, s.d, s.rows, 1.f, dz, n, x, s.d, 1.f, da, s.d); // (dA)
}

} // namespace fci::cuda
