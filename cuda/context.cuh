// Context: what one host thread needs to drive the GPU: a stream, a cuBLAS handle with a workspace of its own, scratch
// memory. Two threads share nothing, so two runs on one GPU cannot disturb each other's bits.
#pragma once
#include <cublas_v2.h>

#include "cuda/common.cuh"

namespace fci::cuda {

cublasHandle_t blas();

} // namespace fci::cuda
