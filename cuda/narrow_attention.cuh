// attention's backward pass for narrow heads, up to 32 columns wide, where every row sees all others or (causal) those
// up to itself; the mathematics is in src/ops/attention.h. Two lanes own a row, half of its columns each. Their parts
// of q, dy and dq, or of k, v, dk and dv, stay in registers for the whole kernel; one shuffle adds the two halves of a
// product. The others' rows pass through shared memory, `chunk` at a time. Barriers are needed only between chunks, and
// no scores are stored in shared memory; the tiles of cuda/attention.cuh store theirs there, and so have room for fewer
// warps.
//
// Bound by reading shared memory, which delivers 32 floats a clock per SM, also when all lanes read the same one. dq
// reads 32 floats for 48 multiply-adds of a lane; dk and dv read 36 for 64. (The forward pass would read 32 for 32,
// which was measured to be slower than tiles.) Instructions per score and half row: 80 and 95. Two rows per pair of
// lanes would halve the reading but need 168 registers: 12 warps per SM instead of 16 and 20. That was measured to take
// a quarter longer.
//
// The owner of a row finishes its sums over the others, in the order of the others: no atomics, the same bits on every
// run. If owners are few and others many, all warps of a block share the owners, as in cuda/attention.cuh. S and dP are
// computed twice: once with queries as owners and once with keys. Head, attention_scale and few_owners come from
// cuda/owners.cuh, which serves wider heads and other rules.
#pragma once
#include "cuda/owners.cuh"

namespace fci::cuda::narrow {

constexpr int width = 32, lanes = 2, part = width / lanes; // columns; lanes per row; columns per lane
constexpr int warp_rows = 32 / lanes, warps = 4, sharing_warps = 16, chunk = 64;
constexpr int chunk_fours = chunk * width / 4;

inline bool fits(const AttentionShape& s) { return s.d_head <= width && s.value_width() <= width; }

// How `owners` rows are cut into blocks. No block has more warps than it has rows for or, when warps share owners,
// others.
struct Plan {
    bool sharing;
    int threads, rows, blocks; // per block; per block; per head
    Plan(const AttentionShape& s, int owners, int others) {
        sharing = !s.causal && few_owners(owners, others);
        const int most =
            sharing ? min(sharing_warps, (others + 3) / 4) : min(warps, (owners + warp_rows - 1) / warp_rows);
        threads = 32 * most, rows = sharing ? warp_rows : most * warp_rows;
        blocks = static_cast<int>(blocks_for(owners, rows));
    }
    unsigned grid(const AttentionShape& s) const { return static_cast<unsigned>(int64_t{s.batch} * s.heads * blocks); }
};

// What a lane works on. Blocks of a causal head are numbered so that those with most work begin first.
struct Owner {
    int64_t head;
    int turn, turns;              // of every `turns` others the warp takes number `turn`
    int first, mine, row, column; // rows: the block's first, this warp's first, this lane's; the lane's first column
    __device__ Owner(const Plan& plan, bool last_first) : head(blockIdx.x / plan.blocks) {
        const int block = static_cast<int>(blockIdx.x % plan.blocks), warp = static_cast<int>(threadIdx.x) / 32;
        turn = plan.sharing ? warp : 0, turns = plan.sharing ? static_cast<int>(blockDim.x) / 32 : 1;
        first = (last_first ? plan.blocks - 1 - block : block) * plan.rows;
        mine = plan.sharing ? first : first + warp * warp_rows;
        row = mine + static_cast<int>(threadIdx.x) % 32 / lanes;
        column = static_cast<int>(threadIdx.x) % lanes * part;
    }
};

using Part = float[part];

// Reads the lane's columns of its row; zeros outside the rows and columns.
__device__ __forceinline__ void read_own(const float* rows, int64_t stride, const Owner& own, int count, int d,
                                         float factor, Part& x) {
    for (int c = 0; c < part; ++c) {
        const int at = own.column + c;
        x[c] = own.row < count && at < d ? factor * rows[own.row * stride + at] : 0.f;
    }
}

// f(element c of the owner's row, the lane's c) for the columns that exist.
template <class F>
__device__ __forceinline__ void write_own(float* rows, int64_t stride, const Owner& own, int count, int d, F f) {
    if (own.row >= count || own.turn != 0) return;
    for (int c = 0; c < part; ++c)
        if (own.column + c < d) f(rows[own.row * stride + own.column + c], c);
}

// Loads up to a chunk of the `count` others, starting at `from`, into shared memory: rows `width` apart, zeros outside,
// one warp per row. There is no branch, so a lane has four reads in flight.
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

// Over whole rows, in both lanes: a + b and b + a have the same bits.
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

// When warps share owners: adds all warps' sums to the first warp's, in warp order, through `at`, 32 parts in shared
// memory. The whole block takes part.
__device__ __forceinline__ void add_up(const Owner& own, float* at, Part& sum) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int other = 1; other < own.turns; ++other) {
        __syncthreads(); // the first warp has read the last sum; all warps have read the memory's old contents
        for (int c = 0; c < part && own.turn == other; ++c) at[c * 32 + lane] = sum[c];
        __syncthreads();
        for (int c = 0; c < part && own.turn == 0; ++c) sum[c] += at[c * 32 + lane];
    }
}

// Owners are queries, others keys.
__global__ void __launch_bounds__(5 * warps * 32, 1)
    dq_kernel(AttentionShape s, Plan plan, const float* q, const float* k, const float* v, const float* y,
              const float* lse, const float* dy, float* dq, float* delta) {
    FCI_SHARED(float4, K_fours, chunk_fours);
    FCI_SHARED(float4, V_fours, chunk_fours);
    float *K = reinterpret_cast<float*>(K_fours), *V = reinterpret_cast<float*>(V_fours);
    const Owner own(plan, true);
    const Head at(s, own.head);
    const int value = s.value_width(), y_stride = s.heads * value, seen = s.causal ? own.row + 1 : s.keys;
    const int end = s.causal ? min(own.mine + warp_rows, s.keys) : s.keys;
    const int block_end = s.causal ? min(own.first + plan.rows, s.keys) : s.keys;
    const bool inside = own.row < s.queries;
    Part q_own, dy_own, sum = {};
    read_own(y + at.y, y_stride, own, s.queries, value, 1.f, q_own); // y, only for delta
    read_own(dy + at.y, y_stride, own, s.queries, value, 1.f, dy_own);
    const float dl = dot(q_own, dy_own); // (delta)
    const auto l = inside ? LogSum<float>::load(lse, at.lse + own.row) : LogSum<float>{0, INFINITY};
    if (inside && own.column == 0 && own.turn == 0) delta[at.lse + own.row] = dl;
    read_own(q + at.q, s.q_stride, own, s.queries, s.d_head, attention_scale(s) * log2_e, q_own);
    for (int from = 0; from < block_end; from += chunk) {
        __syncthreads();
        load_others(from, s.keys, k + at.k, s.kv_stride, s.d_head, 1.f, K);
        load_others(from, s.keys, v + at.v, s.value_stride(), value, 1.f, V);
        __syncthreads();
#pragma unroll 1
        for (int j = from + own.turn; j < min(from + chunk, end); j += own.turns) {
            Part k_row, v_row;
            read(K + (j - from) * width + own.column, k_row);
            read(V + (j - from) * width + own.column, v_row);
            const float p = exp2(l.share(dot(q_own, k_row))), dp = dot(dy_own, v_row); // (2)
            const float ds = j < seen ? p * (dp - dl) : 0.f;                           // (dS)
            add(sum, ds, k_row);                                                       // (dq), without scale
        }
    }
    add_up(own, K, sum);
    write_own(dq + at.q, s.q_stride, own, s.queries, s.d_head,
              [&](float& to, int c) { to += attention_scale(s) * sum[c]; });
}

// Owners are keys, others queries.
__global__ void __launch_bounds__(4 * warps * 32, 1)
    dkv_kernel(AttentionShape s, Plan plan, const float* q, const float* k, const float* v, const float* lse,
               const float* delta, const float* dy, float* dk, float* dv) {
    FCI_SHARED(float4, Q_fours, chunk_fours);
    FCI_SHARED(float4, dY_fours, chunk_fours);
    FCI_SHARED(float4, row_numbers, chunk); // the two parts of lse, delta
    float *Q = reinterpret_cast<float*>(Q_fours), *dY = reinterpret_cast<float*>(dY_fours);
    const Owner own(plan, false);
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
            const auto l = is_there ? LogSum<float>::load(lse, at.lse + from + r) : LogSum<float>{0, INFINITY};
            row_numbers[r] = make_float4(l.shift, l.rest, is_there ? delta[at.lse + from + r] : 0.f, 0.f);
        }
        __syncthreads();
#pragma unroll 1
        for (int i = max(from, begin) + own.turn; i < min(from + chunk, s.queries); i += own.turns) {
            Part q_row, dy_row;
            read(Q + (i - from) * width + own.column, q_row);
            read(dY + (i - from) * width + own.column, dy_row);
            const float4 of = row_numbers[i - from];
            const float dp = dot(v_own, dy_row);
            float p = exp2(LogSum<float>{of.x, of.y}.share(dot(k_own, q_row))); // (2)
            if (s.causal && i < own.row) p = 0;
            const float ds = p * (dp - of.z); // (dS)
            add(sum_v, p, dy_row);            // (dv)
            add(sum_k, ds, q_row);            // (dk), times log2(e)
        }
    }
    add_up(own, Q, sum_k);
    add_up(own, dY, sum_v);
    write_own(dk + at.k, s.kv_stride, own, s.keys, s.d_head,
              [&](float& to, int c) { to += sum_k[c] * (1.f / log2_e); });
    write_own(dv + at.v, s.value_stride(), own, s.keys, value, [&](float& to, int c) { to += sum_v[c]; });
}

inline void backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y, const float* lse,
                     const float* dy, float* dq, float* dk, float* dv, float* delta) {
    const Plan of_queries(s, s.queries, s.keys), of_keys(s, s.keys, s.queries);
    FCI_LAUNCH(dq_kernel, of_queries.grid(s), of_queries.threads, 0, s, of_queries, q, k, v, y, lse, dy, dq, delta);
    FCI_LAUNCH(dkv_kernel, of_keys.grid(s), of_keys.threads, 0, s, of_keys, q, k, v, lse, delta, dy, dk, dv);
}

} // namespace fci::cuda::narrow
