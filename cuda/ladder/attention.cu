// The ladder of attention, to be read from top to bottom. The mathematics is in src/ops/attention.h, the last step in
// cuda/attention.cuh. Heads are 32 wide, and every query sees every key.
#include "cuda/attention.cuh"
#include "cuda/ladder/ladder.cuh"

namespace fci::cuda {
namespace {

constexpr int D = 32, row_threads = 256;

__device__ float dot(const float* x, const float* y) {
    float sum = 0;
    for (int c = 0; c < D; ++c) sum += x[c] * y[c];
    return sum;
}
__device__ void copy(const float* from, float factor, float (&to)[D]) {
    for (int c = 0; c < D; ++c) to[c] = factor * from[c];
}

// Step 1: the equations as they stand, one thread per element. For each head, S and then P, a matrix of queries x keys,
// is written to memory and read again, and so are dP and dS.
void naive_forward(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse, float* S) {
    const int64_t n = s.queries, m = s.keys, heads = int64_t{s.batch} * s.heads, y_stride = s.heads * D;
    each(heads * n * m, [=] __device__(int64_t e) { // (1), base 2
        const Head at(s, e / (n * m));
        S[e] = attention_scale(s) * log2_e * dot(q + at.q + e / m % n * s.q_stride, k + at.k + e % m * s.kv_stride);
    });
    each(heads * n, [=] __device__(int64_t row) { // (2)
        float *P = S + row * m, most = -FLT_MAX, sum = 0;
        for (int j = 0; j < m; ++j) most = max(most, P[j]);
        for (int j = 0; j < m; ++j) sum += exp2(P[j] - most);
        for (int j = 0; j < m; ++j) P[j] = exp2(P[j] - most) / sum;
        LogSum<float>::of(most, log2f(sum)).save(lse, row);
    });
    each(heads * n * D, [=] __device__(int64_t e) { // (3)
        const int64_t row = e / D, i = row % n, c = e % D;
        const Head at(s, row / n);
        float sum = 0;
        for (int j = 0; j < m; ++j) sum += S[row * m + j] * v[at.v + int64_t{j} * s.kv_stride + c];
        y[at.y + i * y_stride + c] = sum;
    });
}

void naive_backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y, const float* lse,
                    const float* dy, float* dq, float* dk, float* dv, float* P, float* dS) {
    const int64_t n = s.queries, m = s.keys, heads = int64_t{s.batch} * s.heads, y_stride = s.heads * D;
    each(heads * n * m, [=] __device__(int64_t e) {
        const int64_t i = e / m % n, j = e % m;
        const Head at(s, e / (n * m));
        const float *q_row = q + at.q + i * s.q_stride, *k_row = k + at.k + j * s.kv_stride;
        const float *y_row = y + at.y + i * y_stride, *dy_row = dy + at.y + i * y_stride;
        P[e] = exp2(LogSum<float>::load(lse, at.lse + i).share(attention_scale(s) * log2_e * dot(q_row, k_row))); // (2)
        dS[e] = P[e] * (dot(dy_row, v + at.v + j * s.kv_stride) - dot(y_row, dy_row));  // (delta) (dS)
    });
    each(heads * n * D, [=] __device__(int64_t e) { // (dq)
        const int64_t row = e / D, i = row % n, c = e % D;
        const Head at(s, row / n);
        float sum = 0;
        for (int j = 0; j < m; ++j) sum += dS[row * m + j] * k[at.k + int64_t{j} * s.kv_stride + c];
        dq[at.q + i * s.q_stride + c] += attention_scale(s) * sum;
    });
    each(heads * m * D, [=] __device__(int64_t e) { // (dk) (dv)
        const int64_t head = e / D / m, j = e / D % m, c = e % D;
        const Head at(s, head);
        float sum_k = 0, sum_v = 0;
        for (int i = 0; i < n; ++i) {
            const int64_t from = (head * n + i) * m + j;
            sum_k += dS[from] * q[at.q + int64_t{i} * s.q_stride + c];
            sum_v += P[from] * dy[at.y + i * y_stride + c];
        }
        dk[at.k + j * s.kv_stride + c] += attention_scale(s) * sum_k;
        dv[at.v + j * s.kv_stride + c] += sum_v;
    });
}

// Rows of a head: a copy in the block's shared memory, or the rows in global memory.
struct Rows {
    const float* first;
    int stride;
    __device__ const float* operator[](int r) const { return first + int64_t{r} * stride; }
};
template <bool on_chip>
__device__ Rows rows_of(const float* from, int rows, int stride, float* shared) {
    if constexpr (!on_chip) return {from, stride};
    load_rows(rows, D, from, stride, 1.f, shared, D, [](int r) { return r; });
    return {shared, D};
}

// Step 2: a thread takes a whole row of P and stores none of it: it carries the highest score so far and the sum, and
// scales down what it has summed when a higher score comes. The backward pass recomputes P from lse, once per query and
// once per key. Memory holds no n x n matrix. All threads of a warp read the same key at the same time.
// Step 3 (on_chip): a block takes a whole head and first copies its keys and values to shared memory, so that they are
// fetched once, not once per warp.
template <bool on_chip>
__global__ void __launch_bounds__(row_threads)
    row_forward_kernel(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    FCI_DYN_SHARED(float, shared);
    const Head at(s, blockIdx.x);
    const Rows K = rows_of<on_chip>(k + at.k, s.keys, s.kv_stride, shared);
    const Rows V = rows_of<on_chip>(v + at.v, s.keys, s.kv_stride, shared + s.keys * D);
    __syncthreads();
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < s.queries; i += gridDim.y * blockDim.x) {
        float q_row[D], o[D] = {}, highest = -FLT_MAX, total = 0;
        copy(q + at.q + int64_t{i} * s.q_stride, attention_scale(s) * log2_e, q_row);
        for (int j = 0; j < s.keys; ++j) {
            const float score = dot(q_row, K[j]), most = max(highest, score); // (1), base 2
            const float shrink = exp2(highest - most), p = exp2(score - most);
            highest = most;
            total = total * shrink + p;
            for (int c = 0; c < D; ++c) o[c] = o[c] * shrink + p * V[j][c]; // (3), to be divided by total
        }
        for (int c = 0; c < D; ++c) y[at.y + int64_t{i} * s.heads * D + c] = o[c] / total;
        LogSum<float>::of(highest, log2f(total)).save(lse, at.lse + i); // (2)
    }
}

template <bool on_chip>
__global__ void __launch_bounds__(row_threads)
    row_dq_kernel(AttentionShape s, const float* q, const float* k, const float* v, const float* y, const float* lse,
                  const float* dy, float* dq, float* delta) {
    FCI_DYN_SHARED(float, shared);
    const Head at(s, blockIdx.x);
    const Rows K = rows_of<on_chip>(k + at.k, s.keys, s.kv_stride, shared);
    const Rows V = rows_of<on_chip>(v + at.v, s.keys, s.kv_stride, shared + s.keys * D);
    __syncthreads();
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < s.queries; i += gridDim.y * blockDim.x) {
        const int64_t row = at.y + int64_t{i} * s.heads * D;
        float q_row[D], dy_row[D], sum[D] = {};
        copy(q + at.q + int64_t{i} * s.q_stride, attention_scale(s) * log2_e, q_row);
        copy(dy + row, 1.f, dy_row);
        const float dl = dot(dy_row, y + row); // (delta)
        const auto l = LogSum<float>::load(lse, at.lse + i);
        delta[at.lse + i] = dl;
        for (int j = 0; j < s.keys; ++j) {
            const float ds = exp2(l.share(dot(q_row, K[j]))) * (dot(dy_row, V[j]) - dl); // (2) (dS)
            for (int c = 0; c < D; ++c) sum[c] += ds * K[j][c];
        }
        for (int c = 0; c < D; ++c) dq[at.q + int64_t{i} * s.q_stride + c] += attention_scale(s) * sum[c]; // (dq)
    }
}

template <bool on_chip>
__global__ void __launch_bounds__(row_threads)
    row_dkv_kernel(AttentionShape s, const float* q, const float* k, const float* v, const float* lse,
                   const float* delta, const float* dy, float* dk, float* dv) {
    FCI_DYN_SHARED(float, shared);
    const Head at(s, blockIdx.x);
    const Rows Q = rows_of<on_chip>(q + at.q, s.queries, s.q_stride, shared);
    const Rows dY = rows_of<on_chip>(dy + at.y, s.queries, s.heads * D, shared + s.queries * D);
    __syncthreads();
    for (int j = blockIdx.y * blockDim.x + threadIdx.x; j < s.keys; j += gridDim.y * blockDim.x) {
        float k_row[D], v_row[D], sum_k[D] = {}, sum_v[D] = {};
        copy(k + at.k + int64_t{j} * s.kv_stride, attention_scale(s) * log2_e, k_row);
        copy(v + at.v + int64_t{j} * s.kv_stride, 1.f, v_row);
        for (int i = 0; i < s.queries; ++i) {
            const float p = exp2(LogSum<float>::load(lse, at.lse + i).share(dot(k_row, Q[i]))); // (2)
            const float ds = p * (dot(v_row, dY[i]) - delta[at.lse + i]); // (dS)
            for (int c = 0; c < D; ++c) sum_k[c] += ds * Q[i][c], sum_v[c] += p * dY[i][c];
        }
        for (int c = 0; c < D; ++c) {
            dk[at.k + int64_t{j} * s.kv_stride + c] += attention_scale(s) * sum_k[c]; // (dk)
            dv[at.v + int64_t{j} * s.kv_stride + c] += sum_v[c];                      // (dv)
        }
    }
}

template <bool on_chip>
dim3 row_grid(const AttentionShape& s) {
    return {static_cast<unsigned>(s.batch * s.heads), on_chip ? 1 : blocks_for(s.queries, row_threads)};
}
size_t head_bytes(const AttentionShape& s) { return size_t{2} * s.keys * D * sizeof(float); }

template <bool on_chip>
void row_forward(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    FCI_LAUNCH(row_forward_kernel<on_chip>, row_grid<on_chip>(s), row_threads, on_chip ? head_bytes(s) : 0, s, q, k, v,
               y, lse);
}
template <bool on_chip>
void row_backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y, const float* lse,
                  const float* dy, float* dq, float* dk, float* dv, float* delta) {
    const size_t bytes = on_chip ? head_bytes(s) : 0;
    FCI_LAUNCH(row_dq_kernel<on_chip>, row_grid<on_chip>(s), row_threads, bytes, s, q, k, v, y, lse, dy, dq, delta);
    FCI_LAUNCH(row_dkv_kernel<on_chip>, row_grid<on_chip>(s), row_threads, bytes, s, q, k, v, lse, delta, dy, dk, dv);
}

// Step 4, tiles, is the shipped forward pass, and the shipped backward pass of wide heads: cuda/attention.cuh.
// Backward, its buffers and registers leave room for 12 warps per SM, which wait most of the time.
// Step 5 is the shipped backward pass of heads of up to 32 columns: cuda/narrow_attention.cuh.

// The last step is the shipped one with --precision fp16x3, on tensor cores: cuda/mma_attention.cuh. Its share of the
// limit may be above 100%, since it is the limit of multiply-adds.

constexpr const char* naive_adds = "the equations, one thread per number; n x n matrices in memory";
constexpr const char* rows_adds = "one thread per row: scores in registers, recomputed in the backward pass";
constexpr const char* on_chip_adds = "the other side in shared memory, fetched once per head";
constexpr const char* tiles_adds = "32 x 32 products by a warp: a number read feeds 10 multiply-adds, not 1";
constexpr const char* tensor_cores_adds = "tensor cores, each number as two halves, three products: fp32's accuracy";
constexpr const char* halves_adds = "two lanes per row, its halves in registers: room for 16 or more warps";

AttentionShape shape(bool tiny) {
    const int batch = tiny ? 1 : 32, time = tiny ? 37 : 512, heads = tiny ? 2 : 4, stride = 3 * heads * D;
    return {batch, time, time, heads, D, stride, stride, false};
}
double product_flops(const AttentionShape& s) { return 2. * s.batch * s.heads * s.queries * s.keys * s.d_head; }

} // namespace

void add_attention_forward(std::deque<Ladder>& ladders, bool tiny) {
    const AttentionShape s = shape(tiny);
    const int d = s.heads * D;
    Ladder& ladder = ladders.emplace_back("attention, forward", 2 * product_flops(s));
    const std::vector<float> x = ladder.random(size_t(s.batch) * s.queries * s.q_stride);
    std::vector<float> expected_y(x.size() / 3), expected_lse(s.lse_size());
    cpu::attention_forward(s, x.data(), x.data() + d, x.data() + 2 * d, expected_y.data(), expected_lse.data());
    const float *q = ladder.input(x), *k = q + d, *v = k + d;
    float *y = ladder.result("y", expected_y, s.keys), *lse = ladder.result("lse", expected_lse, s.keys);
    float* S = ladder.scratch(s.rows_of_heads() * s.keys);
    ladder.step("naive", naive_adds, [=] { naive_forward(s, q, k, v, y, lse, S); });
    ladder.step("rows", rows_adds, [=] { row_forward<false>(s, q, k, v, y, lse); });
    if (head_bytes(s) <= static_cast<size_t>(shared_limit()))
        ladder.step("on chip", on_chip_adds, [=] { row_forward<true>(s, q, k, v, y, lse); });
    ladder.step("tiles (shipped)", tiles_adds, [=] { attention_forward(s, q, k, v, y, lse); });
    ladder.step("fp16x3 (shipped)", tensor_cores_adds,
                [=] { in_precision(Precision::fp16x3, [=] { attention_forward(s, q, k, v, y, lse); }); });
}

void add_attention_backward(std::deque<Ladder>& ladders, bool tiny) {
    const AttentionShape s = shape(tiny);
    const int d = s.heads * D;
    Ladder& ladder = ladders.emplace_back("attention, backward", 5 * product_flops(s));
    const std::vector<float> x = ladder.random(size_t(s.batch) * s.queries * s.q_stride),
                             g = ladder.random(x.size() / 3);
    std::vector<float> host_y(g.size()), host_lse(s.lse_size()), expected(x.size());
    cpu::attention_forward(s, x.data(), x.data() + d, x.data() + 2 * d, host_y.data(), host_lse.data());
    cpu::attention_backward(s, x.data(), x.data() + d, x.data() + 2 * d, host_y.data(), host_lse.data(), g.data(),
                            expected.data(), expected.data() + d, expected.data() + 2 * d);
    const float *q = ladder.input(x), *k = q + d, *v = k + d, *y = ladder.input(host_y), *lse = ladder.input(host_lse),
                *dy = ladder.input(g);
    float *dq = ladder.result("dqkv", expected, s.keys, true), *dk = dq + d, *dv = dk + d;
    float *P = ladder.scratch(s.rows_of_heads() * s.keys), *dS = ladder.scratch(s.rows_of_heads() * s.keys),
          *delta = ladder.scratch(s.rows_of_heads());
    ladder.step("naive", naive_adds, [=] { naive_backward(s, q, k, v, y, lse, dy, dq, dk, dv, P, dS); });
    ladder.step("rows", rows_adds, [=] { row_backward<false>(s, q, k, v, y, lse, dy, dq, dk, dv, delta); });
    if (head_bytes(s) <= static_cast<size_t>(shared_limit()))
        ladder.step("on chip", on_chip_adds, [=] { row_backward<true>(s, q, k, v, y, lse, dy, dq, dk, dv, delta); });
    ladder.step("tiles", tiles_adds, [=] { tiles_backward(s, q, k, v, y, lse, dy, dq, dk, dv, delta); });
    const auto shipped = [=] { attention_backward(s, q, k, v, y, lse, dy, dq, dk, dv); };
    ladder.step("halves (shipped)", halves_adds, shipped);
    ladder.step("fp16x3 (shipped)", tensor_cores_adds, [=] { in_precision(Precision::fp16x3, shipped); });
}

} // namespace fci::cuda
