// causal_conv1d on the GPU; the mathematics is in src/ops/causal_conv1d.h. Filters of up to four taps, as Mamba's are:
// a shorter one gets taps of weight 0 in front. Neighbouring threads take neighbouring channels. A thread takes a strip
// of time of one channel, reads it once, all of it before it writes anything, and computes in registers; backward, also
// the three steps of dp after the strip's end that dx needs. The sums for dw are added up by block, then as parts.
// Bound by memory: two numbers of traffic per element of x forward, four backward.
// Step i of a sequence is position i or, if the filter is reversed, position i from the end: so both filters look back.
#include "ops/causal_conv1d.h"

#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

using Direction = ConvDirection<float>;
using Both = Directions<Direction>;

constexpr int taps = 4, behind = taps - 1, strip = 16;
constexpr int strands = 4; // strips of a block: few, since backward a thread needs 112 registers

// A thread's place: a strip of a channel of one sequence, in the filter's order. Blocks have (32 channels, 4 strips).
struct Strip {
    int time, channels, c, first; // first: the strip's first step
    bool inside, is_inner;        // is_inner: so are all steps that it reads; no step needs a check
    int64_t at;                   // of step `first` in x
    int step;                     // from one step to the next

    __device__ Strip(const ConvShape& s, bool reverse)
        : time(s.time), channels(s.channels), c(static_cast<int>(blockIdx.y * 32 + threadIdx.x)) {
        const int strips = (time + strip - 1) / strip;
        const unsigned number = blockIdx.x * strands + threadIdx.y;
        const int b = quotient(number, strips);
        first = modulo(number, strips) * strip;
        inside = b < s.batch && c < channels;
        is_inner = first >= behind && first + strip + behind <= time;
        at = (int64_t{b} * time + (reverse ? time - 1 - first : first)) * channels + c;
        step = reverse ? -channels : channels;
    }
    // v[i] = from[step first + begin + i], 0 outside of the sequence
    template <bool inner, int count>
    __device__ __forceinline__ void read(const float* from, int begin, float (&v)[count]) const {
        from += at + int64_t{begin} * step;
#pragma unroll
        for (int i = 0; i < count; ++i, from += step) {
            const int t = first + begin + i;
            v[i] = inner || (t >= 0 && t < time) ? *from : 0.f;
        }
    }
    __device__ __forceinline__ void weights(const ConvShape& s, const float* w, float (&v)[taps]) const {
        for (int k = 0; k < taps; ++k) {
            const int tap = k - (taps - s.width);
            v[k] = tap >= 0 ? w[int64_t{c} * s.width + tap] : 0.f;
        }
    }
};

// p of the step that x[3] belongs to; x[0] to x[2] belong to the three before it.
__device__ __forceinline__ float filtered(const float (&w)[taps], float bias, const float* x) {
    float p = bias;
    for (int k = 0; k < taps; ++k) p += w[k] * x[k]; // (1)
    return p;
}

template <bool inner>
__device__ __forceinline__ void forward(const ConvShape& s, const Direction& to, const Strip& of) {
    float x[behind + strip], w[taps];
    of.read<inner>(to.x, -behind, x);
    of.weights(s, to.w, w);
    const float bias = to.bias[of.c];
    float* y = to.y + of.at;
#pragma unroll
    for (int i = 0; i < strip; ++i, y += of.step)
        if (inner || of.first + i < of.time) *y = silu(filtered(w, bias, x + i)); // (2)
}

// grid: (sequences and their strips, channels / 32, directions)
__global__ void forward_kernel(ConvShape s, Both directions) {
    const Direction& to = directions.at[blockIdx.z];
    const Strip of(s, to.reverse);
    if (!of.inside) return;
    if (of.is_inner)
        forward<true>(s, to, of);
    else
        forward<false>(s, to, of);
}

struct Sums {
    float dw[taps] = {}, dbias = 0;
};

template <bool inner>
__device__ __forceinline__ void backward(const ConvShape& s, const Direction& to, const Strip& of, Sums& sums) {
    float x[behind + strip + behind], dp[strip + behind], dx[strip], w[taps];
    of.read<inner>(to.x, -behind, x);
    of.read<inner>(to.dy, 0, dp); // dy; after the end 0, and so is dp
    of.weights(s, to.w, w);
    const float bias = to.bias[of.c];
#pragma unroll
    for (int i = 0; i < strip + behind; ++i) dp[i] *= silu_derivative(filtered(w, bias, x + i)); // (dp)
#pragma unroll
    for (int i = 0; i < strip; ++i) {
        for (int k = 0; k < taps; ++k) sums.dw[k] += dp[i] * x[i + k]; // (dw)
        sums.dbias += dp[i];                                           // (db)
    }
    of.read<inner>(to.dx, 0, dx); // not earlier: x has made room in the registers
    float* out = to.dx + of.at;
#pragma unroll
    for (int i = 0; i < strip; ++i, out += of.step) {
        for (int k = 0; k < taps; ++k) dx[i] += w[k] * dp[i + behind - k]; // (dx)
        if (inner || of.first + i < of.time) *out = dx[i];
    }
}

// What a block leaves, as parts (blocks, channels, K) and (blocks, channels).
struct Parts {
    float *dw, *dbias;
};

// grid as forward
__global__ void __launch_bounds__(32 * strands) backward_kernel(ConvShape s, Both directions, Directions<Parts> parts) {
    FCI_SHARED(float, shared, (taps + 1) * strands * 32);
    const Direction& to = directions.at[blockIdx.z];
    const Strip of(s, to.reverse);
    Sums sums;
    if (of.inside) {
        if (of.is_inner)
            backward<true>(s, to, of, sums);
        else
            backward<false>(s, to, of, sums);
    }
    const int lane = static_cast<int>(threadIdx.x), strand = static_cast<int>(threadIdx.y);
    for (int k = 0; k <= taps; ++k) shared[(k * strands + strand) * 32 + lane] = k < taps ? sums.dw[k] : sums.dbias;
    __syncthreads();
    if (of.c >= s.channels) return;
    const int64_t channel = int64_t{blockIdx.x} * s.channels + of.c;
    const Parts& part = parts.at[blockIdx.z];
    for (int k = strand; k <= taps; k += strands) {
        float total = 0;
        for (int i = 0; i < strands; ++i) total += shared[(k * strands + i) * 32 + lane];
        if (k == taps)
            part.dbias[channel] = total;
        else if (const int tap = k - (taps - s.width); tap >= 0)
            part.dw[channel * s.width + tap] = total;
    }
}

dim3 grid(const ConvShape& s, int directions) {
    check(s.width <= taps, "causal_conv1d: on a GPU a filter has up to {} taps, this one has {}", taps, s.width);
    const int64_t strips = int64_t{s.batch} * ((s.time + strip - 1) / strip);
    return dim3(blocks_for(strips, strands), blocks_for(s.channels, 32), directions);
}

} // namespace

void causal_conv1d_forward(ConvShape s, Both directions) {
    if (!s.batch || !s.time || !s.channels) return;
    FCI_LAUNCH(forward_kernel, grid(s, directions.count), dim3(32, strands), 0, s, directions);
}

void causal_conv1d_backward(ConvShape s, Both directions) {
    if (!s.batch || !s.time || !s.channels) return;
    const dim3 blocks = grid(s, directions.count);
    Scratch scratch;
    PartSums<2 * most_directions> sums;
    Directions<Parts> parts;
    for (const Direction& to : directions)
        parts.add({sums.add(scratch, blocks.x, int64_t{s.channels} * s.width, to.dw),
                   sums.add(scratch, blocks.x, s.channels, to.dbias)});
    FCI_LAUNCH(backward_kernel, blocks, dim3(32, strands), 0, s, directions, parts);
    sums.launch();
}

} // namespace fci::cuda
