// attention on tensor cores, for heads of up to 32 columns where every row sees all others or (causal) those up to
// itself; the mathematics is in src/ops/attention.h, the products and their precisions in cuda/mma.cuh. A warp owns 16
// rows of a head, a block 128. The others pass through shared memory, a chunk of 32 at a time, split into the terms
// that the tensor core takes; the next chunk is on its way in registers meanwhile. Scores and their derivatives stay in
// registers: a result is the next product's left operand as it is.
//
//   forward_kernel   owners are queries: S = Q K^T, y = P V, softmax with a running maximum   (2 products)
//   dq_kernel        the same owners: S, dP = dY V^T, dQ = dS K                               (3 products)
//   dkv_kernel       owners are keys: S^T, dP^T, dV = P^T dY, dK = dS^T Q                     (4 products)
//
// A product sums over neighbouring numbers of both operands' rows. Where it sums over the others, the chunk is stored
// across: a row per column of the head. S and dP are computed twice, as in cuda/attention.cuh, so that the owner of a
// row finishes its sums, in the order of the others: no atomics, and the same bits on every run. Per 16 x 32 scores the
// kernels have 48, 72 and 96 instructions of 2048 multiply-adds in fp16x3, among about 400, 540 and 790 in all: bound
// by instructions and tensor cores alike.
#pragma once
#include <cfloat>

#include "cuda/mma.cuh"
#include "cuda/owners.cuh"

namespace fci::cuda::mma_attention {

using namespace mma;

constexpr int warps = 8, warp_rows = 16, rows = warps * warp_rows, threads = 32 * warps, loaders = threads / 2;

// Heads of fewer rows would leave most warps idle.
inline bool fits(const AttentionShape& s) {
    return s.d_head <= chunk && s.value_width() <= chunk && s.queries >= chunk && s.keys >= chunk;
}

// What a warp owns.
struct Owner {
    int64_t head;
    int first, mine; // the block's first row and this warp's
    __device__ Owner(int owners, bool last_first) {
        const int blocks = (owners + rows - 1) / rows, block = static_cast<int>(blockIdx.x % blocks);
        head = blockIdx.x / blocks;
        first = (last_first ? blocks - 1 - block : block) * rows; // causal: blocks with most work begin first
        mine = first + static_cast<int>(threadIdx.x) / 32 * warp_rows;
    }
    __device__ int row(int i) const { return mine + piece_row() + 8 * i; }
};

__device__ __forceinline__ void read(const Source& from, const Owner& own, Piece& x, float factor = 1) {
    for (int i = 0; i < 2; ++i) read_part<false>(from, own.row(i), piece_column(), x[i]);
    if (factor == 1) return;
    for (int i = 0; i < 2; ++i)
        for (int e = 0; e < part; ++e) x[i][e] *= factor;
}

// f(element, the lane's number) for the lane's numbers in bounds.
template <class F>
__device__ __forceinline__ void write(float* to, int64_t stride, const Owner& own, int count, int width, const Piece& x,
                                      F f) {
    for (int i = 0; i < 2; ++i)
        for (int e = 0; e < part; ++e)
            if (own.row(i) < count && piece_column() + e < width)
                f(to[own.row(i) * stride + piece_column() + e], x[i][e]);
}

// A half of the block's threads loads a chunk of the others: 8 numbers a thread, neighbours in the row that is stored.
// across: a stored row is a column of the head.
struct Loader {
    int row, t;
    float next[part];
    __device__ Loader() : row(static_cast<int>(threadIdx.x) % loaders / 4), t(static_cast<int>(threadIdx.x) % 4) {}
    template <bool across>
    __device__ void fetch(const Source& source, int from) {
        read_part<across>(source, across ? row : from + row, across ? from + part * t : part * t, next);
    }
    template <Precision P>
    __device__ void put(Stored<P>& to) const {
        to.put(row, t, next);
    }
};
__device__ __forceinline__ bool second_half() { return threadIdx.x >= loaders; }

template <Precision P>
__global__ void __launch_bounds__(threads, 2)
    forward_kernel(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    FCI_SHARED(Stored<P>, stored, 2); // K, V across
    const Owner own(s.queries, true);
    const Head at(s, own.head);
    const int width = s.value_width(), end = s.causal ? min(own.first + rows, s.keys) : s.keys;
    const bool of_v = second_half();
    const Source source =
        of_v ? Source{v + at.v, s.value_stride(), s.keys, width} : Source{k + at.k, s.kv_stride, s.keys, s.d_head};
    Piece x;
    read({q + at.q, s.q_stride, s.queries, s.d_head}, own, x, attention_scale(s) * log2_e);
    const Rows<P> query = Rows<P>::of(x);
    Piece o = {};
    float highest[2] = {-FLT_MAX, -FLT_MAX}, total[2] = {};
    constexpr float up = Rows<P>::share_log2; // P and its sums are times 2^up
    Loader load;
    const auto fetch = [&](int from) {
        if (of_v)
            load.fetch<true>(source, from);
        else
            load.fetch<false>(source, from);
    };
    fetch(0);
    for (int from = 0; from < end; from += chunk) {
        __syncthreads(); // all warps have read the previous chunk
        load.put(stored[of_v]);
        __syncthreads();
        if (from + chunk < end) fetch(from + chunk);
        if (s.causal && from >= own.mine + warp_rows) continue; // no row of this warp sees the chunk
        Piece p = {};
        add_product(query, stored[0], p); // (1), base 2
        const bool whole = from + chunk <= s.keys && (!s.causal || from + chunk <= own.mine + 1);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (!whole)
                for (int e = 0; e < part; ++e) {
                    const int key = from + piece_column() + e;
                    if (key >= s.keys || (s.causal && key > own.row(i))) p[i][e] = -INFINITY;
                }
            float most = highest[i], sum = 0;
            for (int e = 0; e < part; ++e) most = max(most, p[i][e]);
            most = four_max(most);
            const float shrink = exp2(highest[i] - most);
            highest[i] = most;
            for (int e = 0; e < part; ++e) p[i][e] = exp2(p[i][e] - (most - up)), sum += p[i][e];
            total[i] = total[i] * shrink + sum; // over this lane's columns
            for (int e = 0; e < part; ++e) o[i][e] *= shrink;
        }
        add_product(Rows<P>::of_shares(p), stored[1], o); // (3), to be divided by total
    }
    for (int i = 0; i < 2; ++i) {
        total[i] = four_sum(total[i]);
        if (own.row(i) < s.queries && piece_column() == 0)
            LogSum<float>::of(highest[i], log2f(total[i]) - up).save(lse, at.lse + own.row(i)); // (2)
        for (int e = 0; e < part; ++e) o[i][e] /= total[i];
    }
    write(y + at.y, int64_t{s.heads} * width, own, s.queries, width, o, [](float& to, float value) { to = value; });
}

template <Precision P>
__global__ void __launch_bounds__(threads, 1)
    dq_kernel(AttentionShape s, const float* q, const float* k, const float* v, const float* y, const float* lse,
              const float* dy, float* dq, float* delta) {
    FCI_SHARED(Stored<P>, stored, 3); // K, V, K across
    const Owner own(s.queries, true);
    const Head at(s, own.head);
    const int width = s.value_width(), end = s.causal ? min(own.first + rows, s.keys) : s.keys;
    const int y_stride = s.heads * width;
    const Source of_k{k + at.k, s.kv_stride, s.keys, s.d_head};
    const Source of_v{v + at.v, s.value_stride(), s.keys, width};
    const bool second = second_half();
    const Source straight = second ? of_v : of_k;

    Piece x, dx;
    read({y + at.y, y_stride, s.queries, width}, own, x);
    read({dy + at.y, y_stride, s.queries, width}, own, dx);
    const Rows<P> d_out = Rows<P>::of(dx);
    LogSum<float> l[2];
    float dl[2];
    for (int i = 0; i < 2; ++i) {
        const bool inside = own.row(i) < s.queries;
        float sum = 0;
        for (int e = 0; e < part; ++e) sum += x[i][e] * dx[i][e];
        dl[i] = four_sum(sum); // (delta)
        l[i] = inside ? LogSum<float>::load(lse, at.lse + own.row(i)) : LogSum<float>{0, INFINITY};
        if (inside && piece_column() == 0) delta[at.lse + own.row(i)] = dl[i];
    }
    read({q + at.q, s.q_stride, s.queries, s.d_head}, own, x, attention_scale(s) * log2_e);
    const Rows<P> query = Rows<P>::of(x);
    Piece sum = {};
    Loader load, load_across;
    load.fetch<false>(straight, 0);
    if (!second) load_across.fetch<true>(of_k, 0);
    for (int from = 0; from < end; from += chunk) {
        __syncthreads();
        load.put(stored[second]);
        if (!second) load_across.put(stored[2]);
        __syncthreads();
        if (from + chunk < end) {
            load.fetch<false>(straight, from + chunk);
            if (!second) load_across.fetch<true>(of_k, from + chunk);
        }
        if (s.causal && from >= own.mine + warp_rows) continue;
        Piece p = {}, ds = {};
        add_product(query, stored[0], p);  // (1), base 2
        add_product(d_out, stored[1], ds); // dP
#pragma unroll
        for (int i = 0; i < 2; ++i)
            for (int e = 0; e < part; ++e) {
                const int key = from + piece_column() + e;
                const bool seen = key < s.keys && (!s.causal || key <= own.row(i));
                ds[i][e] = seen ? exp2(l[i].share(p[i][e])) * (ds[i][e] - dl[i]) : 0.f; // (2), (dS)
            }
        add_product(Rows<P>::of(ds), stored[2], sum); // (dq), without scale
    }
    const float scale = attention_scale(s);
    write(dq + at.q, s.q_stride, own, s.queries, s.d_head, sum,
          [scale](float& to, float value) { to += scale * value; });
}

template <Precision P>
__global__ void __launch_bounds__(threads, 1)
    dkv_kernel(AttentionShape s, const float* q, const float* k, const float* v, const float* lse, const float* delta,
               const float* dy, float* dk, float* dv) {
    FCI_SHARED(Stored<P>, stored, 4); // Q, dY, Q across, dY across
    FCI_SHARED(float, row_shift, chunk);
    FCI_SHARED(float, row_rest, chunk);
    FCI_SHARED(float, row_delta, chunk);
    const Owner own(s.keys, false);
    const Head at(s, own.head);
    const int width = s.value_width(), begin = s.causal ? own.first : 0;
    const bool second = second_half();
    const float factor = second ? 1.f : attention_scale(s) * log2_e;
    const Source source = second ? Source{dy + at.y, s.heads * width, s.queries, width}
                                 : Source{q + at.q, s.q_stride, s.queries, s.d_head};
    Piece x;
    read({k + at.k, s.kv_stride, s.keys, s.d_head}, own, x);
    const Rows<P> key = Rows<P>::of(x);
    read({v + at.v, s.value_stride(), s.keys, width}, own, x);
    const Rows<P> value = Rows<P>::of(x);
    Piece sum_k = {}, sum_v = {};
    constexpr float up = Rows<P>::share_log2; // P, dV and dK are times 2^up
    const float down = exp2(-up);
    Loader load, load_across;
    LogSum<float> next_l{};
    float next_delta = 0;
    const auto fetch = [&](int from) {
        load.fetch<false>(source, from);
        load_across.fetch<true>(source, from);
        for (int e = 0; e < part; ++e) load.next[e] *= factor, load_across.next[e] *= factor;
        const int query = from + static_cast<int>(threadIdx.x);
        if (threadIdx.x >= chunk) return;
        next_l = query < s.queries ? LogSum<float>::load(lse, at.lse + query) : LogSum<float>{0, INFINITY};
        next_delta = query < s.queries ? delta[at.lse + query] : 0.f;
    };
    fetch(begin);
    for (int from = begin; from < s.queries; from += chunk) {
        __syncthreads();
        load.put(stored[second]);
        load_across.put(stored[2 + second]);
        if (threadIdx.x < chunk) {
            row_shift[threadIdx.x] = next_l.shift, row_rest[threadIdx.x] = next_l.rest;
            row_delta[threadIdx.x] = next_delta;
        }
        __syncthreads();
        if (from + chunk < s.queries) fetch(from + chunk);
        if (s.causal && from + chunk <= own.mine) continue; // no query of the chunk sees a key of this warp
        Piece p = {}, ds = {};                              // rows are keys, columns queries
        add_product(key, stored[0], p);                     // (1), base 2
        add_product(value, stored[1], ds);                  // dP
#pragma unroll
        for (int i = 0; i < 2; ++i)
            for (int e = 0; e < part; ++e) {
                const int r = piece_column() + e;
                const bool seen = own.row(i) < s.keys && (!s.causal || own.row(i) <= from + r);
                const float share = LogSum<float>{row_shift[r], row_rest[r]}.share(p[i][e]);
                p[i][e] = seen ? exp2(share + up) : 0.f;        // (2)
                ds[i][e] = p[i][e] * (ds[i][e] - row_delta[r]); // (dS)
            }
        add_product(Rows<P>::of_shares(p), stored[3], sum_v); // (dv)
        add_product(Rows<P>::of(ds), stored[2], sum_k);       // (dk), times log2(e)
    }
    write(dk + at.k, s.kv_stride, own, s.keys, s.d_head, sum_k,
          [=](float& to, float sum) { to += sum * (down / log2_e); });
    write(dv + at.v, s.value_stride(), own, s.keys, width, sum_v, [=](float& to, float sum) { to += sum * down; });
}

inline unsigned grid(const AttentionShape& s, int owners) {
    return static_cast<unsigned>(int64_t{s.batch} * s.heads * blocks_for(owners, rows));
}

inline void forward(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    in_precision([=](auto p) { FCI_LAUNCH(forward_kernel<p()>, grid(s, s.queries), threads, 0, s, q, k, v, y, lse); });
}
inline void backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y, const float* lse,
                     const float* dy, float* dq, float* dk, float* dv, float* delta) {
    in_precision([=](auto p) {
        FCI_LAUNCH(dq_kernel<p()>, grid(s, s.queries), threads, 0, s, q, k, v, y, lse, dy, dq, delta);
        FCI_LAUNCH(dkv_kernel<p()>, grid(s, s.keys), threads, 0, s, q, k, v, lse, delta, dy, dk, dv);
    });
}

} // namespace fci::cuda::mma_attention
