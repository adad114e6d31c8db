// attention's kernels for narrow heads, up to 32 columns wide, where everyone sees all others or (causal) those up to
// itself; the mathematics is in src/ops/attention.h. Two lanes own a row, half of its columns each: their parts of q
// and o, or of k, v, dk and dv, are in registers for the whole kernel, and the two halves of a product meet in one
// shuffle. The others' rows come through shared memory, `chunk` at a time. All lanes of a half read the same numbers,
// so that a read feeds a whole warp: 8 reads of four numbers for 32 (forward) to 64 (dk and dv) multiply-adds a lane.
// There is no barrier but for the chunks, and no score in memory. Few registers (a row's half is 16 of them) leave room
// for so many warps that they hide what each waits for. Bound by instructions: per score and half row about 50 forward,
// 70 for dq and 90 for dk and dv.
//
// Sums over others are finished by their owner, in the order of the others: no atomics, the same bits on every run. S
// and dP are made twice in the backward pass, once for owners of queries and once for owners of keys. Wider heads and
// other rules: cuda/attention.cuh, whose Head, scale and load_four are used here.
#pragma once
#include "cuda/attention.cuh"

namespace fci::cuda::narrow {

constexpr int width = 32, lanes = 2, part = width / lanes; // columns; lanes of a row; columns of a lane
constexpr int warp_rows = 32 / lanes, warps = 4, chunk = 64, together = 4;
constexpr int chunk_fours = chunk * width / 4;

inline bool fits(const AttentionShape& s) { return s.d_head <= width && s.value_width() <= width; }

// What a lane works on. Blocks of a head are numbered so that of causal ones those with most to do begin first.
struct Owner {
    int64_t head;
    int first, mine, row, column; // rows: the block's first, this warp's first, this lane's; the lane's first column
    __device__ Owner(int blocks, bool last_first) : head(blockIdx.x / blocks) {
        const int block = static_cast<int>(blockIdx.x % blocks), thread = static_cast<int>(threadIdx.x);
        first = (last_first ? blocks - 1 - block : block) * rows();
        mine = first + thread / 32 * warp_rows;
        row = first + thread / lanes;
        column = thread % lanes * part;
    }
    __device__ static int rows() { return static_cast<int>(blockDim.x) / lanes; }
};

using Part = float[part];

// The lane's columns of its own row; zeros where there is no row or column.
__device__ __forceinline__ void read_own(const float* rows, int64_t stride, const Owner& own, int count, int d,
                                         float factor, Part& x) {
    for (int c = 0; c < part; ++c) {
        const int at = own.column + c;
        x[c] = own.row < count && at < d ? factor * rows[own.row * stride + at] : 0.f;
    }
}

// f(number at c of the owner's row, the lane's c) for the columns that there are.
template <class F>
__device__ __forceinline__ void write_own(float* rows, int64_t stride, const Owner& own, int count, int d, F f) {
    if (own.row >= count) return;
    for (int c = 0; c < part; ++c)
        if (own.column + c < d) f(rows[own.row * stride + own.column + c], c);
}

// Others from `from` on, of `count`, a chunk of them, into shared memory: `width` apart, zeros where there are none, a
// warp a row. Without a branch, so that a lane has four reads under way.
__device__ __forceinline__ void load_others(int from, int count, const float* rows, int64_t stride, int d, float factor,
                                            float* to) {
    const int lane = static_cast<int>(threadIdx.x) % 32, step = static_cast<int>(blockDim.x) / 32;
    const float* column = rows + min(lane, d - 1);
#pragma unroll 4
    for (int r = static_cast<int>(threadIdx.x) / 32; r < chunk; r += step) {
        const float x = column[min(from + r, count - 1) * stride];
        to[r * width + lane] = from + r < count && lane < d ? factor * x : 0.f;
    }
}

__device__ __forceinline__ void read(const float* row, Part& x) {
#pragma unroll
    for (int c = 0; c < part; c += 4) {
        const float4 four = load_four(row + c);
        x[c] = four.x, x[c + 1] = four.y, x[c + 2] = four.z, x[c + 3] = four.w;
    }
}

// Of whole rows, in both lanes: a + b and b + a have the same bits.
__device__ __forceinline__ float dot(const Part& x, const Part& y) {
    float even = 0, odd = 0;
#pragma unroll
    for (int c = 0; c < part; c += 2) even += x[c] * y[c], odd += x[c + 1] * y[c + 1];
    const float half = even + odd;
    return half + __shfl_xor_sync(all_lanes, half, 1);
}
__device__ __forceinline__ void add(Part& sum, float factor, const Part& x) {
#pragma unroll
    for (int c = 0; c < part; ++c) sum[c] += factor * x[c];
}

// Owners are queries. Keys come in groups of four: the running maximum moves, and o shrinks, once a group [Milakov &
// Gimelshein 2018; Dao et al. 2022].
__global__ void __launch_bounds__(warps * 32)
    forward_kernel(AttentionShape s, int blocks, const float* q, const float* k, const float* v, float* y, float* lse) {
    FCI_SHARED(float4, K_fours, chunk_fours);
    FCI_SHARED(float4, V_fours, chunk_fours);
    float *K = reinterpret_cast<float*>(K_fours), *V = reinterpret_cast<float*>(V_fours);
    const Owner own(blocks, true);
    const Head at(s, own.head);
    const int value = s.value_width(), seen = s.causal ? own.row + 1 : s.keys; // keys from `seen` on are not
    const int end = s.causal ? min(own.mine + warp_rows, s.keys) : s.keys;
    const int block_end = s.causal ? min(own.first + Owner::rows(), s.keys) : s.keys;
    Part q_own, o = {};
    read_own(q + at.q, s.q_stride, own, s.queries, s.d_head, attention_scale(s) * log2_e, q_own);
    float highest = -FLT_MAX, total = 0;
    for (int from = 0; from < block_end; from += chunk) {
        __syncthreads(); // all warps are done with the last chunk
        load_others(from, s.keys, k + at.k, s.kv_stride, s.d_head, 1.f, K);
        load_others(from, s.keys, v + at.v, s.value_stride(), value, 1.f, V);
        __syncthreads();
        for (int j = from; j < min(from + chunk, end); j += together) {
            const float *k_rows = K + (j - from) * width + own.column, *v_rows = V + (j - from) * width + own.column;
            float score[together], most = highest;
#pragma unroll
            for (int m = 0; m < together; ++m) {
                Part k_row;
                read(k_rows + m * width, k_row);
                score[m] = dot(q_own, k_row); // (1), base 2
                if (j + m >= min(seen, s.keys)) score[m] = -INFINITY;
                most = max(most, score[m]);
            }
            const float shrink = exp2(highest - most);
            highest = most;
            total *= shrink;
#pragma unroll
            for (int c = 0; c < part; ++c) o[c] *= shrink;
#pragma unroll
            for (int m = 0; m < together; ++m) {
                Part v_row;
                read(v_rows + m * width, v_row);
                const float p = exp2(score[m] - most);
                total += p;
                add(o, p, v_row); // (3), to be divided by total
            }
        }
    }
    if (own.row < s.queries && own.column == 0) lse[at.lse + own.row] = highest + log2f(total); // (2)
    const float factor = 1.f / total;
    write_own(y + at.y, s.heads * value, own, s.queries, value, [&](float& to, int c) { to = factor * o[c]; });
}

// The same owners; P again from lse.
__global__ void __launch_bounds__(warps * 32, 5)
    dq_kernel(AttentionShape s, int blocks, const float* q, const float* k, const float* v, const float* y,
              const float* lse, const float* dy, float* dq, float* delta) {
    FCI_SHARED(float4, K_fours, chunk_fours);
    FCI_SHARED(float4, V_fours, chunk_fours);
    float *K = reinterpret_cast<float*>(K_fours), *V = reinterpret_cast<float*>(V_fours);
    const Owner own(blocks, true);
    const Head at(s, own.head);
    const int value = s.value_width(), y_stride = s.heads * value, seen = s.causal ? own.row + 1 : s.keys;
    const int end = s.causal ? min(own.mine + warp_rows, s.keys) : s.keys;
    const int block_end = s.causal ? min(own.first + Owner::rows(), s.keys) : s.keys;
    const bool inside = own.row < s.queries;
    Part q_own, dy_own, sum = {};
    read_own(y + at.y, y_stride, own, s.queries, value, 1.f, q_own); // y, for delta alone
    read_own(dy + at.y, y_stride, own, s.queries, value, 1.f, dy_own);
    const float dl = dot(q_own, dy_own), l = inside ? lse[at.lse + own.row] : INFINITY; // (delta)
    if (inside && own.column == 0) delta[at.lse + own.row] = dl;
    read_own(q + at.q, s.q_stride, own, s.queries, s.d_head, attention_scale(s) * log2_e, q_own);
    for (int from = 0; from < block_end; from += chunk) {
        __syncthreads();
        load_others(from, s.keys, k + at.k, s.kv_stride, s.d_head, 1.f, K);
        load_others(from, s.keys, v + at.v, s.value_stride(), value, 1.f, V);
        __syncthreads();
#pragma unroll 1
        for (int j = from; j < min(from + chunk, end); ++j) {
            Part k_row, v_row;
            read(K + (j - from) * width + own.column, k_row);
            read(V + (j - from) * width + own.column, v_row);
            const float p = exp2(dot(q_own, k_row) - l), dp = dot(dy_own, v_row); // (2)
            const float ds = j < seen ? p * (dp - dl) : 0.f;                      // (dS)
            add(sum, ds, k_row);                                                  // (dq), without scale
        }
    }
    write_own(dq + at.q, s.q_stride, own, s.queries, s.d_head,
              [&](float& to, int c) { to += attention_scale(s) * sum[c]; });
}

// Owners are keys, others queries.
__global__ void __launch_bounds__(warps * 32, 4)
    dkv_kernel(AttentionShape s, int blocks, const float* q, const float* k, const float* v, const float* lse,
               const float* delta, const float* dy, float* dk, float* dv) {
    FCI_SHARED(float4, Q_fours, chunk_fours);
    FCI_SHARED(float4, dY_fours, chunk_fours);
    FCI_SHARED(float2, lse_delta, chunk);
    float *Q = reinterpret_cast<float*>(Q_fours), *dY = reinterpret_cast<float*>(dY_fours);
    const Owner own(blocks, false);
    const Head at(s, own.head);
    const int value = s.value_width(), y_stride = s.heads * value;
    const int begin = s.causal ? own.mine : 0, block_begin = s.causal ? own.first : 0;
    Part k_own, v_own, sum_k = {}, sum_v = {};
    read_own(k + at.k, s.kv_stride, own, s.keys, s.d_head, 1.f, k_own);
    read_own(v + at.v, s.value_stride(), own, s.keys, value, 1.f, v_own);
    for (int from = block_begin; from < s.queries; from += chunk) {
        __syncthreads();
        load_others(from, s.queries, q + at.q, s.q_stride, s.d_head, attention_scale(s) * log2_e, Q);
        load_others(from, s.queries, dy + at.y, y_stride, value, 1.f, dY);
        for (int r = static_cast<int>(threadIdx.x); r < chunk; r += static_cast<int>(blockDim.x)) {
            const bool is_there = from + r < s.queries;
            lse_delta[r] =
                make_float2(is_there ? lse[at.lse + from + r] : INFINITY, is_there ? delta[at.lse + from + r] : 0.f);
        }
        __syncthreads();
#pragma unroll 1
        for (int i = max(from, begin); i < min(from + chunk, s.queries); ++i) {
            Part q_row, dy_row;
            read(Q + (i - from) * width + own.column, q_row);
            read(dY + (i - from) * width + own.column, dy_row);
            const float2 of = lse_delta[i - from];
            const float dp = dot(v_own, dy_row);
            float p = exp2(dot(k_own, q_row) - of.x); // (2)
            if (s.causal && i < own.row) p = 0;
            const float ds = p * (dp - of.y); // (dS)
            add(sum_v, p, dy_row);            // (dv)
            add(sum_k, ds, q_row);            // (dk), times log2(e)
        }
    }
    write_own(dk + at.k, s.kv_stride, own, s.keys, s.d_head,
              [&](float& to, int c) { to += sum_k[c] * (1.f / log2_e); });
    write_own(dv + at.v, s.value_stride(), own, s.keys, value, [&](float& to, int c) { to += sum_v[c]; });
}

// How `owners` rows are cut into blocks: none with more warps than it has rows for.
struct Plan {
    int threads, blocks; // of a head
    unsigned grid;
    Plan(const AttentionShape& s, int owners) {
        threads = 32 * min(warps, (owners + warp_rows - 1) / warp_rows);
        blocks = static_cast<int>(blocks_for(owners, threads / lanes));
        grid = static_cast<unsigned>(int64_t{s.batch} * s.heads * blocks);
    }
};

inline void forward(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    const Plan p(s, s.queries);
    FCI_LAUNCH(forward_kernel, p.grid, p.threads, 0, s, p.blocks, q, k, v, y, lse);
}

inline void backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y, const float* lse,
                     const float* dy, float* dq, float* dk, float* dv, float* delta) {
    const Plan of_queries(s, s.queries), of_keys(s, s.keys);
    FCI_LAUNCH(dq_kernel, of_queries.grid, of_queries.threads, 0, s, of_queries.blocks, q, k, v, y, lse, dy, dq, delta);
    FCI_LAUNCH(dkv_kernel, of_keys.grid, of_keys.threads, 0, s, of_keys.blocks, q, k, v, lse, delta, dy, dk, dv);
}

} // namespace fci::cuda::narrow
