#include "ops/attention.h"

#include <algorithm>

#include "core/scalar.h"
#include "core/scratch.h"
#include "core/tile.h"

// How the products are laid out: one head's q, k, v and dy (strided columns of wider tensors) are copied once into
// dense blocks, d padded with zeros to whole vectors of 16 and keys to whole tiles; k and v also transposed, tile by
// tile, so that every product below is a tile_product with a contiguous B. The copies are O(n d) against O(n^2 d).
namespace fci {
namespace cpu {
namespace {

constexpr int R = AttentionShape::rows, J = AttentionShape::tile;

int round_up(int n, int to) { return (n + to - 1) / to * to; }

// rows of d numbers, `stride` apart -> (padded_rows, padded_d), times a factor
void copy_head(const float* from, int rows, int stride, int d, float factor, float* to, int padded_rows, int padded_d) {
    if (padded_rows > rows || padded_d > d) std::fill(to, to + padded_rows * padded_d, 0.f);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < d; ++c) to[r * padded_d + c] = factor * from[int64_t{r} * stride + c];
}

// The same into tiles of transposed rows: to[tile][c][j], key tile * J + j
void copy_transposed(const float* from, int rows, int stride, int d, float* to, int padded_rows, int padded_d) {
    if (padded_rows > rows || padded_d > d) std::fill(to, to + padded_rows * padded_d, 0.f);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < d; ++c) to[(r / J * padded_d + c) * J + r % J] = from[int64_t{r} * stride + c];
}

// The keys of a tile as far as they are worked on: whole vectors, those beyond the last key are zero.
int tile_keys(const AttentionShape& s, int tile) { return std::min(J, round_up(s.keys - tile * J, wide_columns)); }

// S (rows,keys) = a (rows,d) times a transposed tile (d,J); of d only the first `width` are not zero
void scores(int rows, int keys, int width, int d, const float* a, const float* tile, float* S, int stride) {
    each_strip<wide_rows>(rows, [&](auto MR, int r) {
        for (int j = 0; j < keys; j += wide_columns)
            tile_product<MR(), wide_vectors>(width, a + r * d, d, 1, tile + j, J, false, S + r * stride + j, stride);
    });
}

// C (m,d) (+)= sum_l A[i,l] B[l,:], d a multiple of 16
void weighted_rows(int m, int k, const float* a, int row_step, int l_step, const float* b, int d, bool add, float* c) {
    each_strip<tall_rows>(m, [&](auto MR, int i) {
        const float* ai = a + i * row_step;
        int col = 0;
        for (; col + tall_columns <= d; col += tall_columns)
            tile_product<MR(), tall_vectors>(k, ai, row_step, l_step, b + col, d, add, c + i * d + col, d);
        for (; col < d; col += lane_count)
            tile_product<MR(), 1>(k, ai, row_step, l_step, b + col, d, add, c + i * d + col, d);
    });
}

// Where one head of one sequence begins in q, k, v, y, lse.
struct Head {
    int64_t q, k, v, y, lse;
};
template <class F>
void for_each_head(const AttentionShape& s, F f) {
    for (int b = 0; b < s.batch; ++b)
        for (int head = 0; head < s.heads; ++head)
            f(Head{int64_t{b} * s.queries * s.q_stride + head * s.d_head,
                   int64_t{b} * s.keys * s.kv_stride + head / s.shared * s.d_head,
                   int64_t{b} * s.keys * s.value_stride() + head / s.shared * s.value_width(),
                   (int64_t{b} * s.queries * s.heads + head) * s.value_width(),
                   (int64_t{b} * s.heads + head) * s.queries});
}

// How many keys row i sees.
int seen(const AttentionShape& s, int i) { return s.causal ? i + 1 : s.keys; }

float scale(const AttentionShape& s) { return 1.f / std::sqrt(static_cast<float>(s.d_head)); }

} // namespace

void attention_forward(AttentionShape s, const float* q, const float* k, const float* v, float* y, float* lse) {
    const int nk = round_up(s.keys, J), d = round_up(s.d_head, 16), width = s.value_width(), w = round_up(width, 16);
    const int y_stride = s.heads * width, S_stride = nk + 16; // + 16: rows in different sets of the cache
    Scratch scratch;
    float *Q = scratch.floats(s.queries * d), *Kt = scratch.floats(nk * d), *V = scratch.floats(nk * w);
    float *S = scratch.floats(R * S_stride), *O = scratch.floats(R * w);
    for_each_head(s, [&](const Head& at) {
        copy_head(q + at.q, s.queries, s.q_stride, s.d_head, scale(s) * log2_e, Q, s.queries, d);
        copy_transposed(k + at.k, s.keys, s.kv_stride, s.d_head, Kt, nk, d);
        copy_head(v + at.v, s.keys, s.value_stride(), width, 1.f, V, nk, w);
        for (int first = 0; first < s.queries; first += R) {
            const int rows = std::min(R, s.queries - first), tiles = (seen(s, first + rows - 1) + J - 1) / J;
            const int keys = (tiles - 1) * J + tile_keys(s, tiles - 1);
            for (int t = 0; t < tiles; ++t)
                scores(rows, tile_keys(s, t), s.d_head, d, Q + first * d, Kt + t * J * d, S + t * J,
                       S_stride); // (1), base 2
            float total[R];
            for (int r = 0; r < rows; ++r) { // row[j] <- exp2(row[j] - highest), of sum total[r]
                float* row = S + r * S_stride;
                const int n = seen(s, first + r);
                float highest = row[0], sum = 0;
#pragma omp simd reduction(max : highest)
                for (int j = 0; j < n; ++j) highest = row[j] > highest ? row[j] : highest;
#pragma omp simd reduction(+ : sum)
                for (int j = 0; j < n; ++j) {
                    row[j] = exp2(row[j] - highest);
                    sum += row[j];
                }
                std::fill(row + n, row + keys, 0.f);
                total[r] = sum;
                LogSum<float>::of(highest, std::log2(sum)).save(lse, at.lse + first + r); // (2)
            }
            weighted_rows(rows, keys, S, S_stride, 1, V, w, false, O); // (3), still to be divided by total
            for (int r = 0; r < rows; ++r)
                for (int c = 0; c < width; ++c) y[at.y + int64_t{first + r} * y_stride + c] = O[r * w + c] / total[r];
        }
    });
}

void attention_backward(AttentionShape s, const float* q, const float* k, const float* v, const float* y,
                        const float* lse, const float* dy, float* dq, float* dk, float* dv) {
    const int nq = s.queries, nk = round_up(s.keys, J), d = round_up(s.d_head, 16);
    const int width = s.value_width(), w = round_up(width, 16), y_stride = s.heads * width;
    Scratch scratch;
    const auto take = [&](int rows, int columns) { return scratch.floats(int64_t{rows} * columns); };
    float *Q = take(nq, d), *dQ = take(nq, d), *dY = take(nq, w), *delta = take(nq, 1);
    float *K = take(nk, d), *Kt = take(nk, d), *Vt = take(nk, w);
    float *dK = take(J, d), *dV = take(J, w), *P = take(R, J), *dS = take(R, J); // of one tile
    for_each_head(s, [&](const Head& at) {
        copy_head(q + at.q, s.queries, s.q_stride, s.d_head, scale(s) * log2_e, Q, s.queries, d);
        copy_head(dy + at.y, s.queries, y_stride, width, 1.f, dY, nq, w);
        copy_head(k + at.k, s.keys, s.kv_stride, s.d_head, 1.f, K, nk, d);
        copy_transposed(k + at.k, s.keys, s.kv_stride, s.d_head, Kt, nk, d);
        copy_transposed(v + at.v, s.keys, s.value_stride(), width, Vt, nk, w);
        std::fill(dQ, dQ + nq * d, 0.f);
        for (int i = 0; i < nq; ++i) {
            const int64_t from = at.y + int64_t{i} * y_stride;
            float sum = 0;
            for (int c = 0; c < width; ++c) sum += y[from + c] * dy[from + c];
            delta[i] = sum; // (delta)
        }
        for (int t = 0; t < nk / J; ++t) {
            const int keys = tile_keys(s, t);
            std::fill(dK, dK + J * d, 0.f);
            std::fill(dV, dV + J * w, 0.f);
            for (int first = 0; first < s.queries; first += R) {
                const int rows = std::min(R, nq - first);
                if (seen(s, first + rows - 1) <= t * J) continue;                     // causal: no row sees this tile
                scores(rows, keys, s.d_head, d, Q + first * d, Kt + t * J * d, P, J); // (1), base 2
                scores(rows, keys, width, w, dY + first * w, Vt + t * J * w, dS, J);  // dP
                for (int r = 0; r < rows; ++r) {
                    float *p = P + r * J, *ds = dS + r * J;
                    const auto l = LogSum<float>::load(lse, at.lse + first + r);
                    const float dr = delta[first + r];
                    const int n = std::clamp(seen(s, first + r) - t * J, 0, keys);
#pragma omp simd
                    for (int j = 0; j < keys; ++j) {
                        p[j] = exp2(l.share(p[j]));  // (2)
                        ds[j] = p[j] * (ds[j] - dr); // (dS)
                    }
                    std::fill(p + n, p + keys, 0.f);
                    std::fill(ds + n, ds + keys, 0.f);
                }
                weighted_rows(keys, rows, P, 1, J, dY + first * w, w, true, dV); // (dv)
                weighted_rows(keys, rows, dS, 1, J, Q + first * d, d, true, dK); // (dk), times scale log2(e)
                weighted_rows(rows, keys, dS, J, 1, K + t * J * d, d, true, dQ + first * d); // (dq), without scale
            }
            for (int j = 0; j < std::min(J, s.keys - t * J); ++j) {
                const int64_t key = t * J + j, to_k = at.k + key * s.kv_stride, to_v = at.v + key * s.value_stride();
                for (int c = 0; c < s.d_head; ++c) dk[to_k + c] += dK[j * d + c] / log2_e;
                for (int c = 0; c < width; ++c) dv[to_v + c] += dV[j * w + c];
            }
        }
        for (int i = 0; i < s.queries; ++i)
            for (int c = 0; c < s.d_head; ++c) dq[at.q + int64_t{i} * s.q_stride + c] += scale(s) * dQ[i * d + c];
    });
}

} // namespace cpu

namespace {

// k and v begin at columns of the tensors that hold them; so do their gradients.
Tensor attend(Tape& tape, const char* name, AttentionShape s, Tensor q, Tensor k, int k_column, Tensor v,
              int v_column) {
    check(!s.causal || s.queries == s.keys, "{}: causal needs as many queries ({}) as keys ({})", name, s.queries,
          s.keys);
    Tensor y = tape.tensor({s.batch, s.queries, s.heads * s.value_width()});
    float* lse = tape.arena().floats(s.lse_size());
    const Device device = tape.device();
    FCI_ON(device, attention_forward)(s, q.data, k.data + k_column, v.data + v_column, y.data, lse);
    tape.append(name, y, attention_cost(s), [=] {
        FCI_ON(device, attention_backward)
        (s, q.data, k.data + k_column, v.data + v_column, y.data, lse, y.grad, q.grad, k.grad + k_column,
         v.grad + v_column);
    });
    return y;
}

} // namespace

Tensor self_attention(Tape& tape, Tensor qkv, int heads, bool causal) {
    check(qkv.shape.rank == 3 && qkv.shape[2] % (3 * heads) == 0,
          "self_attention: qkv is {}, expected (b,t,3d), d a multiple of {} heads", qkv.shape.text(), heads);
    const int t = qkv.shape[1], d = qkv.shape[2] / 3;
    return attend(tape, "self_attention", {qkv.shape[0], t, t, heads, d / heads, 3 * d, 3 * d, causal}, qkv, qkv, d,
                  qkv, 2 * d);
}

Tensor query_attention(Tape& tape, Tensor q, Tensor kv, int heads) {
    check(q.shape.rank == 3 && kv.shape.rank == 3 && kv.shape[0] == q.shape[0] && kv.shape[2] == 2 * q.shape[2] &&
              q.shape[2] % heads == 0,
          "query_attention: q is {}, kv is {}, expected (b,r,d) and (b,m,2d), d a multiple of {} heads", q.shape.text(),
          kv.shape.text(), heads);
    const int d = q.shape[2];
    return attend(tape, "query_attention", {q.shape[0], q.shape[1], kv.shape[1], heads, d / heads, d, 2 * d, false}, q,
                  kv, 0, kv, d);
}

Tensor rank1_attention(Tape& tape, Tensor qk, Tensor v, int heads) {
    check(v.shape.rank == 3 && v.shape[2] % heads == 0 && qk.shape == Shape{v.shape[0], v.shape[1], 2 * heads},
          "rank1_attention: qk is {}, v is {}, expected (b,t,{}) and (b,t,d), d a multiple of {} heads",
          qk.shape.text(), v.shape.text(), 2 * heads, heads);
    const int t = v.shape[1], d = v.shape[2];
    const AttentionShape s{v.shape[0], t, t, heads, 1, 2 * heads, 2 * heads, false, d / heads, d};
    return attend(tape, "rank1_attention", s, qk, qk, heads, v, 0);
}

} // namespace fci
