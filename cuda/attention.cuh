// attention's kernels, for any rule of which row sees which (all, causal, a window and global positions); the
// mathematics is in src/ops/attention.h. A warp owns 32 rows of a head. It computes their scores against 32 other rows
// at a time, a 32 x 32 product in registers (cuda/tile.cuh). The warps of a block share the other rows through shared
// memory, `chunk` at a time: all at once if there is room, else streamed. The owner of a row finishes its sums over the
// others: no atomics. If owners are few and others many (a Perceiver's hubs, global keys), one warp per tile of owners
// would leave the GPU idle. Then all warps of a block own the same 32 rows, take turns at the others, and add their
// sums at the end, in warp order.
//
//   forward_kernel   owners are queries, others keys: softmax in one pass over the keys, with a running maximum
//                    [Milakov & Gimelshein 2018; Dao et al. 2022]
//   dq_kernel        the same owners; P is recomputed from lse
//   dkv_kernel       owners are keys, others queries
//
// S and dP are computed twice in the backward pass, 7 products instead of 5: with one kernel, owners of keys would have
// to add to dq across blocks, which would need a fixed order. Bound by multiply-adds that read shared memory. Another
// block (blockIdx.y) computes the columns of a result beyond 32, and computes the scores again.
//
// A rule has
//   own(slot)              the row (in its sequence) of an owner's slot; -1: none
//   others(first, count)   the slots of others that the owners [first, first + count) may see, from a multiple of 32
//   other(first, slot)     the row of such a slot; -1: none. first: the first of the block's owners
//   sees(own, slot, other) whether the owner sees the other
#pragma once
#include <cfloat>

#include "cuda/owners.cuh"

namespace fci::cuda {

template <class Rule>
__global__ void __launch_bounds__(4 * most_warps * 32, 1)
    forward_kernel(AttentionShape s, Rule rule, Plan plan, const float* q, const float* k, const float* v, float* y,
                   float* lse) {
    FCI_DYN_SHARED(float, shared);
    const Work work(plan);
    const Head at(s, work.head);
    const int width = s.value_width(), w = min(tile, width - work.column), d = s.d_head;
    const int ld = row_stride(d), ldv = row_stride(w), row = tile_row(), column = tile_column();
    const int chunk = plan.chunk;
    float *Q = shared, *P = Q + work.rows * ld, *K = P + blockDim.x * P_stride, *V = K + chunk * ld;
    const float* my_Q = work.own(Q, ld);
    float* my_P = work.own_P(P);
    load_rows(work.rows, d, q + at.q, s.q_stride, attention_scale(s) * log2_e, Q, ld,
              [&](int r) { return rule.own(work.first + r); });

    Tile o = {};
    float highest[8], total[8];
    for (int i = 0; i < 8; ++i) highest[i] = -FLT_MAX, total[i] = 0;
    const Range all = rule.others(work.first, work.rows), mine = rule.others(work.mine, tile);
    for (int from = all.begin; from < all.end; from += chunk) {
        const int n = min(chunk, whole_tiles(all.end - from));
        const auto key_of = [&](int r) { return rule.other(work.first, from + r); };
        __syncthreads(); // all warps are done with the previous chunk
        load_rows(n, d, k + at.k, s.kv_stride, 1.f, K, ld, key_of);
        load_rows(n, w, v + at.v + work.column, s.value_stride(), 1.f, V, ldv, key_of);
        __syncthreads();
        for (int step = max(from, mine.begin) + work.turn * tile; step < min(from + n, mine.end);
             step += work.turns * tile) {
            Tile p = {};
            add_product_abt(d, my_Q, ld, K + (step - from) * ld, ld, p); // (1), base 2
            for (int i = 0; i < 8; ++i) {
                const int own = rule.own(work.mine + row + 4 * i);
                float most = highest[i], sum = 0;
                for (int j = 0; j < 4; ++j) {
                    const int slot = step + column + 8 * j, other = rule.other(work.first, slot);
                    if (other < 0 || !rule.sees(own, slot, other)) p[i][j] = -INFINITY;
                    most = max(most, p[i][j]);
                }
                most = row_max(most);
                const float shrink = exp2(highest[i] - most);
                highest[i] = most;
                for (int j = 0; j < 4; ++j) {
                    const float e = exp2(p[i][j] - most);
                    my_P[(row + 4 * i) * P_stride + column + 8 * j] = e;
                    sum += e;
                }
                total[i] = total[i] * shrink + sum; // over this lane's columns
                for (int c = 0; c < 4; ++c) o[i][c] *= shrink;
            }
            __syncwarp();                                                             // P is complete
            add_product_ab(tile, my_P, P_stride, V + (step - from) * ldv, ldv, w, o); // (3), to be divided by total
            __syncwarp();                                                             // P has been read
        }
    }
    for (float& t : total) t = row_sum(t);
    add_up(work, P, o, highest, total);
    for (int i = 0; i < 8; ++i) {
        const float sum = total[i];
        const int own = rule.own(work.mine + row + 4 * i);
        if (own < 0 || work.turn != 0) continue;
        if (column == 0 && work.column == 0) LogSum<float>::of(highest[i], log2f(sum)).save(lse, at.lse + own); // (2)
        for (int c = 0; c < 4; ++c)
            if (4 * column + c < w)
                y[at.y + int64_t{own} * s.heads * width + work.column + 4 * column + c] = o[i][c] / sum;
    }
}

template <class Rule>
__global__ void __launch_bounds__(3 * most_warps * 32, 1)
    dq_kernel(AttentionShape s, Rule rule, Plan plan, const float* q, const float* k, const float* v, const float* y,
              const float* lse, const float* dy, float* dq, float* delta) {
    FCI_DYN_SHARED(float, shared);
    const Work work(plan);
    const Head at(s, work.head);
    const int width = s.value_width(), d = s.d_head, w = min(tile, d - work.column), y_stride = s.heads * width;
    const int ld = row_stride(d), ldv = row_stride(width), row = tile_row(), column = tile_column();
    const int chunk = plan.chunk;
    float *Q = shared, *dY = Q + work.rows * ld, *dS = dY + work.rows * ldv;
    float *K = dS + blockDim.x * P_stride, *V = K + chunk * ld;
    const float *my_Q = work.own(Q, ld), *my_dY = work.own(dY, ldv);
    float* my_dS = work.own_P(dS);
    const auto query_of = [&](int r) { return rule.own(work.first + r); };
    load_rows(work.rows, d, q + at.q, s.q_stride, attention_scale(s) * log2_e, Q, ld, query_of);
    load_rows(work.rows, width, dy + at.y, y_stride, 1.f, dY, ldv, query_of);

    LogSum<float> l[8];
    float dl[8];
    for (int i = 0; i < 8; ++i) {
        const int own = rule.own(work.mine + row + 4 * i);
        const int64_t from = at.y + int64_t{own} * y_stride;
        float sum = 0;
        for (int c = column; c < width && own >= 0; c += 8) sum += y[from + c] * dy[from + c];
        dl[i] = row_sum(sum); // (delta)
        l[i] = own >= 0 ? LogSum<float>::load(lse, at.lse + own) : LogSum<float>{0, INFINITY};
        if (own >= 0 && column == 0 && work.column == 0 && work.turn == 0) delta[at.lse + own] = dl[i];
    }
    Tile acc = {};
    const Range all = rule.others(work.first, work.rows), mine = rule.others(work.mine, tile);
    for (int from = all.begin; from < all.end; from += chunk) {
        const int n = min(chunk, whole_tiles(all.end - from));
        const auto key_of = [&](int r) { return rule.other(work.first, from + r); };
        __syncthreads();
        load_rows(n, d, k + at.k, s.kv_stride, 1.f, K, ld, key_of);
        load_rows(n, width, v + at.v, s.value_stride(), 1.f, V, ldv, key_of);
        __syncthreads();
        for (int step = max(from, mine.begin) + work.turn * tile; step < min(from + n, mine.end);
             step += work.turns * tile) {
            Tile p = {}, ds = {};
            add_product_abt(d, my_Q, ld, K + (step - from) * ld, ld, p);          // (1), base 2
            add_product_abt(width, my_dY, ldv, V + (step - from) * ldv, ldv, ds); // dP
            for (int i = 0; i < 8; ++i) {
                const int own = rule.own(work.mine + row + 4 * i);
                for (int j = 0; j < 4; ++j) {
                    const int slot = step + column + 8 * j, other = rule.other(work.first, slot);
                    const bool seen = other >= 0 && rule.sees(own, slot, other);
                    const float probability = seen ? exp2(l[i].share(p[i][j])) : 0.f;                    // (2)
                    my_dS[(row + 4 * i) * P_stride + column + 8 * j] = probability * (ds[i][j] - dl[i]); // (dS)
                }
            }
            __syncwarp();
            add_product_ab(tile, my_dS, P_stride, K + (step - from) * ld + work.column, ld, w,
                           acc); // (dq), without scale
            __syncwarp();
        }
    }
    add_up(work, dS, acc);
    for (int i = 0; i < 8 && work.turn == 0; ++i) {
        const int own = rule.own(work.mine + row + 4 * i);
        for (int c = 0; c < 4; ++c)
            if (own >= 0 && 4 * column + c < w)
                dq[at.q + int64_t{own} * s.q_stride + work.column + 4 * column + c] += attention_scale(s) * acc[i][c];
    }
}

template <class Rule>
__global__ void __launch_bounds__(3 * most_warps * 32, 1)
    dkv_kernel(AttentionShape s, Rule rule, Plan plan, const float* q, const float* k, const float* v, const float* lse,
               const float* delta, const float* dy, float* dk, float* dv) {
    FCI_DYN_SHARED(float, shared);
    const Work work(plan);
    const Head at(s, work.head);
    const int width = s.value_width(), d = s.d_head, y_stride = s.heads * width;
    const int wk = min(tile, d - work.column), wv = min(tile, width - work.column); // one of them may be 0
    const int ld = row_stride(d), ldv = row_stride(width), row = tile_row(), column = tile_column();
    const int chunk = plan.chunk;
    float *K = shared, *V = K + work.rows * ld, *P = V + work.rows * ldv; // P, later dS
    float *Q = P + blockDim.x * P_stride, *dY = Q + chunk * ld, *l = dY + chunk * ldv, *dl = l + 2 * chunk;
    const float *my_K = work.own(K, ld), *my_V = work.own(V, ldv);
    float* my_P = work.own_P(P);
    const auto key_of = [&](int r) { return rule.own(work.first + r); };
    load_rows(work.rows, d, k + at.k, s.kv_stride, 1.f, K, ld, key_of);
    load_rows(work.rows, width, v + at.v, s.value_stride(), 1.f, V, ldv, key_of);

    Tile dK = {}, dV = {};
    const Range all = rule.others(work.first, work.rows), mine = rule.others(work.mine, tile);
    for (int from = all.begin; from < all.end; from += chunk) {
        const int n = min(chunk, whole_tiles(all.end - from));
        const auto query_of = [&](int r) { return rule.other(work.first, from + r); };
        __syncthreads();
        load_rows(n, d, q + at.q, s.q_stride, attention_scale(s) * log2_e, Q, ld, query_of);
        load_rows(n, width, dy + at.y, y_stride, 1.f, dY, ldv, query_of);
        for (int r = threadIdx.x; r < n; r += static_cast<int>(blockDim.x)) {
            const int query = query_of(r);
            (query >= 0 ? LogSum<float>::load(lse, at.lse + query) : LogSum<float>{0, INFINITY}).save(l, r);
            dl[r] = query >= 0 ? delta[at.lse + query] : 0.f;
        }
        __syncthreads();
        for (int step = max(from, mine.begin) + work.turn * tile; step < min(from + n, mine.end);
             step += work.turns * tile) {
            const float *Qs = Q + (step - from) * ld, *dYs = dY + (step - from) * ldv;
            Tile p = {}, ds = {};                            // rows are keys, columns queries
            add_product_abt(d, my_K, ld, Qs, ld, p);         // (1), base 2
            add_product_abt(width, my_V, ldv, dYs, ldv, ds); // dP
#pragma unroll                                               // else p and ds are in local memory
            for (int i = 0; i < 8; ++i) {
                const int own = rule.own(work.mine + row + 4 * i);
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const int slot = step + column + 8 * j, other = rule.other(work.first, slot), r = slot - from;
                    const bool seen = other >= 0 && rule.sees(own, slot, other);
                    p[i][j] = seen ? exp2(LogSum<float>::load(l, r).share(p[i][j])) : 0.f; // (2)
                    ds[i][j] = p[i][j] * (ds[i][j] - dl[r]);                               // (dS)
                    my_P[(row + 4 * i) * P_stride + column + 8 * j] = p[i][j];
                }
            }
            __syncwarp();
            add_product_ab(tile, my_P, P_stride, dYs + work.column, ldv, wv, dV); // (dv)
            __syncwarp();
            for (int i = 0; i < 8; ++i)
                for (int j = 0; j < 4; ++j) my_P[(row + 4 * i) * P_stride + column + 8 * j] = ds[i][j];
            __syncwarp();
            add_product_ab(tile, my_P, P_stride, Qs + work.column, ld, wk, dK); // (dk), times scale log2(e)
            __syncwarp();
        }
    }
    add_up(work, P, dV);
    add_up(work, P, dK);
    for (int i = 0; i < 8 && work.turn == 0; ++i) {
        const int own = rule.own(work.mine + row + 4 * i);
        for (int c = 0; c < 4; ++c) {
            const int to = work.column + 4 * column + c;
            if (own >= 0 && to < d) dk[at.k + int64_t{own} * s.kv_stride + to] += dK[i][c] / log2_e;
            if (own >= 0 && to < width) dv[at.v + int64_t{own} * s.value_stride() + to] += dV[i][c];
        }
    }
}

template <class Rule>
void launch_forward(AttentionShape s, Rule rule, int owners, int others, int warps, const float* q, const float* k,
                    const float* v, float* y, float* lse) {
    const int w = s.value_width(), ld = row_stride(s.d_head), ldv = row_stride(min(w, tile));
    const Plan p = plan(owners, others, warps, 16, ld, ld + ldv);
    FCI_LAUNCH(forward_kernel<Rule>, grid(s, p, w), p.warps * tile, p.bytes, s, rule, p, q, k, v, y, lse);
}

template <class Rule>
void launch_dq(AttentionShape s, Rule rule, int owners, int others, int warps, const float* q, const float* k,
               const float* v, const float* y, const float* lse, const float* dy, float* dq, float* delta) {
    const int ld = row_stride(s.d_head), ldv = row_stride(s.value_width());
    const Plan p = plan(owners, others, warps, 12, ld + ldv, ld + ldv);
    FCI_LAUNCH(dq_kernel<Rule>, grid(s, p, s.d_head), p.warps * tile, p.bytes, s, rule, p, q, k, v, y, lse, dy, dq,
               delta);
}

template <class Rule>
void launch_dkv(AttentionShape s, Rule rule, int owners, int others, int warps, const float* q, const float* k,
                const float* v, const float* lse, const float* delta, const float* dy, float* dk, float* dv) {
    const int ld = row_stride(s.d_head), ldv = row_stride(s.value_width());
    const Plan p = plan(owners, others, warps, 12, ld + ldv, ld + ldv + 3);
    FCI_LAUNCH(dkv_kernel<Rule>, grid(s, p, max(s.d_head, s.value_width())), p.warps * tile, p.bytes, s, rule, p, q, k,
               v, lse, delta, dy, dk, dv);
}

// Whether all three find room: the last needs the most.
inline bool tiles_fit(const AttentionShape& s) {
    const int rows = row_stride(s.d_head) + row_stride(s.value_width());
    return find_plan(s.keys, s.queries, 1, 12, rows, rows + 3).has_value();
}

// Every owner sees all others, or (causal) those up to itself.
struct AllKeys {
    int queries, keys;
    bool causal;
    __device__ int own(int slot) const { return slot < queries ? slot : -1; }
    __device__ Range others(int first, int count) const { return {0, causal ? min(first + count, keys) : keys}; }
    __device__ int other(int, int slot) const { return slot < keys ? slot : -1; }
    __device__ bool sees(int query, int, int key) const { return !causal || key <= query; }
};
struct AllQueries {
    int queries, keys;
    bool causal;
    __device__ int own(int slot) const { return slot < keys ? slot : -1; }
    __device__ Range others(int first, int) const { return {causal ? first : 0, queries}; }
    __device__ int other(int, int slot) const { return slot < queries ? slot : -1; }
    __device__ bool sees(int key, int, int query) const { return !causal || key <= query; }
};

inline void tiles_forward(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    launch_forward(s, AllKeys{s.queries, s.keys, s.causal}, s.queries, s.keys, most_warps, q, k, v, y, lse);
}
inline void tiles_backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y,
                           const float* lse, const float* dy, float* dq, float* dk, float* dv, float* delta) {
    launch_dq(s, AllKeys{s.queries, s.keys, s.causal}, s.queries, s.keys, most_warps, q, k, v, y, lse, dy, dq, delta);
    launch_dkv(s, AllQueries{s.queries, s.keys, s.causal}, s.keys, s.queries, most_warps, q, k, v, lse, delta, dy, dk,
               dv);
}

} // namespace fci::cuda
