// selective_scan on the GPU; the mathematics is in src/ops/selective_scan.h. cuda/scan.cuh says how it maps to the GPU:
// four lanes per channel, four states each; chunks of time in shared memory. The backward pass goes through the chunks
// from the end. It recomputes h from the saved h, into shared memory, and dC; then g backwards, which overwrites h, and
// dB. Their sums over the block's channels are small products with what is in shared memory. Sums over blocks (dB, dC:
// channels; dA, dD: sequences) are written as parts and added in order.
// Bound by arithmetic: of about 22 instructions per state and step, 15 are exp2; u, dt and y are 12 bytes for all 16
// states. Two blocks for each of an H100's SMs at batch 32 and 256 channels: few, so loads must be issued early.
#include "ops/selective_scan.h"

#include "cuda/parts.cuh"
#include "cuda/scan.cuh"

namespace fci::cuda {
namespace {

using namespace scan;

__global__ void __launch_bounds__(threads)
    forward_kernel(ScanShape s, int first_state, const float* u, const float* dt, const float* A, const float* B,
                   const float* C, const float* D, float* y, float* saved) {
    FCI_SHARED(float, ut, channel_tile);
    FCI_SHARED(float, dtt, channel_tile);
    FCI_SHARED(float4, Bt, state_tile);
    FCI_SHARED(float4, Ct, state_tile);
    const Place p(s, first_state);
    const float skip = first_state == 0 && p.inside ? D[p.c] : 0.f;
    float A2[each_lane], h[each_lane] = {}; // A2 = A log2(e): a = exp2(dt A2)
    for (int j = 0; j < each_lane; ++j) A2[j] = p.has(s, j) ? log2_e * A[int64_t{p.c} * s.states + p.n0 + j] : 0.f;
    float u_next[owned], dt_next[owned], B_next[state_share], C_next[state_share];
    const auto fetch = [&](int first) {
        fetch_channels(s, p, first, u, u_next);
        fetch_channels(s, p, first, dt, dt_next);
        fetch_states(s, p, first, B, s.states, B_next);
        fetch_states(s, p, first, C, s.states, C_next);
    };
    fetch(0);
    for (int chunk = 0; chunk < s.chunks(); ++chunk) {
        const int first = chunk * steps_max;
        __syncthreads(); // the previous chunk has been read
        put_own(p, u_next, ut);
        put_own(p, dt_next, dtt);
        put_states(B_next, Bt);
        put_states(C_next, Ct);
        if (saved) save_states(s, p, chunk, h, saved);
        __syncthreads();
        if (chunk + 1 < s.chunks()) fetch(first + steps_max);
#pragma unroll 1
        for (int k = 0; k < owned; ++k) {
            float part[lanes];
#pragma unroll
            for (int m = 0; m < lanes; ++m) {
                const int i = k * lanes + m;
                const float dti = dtt[i * pitch + p.column], dtu = dti * ut[i * pitch + p.column];
                float4 Bi = Bt[i * lanes + p.quarter], Ci = Ct[i * lanes + p.quarter];
                part[m] = 0;
                for (int j = 0; j < each_lane; ++j) {
                    h[j] = exp2(dti * A2[j]) * h[j] + dtu * as_array(Bi)[j]; // (1)
                    part[m] += as_array(Ci)[j] * h[j];                       // (2)
                }
            }
            const float sum = sum_of_own(part, p.quarter) + skip * ut[p.own_at(k)];
            const int i = first + p.own(k);
            if (!p.inside || i >= s.time) continue;
            float& to = *p.at(s, y, s.channels, i, p.c);
            to = first_state ? to + sum : sum;
        }
    }
}

// Shared memory of the backward kernel.
struct Tiles {
    float4 history[history_tile]; // h after each step, later g
    float4 B[state_tile], C[state_tile];
    float u[channel_tile], dt[channel_tile], dy[channel_tile];
};

__global__ void __launch_bounds__(threads, 4) // shared memory allows four blocks per SM; so must the registers
    backward_kernel(ScanShape s, int first_state, const float* u, const float* dt, const float* A, const float* B,
                    const float* C, const float* D, const float* saved, const float* dy, float* du, float* ddt,
                    float* part_A, float* part_B, float* part_C, float* part_D) {
    FCI_DYN_SHARED(Tiles, tiles);
    Tiles& at = *tiles;
    const Place p(s, first_state);
    const int64_t of_block = int64_t{p.block} * s.batch * s.time * s.states;
    const float skip = first_state == 0 && p.inside ? D[p.c] : 0.f;
    float Ad[each_lane], dA[each_lane] = {}, g[each_lane] = {}, dD = 0; // g: a[t+1] g[t+1]
    for (int j = 0; j < each_lane; ++j) Ad[j] = p.has(s, j) ? A[int64_t{p.c} * s.states + p.n0 + j] : 0.f;
    float u_next[owned], dt_next[owned], dy_next[owned], B_next[state_share], C_next[state_share], h_next[each_lane];
    const auto fetch = [&](int chunk) {
        const int first = chunk * steps_max;
        fetch_channels(s, p, first, u, u_next);
        fetch_channels(s, p, first, dt, dt_next);
        fetch_channels(s, p, first, dy, dy_next);
        fetch_states(s, p, first, B, s.states, B_next);
        fetch_states(s, p, first, C, s.states, C_next);
        fetch_saved(s, p, chunk, saved, h_next);
    };
    fetch(s.chunks() - 1);
    for (int chunk = s.chunks() - 1; chunk >= 0; --chunk) {
        const int first = chunk * steps_max, t = threadIdx.x;
        __syncthreads(); // the previous chunk has been read
        put_own(p, u_next, at.u);
        put_own(p, dt_next, at.dt);
        put_own(p, dy_next, at.dy);
        put_states(B_next, at.B);
        put_states(C_next, at.C);
        float h0[each_lane], h[each_lane];
        for (int j = 0; j < each_lane; ++j) h0[j] = h[j] = h_next[j];
        __syncthreads();
        if (chunk) fetch(chunk - 1);
#pragma unroll 4
        for (int i = 0; i < steps_max; ++i) { // the forward pass again, keeping h
            const float dti = at.dt[i * pitch + p.column], dtu = dti * at.u[i * pitch + p.column];
            float4 Bi = at.B[i * lanes + p.quarter];
            for (int j = 0; j < each_lane; ++j)
                h[j] = exp2(dti * (log2_e * Ad[j])) * h[j] + dtu * as_array(Bi)[j]; // (1)
            at.history[i * history_pitch + t] = make_float4(h[0], h[1], h[2], h[3]);
        }
        __syncthreads();
        leave_states(s, p, first, at.history, part_C + of_block, s.states,
                     [&](int i, int c) { return at.dy[i * pitch + c]; }); // (dC)
        __syncthreads(); // h has been read; a lane now writes g[t] where it has read h[t]
#pragma unroll 1
        for (int k = owned - 1; k >= 0; --k) {
            const int own = first + p.own(k);
            const bool is_there = p.inside && own < s.time;
            const int64_t to = p.at(s, du, s.channels, own, p.c) - du;
            const float du_before = is_there ? du[to] : 0.f,
                        ddt_before = is_there ? ddt[to] : 0.f; // issue reads early
            float part_gB[lanes], part_rA[lanes];
#pragma unroll
            for (int m = lanes - 1; m >= 0; --m) {
                const int i = k * lanes + m;
                const float dti = at.dt[i * pitch + p.column], dyi = at.dy[i * pitch + p.column];
                float4 Bi = at.B[i * lanes + p.quarter], Ci = at.C[i * lanes + p.quarter];
                float4 hp = i ? at.history[(i - 1) * history_pitch + t] : make_float4(h0[0], h0[1], h0[2], h0[3]), gi;
                part_gB[m] = part_rA[m] = 0;
                for (int j = 0; j < each_lane; ++j) {
                    const float gt = as_array(Ci)[j] * dyi + g[j]; // (g)
                    const float next = gt * exp2(dti * (log2_e * Ad[j])), r = next * as_array(hp)[j];
                    part_gB[m] += gt * as_array(Bi)[j];
                    part_rA[m] += r * Ad[j];
                    dA[j] += r * dti; // (dA)
                    g[j] = next;
                    as_array(gi)[j] = gt;
                }
                at.history[i * history_pitch + t] = gi;
            }
            const float sum_gB = sum_of_own(part_gB, p.quarter), sum_rA = sum_of_own(part_rA, p.quarter);
            const float ui = at.u[p.own_at(k)], dyi = at.dy[p.own_at(k)];
            dD += dyi * ui; // (dD)
            if (!is_there) continue;
            ddt[to] = ddt_before + sum_rA + sum_gB * ui;                   // (ddt)
            du[to] = du_before + sum_gB * at.dt[p.own_at(k)] + skip * dyi; // (du)
        }
        __syncthreads();
        leave_states(s, p, first, at.history, part_B + of_block, s.states,
                     [&](int i, int c) { return at.dt[i * pitch + c] * at.u[i * pitch + c]; }); // (dB)
    }
    for (int j = 0; j < each_lane; ++j)
        if (p.has(s, j)) part_A[p.b * s.state_size() + int64_t{p.c} * s.states + p.n0 + j] = dA[j];
    dD = sum_over_lanes(dD);
    if (first_state == 0 && p.quarter == 0 && p.inside) part_D[int64_t{p.b} * s.channels + p.c] = dD;
}

} // namespace

void selective_scan_forward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                            const float* C, const float* D, float* y, float* saved) {
    if (!s.batch || !s.time || !s.channels) return;
    for (int first = 0; first < s.states; first += states)
        FCI_LAUNCH(forward_kernel, grid(s, 1), threads, 0, s, first, u, dt, A, B, C, D, y, saved);
}

void selective_scan_backward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                             const float* C, const float* D, const float* saved, const float* dy, float* du, float* ddt,
                             float* dA, float* dB, float* dC, float* dD) {
    if (!s.batch || !s.time || !s.channels) return;
    const int64_t blocks = blocks_for(s.channels, channels), btn = int64_t{s.batch} * s.time * s.states;
    Scratch scratch;
    PartSums<4> sums;
    float *part_A = sums.add(scratch, s.batch, s.state_size(), dA), *part_B = sums.add(scratch, blocks, btn, dB),
          *part_C = sums.add(scratch, blocks, btn, dC), *part_D = sums.add(scratch, s.batch, s.channels, dD);
    for (int first = 0; first < s.states; first += states)
        FCI_LAUNCH(backward_kernel, grid(s, 1), threads, sizeof(Tiles), s, first, u, dt, A, B, C, D, saved, dy, du, ddt,
                   part_A, part_B, part_C, part_D);
    sums.launch();
}

} // namespace fci::cuda
