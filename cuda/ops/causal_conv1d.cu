// causal_conv1d on the GPU; the mathematics is in src/ops/causal_conv1d.h. A thread takes a strip of time of one
// channel, neighbouring threads neighbouring channels. It slides a window of four taps along the strip in registers, so
// that each number is read once (K = 4; wider filters: once for every four taps). Bound by memory.
// Step i of a sequence is position i, or from the end where the filter is reversed: seen so, both look back, and
// dx is dy under the same filter with time turned round.
#include "ops/causal_conv1d.h"

#include "cuda/common.cuh"

namespace fci::cuda {
namespace {

constexpr int taps = 4, strip = 16, strands = 8;

// One channel of one sequence, in the order of the filter; 0 outside.
struct Sequence {
    const float* x;
    int time, channels;
    bool reverse;
    __device__ Sequence(const ConvShape& s, const float* all, int64_t b, int c, bool backwards)
        : x(all + b * s.time * s.channels + c), time(s.time), channels(s.channels), reverse(backwards) {}
    __device__ int64_t at(int i) const { return int64_t{reverse ? time - 1 - i : i} * channels; }
    __device__ float operator[](int i) const { return i >= 0 && i < time ? x[at(i)] : 0.f; }
};

// y = bias + w * x, or y += w * x; grid: (sequences and their strips, channels / 32)
template <bool add>
__global__ void filter_kernel(ConvShape s, bool reverse, const float* x, const float* w, const float* bias, float* y) {
    const int c = blockIdx.y * 32 + threadIdx.x, strips = (s.time + strip - 1) / strip;
    const int64_t number = int64_t{blockIdx.x} * strands + threadIdx.y, b = number / strips;
    if (b >= s.batch || c >= s.channels) return;
    const int first = static_cast<int>(number % strips) * strip;
    const Sequence from(s, x, b, c, reverse);
    float sum[strip];
    for (int i = 0; i < strip; ++i) sum[i] = add ? 0.f : bias[c];
    for (int k = 0; k < s.width; k += taps) {
        float weight[taps], window[taps];               // window[j] belongs to tap k+j
        const int ahead = k + taps - 1 - (s.width - 1); // of its newest number; taps beyond the filter weigh 0
        for (int j = 0; j < taps; ++j) {
            weight[j] = k + j < s.width ? w[int64_t{c} * s.width + k + j] : 0.f;
            window[j] = from[first + ahead - taps + j];
        }
#pragma unroll
        for (int i = 0; i < strip; ++i) {
            for (int j = 0; j + 1 < taps; ++j) window[j] = window[j + 1];
            window[taps - 1] = from[first + i + ahead];
            for (int j = 0; j < taps; ++j) sum[i] += weight[j] * window[j]; // (1) (dx)
        }
    }
    float* to = y + b * s.time * s.channels + c;
#pragma unroll
    for (int i = 0; i < strip; ++i)
        if (first + i < s.time) {
            float& out = to[from.at(first + i)];
            out = add ? out + sum[i] : sum[i];
        }
}

// Four taps' sums of dy x, and dy's own, over strands of 32 steps; a block adds its strands in order and leaves one
// partial sum. grid: (sequences and their chunks of 256 steps, channels / 32, taps / 4)
constexpr int strand_steps = 32, chunk = strands * strand_steps;
__global__ void sums_kernel(ConvShape s, const float* x, const float* dy, float* partial_dw, float* partial_db) {
    FCI_SHARED(float, shared, (taps + 1) * strands * 32);
    const int lane = threadIdx.x, strand = threadIdx.y, c = blockIdx.y * 32 + lane, k = blockIdx.z * taps;
    const int chunks = (s.time + chunk - 1) / chunk;
    float sum[taps + 1] = {};
    if (c < s.channels) {
        const int64_t b = blockIdx.x / chunks;
        const int first = blockIdx.x % chunks * chunk + strand * strand_steps, ahead = k + taps - 1 - (s.width - 1);
        const Sequence from(s, x, b, c, s.reverse), gradient(s, dy, b, c, s.reverse);
        float window[taps];
        for (int j = 0; j < taps; ++j) window[j] = from[first + ahead - taps + j];
#pragma unroll 8
        for (int i = first; i < first + strand_steps; ++i) {
            const float g = gradient[i]; // 0 behind the end
            for (int j = 0; j + 1 < taps; ++j) window[j] = window[j + 1];
            window[taps - 1] = from[i + ahead];
            for (int j = 0; j < taps; ++j) sum[j] += g * window[j]; // (dw)
            sum[taps] += g;                                         // (db)
        }
    }
    for (int j = 0; j <= taps; ++j) shared[(j * strands + strand) * 32 + lane] = sum[j];
    __syncthreads();
    const int j = strand; // strand j adds up sum j
    if (j > taps || c >= s.channels) return;
    float total = 0;
    for (int i = 0; i < strands; ++i) total += shared[(j * strands + i) * 32 + lane];
    const int64_t at = int64_t{blockIdx.x} * s.channels + c;
    if (j < taps && k + j < s.width) partial_dw[at * s.width + k + j] = total;
    if (j == taps && k == 0) partial_db[at] = total;
}

template <bool add>
void filter(ConvShape s, bool reverse, const float* x, const float* w, const float* bias, float* y) {
    const int64_t strips = int64_t{s.batch} * ((s.time + strip - 1) / strip);
    if (!strips || !s.channels) return;
    FCI_LAUNCH(filter_kernel<add>, dim3(blocks_for(strips, strands), blocks_for(s.channels, 32)), dim3(32, strands), 0,
               s, reverse, x, w, bias, y);
}

} // namespace

void causal_conv1d_forward(ConvShape s, const float* x, const float* w, const float* bias, float* y, float*) {
    filter<false>(s, s.reverse, x, w, bias, y); // (1)
}

void causal_conv1d_backward(ConvShape s, const float* x, const float* w, const float* dy, float* dx, float* dw,
                            float* dbias, float*) {
    filter<true>(s, !s.reverse, dy, w, static_cast<const float*>(nullptr), dx); // (dx)
    const unsigned parts = s.batch * blocks_for(s.time, chunk);
    if (!parts || !s.channels) return;
    const int columns = s.channels * s.width;
    Scratch scratch;
    float *partial_dw = scratch.floats(size_t{parts} * columns),
          *partial_db = scratch.floats(size_t{parts} * s.channels);
    FCI_LAUNCH(sums_kernel, dim3(parts, blocks_for(s.channels, 32), blocks_for(s.width, taps)), dim3(32, strands), 0, s,
               x, dy, partial_dw, partial_db);
    add_partial_sums(static_cast<int>(parts), columns, partial_dw, dw);
    add_partial_sums(static_cast<int>(parts), s.channels, partial_db, dbias);
}

} // namespace fci::cuda
