// linear on the GPU; the mathematics is in src/ops/linear.h. cuBLAS computes the products in fp32, cuda/mma_linear.cuh
// those of the other precisions, and cuda/few_rows.cuh small ones of few rows (the router's and the Council's, one per
// query).
#include "ops/linear.h"

#include "cuda/few_rows.cuh"
#include "cuda/gemm.cuh"
#include "cuda/mma_linear.cuh"
#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

// Sets every row of y to b: 32 columns by 8 rows at a time.
__global__ void spread_kernel(int64_t rows, int columns, const float* b, float* y) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    if (c >= columns) return;
    const float value = b[c];
    for (int64_t r = int64_t{blockIdx.y} * 8 + threadIdx.y; r < rows; r += int64_t{gridDim.y} * 8)
        y[r * columns + c] = value;
}
constexpr unsigned most_strips = 256; // of rows: with 4 or more blocks of columns, all that a GPU can hold at once

// Few rows, and little to do: what takes cuBLAS longer than some 5 us on an H100 is not bound by launches.
bool few(const LinearShape& s) {
    const double multiply_adds = 1. * s.rows * s.in * s.out;
    return s.rows <= few_rows::most && 0 < multiply_adds && multiply_adds <= 1 << 27;
}

} // namespace

void linear_forward(LinearShape s, const float* x, const float* w, const float* b, float* y) {
    if (few(s)) return few_rows::forward(s, x, w, b, y);
    if (precision() != Precision::fp32) return mma_linear::forward(s, {}, x, w, b, y);
    if (b && s.rows && s.out)
        FCI_LAUNCH(spread_kernel, dim3(blocks_for(s.out, 32), min(blocks_for(s.rows, 8), most_strips)), dim3(32, 8), 0,
                   s.rows, s.out, b, y);
    device_gemm(Transpose::no, Transpose::yes, s.rows, s.out, s.in, 1.f, x, s.in, w, s.in, b ? 1.f : 0.f, y,
                s.out); // (1)
}

void linear_backward(LinearShape s, const float* x, const float* w, const float* dy, float* dx, float* dw, float* db) {
    if (few(s) && dx) return few_rows::backward(s, x, w, dy, dx, dw, db);
    if (precision() != Precision::fp32) {
        if (dx) mma_linear::backward_x(s, {}, w, dy, dx);
        mma_linear::backward_w(s, {}, x, dy, dw);
    } else {
        if (dx)
            device_gemm(Transpose::no, Transpose::no, s.rows, s.in, s.out, 1.f, dy, s.out, w, s.in, 1.f, dx,
                        s.in);                                                                                   // (dx)
        device_gemm(Transpose::yes, Transpose::no, s.out, s.in, s.rows, 1.f, dy, s.out, x, s.in, 1.f, dw, s.in); // (dW)
    }
    if (db) add_column_sum({s.rows, s.out, dy, db}); // (db)
}

} // namespace fci::cuda
