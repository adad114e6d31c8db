// linear_attention on the GPU; the mathematics is in src/ops/linear_attention.h. Sums over time (S and z, their
// gradients) are cut into parts of 64 rows, one warp each; the partial sums are then added in order. Row results are
// computed by warps, 32 rows at a time, with S in shared memory for all warps of a block. Products are 32 x 32 tiles
// (cuda/tile.cuh); wider heads are cut into panels of 32 columns (blockIdx.y, z). Bound by reading and writing qkv, y
// and their gradients.
#include "ops/linear_attention.h"

#include "cuda/tile.cuh"

namespace fci::cuda {
namespace {

constexpr int part = 64, most_warps = 4, ld32 = row_stride(tile);

// Where a head's columns begin in qkv and in y, and its S and z in saved.
struct Place {
    int64_t in, out, sums;
    __device__ Place(const LinearAttentionShape& s, int64_t index) {
        const int64_t row = index / s.heads * s.time, column = index % s.heads * s.d_head;
        in = row * 3 * s.d() + column;
        out = row * s.d() + column;
        sums = index * s.sums();
    }
};

// partial[head,part]: forward S = sum_j b[j] v[j]^T, z = sum_j b[j]; backward dS = sum_i a[i] g[i]^T, dz = -sum_i e[i]
// a[i]
template <bool backward>
__global__ void __launch_bounds__(32) sums_kernel(LinearAttentionShape s, int parts, const float* qkv, const float* dy,
                                                  const float* n, const float* e, float* partial) {
    FCI_DYN_SHARED(float, At); // (tile,tile): features, transposed
    float *B = At + tile * ld32, *weight = B + tile * ld32;
    const int64_t head = blockIdx.x / parts;
    const Place at(s, head);
    const int lane = threadIdx.x, d = s.d_head, column = blockIdx.y * tile, to = blockIdx.z * tile;
    const int first = blockIdx.x % parts * part, end = min(s.time, first + part), stride = 3 * s.d();
    const float* x = qkv + at.in + (backward ? 0 : s.d());
    Tile sum = {};
    float z = 0;
    for (int from = first; from < end; from += tile) {
        __syncthreads(); // the previous rows have been read
        for (int j = 0; j < tile; ++j) {
            const int64_t i = from + j;
            const bool left = i < end && column + lane < d, right = i < end && to + lane < d;
            At[lane * ld32 + j] = left ? elu_plus_one(x[i * stride + column + lane]) : 0.f; // (1)
            if constexpr (backward)
                B[j * ld32 + lane] = right ? dy[at.out + i * s.d() + to + lane] / n[head * s.time + i] : 0.f; // (g)
            else
                B[j * ld32 + lane] = right ? qkv[at.in + i * stride + 2 * s.d() + to + lane] : 0.f;
        }
        weight[lane] = backward && from + lane < end ? -e[head * s.time + from + lane] : 1.f;
        __syncthreads();
        add_product_ab(tile, At, ld32, B, ld32, tile, sum);                  // (2), (dS)
        for (int j = 0; j < tile; ++j) z += At[lane * ld32 + j] * weight[j]; // (2), (dz)
    }
    float* S = partial + blockIdx.x * s.sums();
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 4; ++j) {
            const int c = column + tile_row() + 4 * i, m = to + 4 * tile_column() + j;
            if (c < d && m < d) S[int64_t{c} * d + m] = sum[i][j];
        }
    if (to == 0 && column + lane < d) S[int64_t{d} * d + column + lane] = z;
}

template <bool backward>
void sums(LinearAttentionShape s, const float* qkv, const float* dy, const float* n, const float* e, float* to) {
    const unsigned parts = blocks_for(s.time, part), panels = blocks_for(s.d_head, tile), heads = s.batch * s.heads;
    const int64_t each_sums = s.sums();
    Scratch scratch;
    float* partial = scratch.floats(int64_t{heads} * parts * each_sums);
    FCI_LAUNCH(sums_kernel<backward>, dim3(heads * parts, panels, panels), 32, (2 * ld32 + 1) * tile * sizeof(float), s,
               static_cast<int>(parts), qkv, dy, n, e, partial);
    each(heads * each_sums, [=] __device__(int64_t i) {
        const float* from = partial + (i / each_sums * parts) * each_sums + i % each_sums;
        float sum = 0;
        for (unsigned p = 0; p < parts; ++p) sum += from[p * each_sums];
        to[i] = sum;
    });
}

// What a block of rows works on.
struct Work {
    int64_t head;
    int rows, first, my_rows, column; // the block's rows; its first; this warp's in the block; the panel's first
    __device__ explicit Work(int tiles)
        : head(blockIdx.x / tiles), rows(blockDim.x), first(blockIdx.x % tiles * rows),
          my_rows(static_cast<int>(threadIdx.x) / 32 * tile), column(blockIdx.y * tile) {}
};

// Features of rows, otherwise as load_rows; no barrier is needed in between, since one thread loads and maps each
// number.
template <class Row>
__device__ __forceinline__ void load_features(int rows, int d, const float* from, int stride, float* to, int ld,
                                              Row row) {
    load_rows(rows, d, from, stride, 1.f, to, ld, row);
    for (int r = threadIdx.x / 32; r < rows; r += blockDim.x / 32)
        for (int c = threadIdx.x % 32; c < d && row(r) >= 0; c += 32) to[r * ld + c] = elu_plus_one(to[r * ld + c]);
}

__global__ void __launch_bounds__(most_warps * 32)
    rows_forward_kernel(LinearAttentionShape s, int tiles, const float* qkv, float* y, const float* saved) {
    FCI_DYN_SHARED(float, A); // (rows,d)
    const Work work(tiles);
    const Place at(s, work.head);
    const int d = s.d_head, ld = row_stride(d), w = min(tile, d - work.column), row = tile_row(),
              column = tile_column();
    const float *S = saved + at.sums, *z = S + int64_t{d} * d;
    float* Sp = A + work.rows * ld; // (d,w): this panel's columns of S
    load_features(work.rows, d, qkv + at.in, 3 * s.d(), A, ld,
                  [&](int r) { return work.first + r < s.time ? work.first + r : -1; });
    load_rows(whole_fours(d), w, S + work.column, d, 1.f, Sp, ld32, [&](int r) { return r < d ? r : -1; });
    __syncthreads();
    const float* my_A = A + work.my_rows * ld;
    Tile acc = {};
    add_product_ab(d, my_A, ld, Sp, ld32, w, acc); // (3), to be divided by n
    for (int i = 0; i < 8; ++i) {
        const int own = work.first + work.my_rows + row + 4 * i;
        float n = 0;
        for (int c = column; c < d; c += 8) n += my_A[(row + 4 * i) * ld + c] * z[c];
        n = row_sum(n);
        for (int j = 0; j < 4; ++j)
            if (own < s.time && 4 * column + j < w)
                y[at.out + int64_t{own} * s.d() + work.column + 4 * column + j] = acc[i][j] / n;
    }
}

__global__ void __launch_bounds__(most_warps * 32)
    dq_kernel(LinearAttentionShape s, int tiles, const float* qkv, const float* y, const float* saved, const float* dy,
              float* dqkv, float* norm, float* e) {
    FCI_DYN_SHARED(float, G); // (rows,d)
    const Work work(tiles);
    const Place at(s, work.head);
    const int d = s.d_head, ld = row_stride(d), stride = 3 * s.d(), row = tile_row(), column = tile_column();
    const float *S = saved + at.sums, *z = S + int64_t{d} * d, *q = qkv + at.in;
    float *Sp = G + work.rows * ld, *my_G = G + work.my_rows * ld, of_row[8]; // Sp (tile,d): this panel's rows of S
    load_rows(tile, d, S + int64_t{work.column} * d, d, 1.f, Sp, ld,
              [&](int r) { return work.column + r < d ? r : -1; });
    for (int i = 0; i < 8; ++i) {
        const int own = work.first + work.my_rows + row + 4 * i;
        const int64_t out = at.out + int64_t{own} * s.d();
        float n = 0, sum = 0;
        for (int c = column; c < d && own < s.time; c += 8) n += elu_plus_one(q[int64_t{own} * stride + c]) * z[c];
        n = row_sum(n);
        for (int c = column; c < whole_fours(d); c += 8) {
            const bool there = own < s.time && c < d;
            const float g = there ? dy[out + c] / n : 0.f; // (g)
            my_G[(row + 4 * i) * ld + c] = g;
            if (there) sum += y[out + c] * g;
        }
        of_row[i] = row_sum(sum); // (e)
        if (own < s.time && column == 0 && work.column == 0) {
            norm[work.head * s.time + own] = n;
            e[work.head * s.time + own] = of_row[i];
        }
    }
    __syncthreads();
    Tile da = {};
    add_product_abt(d, my_G, ld, Sp, ld, da); // (da), first term
    for (int i = 0; i < 8; ++i) {
        const int own = work.first + work.my_rows + row + 4 * i;
        for (int j = 0; j < 4; ++j) {
            const int c = work.column + column + 8 * j;
            const int64_t to = at.in + int64_t{own} * stride + c;
            if (own < s.time && c < d)
                dqkv[to] += (da[i][j] - of_row[i] * z[c]) * elu_plus_one_derivative(qkv[to]); // (da) (dq)
        }
    }
}

__global__ void __launch_bounds__(most_warps * 32)
    dkv_kernel(LinearAttentionShape s, int tiles, const float* qkv, const float* d_sums, float* dqkv) {
    FCI_DYN_SHARED(float, B); // (rows,d)
    const Work work(tiles);
    const Place at(s, work.head);
    const int d = s.d_head, ld = row_stride(d), stride = 3 * s.d(), w = min(tile, d - work.column);
    const int row = tile_row(), column = tile_column();
    const float *dS = d_sums + at.sums, *dz = dS + int64_t{d} * d;
    const int64_t k = at.in + s.d(), v = k + s.d();
    // V (rows,d); this panel's rows (tile,d) and columns (d,w) of dS
    float *V = B + work.rows * ld, *dS_rows = V + work.rows * ld, *dS_columns = dS_rows + tile * ld;
    const auto key_of = [&](int r) { return work.first + r < s.time ? work.first + r : -1; };
    load_features(work.rows, d, qkv + k, stride, B, ld, key_of);
    load_rows(work.rows, d, qkv + v, stride, 1.f, V, ld, key_of);
    load_rows(tile, d, dS + int64_t{work.column} * d, d, 1.f, dS_rows, ld,
              [&](int r) { return work.column + r < d ? r : -1; });
    load_rows(whole_fours(d), w, dS + work.column, d, 1.f, dS_columns, ld32, [&](int r) { return r < d ? r : -1; });
    __syncthreads();
    Tile db = {}, dV = {};
    add_product_abt(d, V + work.my_rows * ld, ld, dS_rows, ld, db);        // (db), first term
    add_product_ab(d, B + work.my_rows * ld, ld, dS_columns, ld32, w, dV); // (dv)
    for (int i = 0; i < 8; ++i) {
        const int own = work.first + work.my_rows + row + 4 * i;
        for (int j = 0; j < 4 && own < s.time; ++j) {
            const int c = work.column + column + 8 * j, m = work.column + 4 * column + j;
            const int64_t to_k = k + int64_t{own} * stride + c, to_v = v + int64_t{own} * stride + m;
            if (c < d) dqkv[to_k] += (db[i][j] + dz[c]) * elu_plus_one_derivative(qkv[to_k]); // (db) (dk)
            if (m < d) dqkv[to_v] += dV[i][j];
        }
    }
}

// How the kernels over rows are launched: as many warps per block as shared memory has room for.
struct Plan {
    int warps, tiles;
    dim3 grid;
    size_t bytes;
};
Plan plan(const LinearAttentionShape& s, int row_floats, int block_floats) {
    int warps = min(most_warps, static_cast<int>(blocks_for(s.time, tile)));
    const auto bytes = [&] { return sizeof(float) * (size_t(warps) * tile * row_floats + block_floats); };
    while (warps > 1 && bytes() > static_cast<size_t>(shared_limit())) --warps;
    check(bytes() <= static_cast<size_t>(shared_limit()),
          "linear_attention: heads of {} need more shared memory than this GPU has ({} bytes); use more heads",
          s.d_head, shared_limit());
    const int tiles = static_cast<int>(blocks_for(s.time, warps * tile));
    return {warps, tiles, dim3(static_cast<unsigned>(s.batch * s.heads * tiles), blocks_for(s.d_head, tile)), bytes()};
}

} // namespace

void linear_attention_forward(LinearAttentionShape s, const float* qkv, float* y, float* saved) {
    if (s.batch == 0 || s.time == 0) return;
    sums<false>(s, qkv, nullptr, nullptr, nullptr, saved);
    const int d = s.d_head;
    const Plan p = plan(s, row_stride(d), whole_fours(d) * ld32);
    FCI_LAUNCH(rows_forward_kernel, p.grid, p.warps * tile, p.bytes, s, p.tiles, qkv, y, saved);
}

void linear_attention_backward(LinearAttentionShape s, const float* qkv, const float* y, const float* saved,
                               const float* dy, float* dqkv) {
    if (s.batch == 0 || s.time == 0) return;
    const int d = s.d_head, ld = row_stride(d);
    const int64_t rows = int64_t{s.batch} * s.heads * s.time;
    Scratch scratch;
    float *n = scratch.floats(rows), *e = scratch.floats(rows), *d_sums = scratch.floats(s.saved_size()); // dS, dz
    const Plan of_q = plan(s, ld, tile * ld);
    FCI_LAUNCH(dq_kernel, of_q.grid, of_q.warps * tile, of_q.bytes, s, of_q.tiles, qkv, y, saved, dy, dqkv, n, e);
    sums<true>(s, qkv, dy, n, e, d_sums);
    const Plan of_kv = plan(s, 2 * ld, tile * ld + whole_fours(d) * ld32);
    FCI_LAUNCH(dkv_kernel, of_kv.grid, of_kv.warps * tile, of_kv.bytes, s, of_kv.tiles, qkv, d_sums, dqkv);
}

} // namespace fci::cuda
