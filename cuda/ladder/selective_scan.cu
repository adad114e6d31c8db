// The ladder of selective_scan, to be read from top to bottom. The mathematics is in src/ops/selective_scan.h, the last
// step in cuda/ops/selective_scan.cu. At most 16 states.
#include "ops/selective_scan.h"

#include "cuda/ladder/ladder.cuh"
#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

constexpr int N = 16, threads = 128;

__device__ int64_t row(const ScanShape& s, int64_t b, int i) { return b * s.time + (s.reverse ? s.time - 1 - i : i); }

// Step 1: the equations as they stand, one thread per state, then one per element of the results. All of h and,
// backward, all of g and a g go through memory: n times the size of u.
__device__ float decay(float dt, float A) { return exp2(dt * (log2_e * A)); }

void all_states(ScanShape s, const float* u, const float* dt, const float* A, const float* B, float* H) { // H (b,t,c,n)
    each(s.batch * s.state_size(), [=] __device__(int64_t e) {
        const int64_t b = e / s.state_size(), cn = e % s.state_size(), c = cn / s.states, n = cn % s.states;
        float h = 0;
        for (int i = 0; i < s.time; ++i) {
            const int64_t bt = row(s, b, i), btc = bt * s.channels + c;
            h = decay(dt[btc], A[cn]) * h + dt[btc] * B[bt * s.states + n] * u[btc]; // (1)
            H[bt * s.state_size() + cn] = h;
        }
    });
}

void naive_forward(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                   const float* D, float* y, float* H) {
    all_states(s, u, dt, A, B, H);
    each(int64_t{s.batch} * s.time * s.channels, [=] __device__(int64_t btc) {
        const int64_t bt = btc / s.channels, c = btc % s.channels;
        float sum = D[c] * u[btc];
        for (int n = 0; n < s.states; ++n) sum += C[bt * s.states + n] * H[btc * s.states + n]; // (2)
        y[btc] = sum;
    });
}

void naive_backward(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                    const float* D, const float* dy, float* du, float* ddt, float* dA, float* dB, float* dC, float* dD,
                    float* H, float* G, float* R) {
    const int64_t rows = int64_t{s.batch} * s.time;
    all_states(s, u, dt, A, B, H);
    each(s.batch * s.state_size(), [=] __device__(int64_t e) {
        const int64_t b = e / s.state_size(), cn = e % s.state_size(), c = cn / s.states, n = cn % s.states;
        float next = 0; // a[t+1] g[t+1]
        for (int i = s.time - 1; i >= 0; --i) {
            const int64_t bt = row(s, b, i), btc = bt * s.channels + c;
            const float g = C[bt * s.states + n] * dy[btc] + next; // (g)
            next = g * decay(dt[btc], A[cn]);
            G[bt * s.state_size() + cn] = g;
            R[bt * s.state_size() + cn] = i ? next * H[row(s, b, i - 1) * s.state_size() + cn] : 0.f; // r
        }
    });
    each(rows * s.channels, [=] __device__(int64_t btc) {
        const int64_t bt = btc / s.channels, c = btc % s.channels;
        float sum_gB = 0, sum_rA = 0;
        for (int n = 0; n < s.states; ++n) {
            sum_gB += G[btc * s.states + n] * B[bt * s.states + n];
            sum_rA += R[btc * s.states + n] * A[c * s.states + n];
        }
        ddt[btc] += sum_rA + sum_gB * u[btc];         // (ddt)
        du[btc] += sum_gB * dt[btc] + D[c] * dy[btc]; // (du)
    });
    each(rows * s.states, [=] __device__(int64_t btn) {
        const int64_t bt = btn / s.states, n = btn % s.states;
        float sum_B = 0, sum_C = 0;
        for (int c = 0; c < s.channels; ++c) {
            const int64_t btc = bt * s.channels + c;
            sum_B += G[btc * s.states + n] * dt[btc] * u[btc];
            sum_C += H[btc * s.states + n] * dy[btc];
        }
        dB[btn] += sum_B; // (dB)
        dC[btn] += sum_C; // (dC)
    });
    each(s.state_size(), [=] __device__(int64_t cn) { // (dA)
        float sum = 0;
        for (int64_t bt = 0; bt < rows; ++bt) sum += R[bt * s.state_size() + cn] * dt[bt * s.channels + cn / s.states];
        dA[cn] += sum;
    });
    each(s.channels, [=] __device__(int64_t c) { // (dD)
        float sum = 0;
        for (int64_t bt = 0; bt < rows; ++bt) sum += dy[bt * s.channels + c] * u[bt * s.channels + c];
        dD[c] += sum;
    });
}

// Step 2, forward: a thread takes a channel and has its states in registers (lanes = 1); no h is in memory. But there
// are few threads: 8192 at batch 32 and 256 channels, two warps for each of an H100's SMs, which can issue four at a
// time.
// Step 3, forward: `lanes` neighbours share a channel's states, which gives `lanes` times as many threads; y is the sum
// over them.
template <int lanes>
__global__ void register_kernel(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                                const float* C, const float* D, float* y) {
    constexpr int each_lane = N / lanes;
    const int64_t thread = int64_t{blockIdx.x} * threads + threadIdx.x, bc = thread / lanes, b = bc / s.channels;
    const int lane = static_cast<int>(thread % lanes), c = static_cast<int>(bc % s.channels), n0 = lane * each_lane;
    const bool inside = b < s.batch; // the others still take part in the warp's sums
    float A2[each_lane], h[each_lane] = {};
    for (int j = 0; j < each_lane; ++j)
        A2[j] = inside && n0 + j < s.states ? log2_e * A[int64_t{c} * s.states + n0 + j] : 0.f;
    for (int i = 0; i < s.time; ++i) {
        const int64_t bt = row(s, inside ? b : 0, i), btc = bt * s.channels + c;
        const float ui = u[btc], dti = dt[btc], dtu = dti * ui;
        float sum = lane ? 0.f : D[c] * ui;
        for (int j = 0; j < each_lane; ++j) {
            const int64_t btn = bt * s.states + n0 + j;
            const bool there = n0 + j < s.states;
            h[j] = exp2(dti * A2[j]) * h[j] + dtu * (there ? B[btn] : 0.f); // (1)
            sum += (there ? C[btn] : 0.f) * h[j];                           // (2)
        }
        for (int other = 1; other < lanes; other *= 2) sum += __shfl_xor_sync(all_lanes, sum, other);
        if (lane == 0 && inside) y[btc] = sum;
    }
}

template <int lanes>
void in_registers(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                  const float* D, float* y) {
    FCI_LAUNCH(register_kernel<lanes>, blocks_for(int64_t{s.batch} * s.channels * lanes, threads), threads, 0, s, u, dt,
               A, B, C, D, y);
}

// Step 2, backward: memory holds h only at the chunks' beginnings; a chunk's h and a are recomputed, into registers. A
// thread takes a state, a block 16 channels. At every time step the block adds the channels' parts of dB and dC in
// shared memory, between two barriers, and 16 lanes add their states' parts of ddt and du.
constexpr int columns = 16, chunk = ScanShape::chunk, block = columns * N;
__global__ void __launch_bounds__(block)
    checkpoint_kernel(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                      const float* D, const float* saved, const float* dy, float* du, float* ddt, float* part_A,
                      float* part_B, float* part_C, float* part_D) {
    FCI_SHARED(float, to_B, columns* N);
    FCI_SHARED(float, to_C, columns* N);
    const int t = threadIdx.x, n = t % N, c = blockIdx.y * columns + t / N, b = blockIdx.x;
    const bool inside = c < s.channels, there = inside && n < s.states;
    const float Ad = there ? A[int64_t{c} * s.states + n] : 0.f;
    float g = 0, dA = 0, dD = 0; // g: a[t+1] g[t+1]
    for (int number = s.chunks() - 1; number >= 0; --number) {
        const int first = number * chunk;
        float a[chunk], h[chunk + 1];
        h[0] = there ? saved[(int64_t{b} * s.chunks() + number) * s.state_size() + int64_t{n} * s.channels + c] : 0.f;
#pragma unroll
        for (int i = 0; i < chunk; ++i) {
            const int64_t bt = row(s, b, min(first + i, s.time - 1)), btc = bt * s.channels + c;
            const float dti = there && first + i < s.time ? dt[btc] : 0.f;
            a[i] = decay(dti, Ad);
            h[i + 1] = a[i] * h[i] + (there ? dti * u[btc] * B[bt * s.states + n] : 0.f); // (1)
        }
#pragma unroll
        for (int i = chunk - 1; i >= 0; --i) {
            if (first + i >= s.time) continue;
            const int64_t bt = row(s, b, first + i), btc = bt * s.channels + c;
            const float ui = inside ? u[btc] : 0.f, dti = inside ? dt[btc] : 0.f, dyi = inside ? dy[btc] : 0.f;
            const float gt = (there ? C[bt * s.states + n] : 0.f) * dyi + g; // (g)
            g = gt * a[i];
            const float r = g * h[i];
            dA += r * dti;  // (dA)
            dD += dyi * ui; // (dD)
            float sum_gB = there ? gt * B[bt * s.states + n] : 0.f, sum_rA = r * Ad;
            for (int other = 1; other < N; other *= 2) {
                sum_gB += __shfl_xor_sync(all_lanes, sum_gB, other);
                sum_rA += __shfl_xor_sync(all_lanes, sum_rA, other);
            }
            if (inside && n == 0) {
                ddt[btc] += sum_rA + sum_gB * ui;     // (ddt)
                du[btc] += sum_gB * dti + D[c] * dyi; // (du)
            }
            to_B[t] = gt * dti * ui;
            to_C[t] = dyi * h[i + 1];
            __syncthreads();
            if (t < 2 * N && n < s.states) {
                float sum = 0;
                for (int column = 0; column < columns; ++column) sum += (t < N ? to_B : to_C)[column * N + n];
                const int64_t rows = int64_t{s.batch} * s.time;
                (t < N ? part_B : part_C)[(blockIdx.y * rows + bt) * s.states + n] = sum; // (dB) (dC)
            }
            __syncthreads();
        }
    }
    if (there) part_A[b * s.state_size() + int64_t{c} * s.states + n] = dA;
    if (inside && n == 0) part_D[int64_t{b} * s.channels + c] = dD;
}

void checkpoint_backward(ScanShape s, const float* u, const float* dt, const float* A, const float* B, const float* C,
                         const float* D, const float* saved, const float* dy, float* du, float* ddt, float* dA,
                         float* dB, float* dC, float* dD) {
    const unsigned blocks = blocks_for(s.channels, columns);
    const int64_t btn = int64_t{s.batch} * s.time * s.states;
    Scratch scratch;
    PartSums<4> sums;
    float *part_A = sums.add(scratch, s.batch, s.state_size(), dA), *part_B = sums.add(scratch, blocks, btn, dB),
          *part_C = sums.add(scratch, blocks, btn, dC), *part_D = sums.add(scratch, s.batch, s.channels, dD);
    FCI_LAUNCH(checkpoint_kernel, dim3(s.batch, blocks), block, 0, s, u, dt, A, B, C, D, saved, dy, du, ddt, part_A,
               part_B, part_C, part_D);
    sums.launch();
}

// The last step is the shipped one, selective_scan_forward and selective_scan_backward.

// Flops of one step of a state: those of exp2 as core/scalar.h writes it out, and the rest. The GPU has an instruction
// for exp2 on another unit, so the limit by multiply-adds is higher than necessary.
constexpr double exp2_flops = 20, forward_flops = 6 + exp2_flops, backward_flops = 20 + exp2_flops;

struct Problem {
    ScanShape s;
    std::vector<float> u, dt, A, B, C, D, y, saved;

    Problem(Ladder& ladder, ScanShape shape) : s(shape) {
        const int64_t rows = int64_t{s.batch} * s.time;
        u = ladder.random(rows * s.channels), dt = ladder.random(rows * s.channels, 0.001f, 0.1f);
        A = ladder.random(s.state_size(), -16, -1);
        B = ladder.random(rows * s.states), C = ladder.random(rows * s.states), D = ladder.random(s.channels);
        y.resize(u.size()), saved.resize(s.saved_size());
        cpu::selective_scan_forward(s, u.data(), dt.data(), A.data(), B.data(), C.data(), D.data(), y.data(),
                                    saved.data());
    }
};

ScanShape shape(bool tiny) { return tiny ? ScanShape{2, 37, 35, 15, true} : ScanShape{32, 512, 256, N, false}; }
double state_steps(const ScanShape& s) { return double(s.batch) * s.time * s.state_size(); }

} // namespace

void add_selective_scan_forward(std::deque<Ladder>& ladders, bool tiny) {
    const ScanShape s = shape(tiny);
    Ladder& ladder = ladders.emplace_back("selective_scan, forward", forward_flops * state_steps(s));
    const Problem p(ladder, s);
    const float *u = ladder.input(p.u), *dt = ladder.input(p.dt), *A = ladder.input(p.A), *B = ladder.input(p.B),
                *C = ladder.input(p.C), *D = ladder.input(p.D);
    float *y = ladder.result("y", p.y, s.time + s.states),
          *H = ladder.scratch(size_t(s.batch) * s.time * s.state_size());
    ladder.step("naive", "the equations, one thread per state; all of h in memory",
                [=] { naive_forward(s, u, dt, A, B, C, D, y, H); });
    ladder.step("registers", "one thread per channel, its states in registers: h never leaves the chip",
                [=] { in_registers<1>(s, u, dt, A, B, C, D, y); });
    ladder.step("four lanes", "four lanes per channel: four times the warps, to hide latency",
                [=] { in_registers<4>(s, u, dt, A, B, C, D, y); });
    ladder.step("chunks (shipped)", "loads of 16 steps at once, ahead of their use; 32 channels share B and C",
                [=] { selective_scan_forward(s, u, dt, A, B, C, D, y, nullptr); });
}

void add_selective_scan_backward(std::deque<Ladder>& ladders, bool tiny) {
    const ScanShape s = shape(tiny);
    Ladder& ladder = ladders.emplace_back("selective_scan, backward", backward_flops * state_steps(s));
    const Problem p(ladder, s);
    const std::vector<float> host_dy = ladder.random(p.u.size());
    std::vector<float> e_du(p.u.size()), e_ddt(p.u.size()), e_dA(p.A.size()), e_dB(p.B.size()), e_dC(p.B.size()),
        e_dD(p.D.size());
    cpu::selective_scan_backward(s, p.u.data(), p.dt.data(), p.A.data(), p.B.data(), p.C.data(), p.D.data(),
                                 p.saved.data(), host_dy.data(), e_du.data(), e_ddt.data(), e_dA.data(), e_dB.data(),
                                 e_dC.data(), e_dD.data());
    const float *u = ladder.input(p.u), *dt = ladder.input(p.dt), *A = ladder.input(p.A), *B = ladder.input(p.B),
                *C = ladder.input(p.C), *D = ladder.input(p.D), *saved = ladder.input(p.saved),
                *dy = ladder.input(host_dy);
    const int by_time = s.time + s.states, by_channel = s.time + s.channels, by_row = s.batch * s.time;
    float *du = ladder.result("du", e_du, by_time, true), *ddt = ladder.result("ddt", e_ddt, by_time, true),
          *dA = ladder.result("dA", e_dA, by_row, true), *dB = ladder.result("dB", e_dB, by_channel, true),
          *dC = ladder.result("dC", e_dC, by_channel, true), *dD = ladder.result("dD", e_dD, by_row, true);
    const size_t all = size_t(s.batch) * s.time * s.state_size();
    float *H = ladder.scratch(all), *G = ladder.scratch(all), *R = ladder.scratch(all);
    ladder.step("naive", "the equations, one thread per state; all of h, g and r in memory",
                [=] { naive_backward(s, u, dt, A, B, C, D, dy, du, ddt, dA, dB, dC, dD, H, G, R); });
    ladder.step("checkpoints", "h and a recomputed from every 16th h; a block adds its channels' dB and dC",
                [=] { checkpoint_backward(s, u, dt, A, B, C, D, saved, dy, du, ddt, dA, dB, dC, dD); });
    ladder.step("chunks (shipped)", "four states per lane; h and g of 16 steps in shared memory: dB, dC per chunk",
                [=] { selective_scan_backward(s, u, dt, A, B, C, D, saved, dy, du, ddt, dA, dB, dC, dD); });
}

} // namespace fci::cuda
