// gated_scan on the GPU; the mathematics is in src/ops/gated_scan.h, and cuda/scan.cuh says how a scan maps to the GPU.
// Read cuda/ops/selective_scan.cu first, the end of the ladder: it has the same loops without what is fused here. There
// is one kernel each way, for one or both directions of time. A chunk's dt_low and the block's rows of dt_weight are in
// shared memory; from them each lane computes p and dt of the steps that it owns. The backward pass goes through the
// chunks from the end. It recomputes h from the saved h, and from h the s that dz needs, and dC; then g backwards,
// which overwrites h; then the other sums over channels (dB, d_dt_low) or steps (d_dt_weight), as small products with
// what is in shared memory. Sums over blocks are written as parts.
// Bound by arithmetic, as the scan is: recomputation adds about a seventh to it. a is computed a third time, one exp2
// per state, which takes less time than keeping it in shared memory. Traffic per element of u, without h: forward 3
// numbers instead of the five ops' 11, backward 7 instead of 24. With both directions there are four blocks for each of
// an H100's SMs at batch 32 and 256 channels, and all of them fit at once.
#include "ops/gated_scan.h"

#include "cuda/parts.cuh"
#include "cuda/scan.cuh"

namespace fci::cuda {
namespace {

using namespace scan;
using Direction = GatedScanDirection<float>;
using Both = Directions<Direction>;

// The block's rows of dt_weight and a chunk's dt_low, whose products are p. In dynamic shared memory, since the rank
// may have any value. A row of dt_low is padded with zeros to whole fours.
struct StepTiles {
    static constexpr int ahead = 1;  // elements of dt_low that a thread prefetches: all, up to rank 8
    int rank, pitch, low_pitch;      // pitch: odd, so that a column of weight spreads over many banks
    float *weight, *low;             // (channels, pitch), (steps, low_pitch)
    int step_of[ahead], r_of[ahead]; // of those elements

    static __host__ __device__ int pitch_of(int rank) { return rank | 1; }
    static __host__ __device__ int low_pitch_of(int rank) { return (rank + 3) / 4 * 4; }
    static size_t floats(int rank) {
        return size_t{channels} * pitch_of(rank) + size_t{steps_max} * low_pitch_of(rank);
    }
    __device__ StepTiles(int rank_, float* memory)
        : rank(rank_), pitch(pitch_of(rank)), low_pitch(low_pitch_of(rank)), weight(memory),
          low(memory + channels * pitch) {
        for (int k = 0; k < ahead; ++k) {
            const int e = static_cast<int>(threadIdx.x) + k * threads;
            step_of[k] = e / rank, r_of[k] = e % rank;
        }
        for (int e = threadIdx.x; e < steps_max * low_pitch; e += threads) low[e] = 0;
    }

    __device__ void put_weight(const ScanShape& s, const Place& p, const float* from) const {
        for (int e = threadIdx.x; e < channels * rank; e += threads) {
            const int d = p.block * channels + e / rank;
            weight[e / rank * pitch + e % rank] = d < s.channels ? from[int64_t{d} * rank + e % rank] : 0.f;
        }
    }
    __device__ float low_of(const ScanShape& s, const Place& p, int i, int r, const float* dt_low) const {
        return i < s.time ? *p.at(s, dt_low, rank + 2 * s.states, i, r) : 0.f;
    }
    __device__ void fetch(const ScanShape& s, const Place& p, int first, const float* dt_low, float (&v)[ahead]) const {
        for (int k = 0; k < ahead; ++k)
            v[k] = step_of[k] < steps_max ? low_of(s, p, first + step_of[k], r_of[k], dt_low) : 0.f;
    }
    __device__ void put(const ScanShape& s, const Place& p, int first, const float* dt_low,
                        const float (&v)[ahead]) const {
        for (int k = 0; k < ahead; ++k)
            if (step_of[k] < steps_max) low[step_of[k] * low_pitch + r_of[k]] = v[k];
        for (int e = threadIdx.x + ahead * threads; e < steps_max * rank; e += threads)
            low[e / rank * low_pitch + e % rank] = low_of(s, p, first + e / rank, e % rank, dt_low);
    }
    // p of the steps that the lane owns: four of a row of dt_low are read at a time, and one of dt_weight serves all
    // these steps.
    __device__ void own_steps(const Place& p, float bias, float (&sum)[owned]) const {
        for (int k = 0; k < owned; ++k) sum[k] = bias;
#pragma unroll 1
        for (int r = 0; r < rank; r += 4) {
            float w[4];
            for (int j = 0; j < 4; ++j) w[j] = r + j < rank ? weight[p.column * pitch + r + j] : 0.f;
#pragma unroll
            for (int k = 0; k < owned; ++k) {
                float4 four = *reinterpret_cast<const float4*>(low + p.own(k) * low_pitch + r);
                for (int j = 0; j < 4; ++j) sum[k] += w[j] * as_array(four)[j]; // (1)
            }
        }
    }
};

struct ForwardTiles {
    float4 B[state_tile], C[state_tile];
    float u[channel_tile], dt[channel_tile], gate[channel_tile]; // gate: silu(z)
};

__global__ void __launch_bounds__(threads) forward_kernel(GatedScanShape shape, Both directions, int first_state) {
    FCI_DYN_SHARED(ForwardTiles, tiles);
    ForwardTiles& at = *tiles;
    const Direction& to = directions.at[blockIdx.z];
    const ScanShape s = shape.scan(to.reverse);
    const Place p(s, first_state);
    const StepTiles steps(shape.rank, reinterpret_cast<float*>(tiles + 1));
    const float skip = first_state == 0 && p.inside ? to.D[p.c] : 0.f, bias = p.inside ? to.dt_bias[p.c] : 0.f;
    float A2[each_lane], h[each_lane] = {}; // A2 = A log2(e): a = exp2(dt A2)
    for (int j = 0; j < each_lane; ++j)
        A2[j] = p.has(s, j) ? log2_e * -exp(to.A_log[int64_t{p.c} * s.states + p.n0 + j]) : 0.f; // (1)
    float u_next[owned], z_next[owned], B_next[state_share], C_next[state_share], low_next[StepTiles::ahead];
    const auto fetch = [&](int first) {
        fetch_channels(s, p, first, to.u, u_next);
        fetch_channels(s, p, first, to.z, z_next);
        fetch_states(s, p, first, to.low + shape.rank, shape.low_width(), B_next);
        fetch_states(s, p, first, to.low + shape.rank + s.states, shape.low_width(), C_next);
        steps.fetch(s, p, first, to.low, low_next);
    };
    steps.put_weight(s, p, to.dt_weight);
    fetch(0);
    for (int chunk = 0; chunk < s.chunks(); ++chunk) {
        const int first = chunk * steps_max;
        __syncthreads(); // the previous chunk has been read
        put_own(p, u_next, at.u);
        for (int k = 0; k < owned; ++k) at.gate[p.own_at(k)] = silu(z_next[k]);
        put_states(B_next, at.B);
        put_states(C_next, at.C);
        steps.put(s, p, first, to.low, low_next);
        if (to.saved) save_states(s, p, chunk, h, to.saved);
        __syncthreads();
        if (chunk + 1 < s.chunks()) fetch(first + steps_max);
        float own[owned];
        steps.own_steps(p, bias, own);
        for (int k = 0; k < owned; ++k) at.dt[p.own_at(k)] = softplus(own[k]); // (1)
        __syncwarp();                                                          // a channel's lanes are in one warp
#pragma unroll 1
        for (int k = 0; k < owned; ++k) {
            float part[lanes];
#pragma unroll
            for (int m = 0; m < lanes; ++m) {
                const int i = k * lanes + m;
                const float dti = at.dt[i * pitch + p.column], dtu = dti * at.u[i * pitch + p.column];
                float4 Bi = at.B[i * lanes + p.quarter], Ci = at.C[i * lanes + p.quarter];
                part[m] = 0;
                for (int j = 0; j < each_lane; ++j) {
                    h[j] = exp2(dti * A2[j]) * h[j] + dtu * as_array(Bi)[j];
                    part[m] += as_array(Ci)[j] * h[j]; // (2)
                }
            }
            const float y = (sum_of_own(part, p.quarter) + skip * at.u[p.own_at(k)]) * at.gate[p.own_at(k)]; // (3)
            const int i = first + p.own(k);
            if (!p.inside || i >= s.time) continue;
            float& out = *p.at(s, to.y, s.channels, i, p.c);
            out = first_state ? out + y : y;
        }
    }
}

// The parts that a direction's blocks write, each block its own: per sequence or per 32 channels.
struct Parts {
    float *A_log, *D, *weight, *bias; // (b, gradient)
    float* low;                       // (blocks, gradient)
};

struct BackwardTiles {
    float4 history[history_tile]; // h after each step, later g
    float4 B[state_tile], C[state_tile];
    float u[channel_tile], dt[channel_tile], ds[channel_tile];
    float gate[channel_tile]; // dy silu'(z)
    float dp[channel_tile];   // sigmoid(p), later dp
};

__global__ void __launch_bounds__(threads, 4) // shared memory allows four blocks per SM; so must the registers
    backward_kernel(GatedScanShape shape, Both directions, Directions<Parts> all_parts, int first_state) {
    FCI_DYN_SHARED(BackwardTiles, tiles);
    BackwardTiles& at = *tiles;
    const Direction& to = directions.at[blockIdx.z];
    const Parts parts = all_parts.at[blockIdx.z];
    const ScanShape s = shape.scan(to.reverse);
    const Place p(s, first_state);
    const int rank = shape.rank, t = threadIdx.x;
    const StepTiles steps(shape.rank, reinterpret_cast<float*>(tiles + 1));
    const auto d_low = [&] { return parts.low + int64_t{p.block} * s.batch * s.time * shape.low_width(); };
    float* d_weight =
        steps.low + steps_max * steps.low_pitch; // (channels, rank); thread t has elements t, t + threads, ...
    const float skip = first_state == 0 && p.inside ? to.D[p.c] : 0.f, bias = p.inside ? to.dt_bias[p.c] : 0.f;
    float A[each_lane], dA[each_lane] = {}, g[each_lane] = {}, dD = 0, d_bias = 0; // g: a[t+1] g[t+1]
    for (int j = 0; j < each_lane; ++j)
        A[j] = p.has(s, j) ? -exp(to.A_log[int64_t{p.c} * s.states + p.n0 + j]) : 0.f; // (1)
    float u_next[owned], z_next[owned], dy_next[owned], B_next[state_share], C_next[state_share],
        low_next[StepTiles::ahead], h_next[each_lane];
    const auto fetch = [&](int chunk) {
        const int first = chunk * steps_max;
        fetch_channels(s, p, first, to.u, u_next);
        fetch_channels(s, p, first, to.z, z_next);
        fetch_channels(s, p, first, to.dy, dy_next);
        fetch_states(s, p, first, to.low + shape.rank, shape.low_width(), B_next);
        fetch_states(s, p, first, to.low + shape.rank + s.states, shape.low_width(), C_next);
        steps.fetch(s, p, first, to.low, low_next);
        fetch_saved(s, p, chunk, to.saved, h_next);
    };
    steps.put_weight(s, p, to.dt_weight);
    for (int e = t; e < channels * rank; e += threads) d_weight[e] = 0;
    fetch(s.chunks() - 1);
    for (int chunk = s.chunks() - 1; chunk >= 0; --chunk) {
        const int first = chunk * steps_max;
        __syncthreads(); // the previous chunk has been read
        put_own(p, u_next, at.u);
        for (int k = 0; k < owned; ++k) {
            at.ds[p.own_at(k)] = dy_next[k] * silu(z_next[k]); // (ds)
            at.gate[p.own_at(k)] = dy_next[k] * silu_derivative(z_next[k]);
        }
        put_states(B_next, at.B);
        put_states(C_next, at.C);
        steps.put(s, p, first, to.low, low_next);
        float h0[each_lane], h[each_lane];
        for (int j = 0; j < each_lane; ++j) h0[j] = h[j] = h_next[j];
        __syncthreads();
        if (chunk) fetch(chunk - 1);
        float own[owned];
        steps.own_steps(p, bias, own);
        for (int k = 0; k < owned; ++k) {
            at.dt[p.own_at(k)] = softplus(own[k]);
            at.dp[p.own_at(k)] = softplus_derivative(own[k]);
        }
        __syncwarp();
#pragma unroll 1
        for (int k = 0; k < owned; ++k) { // the forward pass again, keeping h
            const int own = first + p.own(k);
            const bool is_there = p.inside && own < s.time;
            const float dz_before = is_there ? *p.at(s, to.dz, s.channels, own, p.c) : 0.f; // issue reads early
            float part[lanes];
#pragma unroll
            for (int m = 0; m < lanes; ++m) {
                const int i = k * lanes + m;
                const float dti = at.dt[i * pitch + p.column], dtu = dti * at.u[i * pitch + p.column];
                float4 Bi = at.B[i * lanes + p.quarter], Ci = at.C[i * lanes + p.quarter];
                part[m] = 0;
                for (int j = 0; j < each_lane; ++j) {
                    h[j] = exp2(dti * (log2_e * A[j])) * h[j] + dtu * as_array(Bi)[j];
                    part[m] += as_array(Ci)[j] * h[j]; // (2)
                }
                at.history[i * history_pitch + t] = make_float4(h[0], h[1], h[2], h[3]);
            }
            const float scan = sum_of_own(part, p.quarter) + skip * at.u[p.own_at(k)];
            if (is_there) *p.at(s, to.dz, s.channels, own, p.c) = dz_before + at.gate[p.own_at(k)] * scan; // (dz)
        }
        __syncthreads();
        leave_states(s, p, first, at.history, d_low() + rank + s.states, shape.low_width(),
                     [&](int i, int column) { return at.ds[i * pitch + column]; });
        __syncthreads(); // h has been read; a lane now writes g[t] where it has read h[t]
#pragma unroll 1
        for (int k = owned - 1; k >= 0; --k) {
            const int own = first + p.own(k);
            const bool is_there = p.inside && own < s.time;
            const float du_before = is_there ? *p.at(s, to.du, s.channels, own, p.c) : 0.f;
            float part_gB[lanes], part_rA[lanes];
#pragma unroll
            for (int m = lanes - 1; m >= 0; --m) {
                const int i = k * lanes + m;
                const float dti = at.dt[i * pitch + p.column], dsi = at.ds[i * pitch + p.column];
                float4 Bi = at.B[i * lanes + p.quarter], Ci = at.C[i * lanes + p.quarter];
                float4 hp = i ? at.history[(i - 1) * history_pitch + t] : make_float4(h0[0], h0[1], h0[2], h0[3]), gi;
                part_gB[m] = part_rA[m] = 0;
                for (int j = 0; j < each_lane; ++j) {
                    const float gt = as_array(Ci)[j] * dsi + g[j]; // selective_scan's (g)
                    const float next = gt * exp2(dti * (log2_e * A[j])), r = next * as_array(hp)[j];
                    part_gB[m] += gt * as_array(Bi)[j];
                    part_rA[m] += r * A[j];
                    dA[j] += r * dti;
                    g[j] = next;
                    as_array(gi)[j] = gt;
                }
                at.history[i * history_pitch + t] = gi;
            }
            const float sum_gB = sum_of_own(part_gB, p.quarter), sum_rA = sum_of_own(part_rA, p.quarter);
            const float ui = at.u[p.own_at(k)], dsi = at.ds[p.own_at(k)];
            const float dp = (sum_rA + sum_gB * ui) * at.dp[p.own_at(k)]; // (dp), from ddt
            at.dp[p.own_at(k)] = dp;
            d_bias += dp;
            dD += dsi * ui;
            if (is_there) *p.at(s, to.du, s.channels, own, p.c) = du_before + sum_gB * at.dt[p.own_at(k)] + skip * dsi;
        }
        __syncthreads();
        leave_states(s, p, first, at.history, d_low() + rank, shape.low_width(),
                     [&](int i, int column) { return at.dt[i * pitch + column] * at.u[i * pitch + column]; });
        for (int e = t; e < steps_max * rank; e += threads) {
            const int step = e / rank, r = e % rank;
            float sum_low = 0;
            for (int column = 0; column < channels; ++column)
                sum_low += steps.weight[column * steps.pitch + r] * at.dp[step * pitch + column]; // (dlow)
            if (first + step >= s.time) continue;
            float& low = *p.at(s, d_low(), shape.low_width(), first + step, r);
            low = first_state ? low + sum_low : sum_low;
        }
        for (int e = t; e < channels * rank; e += threads) {
            const int column = e / rank, r = e % rank;
            float sum_weight = 0;
            for (int step = 0; step < steps_max; ++step)
                sum_weight += at.dp[step * pitch + column] * steps.low[step * steps.low_pitch + r]; // (dW)
            d_weight[e] += sum_weight;
        }
    }
    // Parts per sequence; launches after the first add to them.
    const auto leave = [&](float& part, float v) { part = first_state ? part + v : v; };
    for (int e = t; e < channels * rank; e += threads) {
        const int d = p.block * channels + e / rank;
        if (d < s.channels) leave(parts.weight[(int64_t{p.b} * s.channels + d) * rank + e % rank], d_weight[e]);
    }
    for (int j = 0; j < each_lane; ++j)
        if (p.has(s, j)) parts.A_log[p.b * s.state_size() + int64_t{p.c} * s.states + p.n0 + j] = dA[j] * A[j]; // (dA)
    d_bias = sum_over_lanes(d_bias), dD = sum_over_lanes(dD);
    if (p.quarter || !p.inside) return;
    const int64_t channel = int64_t{p.b} * s.channels + p.c;
    leave(parts.bias[channel], d_bias); // (db)
    if (first_state == 0) parts.D[channel] = dD;
}

// Bytes of shared memory; fails if the GPU has fewer.
size_t shared_bytes(const GatedScanShape& s, size_t fixed, size_t floats) {
    const size_t bytes = fixed + floats * sizeof(float);
    if (bytes > static_cast<size_t>(shared_limit()))
        fail(Exit::usage,
             "gated_scan: a rank of {} needs {} bytes of shared memory, this GPU has {}: use a smaller --d-model",
             s.rank, bytes, shared_limit());
    return bytes;
}

} // namespace

void gated_scan_forward(GatedScanShape s, Both directions) {
    if (!s.size()) return;
    const size_t bytes = shared_bytes(s, sizeof(ForwardTiles), StepTiles::floats(s.rank));
    for (int first = 0; first < s.states; first += states)
        FCI_LAUNCH(forward_kernel, grid(s.scan(false), directions.count), threads, bytes, s, directions, first);
}

void gated_scan_backward(GatedScanShape s, Both directions) {
    if (!s.size()) return;
    const int64_t columns = int64_t{s.channels} * s.rank, blocks = blocks_for(s.channels, channels),
                  state_size = s.scan(false).state_size();
    const size_t bytes = shared_bytes(s, sizeof(BackwardTiles), StepTiles::floats(s.rank) + size_t{channels} * s.rank);
    Scratch scratch;
    PartSums<5 * most_directions> sums;
    Directions<Parts> parts;
    for (const Direction& to : directions)
        parts.add({sums.add(scratch, s.batch, state_size, to.dA_log), sums.add(scratch, s.batch, s.channels, to.dD),
                   sums.add(scratch, s.batch, columns, to.d_dt_weight),
                   sums.add(scratch, s.batch, s.channels, to.d_dt_bias),
                   sums.add(scratch, blocks, s.rows() * s.low_width(), to.d_low)});
    for (int first = 0; first < s.states; first += states)
        FCI_LAUNCH(backward_kernel, grid(s.scan(false), directions.count), threads, bytes, s, directions, parts, first);
    sums.launch();
}

} // namespace fci::cuda
