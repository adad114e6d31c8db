// Pointwise ops on the GPU; the formulas are in core/scalar.h. All are bound by memory. An op that reads one stream
// gives each thread four neighbours, in one load of 16 bytes if the addresses allow it: enough bytes are then in flight
// to reach the memory's bandwidth. With five streams, one element per thread is enough.
#include "ops/pointwise.h"

#include "cuda/common.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 256;
enum class Write { set, add };

template <class F, class... Four>
__device__ float4 for_each_of(F f, Four... x) {
    return make_float4(f(x.x...), f(x.y...), f(x.z...), f(x.w...));
}

template <Write write, class F, class... From>
__global__ void map_kernel(int64_t n, bool aligned, F f, float* to, From... from) {
    const int64_t i = 4 * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
    if (aligned && i + 4 <= n) {
        float4 v = for_each_of(f, *reinterpret_cast<const float4*>(from + i)...);
        float4& y = *reinterpret_cast<float4*>(to + i);
        if (write == Write::add) v = make_float4(y.x + v.x, y.y + v.y, y.z + v.z, y.w + v.w);
        y = v;
    } else {
        for (int64_t j = i; j < i + 4 && j < n; ++j) to[j] = (write == Write::add ? to[j] : 0.f) + f(from[j]...);
    }
}

// to[i] = f(from[i]...), or to[i] += it
template <Write write, class F, class... From>
void map(int64_t n, F f, float* to, From... from) {
    const bool aligned = ((reinterpret_cast<uintptr_t>(to) | ... | reinterpret_cast<uintptr_t>(from)) & 15) == 0;
    if (n > 0)
        FCI_LAUNCH((map_kernel<write, F, From...>), blocks_for(n, 4 * threads), threads, 0, n, aligned, f, to, from...);
}

} // namespace

void gelu_forward(int64_t n, const float* x, float* y) {
    map<Write::set>(
        n, [=] __device__(float x) { return gelu(x); }, y, x);
}
void gelu_backward(int64_t n, const float* x, const float* dy, float* dx) {
    map<Write::add>(
        n, [=] __device__(float x, float dy) { return dy * gelu_derivative(x); }, dx, x, dy); // (dx)
}

void softplus_forward(int64_t n, const float* x, float* y) {
    map<Write::set>(
        n, [=] __device__(float x) { return softplus(x); }, y, x);
}
void softplus_backward(int64_t n, const float* x, const float* dy, float* dx) {
    map<Write::add>(
        n, [=] __device__(float x, float dy) { return dy * sigmoid(x); }, dx, x, dy); // (dx)
}

void negative_exp_forward(int64_t n, const float* x, float* y) {
    map<Write::set>(
        n, [=] __device__(float x) { return -exp(x); }, y, x);
}
void negative_exp_backward(int64_t n, const float* x, const float* dy, float* dx) {
    map<Write::add>(
        n, [=] __device__(float x, float dy) { return dy * -exp(x); }, dx, x, dy); // (dx)
}

void elu_plus_one_forward(int64_t n, const float* x, float* y) {
    map<Write::set>(
        n, [=] __device__(float x) { return elu_plus_one(x); }, y, x);
}
void elu_plus_one_backward(int64_t n, const float* x, const float* dy, float* dx) {
    map<Write::add>(
        n, [=] __device__(float x, float dy) { return dy * elu_plus_one_derivative(x); }, dx, x, dy); // (dx)
}

void gate_forward(int64_t n, const float* x, const float* z, float* y) {
    map<Write::set>(
        n, [=] __device__(float x, float z) { return x * silu(z); }, y, x, z);
}
void gate_backward(int64_t n, const float* x, const float* z, const float* dy, float* dx, float* dz) {
    each(n, [=] __device__(int64_t i) {
        const float s = sigmoid(z[i]), y = z[i] * s; // y = silu(z), silu'(z) = s + y (1 - s)
        dx[i] += dy[i] * y;                          // (dx)
        dz[i] += dy[i] * x[i] * (s + y * (1.f - s)); // (dz)
    });
}

void residual_forward(int64_t n, const float* x, const float* z, float* y) {
    map<Write::set>(
        n, [=] __device__(float x, float z) { return x + z; }, y, x, z);
}
void residual_backward(int64_t n, const float*, const float*, const float* dy, float* dx, float* dz) {
    each(n, [=] __device__(int64_t i) {
        dx[i] += dy[i]; // (dx)
        dz[i] += dy[i]; // (dz); x and z may be one tensor: a thread's own writes are in order
    });
}

} // namespace fci::cuda
