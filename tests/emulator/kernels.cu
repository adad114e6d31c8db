// Example kernels in the dialect that nvcc and the emulator share: a correct softmax, column sum and histogram, and
// seeded bugs, each of which test_emulator.cpp must see caught.
#include "tests/emulator/kernels.h"

#define FCI_ANY_MEMORY // the tests give them vectors
#include "tests/emulator/emulator.h"

namespace fci::test {
namespace {

constexpr unsigned all_lanes = 0xffffffff;

__device__ float warp_sum(float v) {
    for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(all_lanes, v, offset);
    return v;
}

// One block of at most 4 warps per row.
template <Bug bug>
__global__ void __launch_bounds__(128) softmax_kernel(const float* x, float* y, int columns) {
    FCI_SHARED(float, part, 4);
    const int t = threadIdx.x, lane = t % warpSize, warp = t / warpSize, warps = blockDim.x / warpSize;
    const float* row = x + int64_t(blockIdx.x) * columns;

    float sum = 0;
    for (int c = t; c < columns + (bug == Bug::global_overread); c += blockDim.x) sum += expf(row[c]);
    if (bug == Bug::missing_lane && t == 37) return;
    if (bug == Bug::other_mask) sum += __shfl_xor_sync(lane < 16 ? 0x0000ffff : all_lanes, 0.0f, 1);
    if (bug == Bug::foreign_mask) __syncwarp(0x0000ffff);
    sum = warp_sum(sum);

    float* own_part = part + warp + (bug == Bug::shared_overrun);
    if (lane == 0) *own_part = sum;
    if (bug == Bug::early_exit && t == 70) return;
    if (bug == Bug::divergent_barrier) {
        if (t < 64)
            __syncthreads();
        else
            __syncthreads();
    } else if (bug != Bug::missing_barrier) {
        __syncthreads();
    }

    float total = 0;
    for (int w = 0; w < warps; ++w) total += part[w];
    for (int c = t; c < columns + (bug == Bug::global_overrun); c += blockDim.x)
        y[int64_t(blockIdx.x) * columns + c] = c < columns ? expf(row[c]) / total : 0;
}

// A block of (32, 4) threads for 32 columns: each thread sums every fourth row, then the four sums are added in pairs.
__global__ void column_sum_kernel(const float* x, float* y, int rows, int columns) {
    FCI_DYN_SHARED(float, part); // (blockDim.y, 32)
    const int c = blockIdx.x * warpSize + threadIdx.x;
    float sum = 0;
    for (int r = threadIdx.y; r < rows && c < columns; r += blockDim.y) sum += x[int64_t(r) * columns + c];
    float* own = part + threadIdx.y * warpSize + threadIdx.x;
    *own = sum;
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) *own += own[half * warpSize];
    }
    if (threadIdx.y == 0 && c < columns) y[c] = *own;
}

__global__ void histogram_kernel(const int32_t* x, int64_t n, int* count) {
    const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&count[__ldg(x + i)], 1);
}

template <Bug bug>
__global__ void race_kernel(float* y) {
    FCI_SHARED(float, given, 2);
    const int t = threadIdx.x;
    if (bug == Bug::race_between_blocks) {
        if (t == 0) y[0] += y[1 + blockIdx.x];
    } else if (bug == Bug::race_past_shuffle) {
        if (t < 2) given[t] = y[1 + t];
        const float zero = __shfl_sync(all_lanes, 0.0f, 1);
        if (t == 0) y[0] += given[0] + given[1] + zero;
    } else {
        if (bug == Bug::race_between_phases) __syncthreads();
        if (t < 2) y[0] += y[1 + t];
        if (bug == Bug::race_between_phases) __syncthreads();
    }
}

__global__ void warp_functions_kernel(int64_t* y) {
    const int lane = threadIdx.x, v = 100 + lane;
    int64_t* out = y + lane * warp_results;
    *out++ = __shfl_sync(all_lanes, v, 5);
    *out++ = __shfl_sync(all_lanes, v, 3, 8);
    *out++ = __shfl_xor_sync(all_lanes, v, 1);
    *out++ = __shfl_xor_sync(all_lanes, v, 16);
    *out++ = __shfl_xor_sync(all_lanes, v, 12, 8);
    *out++ = __shfl_down_sync(all_lanes, v, 4);
    *out++ = __shfl_down_sync(all_lanes, v, 4, 8);
    *out++ = __shfl_up_sync(all_lanes, v, 3);
    *out++ = __shfl_up_sync(all_lanes, v, 3, 16);
    *out++ = static_cast<int64_t>(__shfl_sync(all_lanes, 0.5 + v, 31) * 2); // 8-byte values
    *out++ = __ballot_sync(all_lanes, lane % 3 == 0);
    *out++ = __any_sync(all_lanes, lane == 31) * 8 + __any_sync(all_lanes, lane > 31) * 4 +
             __all_sync(all_lanes, lane <= 31) * 2 + __all_sync(all_lanes, lane < 31);
    if (lane % 2) {
        *out++ = __ballot_sync(0xaaaaaaaa, lane < 4); // only half of the warp
        *out++ = __shfl_sync(0xaaaaaaaa, v, 0);       // source: a lane that does not take part
    } else {
        *out++ = __all_sync(0x55555555, lane < 31);
        *out++ = __shfl_sync(0x55555555, v, 30);
    }
}

// The contents of shared memory before anything is written; the block then leaves numbers there.
__global__ void unwritten_kernel(float* y) {
    FCI_SHARED(float, fixed, 32);
    FCI_DYN_SHARED(float, dynamic);
    float* out = y + (blockIdx.x * blockDim.x + threadIdx.x) * 2;
    out[0] = fixed[threadIdx.x];
    out[1] = dynamic[threadIdx.x];
    fixed[threadIdx.x] = dynamic[threadIdx.x] = 1;
}

__global__ void multiply_kernel() {
    if (threadIdx.x == 31) return;
    emulator::Fragments f{};
    emulator::multiply(emulator::Format::half, f);
}

__global__ void nothing_kernel() {}

template <int bytes>
__global__ void static_array_kernel() {
    FCI_SHARED(char, array, bytes);
    array[threadIdx.x] = 0;
}

template <Bug bug>
void launch_softmax(const float* x, float* y, int rows, int columns, int block) {
    FCI_LAUNCH((softmax_kernel<bug>), rows, block, 0, x, y, columns);
}

} // namespace

void softmax(const float* x, float* y, int rows, int columns, Bug bug, int block) {
    switch (bug) {
#define FCI_CASE(name)                                                                                                 \
    case Bug::name:                                                                                                    \
        return launch_softmax<Bug::name>(x, y, rows, columns, block)
        FCI_CASE(missing_barrier);
        FCI_CASE(shared_overrun);
        FCI_CASE(global_overrun);
        FCI_CASE(global_overread);
        FCI_CASE(divergent_barrier);
        FCI_CASE(early_exit);
        FCI_CASE(missing_lane);
        FCI_CASE(other_mask);
        FCI_CASE(foreign_mask);
#undef FCI_CASE
    default:
        return launch_softmax<Bug::none>(x, y, rows, columns, block);
    }
}

void column_sum(const float* x, float* y, int rows, int columns) {
    const dim3 block(32, 4);
    FCI_LAUNCH(column_sum_kernel, (columns + 31) / 32, block, block.y * 32 * sizeof(float), x, y, rows, columns);
}

void histogram(const int32_t* x, int64_t n, int* count) {
    FCI_LAUNCH(histogram_kernel, (n + 63) / 64, 64, 0, x, n, count);
}

void race(Bug bug, float* y) {
    switch (bug) {
    case Bug::race_between_phases:
        FCI_LAUNCH(race_kernel<Bug::race_between_phases>, 1, 32, 0, y);
        break;
    case Bug::race_past_shuffle:
        FCI_LAUNCH(race_kernel<Bug::race_past_shuffle>, 1, 32, 0, y);
        break;
    case Bug::race_between_blocks:
        FCI_LAUNCH(race_kernel<Bug::race_between_blocks>, 2, 32, 0, y);
        break;
    default:
        FCI_LAUNCH(race_kernel<Bug::race_in_block>, 1, 32, 0, y);
    }
}

void warp_functions(int64_t* y) { FCI_LAUNCH(warp_functions_kernel, 1, 32, 0, y); }

void unwritten(float* y) { FCI_LAUNCH(unwritten_kernel, 2, 32, 32 * sizeof(float), y); }

void multiply_without_a_lane() { FCI_LAUNCH(multiply_kernel, 1, 32, 0); }

void nothing(unsigned grid_x, unsigned grid_y, unsigned block_x, unsigned block_z, int64_t dynamic_bytes) {
    FCI_LAUNCH(nothing_kernel, dim3(grid_x, grid_y), dim3(block_x, 1, block_z), dynamic_bytes);
}

void static_array_of_50000_bytes() { FCI_LAUNCH(static_array_kernel<50000>, 1, 1, 0); }
void static_array_of_1000_bytes(int64_t dynamic_bytes) { FCI_LAUNCH(static_array_kernel<1000>, 1, 1, dynamic_bytes); }

} // namespace fci::test
