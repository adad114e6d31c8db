// selective_scan on the GPU; the mathematics is in src/ops/selective_scan.h. A block takes 32 channels of one sequence
// and walks through time in chunks; four lanes take a channel, each four of its states, in registers. A chunk's u, dt,
// B and C are read once, coalesced, and lie in shared memory: all channels share B and C. More than 16 states are so
// many launches, each adding its own; fewer are filled up with zeros (A = B = C = 0: h stays 0).
// Backward, a chunk at a time from the end: a and h again from the saved h, into shared memory; then g backwards, which
// takes the place of a; then dB and dC, whose sums over the block's channels are small products with what lies there.
// Sums over blocks (dB, dC: channels; dA, dD: sequences) are left as parts and added in order.
// Bound by arithmetic: of about 22 instructions a state and step 15 are exp2, while u, dt and y are 12 bytes for all 16
// states. Two blocks on each of an H100's SMs at batch 32 and 256 channels: few, so the loads must be out early.
#include "ops/selective_scan.h"

#include "cuda/common.cuh"

namespace fci::cuda {
namespace {

constexpr int steps_max = ScanShape::chunk, channels = 32; // of a tile
constexpr int each_lane = 4, lanes = 4, states = each_lane * lanes;
constexpr int threads = channels * lanes;

// What a thread does: a quarter of the states of a channel; first is the launch's first state.
struct Place {
    int quarter, column, d, b, block;
    bool inside; // the last block may have channels to spare
    __device__ explicit Place(const ScanShape& s)
        : quarter(threadIdx.x % lanes), column(threadIdx.x / lanes), d(blockIdx.y * channels + column), b(blockIdx.x),
          block(blockIdx.y), inside(d < s.channels) {}
};

// Row of (b,t) that step i of the scan stands at.
__device__ int64_t row(const ScanShape& s, int b, int i) {
    return int64_t{b} * s.time + (s.reverse ? s.time - 1 - i : i);
}

// Numbers of a chunk of time, (steps, channels) or (steps, states): each thread fetches its share into registers while
// the chunk before is worked on, and puts it into shared memory when that is done. Steps behind the end and channels or
// states that are not there are zeros, which change nothing.
constexpr int pitch = channels + 1; // a column to spare, so that a column's reads go to many banks
constexpr int channel_tile = steps_max * pitch, state_tile = steps_max * lanes; // the latter in float4
constexpr int channel_share = steps_max * channels / threads, state_share = steps_max * states / threads;
struct Share {
    int i, column; // step and column of a thread's k-th number
    __device__ Share(int k, int columns) {
        const int e = threadIdx.x + k * threads;
        i = e / columns, column = e % columns;
    }
};
__device__ void fetch_channels(const ScanShape& s, const Place& p, int first, const float* from,
                               float (&v)[channel_share]) {
    for (int k = 0; k < channel_share; ++k) {
        const Share at(k, channels);
        const int i = first + at.i, d = p.block * channels + at.column;
        v[k] = i < s.time && d < s.channels ? from[row(s, p.b, i) * s.channels + d] : 0.f;
    }
}
__device__ void fetch_states(const ScanShape& s, const Place& p, int first, int first_state, const float* from,
                             float (&v)[state_share]) {
    for (int k = 0; k < state_share; ++k) {
        const Share at(k, states);
        const int i = first + at.i, n = first_state + at.column;
        v[k] = i < s.time && n < s.states ? from[row(s, p.b, i) * s.states + n] : 0.f;
    }
}
__device__ void put_channels(const float (&v)[channel_share], float* tile) {
    for (int k = 0; k < channel_share; ++k) tile[Share(k, channels).i * pitch + Share(k, channels).column] = v[k];
}
__device__ void put_states(const float (&v)[state_share], float4* tile) {
    for (int k = 0; k < state_share; ++k) reinterpret_cast<float*>(tile)[threadIdx.x + k * threads] = v[k];
}
// to += tile: all reads go out before the first write.
__device__ void add_channels(const ScanShape& s, const Place& p, int first, const float* tile, float* to) {
    float v[channel_share];
    fetch_channels(s, p, first, to, v);
    for (int k = 0; k < channel_share; ++k) {
        const Share at(k, channels);
        const int i = first + at.i, d = p.block * channels + at.column;
        if (i < s.time && d < s.channels) to[row(s, p.b, i) * s.channels + d] = v[k] + tile[at.i * pitch + at.column];
    }
}
__device__ float* as_array(float4& v) { return &v.x; }

__global__ void __launch_bounds__(threads)
    forward_kernel(ScanShape s, int first_state, const float* u, const float* dt, const float* A, const float* B,
                   const float* C, const float* D, float* y, float* saved) {
    FCI_SHARED(float, ut, channel_tile);
    FCI_SHARED(float, dtt, channel_tile);
    FCI_SHARED(float4, Bt, state_tile);
    FCI_SHARED(float4, Ct, state_tile);
    const Place p(s);
    const int n0 = first_state + p.quarter * each_lane;
    const float skip = first_state == 0 && p.quarter == 0 && p.inside ? D[p.d] : 0.f;
    float A2[each_lane], h[each_lane] = {}; // A2 = A log2(e): a = exp2(dt A2)
    for (int j = 0; j < each_lane; ++j)
        A2[j] = p.inside && n0 + j < s.states ? log2_e * A[int64_t{p.d} * s.states + n0 + j] : 0.f;
    float u_next[channel_share], dt_next[channel_share], B_next[state_share], C_next[state_share];
    const auto fetch = [&](int chunk) {
        const int first = chunk * steps_max;
        fetch_channels(s, p, first, u, u_next);
        fetch_channels(s, p, first, dt, dt_next);
        fetch_states(s, p, first, first_state, B, B_next);
        fetch_states(s, p, first, first_state, C, C_next);
    };
    fetch(0);
    for (int chunk = 0; chunk < s.chunks(); ++chunk) {
        const int first = chunk * steps_max;
        __syncthreads(); // the last chunk is read
        put_channels(u_next, ut);
        put_channels(dt_next, dtt);
        put_states(B_next, Bt);
        put_states(C_next, Ct);
        if (saved && p.inside) {
            float* before = saved + (int64_t{p.b} * s.chunks() + chunk) * s.state_size() + p.d; // (n,d)
            for (int j = 0; j < each_lane; ++j)
                if (n0 + j < s.states) before[int64_t{n0 + j} * s.channels] = h[j];
        }
        __syncthreads();
        if (chunk + 1 < s.chunks()) fetch(chunk + 1);
#pragma unroll 4
        for (int i = 0; i < steps_max; ++i) {
            const float ui = ut[i * pitch + p.column], dti = dtt[i * pitch + p.column], dtu = dti * ui;
            float4 Bi = Bt[i * lanes + p.quarter], Ci = Ct[i * lanes + p.quarter];
            float sum = skip * ui;
            for (int j = 0; j < each_lane; ++j) {
                h[j] = exp2(dti * A2[j]) * h[j] + dtu * as_array(Bi)[j]; // (1)
                sum += as_array(Ci)[j] * h[j];                           // (2)
            }
            sum += __shfl_xor_sync(all_lanes, sum, 1);
            sum += __shfl_xor_sync(all_lanes, sum, 2);
            if (p.quarter || !p.inside || first + i >= s.time) continue;
            float& to = y[row(s, p.b, first + i) * s.channels + p.d];
            to = first_state ? to + sum : sum;
        }
    }
}

// Shared memory of the backward kernel. Rows of a and h have lanes to spare, so that eight rows' reads of one channel
// go to different banks.
constexpr int history_pitch = threads + lanes;
struct Tiles {
    float4 h[steps_max * history_pitch];  // [i]: after step i
    float4 ag[steps_max * history_pitch]; // a, then g
    float4 B[state_tile], C[state_tile];
    float u[channel_tile], dt[channel_tile], dy[channel_tile];
    float du[channel_tile], ddt[channel_tile]; // what is added to them
};

__global__ void __launch_bounds__(threads)
    backward_kernel(ScanShape s, int first_state, const float* u, const float* dt, const float* A, const float* B,
                    const float* C, const float* D, const float* saved, const float* dy, float* du, float* ddt,
                    float* part_A, float* part_B, float* part_C, float* part_D) {
    FCI_DYN_SHARED(Tiles, tiles);
    Tiles& at = *tiles;
    const Place p(s);
    const int n0 = first_state + p.quarter * each_lane, t = threadIdx.x;
    const float skip = first_state == 0 && p.inside ? D[p.d] : 0.f;
    float Ad[each_lane], dA[each_lane] = {}, g[each_lane] = {}, dD = 0; // g: a[t+1] g[t+1]
    for (int j = 0; j < each_lane; ++j)
        Ad[j] = p.inside && n0 + j < s.states ? A[int64_t{p.d} * s.states + n0 + j] : 0.f;
    float u_next[channel_share], dt_next[channel_share], dy_next[channel_share], B_next[state_share],
        C_next[state_share], before_next[each_lane];
    const auto fetch = [&](int chunk) {
        const int first = chunk * steps_max;
        fetch_channels(s, p, first, u, u_next);
        fetch_channels(s, p, first, dt, dt_next);
        fetch_channels(s, p, first, dy, dy_next);
        fetch_states(s, p, first, first_state, B, B_next);
        fetch_states(s, p, first, first_state, C, C_next);
        const float* before = saved + (int64_t{p.b} * s.chunks() + chunk) * s.state_size() + p.d; // (n,d)
        for (int j = 0; j < each_lane; ++j)
            before_next[j] = p.inside && n0 + j < s.states ? before[int64_t{n0 + j} * s.channels] : 0.f;
    };
    fetch(s.chunks() - 1);
    for (int chunk = s.chunks() - 1; chunk >= 0; --chunk) {
        const int first = chunk * steps_max;
        __syncthreads(); // the last chunk is read
        put_channels(u_next, at.u);
        put_channels(dt_next, at.dt);
        put_channels(dy_next, at.dy);
        put_states(B_next, at.B);
        put_states(C_next, at.C);
        float before[each_lane];
        for (int j = 0; j < each_lane; ++j) before[j] = before_next[j];
        __syncthreads();
        if (chunk) fetch(chunk - 1);
        float h[each_lane];
        for (int j = 0; j < each_lane; ++j) h[j] = before[j];
#pragma unroll 4
        for (int i = 0; i < steps_max; ++i) { // the forward pass again, a and h kept
            const float dti = at.dt[i * pitch + p.column], dtu = dti * at.u[i * pitch + p.column];
            float4 Bi = at.B[i * lanes + p.quarter], ai, hi;
            for (int j = 0; j < each_lane; ++j) {
                as_array(ai)[j] = exp2(dti * (log2_e * Ad[j]));
                as_array(hi)[j] = h[j] = as_array(ai)[j] * h[j] + dtu * as_array(Bi)[j]; // (1)
            }
            at.ag[i * history_pitch + t] = ai;
            at.h[i * history_pitch + t] = hi;
        }
#pragma unroll 4
        for (int i = steps_max - 1; i >= 0; --i) {
            const float ui = at.u[i * pitch + p.column], dti = at.dt[i * pitch + p.column],
                        dyi = at.dy[i * pitch + p.column];
            float4 Bi = at.B[i * lanes + p.quarter], Ci = at.C[i * lanes + p.quarter];
            float4 ai = at.ag[i * history_pitch + t], gi;
            float4 hp = i ? at.h[(i - 1) * history_pitch + t] : make_float4(before[0], before[1], before[2], before[3]);
            float sum_gB = 0, sum_rA = 0;
            for (int j = 0; j < each_lane; ++j) {
                const float gt = as_array(Ci)[j] * dyi + g[j]; // (g)
                const float next = gt * as_array(ai)[j], r = next * as_array(hp)[j];
                sum_gB += gt * as_array(Bi)[j];
                sum_rA += r * Ad[j];
                dA[j] += r * dti; // (dA)
                g[j] = next;
                as_array(gi)[j] = gt;
            }
            at.ag[i * history_pitch + t] = gi;
            float to_ddt = sum_rA + sum_gB * ui, to_du = sum_gB * dti; // (ddt) (du), of this lane's states
            for (int other = 1; other < lanes; other *= 2) {
                to_ddt += __shfl_xor_sync(all_lanes, to_ddt, other);
                to_du += __shfl_xor_sync(all_lanes, to_du, other);
            }
            if (p.quarter == 0) at.ddt[i * pitch + p.column] = to_ddt;
            if (p.quarter == 1) at.du[i * pitch + p.column] = to_du + skip * dyi; // (du), second term
            dD += dyi * ui;                                                       // (dD)
        }
        __syncthreads();
        add_channels(s, p, first, at.ddt, ddt);
        add_channels(s, p, first, at.du, du);
        // Half of the threads sum dC, half dB: each for one step and four states, over the channels in order.
        static_assert(threads == 2 * state_tile);
        const bool is_B = t >= threads / 2;
        const int i = t / lanes % steps_max;
        if (first + i >= s.time) continue;
        const float4* history = (is_B ? at.ag : at.h) + i * history_pitch + p.quarter;
        float sum[each_lane] = {};
        for (int column = 0; column < channels; ++column) {
            const int k = i * pitch + column;
            const float weight = is_B ? at.dt[k] * at.u[k] : at.dy[k];
            float4 v = history[column * lanes];
            for (int j = 0; j < each_lane; ++j) sum[j] += weight * as_array(v)[j]; // (dB) (dC)
        }
        float* part =
            (is_B ? part_B : part_C) + (int64_t{p.block} * s.batch * s.time + row(s, p.b, first + i)) * s.states + n0;
        for (int j = 0; j < each_lane; ++j)
            if (n0 + j < s.states) part[j] = sum[j];
    }
    if (!p.inside) return;
    for (int j = 0; j < each_lane; ++j)
        if (n0 + j < s.states) part_A[p.b * s.state_size() + int64_t{p.d} * s.states + n0 + j] = dA[j];
    if (first_state == 0 && p.quarter == 0) part_D[int64_t{p.b} * s.channels + p.d] = dD;
}

dim3 grid(const ScanShape& s) { return dim3(s.batch, blocks_for(s.channels, channels)); }

} // namespace

void selective_scan_forward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                            const float* C, const float* D, float* y, float* saved, float*) {
    if (!s.batch || !s.time || !s.channels) return;
    for (int first = 0; first < s.states; first += states)
        FCI_LAUNCH(forward_kernel, grid(s), threads, 0, s, first, u, dt, A, B, C, D, y, saved);
}

void selective_scan_backward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                             const float* C, const float* D, const float* saved, const float* dy, float* du, float* ddt,
                             float* dA, float* dB, float* dC, float* dD, float*) {
    if (!s.batch || !s.time || !s.channels) return;
    const int blocks = static_cast<int>(grid(s).y);
    const int64_t btn = int64_t{s.batch} * s.time * s.states;
    Scratch scratch;
    float *part_A = scratch.floats(s.batch * s.state_size()), *part_D = scratch.floats(int64_t{s.batch} * s.channels);
    float *part_B = scratch.floats(blocks * btn), *part_C = scratch.floats(blocks * btn);
    for (int first = 0; first < s.states; first += states)
        FCI_LAUNCH(backward_kernel, grid(s), threads, sizeof(Tiles), s, first, u, dt, A, B, C, D, saved, dy, du, ddt,
                   part_A, part_B, part_C, part_D);
    add_partial_sums(s.batch, s.state_size(), part_A, dA);
    add_partial_sums(blocks, btn, part_B, dB);
    add_partial_sums(blocks, btn, part_C, dC);
    add_partial_sums(s.batch, s.channels, part_D, dD);
}

} // namespace fci::cuda
