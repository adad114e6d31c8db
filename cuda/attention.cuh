// attention's kernels, for any rule of who sees whom (all, causal, a window and global positions); the mathematics is
// in src/ops/attention.h. A warp owns 32 rows of a head: their scores against 32 others at a time, 32 x 32 products in
// registers (cuda/tile.cuh). The others come through shared memory, `chunk` of them at a time, for the warps of a block
// together: all at once if there is room, else streamed. Sums over others are finished by their owner: no atomics.
//
//   forward_kernel   owners are queries, others keys: softmax while they pass, with a running maximum
//                    [Milakov & Gimelshein 2018; Dao et al. 2022]
//   dq_kernel        the same owners; P again from lse
//   dkv_kernel       owners are keys, others queries
//
// S and dP are made twice in the backward pass, 7 products in place of 5: with one kernel, owners of keys would have to
// add to dq across blocks, in an order of their own. Bound by multiply-adds, on reading shared memory; the exponentials
// cost a fifth of that. Columns of a result beyond 32 are another block's (blockIdx.y): its scores are made again.
//
// A rule has
//   own(slot)              the row (in its sequence) that an owner's slot stands for, -1 for none
//   others(first, count)   the slots of others that the owners [first, first + count) may see, from a multiple of 32 on
//   other(first, slot)     the row of such a slot, -1 for none; first: of the block's owners
//   sees(own, slot, other) whether they see each other
#pragma once
#include <cfloat>

#include "cuda/tile.cuh"
#include "ops/attention.h"

namespace fci::cuda {

struct Range {
    int begin, end;
};

// Where one head of one sequence begins in q, k, v, y, lse.
struct Head {
    int64_t q, k, v, y, lse;
    __device__ Head(const AttentionShape& s, int64_t index) {
        const int64_t b = index / s.heads, head = index % s.heads;
        q = b * s.queries * s.q_stride + head * s.d_head;
        k = b * s.keys * s.kv_stride + head * s.d_head;
        v = b * s.keys * s.value_stride() + head * s.value_width();
        y = (b * s.queries * s.heads + head) * s.value_width();
        lse = index * s.queries;
    }
};

__device__ __forceinline__ float attention_scale(const AttentionShape& s) {
    return 1.f / sqrtf(static_cast<float>(s.d_head));
}

constexpr int most_warps = 4, P_stride = row_stride(tile);

// What a block of owners works on.
struct Work {
    int64_t head;
    int rows, first, mine, column; // owners of the block; its first; this warp's first; of the panel of columns
    __device__ explicit Work(int tiles) {
        rows = blockDim.x;
        head = blockIdx.x / tiles;
        first = (tiles - 1 - static_cast<int>(blockIdx.x % tiles)) * rows; // causal: the rows that see most begin first
        mine = first + static_cast<int>(threadIdx.x) / 32 * tile;
        column = blockIdx.y * tile;
    }
};

template <class Rule>
__global__ void __launch_bounds__(most_warps * 32, 4)
    forward_kernel(AttentionShape s, Rule rule, int tiles, int chunk, const float* q, const float* k, const float* v,
                   float* y, float* lse) {
    FCI_DYN_SHARED(float, shared);
    const Work work(tiles);
    const Head at(s, work.head);
    const int width = s.value_width(), w = min(tile, width - work.column), d = s.d_head;
    const int ld = row_stride(d), ldv = row_stride(w), row = tile_row(), column = tile_column();
    float *Q = shared, *P = Q + work.rows * ld, *K = P + work.rows * P_stride, *V = K + chunk * ld;
    const float* my_Q = Q + (work.mine - work.first) * ld;
    float* my_P = P + (work.mine - work.first) * P_stride;
    load_rows(work.rows, d, q + at.q, s.q_stride, attention_scale(s) * log2_e, Q, ld,
              [&](int r) { return rule.own(work.first + r); });

    Tile o = {};
    float highest[8], total[8];
    for (int i = 0; i < 8; ++i) highest[i] = -FLT_MAX, total[i] = 0;
    const Range all = rule.others(work.first, work.rows), mine = rule.others(work.mine, tile);
    for (int from = all.begin; from < all.end; from += chunk) {
        const int n = min(chunk, whole_tiles(all.end - from));
        const auto key_of = [&](int r) { return rule.other(work.first, from + r); };
        __syncthreads(); // all warps are done with the last chunk
        load_rows(n, d, k + at.k, s.kv_stride, 1.f, K, ld, key_of);
        load_rows(n, w, v + at.v + work.column, s.value_stride(), 1.f, V, ldv, key_of);
        __syncthreads();
        for (int step = max(from, mine.begin); step < min(from + n, mine.end); step += tile) {
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
                total[i] = total[i] * shrink + sum; // of this lane's columns
                for (int c = 0; c < 4; ++c) o[i][c] *= shrink;
            }
            __syncwarp();                                                             // P is complete
            add_product_ab(tile, my_P, P_stride, V + (step - from) * ldv, ldv, w, o); // (3), to be divided by total
            __syncwarp();                                                             // P has been read
        }
    }
    for (int i = 0; i < 8; ++i) {
        const float sum = row_sum(total[i]);
        const int own = rule.own(work.mine + row + 4 * i);
        if (own < 0) continue;
        if (column == 0 && work.column == 0) lse[at.lse + own] = highest[i] + log2f(sum); // (2)
        for (int c = 0; c < 4; ++c)
            if (4 * column + c < w)
                y[at.y + int64_t{own} * s.heads * width + work.column + 4 * column + c] = o[i][c] / sum;
    }
}

template <class Rule>
__global__ void __launch_bounds__(most_warps * 32, 3)
    dq_kernel(AttentionShape s, Rule rule, int tiles, int chunk, const float* q, const float* k, const float* v,
              const float* y, const float* lse, const float* dy, float* dq, float* delta) {
    FCI_DYN_SHARED(float, shared);
    const Work work(tiles);
    const Head at(s, work.head);
    const int width = s.value_width(), d = s.d_head, w = min(tile, d - work.column), y_stride = s.heads * width;
    const int ld = row_stride(d), ldv = row_stride(width), row = tile_row(), column = tile_column();
    float *Q = shared, *dY = Q + work.rows * ld, *dS = dY + work.rows * ldv;
    float *K = dS + work.rows * P_stride, *V = K + chunk * ld;
    const int my_rows = work.mine - work.first;
    const float *my_Q = Q + my_rows * ld, *my_dY = dY + my_rows * ldv;
    float* my_dS = dS + my_rows * P_stride;
    const auto query_of = [&](int r) { return rule.own(work.first + r); };
    load_rows(work.rows, d, q + at.q, s.q_stride, attention_scale(s) * log2_e, Q, ld, query_of);
    load_rows(work.rows, width, dy + at.y, y_stride, 1.f, dY, ldv, query_of);

    float l[8], dl[8];
    for (int i = 0; i < 8; ++i) {
        const int own = rule.own(work.mine + row + 4 * i);
        const int64_t from = at.y + int64_t{own} * y_stride;
        float sum = 0;
        for (int c = column; c < width && own >= 0; c += 8) sum += y[from + c] * dy[from + c];
        dl[i] = row_sum(sum); // (delta)
        l[i] = own >= 0 ? lse[at.lse + own] : INFINITY;
        if (own >= 0 && column == 0 && work.column == 0) delta[at.lse + own] = dl[i];
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
        for (int step = max(from, mine.begin); step < min(from + n, mine.end); step += tile) {
            Tile p = {}, ds = {};
            add_product_abt(d, my_Q, ld, K + (step - from) * ld, ld, p);          // (1), base 2
            add_product_abt(width, my_dY, ldv, V + (step - from) * ldv, ldv, ds); // dP
            for (int i = 0; i < 8; ++i) {
                const int own = rule.own(work.mine + row + 4 * i);
                for (int j = 0; j < 4; ++j) {
                    const int slot = step + column + 8 * j, other = rule.other(work.first, slot);
                    const bool seen = other >= 0 && rule.sees(own, slot, other);
                    const float probability = seen ? exp2(p[i][j] - l[i]) : 0.f;                         // (2)
                    my_dS[(row + 4 * i) * P_stride + column + 8 * j] = probability * (ds[i][j] - dl[i]); // (dS)
                }
            }
            __syncwarp();
            add_product_ab(tile, my_dS, P_stride, K + (step - from) * ld + work.column, ld, w,
                           acc); // (dq), without scale
            __syncwarp();
        }
    }
    for (int i = 0; i < 8; ++i) {
        const int own = rule.own(work.mine + row + 4 * i);
        for (int c = 0; c < 4; ++c)
            if (own >= 0 && 4 * column + c < w)
                dq[at.q + int64_t{own} * s.q_stride + work.column + 4 * column + c] += attention_scale(s) * acc[i][c];
    }
}

template <class Rule>
__global__ void __launch_bounds__(most_warps * 32, 3)
    dkv_kernel(AttentionShape s, Rule rule, int tiles, int chunk, const float* q, const float* k, const float* v,
               const float* lse, const float* delta, const float* dy, float* dk, float* dv) {
    FCI_DYN_SHARED(float, shared);
    const Work work(tiles);
    const Head at(s, work.head);
    const int width = s.value_width(), d = s.d_head, y_stride = s.heads * width;
    const int wk = min(tile, d - work.column), wv = min(tile, width - work.column); // one may have no columns here
    const int ld = row_stride(d), ldv = row_stride(width), row = tile_row(), column = tile_column();
    float *K = shared, *V = K + work.rows * ld, *P = V + work.rows * ldv; // P: then dS
    float *Q = P + work.rows * P_stride, *dY = Q + chunk * ld, *l = dY + chunk * ldv, *dl = l + chunk;
    const int my_rows = work.mine - work.first;
    const float *my_K = K + my_rows * ld, *my_V = V + my_rows * ldv;
    float* my_P = P + my_rows * P_stride;
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
        for (int r = threadIdx.x; r < n; r += work.rows) {
            const int query = query_of(r);
            l[r] = query >= 0 ? lse[at.lse + query] : INFINITY;
            dl[r] = query >= 0 ? delta[at.lse + query] : 0.f;
        }
        __syncthreads();
        for (int step = max(from, mine.begin); step < min(from + n, mine.end); step += tile) {
            const float *Qs = Q + (step - from) * ld, *dYs = dY + (step - from) * ldv;
            Tile p = {}, ds = {};                            // rows are keys, columns queries
            add_product_abt(d, my_K, ld, Qs, ld, p);         // (1), base 2
            add_product_abt(width, my_V, ldv, dYs, ldv, ds); // dP
            for (int i = 0; i < 8; ++i) {
                const int own = rule.own(work.mine + row + 4 * i);
                for (int j = 0; j < 4; ++j) {
                    const int slot = step + column + 8 * j, other = rule.other(work.first, slot), r = slot - from;
                    const bool seen = other >= 0 && rule.sees(own, slot, other);
                    p[i][j] = seen ? exp2(p[i][j] - l[r]) : 0.f; // (2)
                    ds[i][j] = p[i][j] * (ds[i][j] - dl[r]);     // (dS)
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
    for (int i = 0; i < 8; ++i) {
        const int own = rule.own(work.mine + row + 4 * i);
        for (int c = 0; c < 4; ++c) {
            const int to = work.column + 4 * column + c;
            if (own >= 0 && to < d) dk[at.k + int64_t{own} * s.kv_stride + to] += dK[i][c] / log2_e;
            if (own >= 0 && to < width) dv[at.v + int64_t{own} * s.value_stride() + to] += dV[i][c];
        }
    }
}

// How a launch is cut: warps in a block, others in shared memory at a time. Blocks of `resident` warps together are to
// find room on a multiprocessor; a head too wide for that gets fewer of them, then smaller blocks. A short head is thus
// kept whole. One of 512 keys, 32 wide, is not: beside 144 KiB of k and v there is room for 8 warps, where 16 hide more
// waiting; each of its 4 blocks reads k and v once instead, from L2. (The ladder's step "on chip" keeps it whole, a row
// for each thread.)
struct Plan {
    int warps, chunk;
    size_t bytes;
};
inline Plan plan(int owners, int others, int warps, int resident, int owner_floats, int other_floats) {
    constexpr size_t reserved = 1024; // of each block, for the system
    const size_t limit = shared_limit();
    warps = min(warps, (owners + tile - 1) / tile);
    for (; warps; --warps) {
        const size_t share = (limit + reserved) * warps / resident, room = share > reserved ? share - reserved : 0;
        const size_t own = sizeof(float) * warps * tile * owner_floats, step = sizeof(float) * tile * other_floats;
        if (own + step > limit) continue;
        const int fit = room > own + step ? static_cast<int>((room - own) / step) : 1;
        const int steps = min(fit, max(1, (others + tile - 1) / tile));
        return {warps, steps * tile, own + steps * step};
    }
    fail(Exit::usage,
         "attention: a head this wide needs more than the {} bytes of shared memory that a block may have on "
         "this GPU; use more heads",
         limit);
}

template <class Rule>
void launch_forward(AttentionShape s, Rule rule, int owners, int others, int warps, const float* q, const float* k,
                    const float* v, float* y, float* lse) {
    const int w = s.value_width(), ld = row_stride(s.d_head), ldv = row_stride(min(w, tile));
    const Plan p = plan(owners, others, warps, 16, ld + P_stride, ld + ldv);
    const int tiles = static_cast<int>(blocks_for(owners, p.warps * tile));
    const dim3 grid(static_cast<unsigned>(int64_t{s.batch} * s.heads * tiles), blocks_for(w, tile));
    FCI_LAUNCH(forward_kernel<Rule>, grid, p.warps * tile, p.bytes, s, rule, tiles, p.chunk, q, k, v, y, lse);
}

template <class Rule>
void launch_dq(AttentionShape s, Rule rule, int owners, int others, int warps, const float* q, const float* k,
               const float* v, const float* y, const float* lse, const float* dy, float* dq, float* delta) {
    const int ld = row_stride(s.d_head), ldv = row_stride(s.value_width());
    const Plan p = plan(owners, others, warps, 12, ld + ldv + P_stride, ld + ldv);
    const int tiles = static_cast<int>(blocks_for(owners, p.warps * tile));
    const dim3 grid(static_cast<unsigned>(int64_t{s.batch} * s.heads * tiles), blocks_for(s.d_head, tile));
    FCI_LAUNCH(dq_kernel<Rule>, grid, p.warps * tile, p.bytes, s, rule, tiles, p.chunk, q, k, v, y, lse, dy, dq, delta);
}

template <class Rule>
void launch_dkv(AttentionShape s, Rule rule, int owners, int others, int warps, const float* q, const float* k,
                const float* v, const float* lse, const float* delta, const float* dy, float* dk, float* dv) {
    const int ld = row_stride(s.d_head), ldv = row_stride(s.value_width());
    const Plan p = plan(owners, others, warps, 12, ld + ldv + P_stride, ld + ldv + 2);
    const int tiles = static_cast<int>(blocks_for(owners, p.warps * tile));
    const dim3 grid(static_cast<unsigned>(int64_t{s.batch} * s.heads * tiles),
                    blocks_for(max(s.d_head, s.value_width()), tile));
    FCI_LAUNCH(dkv_kernel<Rule>, grid, p.warps * tile, p.bytes, s, rule, tiles, p.chunk, q, k, v, lse, delta, dy, dk,
               dv);
}

// Everyone sees all others, or (causal) those up to itself.
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
