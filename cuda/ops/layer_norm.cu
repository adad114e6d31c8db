// layer_norm and residual_norm on the GPU; the mathematics is in src/ops/layer_norm.h. A warp takes a row. Up to 512
// columns, it reads the row once and keeps it in registers; a wider row it reads again, from the cache. dw and db are
// sums down the columns, computed together in a second pass. Bound by memory.
#include "ops/layer_norm.h"

#include "cuda/parts.cuh"

namespace fci::cuda {
namespace {

constexpr int threads = 128, rows_per_block = threads / 32;

// A lane's columns of a row: lane, lane + 32, ... each: how many it keeps in registers; 0: none.
template <int each>
struct Columns {
    static constexpr int kept = each ? each : 1;
    int lane, d;

    template <class F>
    __device__ __forceinline__ void operator()(F f) const { // f(k, column) for the k-th
        if constexpr (each > 0) {
#pragma unroll
            for (int k = 0; k < each; ++k)
                if (const int c = lane + 32 * k; c < d) f(k, c);
        } else {
            for (int c = lane; c < d; c += 32) f(0, c);
        }
    }
};

// z and h: for residual_norm, else null.
template <int each>
__global__ void forward_kernel(NormShape s, const float* x, const float* z, const float* w, const float* b, float* h,
                               float* y, float* mean, float* rstd) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const Columns<each> columns{lane, s.d};
    const int64_t at = int64_t{r} * s.d;
    const float* row = (z ? h : x) + at; // each lane reads only what it wrote itself
    float kept[Columns<each>::kept], weight[Columns<each>::kept], bias[Columns<each>::kept], sum = 0, squares = 0;
    if (each) columns([&](int k, int c) { weight[k] = w[c], bias[k] = b[c]; });
    columns([&](int k, int c) {
        float v = x[at + c];
        if (z) v += z[at + c]; // (2)
        kept[k] = v;
        if (z) h[at + c] = v;
    });
    const auto value = [&](int k, int c) { return each ? kept[k] : row[c]; };
    columns([&](int k, int c) { sum += value(k, c); });
    const float m = warp_sum(sum) / s.d;
    columns([&](int k, int c) { squares += (value(k, c) - m) * (value(k, c) - m); });
    const float rs = 1.f / sqrtf(warp_sum(squares) / s.d + s.eps);
    columns([&](int k, int c) {
        y[at + c] = (value(k, c) - m) * rs * (each ? weight[k] : w[c]) + (each ? bias[k] : b[c]); // (1)
    });
    if (lane == 0) mean[r] = m, rstd[r] = rs;
}

// dh and dz: for residual_norm, else null.
template <int each>
__global__ void backward_kernel(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                                const float* dh, const float* dy, float* dx, float* dz) {
    const int r = blockIdx.x * rows_per_block + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (r >= s.rows) return;
    const Columns<each> columns{lane, s.d};
    const int64_t at = int64_t{r} * s.d;
    const float m = mean[r], rs = rstd[r];
    struct Value {
        float g, x;
    } kept[Columns<each>::kept];
    const auto read = [&](int c) { return Value{dy[at + c] * w[c], (x[at + c] - m) * rs}; };
    if (each) columns([&](int k, int c) { kept[k] = read(c); });
    const auto value = [&](int k, int c) { return each ? kept[k] : read(c); };
    float sum_g = 0, sum_gx = 0;
    columns([&](int k, int c) {
        const Value v = value(k, c);
        sum_g += v.g;
        sum_gx += v.g * v.x;
    });
    const float mean_g = warp_sum(sum_g) / s.d, mean_gx = warp_sum(sum_gx) / s.d;
    float dx_before[Columns<each>::kept], dz_before[Columns<each>::kept],
        dh_there[Columns<each>::kept]; // read before anything is written
    const auto read_before = [&](int k, int c) {
        dx_before[k] = dx[at + c];
        if (dz) dz_before[k] = dz[at + c], dh_there[k] = dh[at + c];
    };
    if (each) columns(read_before);
    columns([&](int k, int c) {
        if (!each) read_before(k, c);
        const Value v = value(k, c);
        float g = rs * (v.g - mean_g - v.x * mean_gx); // (dx)
        if (dz) {
            g += dh_there[k]; // (dh)
            dz[at + c] = dz_before[k] + g;
        }
        dx[at + c] = (dx == dz ? dz[at + c] : dx_before[k]) + g; // x and z may be one tensor
    });
}

// launch(std::integral_constant<int, each>) for rows of d columns
template <class Launch>
void by_columns(int d, Launch launch) {
    if (d <= 128)
        launch(std::integral_constant<int, 4>{});
    else if (d <= 512)
        launch(std::integral_constant<int, 16>{});
    else
        launch(std::integral_constant<int, 0>{});
}

void norm_forward(NormShape s, const float* x, const float* z, const float* w, const float* b, float* h, float* y,
                  float* mean, float* rstd) {
    if (!s.rows) return;
    by_columns(s.d, [&](auto each) {
        FCI_LAUNCH(forward_kernel<each>, blocks_for(s.rows, rows_per_block), threads, 0, s, x, z, w, b, h, y, mean,
                   rstd);
    });
}

void norm_backward(NormShape s, const float* x, const float* w, const float* mean, const float* rstd, const float* dh,
                   const float* dy, float* dx, float* dz, float* dw, float* db) {
    if (!s.rows) return;
    by_columns(s.d, [&](auto each) {
        FCI_LAUNCH(backward_kernel<each>, blocks_for(s.rows, rows_per_block), threads, 0, s, x, w, mean, rstd, dh, dy,
                   dx, dz);
    });
    add_column_sum({s.rows, s.d, dy, db, x, mean, rstd, dw}); // (dw) (db)
}

} // namespace

void layer_norm_forward(NormShape s, const float* x, const float* w, const float* b, float* y, float* mean,
                        float* rstd) {
    norm_forward(s, x, nullptr, w, b, nullptr, y, mean, rstd);
}

void layer_norm_backward(NormShape s, const float* x, const float* w, const float* mean, const float* rstd,
                         const float* dy, float* dx, float* dw, float* db) {
    norm_backward(s, x, w, mean, rstd, nullptr, dy, dx, nullptr, dw, db);
}

void residual_norm_forward(NormShape s, const float* x, const float* z, const float* w, const float* b, float* h,
                           float* y, float* mean, float* rstd) {
    norm_forward(s, x, z, w, b, h, y, mean, rstd);
}

void residual_norm_backward(NormShape s, const float* h, const float* w, const float* mean, const float* rstd,
                            const float* dh, const float* dy, float* dx, float* dz, float* dw, float* db) {
    norm_backward(s, h, w, mean, rstd, dh, dy, dx, dz, dw, db);
}

} // namespace fci::cuda
