// scan: how a scan maps to a GPU. A block takes 32 channels of one sequence and walks through time in chunks. Four
// lanes share a channel; each has four of its states in registers. What a chunk needs is read once into shared memory:
// all channels share B and C. Each of a channel's lanes owns every fourth time step of the channel's u, dt, y and the
// like: it reads and writes them, and gets their sums over the states. More than 16 states need several launches, each
// of which adds its part. Fewer states are padded with zeros (A = B = C = 0: h stays 0), and so are missing channels
// and steps after the end, where u = dy = 0 too.
#pragma once
#include <algorithm>

#include "cuda/common.cuh"
#include "ops/selective_scan.h"

namespace fci::cuda::scan {

constexpr int steps_max = ScanShape::chunk, channels = 32; // per block
constexpr int each_lane = 4, lanes = 4, states = each_lane * lanes;
constexpr int threads = channels * lanes, owned = steps_max / lanes; // steps of a chunk that a lane owns

// Rows of a chunk, (steps, channels) or (steps, states as float4). The former have padding columns, so that both a row
// and a column spread over many banks.
constexpr int pitch = channels + 4;
constexpr int channel_tile = steps_max * pitch, state_tile = steps_max * lanes;
constexpr int state_share = steps_max * states / threads; // floats that a thread fetches

__device__ __forceinline__ float* as_array(float4& v) { return &v.x; }

// What a thread does: a quarter of a channel's states, counted from first_state.
struct Place {
    int quarter, column, c, b, block, first_state, n0;
    bool inside;       // the last block may have fewer channels
    int64_t first_row; // (b,t) of step 0
    __device__ Place(const ScanShape& s, int first_state_)
        : quarter(threadIdx.x % lanes), column(threadIdx.x / lanes), c(blockIdx.y * channels + column), b(blockIdx.x),
          block(blockIdx.y), first_state(first_state_), n0(first_state + quarter * each_lane), inside(c < s.channels),
          first_row(int64_t{b} * s.time + (s.reverse ? s.time - 1 : 0)) {}

    __device__ bool has(const ScanShape& s, int j) const { return inside && n0 + j < s.states; } // its state j exists
    __device__ int own(int k) const { return k * lanes + quarter; }        // the k-th step that it owns
    __device__ int own_at(int k) const { return own(k) * pitch + column; } // its place in a tile

    // Number c of step i's row, in an array (b,t,n). Within a sequence 32 bits suffice (grid(), below): 64-bit products
    // for every number would add a sixth to a scan's instructions.
    template <class T>
    __device__ T* at(const ScanShape& s, T* of, int n, int i, int c_) const {
        return of + (first_row * n + c_) + i * (s.reverse ? -n : n);
    }
};

// A thread fetches its share of a chunk into registers while the previous chunk is worked on.
__device__ __forceinline__ void fetch_channels(const ScanShape& s, const Place& p, int first, const float* from,
                                               float (&v)[owned]) {
    for (int k = 0; k < owned; ++k) {
        const int i = first + p.own(k);
        v[k] = p.inside && i < s.time ? *p.at(s, from, s.channels, i, p.c) : 0.f;
    }
}
// Of rows that are `row` numbers apart, as those of a joint projection are.
__device__ __forceinline__ void fetch_states(const ScanShape& s, const Place& p, int first, const float* from, int row,
                                             float (&v)[state_share]) {
    for (int k = 0; k < state_share; ++k) {
        const int e = threadIdx.x + k * threads, i = first + e / states, n = p.first_state + e % states;
        v[k] = i < s.time && n < s.states ? *p.at(s, from, row, i, n) : 0.f;
    }
}
__device__ __forceinline__ void put_states(const float (&v)[state_share], float4* tile) {
    for (int k = 0; k < state_share; ++k) reinterpret_cast<float*>(tile)[threadIdx.x + k * threads] = v[k];
}

__device__ __forceinline__ void put_own(const Place& p, const float (&v)[owned], float* tile) {
    for (int k = 0; k < owned; ++k) tile[p.own_at(k)] = v[k];
}

// h before a chunk, in `saved` (b, chunks, n, c): the place of the lane's state 0; the others follow, channels apart.
__device__ __forceinline__ int64_t saved_at(const ScanShape& s, const Place& p, int chunk) {
    return (int64_t{p.b} * s.chunks() + chunk) * s.state_size() + int64_t{p.n0} * s.channels + p.c;
}
__device__ __forceinline__ void save_states(const ScanShape& s, const Place& p, int chunk, const float (&h)[each_lane],
                                            float* saved) {
    saved += saved_at(s, p, chunk);
    for (int j = 0; j < each_lane; ++j)
        if (p.has(s, j)) saved[j * s.channels] = h[j];
}
__device__ __forceinline__ void fetch_saved(const ScanShape& s, const Place& p, int chunk, const float* saved,
                                            float (&h)[each_lane]) {
    saved += saved_at(s, p, chunk);
    for (int j = 0; j < each_lane; ++j) h[j] = p.has(s, j) ? saved[j * s.channels] : 0.f;
}

// Each lane has a part of the sums over the states of four steps; returns the whole sum for the step that the lane
// owns.
__device__ __forceinline__ float sum_of_own(const float (&part)[lanes], int quarter) {
    const bool upper = quarter & 2, odd = quarter & 1;
    const float even_one = (upper ? part[2] : part[0]) + __shfl_xor_sync(all_lanes, upper ? part[0] : part[2], 2),
                odd_one = (upper ? part[3] : part[1]) + __shfl_xor_sync(all_lanes, upper ? part[1] : part[3], 2);
    return (odd ? odd_one : even_one) + __shfl_xor_sync(all_lanes, odd ? even_one : odd_one, 1);
}
__device__ __forceinline__ float sum_over_lanes(float v) {
    v += __shfl_xor_sync(all_lanes, v, 1);
    return v + __shfl_xor_sync(all_lanes, v, 2);
}

// Backward: a chunk's h, then g, of all states of the block. Rows are padded so that reads of one channel in eight rows
// go to different banks.
constexpr int history_pitch = threads + lanes, history_tile = steps_max * history_pitch;

// A chunk's sums over the block's channels for dB or dC, written to the block's part (b, t, n), whose rows are `row`
// numbers apart: weight(step, channel) times the history. Two neighbouring threads take a step and four states: one
// adds the even channels, the other the odd ones.
template <class Weight>
__device__ __forceinline__ void leave_states(const ScanShape& s, const Place& p, int first, const float4* history,
                                             float* part, int row, Weight weight) {
    static_assert(threads == 2 * state_tile);
    const int t = static_cast<int>(threadIdx.x), odd = t % 2, quarter = t / 2 % lanes, i = t / (2 * lanes);
    float sum[each_lane] = {};
#pragma unroll 4
    for (int column = odd; column < channels; column += 2) {
        float4 v = history[i * history_pitch + column * lanes + quarter];
        for (int j = 0; j < each_lane; ++j) sum[j] += weight(i, column) * as_array(v)[j];
    }
    const int n0 = p.first_state + quarter * each_lane;
    part = p.at(s, part, row, first + i, n0);
    for (int j = 0; j < each_lane; ++j) {
        const float both = sum[j] + __shfl_xor_sync(all_lanes, sum[j], 1);
        if (odd == 0 && first + i < s.time && n0 + j < s.states) part[j] = both;
    }
}

// The blocks of a launch. A sequence must have fewer than 2^31 numbers: 8 GB.
inline dim3 grid(const ScanShape& s, int directions) {
    check(int64_t{s.time} * std::max(s.channels, s.states) < int64_t{1} << 31,
          "scan: a sequence of {} steps and {} channels has more numbers than a GPU's kernel can count", s.time,
          s.channels);
    return dim3(s.batch, blocks_for(s.channels, channels), directions);
}

} // namespace fci::cuda::scan
