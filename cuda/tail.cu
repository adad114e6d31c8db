// The tail on the GPU; src/model/tail.h says what the tail is and what a query's record holds. Forward and backward,
// one block computes one query, with all of its numbers in shared memory and a barrier between two steps. Weights come
// from the L2 cache, 1 MB per block at the paper's sizes; that and some 15 barriers bound the speed: 32 queries leave
// most of a GPU idle. Then two kernels compute what all queries add to, in query order: the weights' gradients, 32 x 32
// of one per block (cuda/few_rows.cuh), and dx, one warp per row.
#include "model/tail.h"

#include "cuda/block_rows.cuh"
#include "cuda/few_rows.cuh"
#include "cuda/rank.cuh"
#include "cuda/softmax.cuh"

namespace fci::cuda {
namespace {

using Weights = TailWeights<const float>;

__device__ float routing_scale(const TailShape& s) { return 1.f / sqrtf(static_cast<float>(s.heads) * s.d); }
__device__ float attention_scale(const TailShape& s) { return 1.f / sqrtf(static_cast<float>(s.d / s.heads)); }

__global__ void __launch_bounds__(TailShape::most_threads)
    forward_kernel(TailShape s, Weights w, const float* x, const int32_t* query, float* scores, int32_t* chosen,
                   float* logits, float* saved) {
    FCI_DYN_SHARED(float, R);
    const TailRecord at(s);
    float *score = R + at.size, *partial = score + whole_fours(s.time);
    const int of = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x),
              count = static_cast<int>(blockDim.x), warp = thread / 32, warps = count / 32, lane = thread % 32;
    const int d = s.d, m = s.seen(), width = d / s.heads;
    const float* rows = x + int64_t{of / s.rows} * s.time * d;
    float *xq = R + at.x + m * d, *nq = R + at.n + m * d;
    int32_t* best = chosen + int64_t{of} * m;
    const auto row_of = [&](const float* matrix, int n) { return [=](int o) { return matrix + int64_t{o} * n; }; };
    const auto always = [](const float* v) { return [=](int) { return v; }; };

    for (int c = thread; c < d; c += count) xq[c] = rows[int64_t{query[of]} * d + c];
    __syncthreads();
    if (warp == 0) norm_row(d, xq, w.norm1.w, w.norm1.b, nq, R + at.mean + m, R + at.rstd + m);
    dots(warp, warps, d, d, row_of(w.wq, d), always(xq), [&](int o, float v) { R[at.p + o] = v; });
    columns<1>(1, d, d, R + at.p, 0, w.wk, partial, [&](int, int i, float v) { R[at.w + i] = v; });
    __syncthreads();
    const float scale = routing_scale(s);
    dots(warp, warps, s.time, d, row_of(rows, d), always(R + at.w), [&](int j, float v) { score[j] = scale * v; });
    __syncthreads();
    for (int j = thread; j < s.time; j += count) scores[int64_t{of} * s.time + j] = score[j];
    if (warp == 0)
        choose_best(s.time, score, s.k, best);
    else
        dots(warp - 1, warps - 1, d, d, row_of(w.q.w, d), always(nq),
             [&](int o, float v) { R[at.q + o] = v + w.q.b[o]; });
    __syncthreads();
    for (int j = warp; j < m; j += warps) {
        float* to = R + at.x + j * d;
        for (int c = lane; c < d; c += 32)
            to[c] = rows[int64_t{best[j]} * d + c]; // each lane reads only what it wrote itself
        norm_row(d, to, w.norm1.w, w.norm1.b, R + at.n + j * d, R + at.mean + j, R + at.rstd + j);
    }
    __syncthreads();
    dots(
        warp, warps, 2 * d * m, d, [&](int e) { return w.kv.w + int64_t{e / m} * d; },
        [&](int e) { return R + at.n + e % m * d; },
        [&](int e, float v) { R[at.kv + e % m * 2 * d + e / m] = v + w.kv.b[e / m]; });
    __syncthreads();
    for (int e = warp; e < s.heads * m; e += warps) { // a head's score of a position
        const float *q = R + at.q + e / m * width, *k = R + at.kv + e % m * 2 * d + e / m * width;
        float sum = 0;
        for (int c = lane; c < width; c += 32) sum += q[c] * k[c];
        sum = warp_sum(sum);
        if (lane == 0) R[at.share + e] = attention_scale(s) * sum;
    }
    __syncthreads();
    for (int h = warp; h < s.heads; h += warps) warp_softmax(m, R + at.share + h * m, R + at.share + h * m);
    __syncthreads();
    for (int c = thread; c < d; c += count) {
        float sum = 0;
        for (int j = 0; j < m; ++j) sum += R[at.share + c / width * m + j] * R[at.kv + j * 2 * d + d + c];
        R[at.y + c] = sum;
    }
    __syncthreads();
    dots(warp, warps, d, d, row_of(w.out.w, d), always(R + at.y),
         [&](int o, float v) { R[at.u + o] = xq[o] + (v + w.out.b[o]); });
    __syncthreads();
    if (warp == 0) norm_row(d, R + at.u, w.norm2.w, w.norm2.b, R + at.n2, R + at.mean + m + 1, R + at.rstd + m + 1);
    __syncthreads();
    dots(warp, warps, s.hidden(), d, row_of(w.up.w, d), always(R + at.n2), [&](int o, float v) {
        R[at.pre + o] = v + w.up.b[o];
        R[at.act + o] = gelu(R[at.pre + o]);
    });
    __syncthreads();
    dots(warp, warps, d, s.hidden(), row_of(w.down.w, s.hidden()), always(R + at.act),
         [&](int o, float v) { R[at.h + o] = R[at.u + o] + (v + w.down.b[o]); });
    __syncthreads();
    if (warp == 0) norm_row(d, R + at.h, w.norm3.w, w.norm3.b, R + at.n3, R + at.mean + m + 2, R + at.rstd + m + 2);
    __syncthreads();
    dots(warp, warps, s.vocab, d, row_of(w.head.w, d), always(R + at.n3),
         [&](int o, float v) { logits[int64_t{of} * s.vocab + o] = v + w.head.b[o]; });
    for (int i = thread; saved && i < at.size; i += count) saved[int64_t{of} * at.size + i] = R[i];
}

// made: the record of gradients that this kernel writes.
__global__ void __launch_bounds__(TailShape::most_threads)
    backward_kernel(TailShape s, Weights w, const float* x, const float* saved, const float* dscores,
                    const float* dlogits, float* made) {
    FCI_DYN_SHARED(float, R);
    const TailRecord at(s);
    float *G = R + at.size, *ds = G + at.size, *dz = ds + whole_fours(s.time), *partial = dz + whole_fours(s.vocab);
    const int of = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x),
              count = static_cast<int>(blockDim.x), warp = thread / 32, warps = count / 32, lane = thread % 32;
    const int d = s.d, m = s.seen(), width = d / s.heads;
    const float* rows = x + int64_t{of / s.rows} * s.time * d;
    const auto norm_backward = [&](int row, int from, const float* weight, const float* dy, auto out) {
        norm_row_backward(d, R + from, weight, R[at.mean + row], R[at.rstd + row], dy, out);
    };

    for (int i = thread; i < at.size; i += count) R[i] = saved[int64_t{of} * at.size + i];
    for (int j = thread; j < s.time; j += count) ds[j] = routing_scale(s) * dscores[int64_t{of} * s.time + j];
    for (int o = thread; o < s.vocab; o += count) dz[o] = dlogits[int64_t{of} * s.vocab + o];
    columns<1>(1, s.vocab, d, dz, 0, w.head.w, partial, [&](int, int i, float v) { G[at.n3 + i] = v; });
    columns<1>(1, s.time, d, ds, 0, rows, partial, [&](int, int i, float v) { G[at.w + i] = v; }); // (dw)
    __syncthreads();
    if (warp == 0)
        norm_backward(m + 2, at.h, w.norm3.w, G + at.n3, [&](int c, float v) { G[at.h + c] = v; });
    else
        dots(
            warp - 1, warps - 1, d, d, [&](int o) { return w.wk + int64_t{o} * d; }, [&](int) { return G + at.w; },
            [&](int o, float v) { G[at.p + o] = v; }); // (dp)
    columns<1>(1, d, s.hidden(), G + at.h, 0, w.down.w, partial,
               [&](int, int i, float v) { G[at.pre + i] = v * gelu_derivative(R[at.pre + i]); });
    columns<1>(1, s.hidden(), d, G + at.pre, 0, w.up.w, partial, [&](int, int i, float v) { G[at.n2 + i] = v; });
    __syncthreads();
    if (warp == 0)
        norm_backward(m + 1, at.u, w.norm2.w, G + at.n2, [&](int c, float v) { G[at.u + c] = G[at.h + c] + v; });
    columns<1>(1, d, d, G + at.u, 0, w.out.w, partial, [&](int, int i, float v) { G[at.y + i] = v; });
    __syncthreads();
    for (int e = warp; e < s.heads * m; e += warps) { // dP
        const float *dy = G + at.y + e / m * width, *v = R + at.kv + e % m * 2 * d + d + e / m * width;
        float sum = 0;
        for (int c = lane; c < width; c += 32) sum += dy[c] * v[c];
        sum = warp_sum(sum);
        if (lane == 0) G[at.share + e] = sum;
    }
    __syncthreads();
    for (int h = warp; h < s.heads; h += warps) // (delta) (dS)
        warp_softmax_backward(m, R + at.share + h * m, G + at.share + h * m, G + at.share + h * m, true);
    __syncthreads();
    const float scale = attention_scale(s);
    for (int c = thread; c < d; c += count) {
        float sum = 0;
        for (int j = 0; j < m; ++j) sum += G[at.share + c / width * m + j] * R[at.kv + j * 2 * d + c];
        G[at.q + c] = scale * sum; // (dq)
    }
    for (int e = thread; e < m * d; e += count) {
        const int j = e / d, c = e % d, share = at.share + c / width * m + j;
        G[at.kv + j * 2 * d + c] = scale * G[share] * R[at.q + c]; // (dk)
        G[at.kv + j * 2 * d + d + c] = R[share] * G[at.y + c];     // (dv)
    }
    columns<1>(1, d, d, G + at.q, 0, w.q.w, partial, [&](int, int i, float v) { G[at.n + m * d + i] = v; });
    columns<TailShape::at_once>(m, 2 * d, d, G + at.kv, 2 * d, w.kv.w, partial,
                                [&](int r, int i, float v) { G[at.n + r * d + i] = v; });
    columns<1>(1, d, d, G + at.p, 0, w.wq, partial, [&](int, int i, float v) { G[at.x + m * d + i] = v; }); // (dxq)
    __syncthreads();
    for (int r = warp; r <= m; r += warps)
        norm_backward(r, at.x + r * d, w.norm1.w, G + at.n + r * d, [&](int c, float v) {
            float& to = G[at.x + r * d + c];
            to = r < m ? v : to + (G[at.u + c] + v);
        });
    __syncthreads();
    for (int i = thread; i < at.mean; i += count) made[int64_t{of} * at.size + i] = G[i];
}

// Gradients that all queries add to: dW[o,i] += sum dy[o] x[i], db[o] += sum dy[o], over `each` rows of every query in
// turn.
struct Rows { // row r is row r % each of query r / each
    const float* first;
    int each, width, stride; // rows per query; their width; floats between queries
    __device__ const float* operator[](int r) const { return first + int64_t{r / each} * stride + r % each * width; }
};
struct Product {
    Rows dy, x;
    float *dw, *db; // db may be null
    __device__ __host__ int tiles() const {
        const int down = (dy.width + tile - 1) / tile, across = (x.width + tile - 1) / tile;
        return down * (across + (db ? 1 : 0));
    }
};
struct NormSums {
    Rows dy, x, mean, rstd;
    float *dw, *db;
};
struct Sums {
    int queries;
    Product product[8];
    NormSums norm[3];
};

__device__ void add_product(const Product& p, int queries, int block, float* shared) {
    const int rows = queries * p.dy.each, across = few_rows::tiles_of(p.x.width), down = few_rows::tiles_of(p.dy.width);
    if (block < down * across) {
        const int o0 = block / across * tile, i0 = block % across * tile;
        const auto at = [&](const Rows& of, int r, int c) { return r < rows && c < of.width ? of[r][c] : 0.f; };
        few_rows::product<few_rows::Along::other, few_rows::Along::other>(
            shared, rows, [&](int o, int r) { return at(p.dy, r, o0 + o); },
            [&](int r, int i) { return at(p.x, r, i0 + i); },
            [&](int o, int i, float sum) {
                if (o0 + o < p.dy.width && i0 + i < p.x.width) p.dw[int64_t{o0 + o} * p.x.width + i0 + i] += sum;
            });
        return;
    }
    const int o = (block - down * across) * tile + static_cast<int>(threadIdx.x);
    const float sum = sum_in_strands<float>(0, rows, o < p.dy.width, [&](int r) { return p.dy[r][o]; });
    if (o < p.dy.width && threadIdx.y == 0) p.db[o] += sum;
}

// A block of (32,8) threads computes a tile of a product, or 32 columns of a sum.
__global__ void sums_kernel(Sums sums) {
    FCI_SHARED(float4, fours, few_rows::floats / 4);
    int block = static_cast<int>(blockIdx.x);
    for (const Product& p : sums.product) {
        if (block < p.tiles()) return add_product(p, sums.queries, block, reinterpret_cast<float*>(fours));
        block -= p.tiles();
    }
    const int d = sums.norm[0].dy.width, blocks = few_rows::tiles_of(d);
    const NormSums& n = sums.norm[block / blocks];
    const int c = block % blocks * tile + static_cast<int>(threadIdx.x);
    const Pair sum = sum_in_strands<Pair>(0, sums.queries * n.dy.each, c < d, [&](int r) {
        const float dy = n.dy[r][c];
        return Pair{dy * ((n.x[r][c] - *n.mean[r]) * *n.rstd[r]), dy};
    });
    if (c < d && threadIdx.y == 0) n.dw[c] += sum.first, n.db[c] += sum.second;
}

constexpr int dx_warps = 4;
__global__ void dx_kernel(TailShape s, const int32_t* query, const int32_t* chosen, const float* saved,
                          const float* made, const float* dscores, float* dx) {
    const int64_t row = int64_t{blockIdx.x} * dx_warps + threadIdx.x / 32;
    if (row >= int64_t{s.batch} * s.time) return;
    const TailRecord at(s);
    const int first = quotient(row, s.time) * s.rows, j = modulo(row, s.time), m = s.seen();
    for (int c = threadIdx.x % 32; c < s.d; c += 32) {
        float sum = dx[row * s.d + c];
        for (int q = first; q < first + s.rows; ++q) {
            const int64_t record = int64_t{q} * at.size;
            sum += routing_scale(s) * dscores[int64_t{q} * s.time + j] * saved[record + at.w + c];
            for (int e = 0; e < m; ++e)
                if (chosen[int64_t{q} * m + e] == j) sum += made[record + at.x + e * s.d + c];
            if (query[q] == j) sum += made[record + at.x + m * s.d + c];
        }
        dx[row * s.d + c] = sum;
    }
}

} // namespace

void tail_forward(TailShape s, Weights w, const float* x, const int32_t* query, float* scores, int32_t* chosen,
                  float* logits, float* saved) {
    if (!s.queries()) return;
    const int floats = TailRecord(s).size + whole_fours(s.time) + 4 * s.threads();
    FCI_LAUNCH(forward_kernel, static_cast<unsigned>(s.queries()), s.threads(), floats * sizeof(float), s, w, x, query,
               scores, chosen, logits, saved);
}

void tail_backward(TailShape s, Weights w, TailWeights<float> to, const float* x, const int32_t* query,
                   const int32_t* chosen, const float* saved, const float* dscores, const float* dlogits, float* dx) {
    if (!s.queries()) return;
    const TailRecord at(s);
    Scratch scratch;
    float* made = scratch.floats(int64_t{s.queries()} * at.size);
    FCI_LAUNCH(backward_kernel, static_cast<unsigned>(s.queries()), s.threads(), tail_floats(s) * sizeof(float), s, w,
               x, saved, dscores, dlogits, made);
    const int d = s.d, m = s.seen(), wide = s.hidden();
    const auto rows = [&](const float* of, int from, int width, int each = 1) {
        return Rows{of + from, each, width, at.size};
    };
    const Sums sums{s.queries(),
                    {{{dlogits, 1, s.vocab, s.vocab}, rows(saved, at.n3, d), to.head.w, to.head.b},
                     {rows(made, at.h, d), rows(saved, at.act, wide), to.down.w, to.down.b},
                     {rows(made, at.pre, wide), rows(saved, at.n2, d), to.up.w, to.up.b},
                     {rows(made, at.u, d), rows(saved, at.y, d), to.out.w, to.out.b},
                     {rows(made, at.kv, 2 * d, m), rows(saved, at.n, d, m), to.kv.w, to.kv.b},
                     {rows(made, at.q, d), rows(saved, at.n + m * d, d), to.q.w, to.q.b},
                     {rows(made, at.p, d), rows(saved, at.x + m * d, d), to.wq, nullptr},
                     {rows(saved, at.p, d), rows(made, at.w, d), to.wk, nullptr}},
                    {{rows(made, at.n, d, m + 1), rows(saved, at.x, d, m + 1), rows(saved, at.mean, 1, m + 1),
                      rows(saved, at.rstd, 1, m + 1), to.norm1.w, to.norm1.b},
                     {rows(made, at.n2, d), rows(saved, at.u, d), rows(saved, at.mean + m + 1, 1),
                      rows(saved, at.rstd + m + 1, 1), to.norm2.w, to.norm2.b},
                     {rows(made, at.n3, d), rows(saved, at.h, d), rows(saved, at.mean + m + 2, 1),
                      rows(saved, at.rstd + m + 2, 1), to.norm3.w, to.norm3.b}}};
    unsigned blocks = 3 * blocks_for(d, tile);
    for (const Product& p : sums.product) blocks += static_cast<unsigned>(p.tiles());
    FCI_LAUNCH(sums_kernel, blocks, few_rows::threads(), 0, sums);
    FCI_LAUNCH(dx_kernel, blocks_for(int64_t{s.batch} * s.time, dx_warps), 32 * dx_warps, 0, s, query, chosen, saved,
               made, dscores, dx);
}

} // namespace fci::cuda
