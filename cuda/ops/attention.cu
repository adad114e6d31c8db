// attention on the GPU; the mathematics is in src/ops/attention.h. A warp owns 32 query rows of a head and takes the
// keys 32 at a time (cuda/attention.cuh). The backward pass does this once with queries and once with keys as owners;
// for heads of up to 32 columns, two lanes own a row instead (cuda/narrow_attention.cuh). If a sequence has only a few
// query rows (the Council: one row and 8 keys), a block takes a row (backward: a head), its warps share the keys, and
// its lanes are columns; reading k and v bounds that. So it is, at many times the time, if heads are too wide for tiles
// in shared memory: on an H100 beyond 440 columns.
#include "cuda/attention.cuh"
#include "cuda/mma_attention.cuh"
#include "cuda/narrow_attention.cuh"

namespace fci::cuda {
namespace {

// Few queries, or wide heads
constexpr int few_queries = 4, few_warps = 8, few_keys = 4096;
bool by_row(const AttentionShape& s) { return s.keys <= few_keys && (s.queries <= few_queries || !tiles_fit(s)); }
bool on_tensor_cores(const AttentionShape& s) { return precision() != Precision::fp32 && mma_attention::fits(s); }
int warps_for(const AttentionShape& s) { return min(few_warps, max(1, s.keys / 8)); } // twice four keys per warp

// sum_c x[c] y[c] in every lane of a warp
__device__ __forceinline__ float dot(int n, const float* x, const float* y) {
    float sum = 0;
    for (int c = threadIdx.x % 32; c < n; c += 32) sum += x[c] * y[c];
    return warp_sum(sum);
}
// The same for up to four rows y, so that a warp has four reads in flight: memory latency is the bound.
constexpr int at_once = 4;
__device__ __forceinline__ void dots(int n, const float* x, const float* rows, int stride, int count,
                                     float (&sum)[at_once]) {
    for (float& s : sum) s = 0;
    for (int c = threadIdx.x % 32; c < n; c += 32)
        for (int u = 0; u < at_once; ++u)
            if (u < count) sum[u] += x[c] * rows[int64_t{u} * stride + c];
    for (float& s : sum) s = warp_sum(s);
}
// rows[u] += factor weight[u] x
__device__ __forceinline__ void add_to_rows(int n, float factor, const float (&weight)[at_once], const float* x,
                                            int count, float* rows, int stride) {
    for (int c = threadIdx.x % 32; c < n; c += 32) {
        float old[at_once];
        for (int u = 0; u < at_once; ++u)
            if (u < count) old[u] = rows[int64_t{u} * stride + c];
        for (int u = 0; u < at_once; ++u)
            if (u < count) rows[int64_t{u} * stride + c] = old[u] + factor * weight[u] * x[c];
    }
}

// f(c, sum_j weight[j] row[j][c]) for c < columns: warps share the keys, and their sums are added in order; all threads
// take part.
template <class F>
__device__ __forceinline__ void weighted_rows(int keys, const float* weight, const float* rows, int stride, int columns,
                                              float* partial, F f) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int c = lane; c - lane < columns; c += 32) {
        float sum = 0;
        if (c < columns)
            for (int j = warp; j < keys; j += warps) sum += weight[j] * rows[int64_t{j} * stride + c];
        partial[threadIdx.x] = sum;
        __syncthreads();
        if (warp == 0 && c < columns) {
            for (int other = 1; other < warps; ++other) sum += partial[other * 32 + lane];
            f(c, sum);
        }
        __syncthreads();
    }
}

__global__ void few_forward_kernel(AttentionShape s, const float* q, const float* k, const float* v, float* y,
                                   float* lse) {
    FCI_DYN_SHARED(float, P); // (keys)
    FCI_SHARED(float, partial, few_warps * 32);
    const int i = blockIdx.x % s.queries, width = s.value_width(), warps = blockDim.x / 32;
    const int keys = s.causal ? i + 1 : s.keys, lane = threadIdx.x % 32;
    const Head at(s, blockIdx.x / s.queries);
    const float* q_row = q + at.q + int64_t{i} * s.q_stride;
    const float factor = attention_scale(s) * log2_e;
    for (int j = threadIdx.x / 32 * at_once; j < keys; j += warps * at_once) {
        float score[at_once];
        dots(s.d_head, q_row, k + at.k + int64_t{j} * s.kv_stride, s.kv_stride, keys - j, score); // (1), base 2
        for (int u = 0; u < at_once; ++u)
            if (lane == 0 && j + u < keys) P[j + u] = factor * score[u];
    }
    __syncthreads();
    float most = -FLT_MAX, sum = 0;
    for (int j = threadIdx.x; j < keys; j += blockDim.x) most = max(most, P[j]);
    most = block_max(most, partial);
    for (int j = threadIdx.x; j < keys; j += blockDim.x) {
        P[j] = exp2(P[j] - most);
        sum += P[j];
    }
    const float total = block_sum(sum, partial);
    if (threadIdx.x == 0) LogSum<float>::of(most, log2f(total)).save(lse, at.lse + i); // (2)
    __syncthreads();
    float* y_row = y + at.y + int64_t{i} * s.heads * width;
    weighted_rows(keys, P, v + at.v, s.value_stride(), width, partial,
                  [&](int c, float weighted) { y_row[c] = weighted / total; }); // (3)
}

// A block takes a whole head, row after row, so that each row of dk and dv has one owner.
__global__ void __launch_bounds__(few_warps * 32, 3)
    few_backward_kernel(AttentionShape s, const float* q, const float* k, const float* v, const float* y,
                        const float* lse, const float* dy, float* dq, float* dk, float* dv) {
    FCI_DYN_SHARED(float, dS); // (keys)
    FCI_SHARED(float, partial, few_warps * 32);
    const Head at(s, blockIdx.x);
    const int width = s.value_width(), warps = blockDim.x / 32, lane = threadIdx.x % 32;
    const float scale = attention_scale(s);
    for (int i = 0; i < s.queries; ++i) {
        const int keys = s.causal ? i + 1 : s.keys;
        const float* q_row = q + at.q + int64_t{i} * s.q_stride;
        const int64_t row = at.y + int64_t{i} * s.heads * width;
        const float delta = dot(width, y + row, dy + row); // (delta)
        const auto l = LogSum<float>::load(lse, at.lse + i);
        for (int j = threadIdx.x / 32 * at_once; j < keys; j += warps * at_once) {
            const int64_t to_k = at.k + int64_t{j} * s.kv_stride, to_v = at.v + int64_t{j} * s.value_stride();
            float p[at_once], ds[at_once];
            dots(s.d_head, q_row, k + to_k, s.kv_stride, keys - j, p);       // (1)
            dots(width, dy + row, v + to_v, s.value_stride(), keys - j, ds); // dP
            for (int u = 0; u < at_once; ++u) {
                p[u] = exp2(l.share(scale * log2_e * p[u])); // (2)
                ds[u] = p[u] * (ds[u] - delta);              // (dS)
                if (lane == 0 && j + u < keys) dS[j + u] = ds[u];
            }
            add_to_rows(s.d_head, scale, ds, q_row, keys - j, dk + to_k, s.kv_stride);   // (dk)
            add_to_rows(width, 1.f, p, dy + row, keys - j, dv + to_v, s.value_stride()); // (dv)
        }
        __syncthreads();
        float* dq_row = dq + at.q + int64_t{i} * s.q_stride;
        weighted_rows(keys, dS, k + at.k, s.kv_stride, s.d_head, partial,
                      [&](int c, float weighted) { dq_row[c] += scale * weighted; }); // (dq)
    }
}

} // namespace

void attention_forward(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    const unsigned heads = static_cast<unsigned>(s.batch) * s.heads;
    if (heads == 0 || s.queries == 0) return;
    if (by_row(s))
        FCI_LAUNCH(few_forward_kernel, heads * s.queries, warps_for(s) * 32, s.keys * sizeof(float), s, q, k, v, y,
                   lse);
    else
        (on_tensor_cores(s) ? mma_attention::forward : tiles_forward)(s, q, k, v, y, lse);
}

void attention_backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y,
                        const float* lse, const float* dy, float* dq, float* dk, float* dv) {
    const unsigned heads = static_cast<unsigned>(s.batch) * s.heads;
    if (heads == 0 || s.queries == 0 || s.keys == 0) return;
    if (by_row(s)) {
        FCI_LAUNCH(few_backward_kernel, heads, warps_for(s) * 32, s.keys * sizeof(float), s, q, k, v, y, lse, dy, dq,
                   dk, dv);
        return;
    }
    Scratch scratch;
    float* delta = scratch.floats(s.rows_of_heads());
    const auto backward = on_tensor_cores(s) ? mma_attention::backward
                          : narrow::fits(s)  ? narrow::backward
                                             : tiles_backward;
    backward(s, q, k, v, y, lse, dy, dq, dk, dv, delta);
}

} // namespace fci::cuda
