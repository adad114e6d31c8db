// The ladder of selective_scan: the forward pass from the obvious kernel to the shipped one; the mathematics is in
// src/ops/selective_scan.h. Every step has the op's signature and gives its result; saved stays unwritten below the
// top. What bounds them at (batch 32, time 512, channels 256, states 16), where there are 8192 channels to compute:
//   1 a thread a channel, h in memory     8 bytes of h and 12 of A, B, C a state and step, by loads that wait in line
//   2 h and A in registers, exp2          memory no more; but 8192 threads are two warps an SM, and an SM runs four
//   3 four lanes a channel                four times the warps; each step still waits for its own loads
//   4 time in chunks (cuda/ops)           16 steps' loads wait together, and channels share B and C: arithmetic is left
#include "ops/selective_scan.h"

#include "cuda/common.cuh"

namespace fci::cuda::ladder {
namespace {

constexpr int threads = 128, most_states = 16;

__device__ int64_t row(const ScanShape& s, int64_t b, int i) { return b * s.time + (s.reverse ? s.time - 1 - i : i); }

// h (b,d,n), zero at first
__global__ void memory_kernel(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                              const float* C, const float* D, float* y, float* h) {
    const int64_t bd = int64_t{blockIdx.x} * threads + threadIdx.x, b = bd / s.channels;
    const int d = static_cast<int>(bd % s.channels);
    if (b >= s.batch) return;
    for (int i = 0; i < s.time; ++i) {
        const int64_t bt = row(s, b, i), btd = bt * s.channels + d;
        float sum = D[d] * u[btd];
        for (int n = 0; n < s.states; ++n) {
            float& hn = h[bd * s.states + n];
            hn = expf(dt[btd] * A[int64_t{d} * s.states + n]) * hn + dt[btd] * B[bt * s.states + n] * u[btd]; // (1)
            sum += C[bt * s.states + n] * hn;                                                                 // (2)
        }
        y[btd] = sum;
    }
}

// A channel's states are shared by `lanes` neighbours; each keeps its own in registers.
template <int lanes>
__global__ void register_kernel(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                                const float* C, const float* D, float* y) {
    constexpr int each_lane = most_states / lanes;
    const int64_t thread = int64_t{blockIdx.x} * threads + threadIdx.x, bd = thread / lanes, b = bd / s.channels;
    const int lane = static_cast<int>(thread % lanes), d = static_cast<int>(bd % s.channels), n0 = lane * each_lane;
    const bool inside = b < s.batch; // who is not must still take part in the warp's sums
    float A2[each_lane], h[each_lane] = {};
    for (int j = 0; j < each_lane; ++j)
        A2[j] = inside && n0 + j < s.states ? log2_e * A[int64_t{d} * s.states + n0 + j] : 0.f;
    for (int i = 0; i < s.time; ++i) {
        const int64_t bt = row(s, inside ? b : 0, i), btd = bt * s.channels + d;
        const float ui = u[btd], dti = dt[btd], dtu = dti * ui;
        float sum = lane ? 0.f : D[d] * ui;
        for (int j = 0; j < each_lane; ++j) {
            const int64_t btn = bt * s.states + n0 + j;
            const bool there = n0 + j < s.states;
            h[j] = fci::exp2(dti * A2[j]) * h[j] + dtu * (there ? B[btn] : 0.f); // (1)
            sum += (there ? C[btn] : 0.f) * h[j];                                // (2)
        }
        for (int other = 1; other < lanes; other *= 2) sum += __shfl_xor_sync(all_lanes, sum, other);
        if (lane == 0 && inside) y[btd] = sum;
    }
}

template <int lanes>
void in_registers(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                  const float* D, float* y) {
    check(s.states <= most_states, "this step of the ladder has at most {} states, not {}", most_states, s.states);
    FCI_LAUNCH(register_kernel<lanes>, blocks_for(int64_t{s.batch} * s.channels * lanes, threads), threads, 0, s, u, dt,
               A, B, C, D, y);
}

} // namespace

void scan_in_memory(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                    const float* D, float* y, float*, float*) {
    Scratch scratch;
    const int64_t size = int64_t{s.batch} * s.state_size();
    float* h = scratch.floats(size);
    set_zero(h, size * sizeof(float));
    FCI_LAUNCH(memory_kernel, blocks_for(int64_t{s.batch} * s.channels, threads), threads, 0, s, u, dt, A, B, C, D, y,
               h);
}

void scan_in_registers(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                       const float* D, float* y, float*, float*) {
    in_registers<1>(s, u, dt, A, B, C, D, y);
}

void scan_by_four_lanes(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                        const float* D, float* y, float*, float*) {
    in_registers<4>(s, u, dt, A, B, C, D, y);
}

} // namespace fci::cuda::ladder
