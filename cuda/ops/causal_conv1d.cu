// causal_conv1d on the GPU; the mathematics is in src/ops/causal_conv1d.h. Neighbouring threads take neighbouring
// channels. Forward, a thread takes a strip of time of one channel and slides a window of four taps along it in
// registers, so that each number is read once (K = 4; wider filters: once for every four taps). Backward, a block takes
// 32 channels of a stretch of time, one tile at a time. x and dy are read once; p and dp are computed in shared memory,
// including the K-1 steps of dp after the tile's end that dx needs; dx and the sums for dw are computed from them.
// Bound by memory: two numbers of traffic per element of x forward, four backward.
// Step i of a sequence is position i or, if the filter is reversed, position i from the end: so both filters look back.
#include "ops/causal_conv1d.h"

#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

using Direction = ConvDirection<float>;
using Both = Directions<Direction>;

constexpr int taps = 4, strip = 16, strands = 8;

// One channel of one sequence, in the filter's order; 0 outside.
struct Sequence {
    const float* x;
    int time, channels;
    bool reverse;
    __device__ Sequence(const ConvShape& s, const float* all, int64_t b, int c, bool backwards)
        : x(all + b * s.time * s.channels + c), time(s.time), channels(s.channels), reverse(backwards) {}
    __device__ int64_t at(int i) const { return int64_t{reverse ? time - 1 - i : i} * channels; }
    __device__ bool has(int i) const { return i >= 0 && i < time; }
    __device__ float operator[](int i) const { return has(i) ? x[at(i)] : 0.f; }
};

// grid: (sequences and their strips, channels / 32, directions)
__global__ void forward_kernel(ConvShape s, Both directions) {
    const Direction& to = directions.at[blockIdx.z];
    const int c = blockIdx.y * 32 + threadIdx.x, strips = (s.time + strip - 1) / strip;
    const int64_t number = int64_t{blockIdx.x} * strands + threadIdx.y, b = number / strips;
    if (b >= s.batch || c >= s.channels) return;
    const int first = static_cast<int>(number % strips) * strip;
    const Sequence from(s, to.x, b, c, to.reverse);
    float sum[strip];
    for (int i = 0; i < strip; ++i) sum[i] = to.bias[c];
    for (int k = 0; k < s.width; k += taps) {
        float weight[taps], window[taps];               // window[j] belongs to tap k+j
        const int ahead = k + taps - 1 - (s.width - 1); // for the newest number; taps beyond the filter weigh 0
        for (int j = 0; j < taps; ++j) {
            weight[j] = k + j < s.width ? to.w[int64_t{c} * s.width + k + j] : 0.f;
            window[j] = from[first + ahead - taps + j];
        }
#pragma unroll
        for (int i = 0; i < strip; ++i) {
            for (int j = 0; j + 1 < taps; ++j) window[j] = window[j + 1];
            window[taps - 1] = from[first + i + ahead];
            for (int j = 0; j < taps; ++j) sum[i] += weight[j] * window[j]; // (1)
        }
    }
    float* y = to.y + b * s.time * s.channels + c;
#pragma unroll
    for (int i = 0; i < strip; ++i)
        if (first + i < s.time) y[from.at(first + i)] = silu(sum[i]); // (2)
}

// Shared memory of the backward kernel: rows of 32 channels.
constexpr int tile = 64, stretch = 256; // steps
struct Tiles {
    // x from K-1 steps before the tile to K-1 after it; dp to K-1 after it; w: (K); sums: (K+1,strands)
    float *x, *dp, *w, *sums;
    __device__ Tiles(int width, float* at)
        : x(at), dp(x + (tile + 2 * (width - 1)) * 32), w(dp + (tile + width - 1) * 32), sums(w + width * 32) {}
    static size_t bytes(int width) {
        return (2 * tile + 3 * (width - 1) + width + (width + 1) * strands) * 32 * sizeof(float);
    }
};

struct Parts {
    float *dw, *dbias;
};

// Writes the sums over each stretch as parts. grid: (sequences and their stretches, channels / 32, directions)
__global__ void __launch_bounds__(32 * strands) backward_kernel(ConvShape s, Both directions, Directions<Parts> parts) {
    FCI_DYN_SHARED(float, memory);
    const Direction& to = directions.at[blockIdx.z];
    const Parts part = parts.at[blockIdx.z];
    const Tiles at(s.width, memory);
    const int lane = threadIdx.x, strand = threadIdx.y, c = blockIdx.y * 32 + lane, K = s.width;
    const int stretches = (s.time + stretch - 1) / stretch, begin = blockIdx.x % stretches * stretch;
    const int64_t b = blockIdx.x / stretches;
    const bool inside = c < s.channels;
    const Sequence x(s, to.x, b, inside ? c : 0, to.reverse), dy(s, to.dy, b, inside ? c : 0, to.reverse);
    float* dx = to.dx + b * s.time * s.channels + c;
    const float bias = inside ? to.bias[c] : 0.f;
    for (int k = strand; k < K; k += strands) at.w[k * 32 + lane] = inside ? to.w[int64_t{c} * K + k] : 0.f;
    for (int k = 0; k <= K; ++k) at.sums[(k * strands + strand) * 32 + lane] = 0;
    for (int first = begin; first < min(begin + stretch, s.time); first += tile) {
        __syncthreads(); // the previous tile has been read
        for (int r = strand; r < tile + 2 * (K - 1); r += strands)
            at.x[r * 32 + lane] = inside ? x[first - (K - 1) + r] : 0.f;
        __syncthreads();
        for (int r = strand; r < tile + K - 1; r += strands) {
            const float dyr = inside ? dy[first + r] : 0.f; // 0 after the end
            float p = bias;
#pragma unroll 4
            for (int k = 0; k < K; ++k) p += at.w[k * 32 + lane] * at.x[(r + k) * 32 + lane]; // (1)
            at.dp[r * 32 + lane] = dyr * silu_derivative(p);                                  // (dp)
        }
        __syncthreads();
        for (int r = strand; inside && r < tile && x.has(first + r); r += strands) {
            float& out = dx[x.at(first + r)];
            const float before = out;
            float sum = 0;
#pragma unroll 4
            for (int k = 0; k < K; ++k) sum += at.w[k * 32 + lane] * at.dp[(r + K - 1 - k) * 32 + lane];
            out = before + sum; // (dx)
        }
        for (int k = 0; k <= K; ++k) {
            float sum = 0;
#pragma unroll
            for (int r = strand; r < tile; r += strands)
                sum += at.dp[r * 32 + lane] * (k < K ? at.x[(r + k) * 32 + lane] : 1.f); // (dw) (db)
            at.sums[(k * strands + strand) * 32 + lane] += sum;
        }
    }
    __syncthreads();
    if (!inside) return;
    for (int k = strand; k <= K; k += strands) { // strand k adds up sum k
        float total = 0;
        for (int i = 0; i < strands; ++i) total += at.sums[(k * strands + i) * 32 + lane];
        const int64_t channel = int64_t{blockIdx.x} * s.channels + c;
        if (k < K)
            part.dw[channel * K + k] = total;
        else
            part.dbias[channel] = total;
    }
}

} // namespace

void causal_conv1d_forward(ConvShape s, Both directions) {
    const int64_t strips = int64_t{s.batch} * ((s.time + strip - 1) / strip);
    if (!strips || !s.channels) return;
    FCI_LAUNCH(forward_kernel, dim3(blocks_for(strips, strands), blocks_for(s.channels, 32), directions.count),
               dim3(32, strands), 0, s, directions);
}

void causal_conv1d_backward(ConvShape s, Both directions) {
    const unsigned stretches = s.batch * blocks_for(s.time, stretch);
    if (!stretches || !s.channels) return;
    const size_t bytes = Tiles::bytes(s.width);
    check(bytes <= static_cast<size_t>(shared_limit()),
          "causal_conv1d: a filter of {} taps needs {} bytes of shared memory, this GPU has {}", s.width, bytes,
          shared_limit());
    Scratch scratch;
    PartSums<2 * most_directions> sums;
    Directions<Parts> parts;
    for (const Direction& to : directions)
        parts.add({sums.add(scratch, stretches, int64_t{s.channels} * s.width, to.dw),
                   sums.add(scratch, stretches, s.channels, to.dbias)});
    FCI_LAUNCH(backward_kernel, dim3(stretches, blocks_for(s.channels, 32), directions.count), dim3(32, strands), bytes,
               s, directions, parts);
    sums.launch();
}

} // namespace fci::cuda
