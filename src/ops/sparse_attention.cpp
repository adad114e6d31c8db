#include "ops/sparse_attention.h"

#include <algorithm>
#include <cmath>

#include "core/gemm.h"
#include "core/rng.h"
#include "core/scalar.h"
#include "core/scratch.h"

// How the products are laid out: 16 query rows are the 16 lanes of a vector. Scores are kept transposed, a vector for
// each key, so that softmax and masks work lane by lane, and k and v are read where they lie: the keys of a block are
// neighbours. Only q, dy and the few global rows are copied.
namespace fci {
namespace cpu {
namespace {

constexpr Transpose no = Transpose::no, yes = Transpose::yes;
constexpr int R = SparseShape::rows, reach = SparseShape::reach;

// The keys near a block of R rows that begins at `first`: [begin, begin + keys).
struct Band {
    int first, rows, begin, keys;
    Band(const SparseShape& s, int from)
        : first(from), rows(std::min(R, s.time - from)), begin(std::max(0, from - reach)),
          keys(std::min(s.time, from + R - 1 + reach) - begin) {}
};

struct Buffers {
    float *Qt, *Yt;             // (d_head,R): q and y, or q and dy, of a block
    float *S, *dS;              // (keys + globals,R)
    float* dQt;                 // (d_head,R)
    float *Kg, *Vg, *dKg, *dVg; // (globals,d), all heads
    Buffers(const SparseShape& s, Scratch& scratch) {
        const auto take = [&](int n) { return scratch.floats(n); };
        const int block = R * s.d_head, scores = R * (R + 2 * reach + s.globals), few = s.globals * s.d();
        Qt = take(block), Yt = take(block), S = take(scores), dS = take(scores), dQt = take(block);
        Kg = take(few), Vg = take(few), dKg = take(few), dVg = take(few);
    }
};

// Rows of d numbers, `stride` apart -> (d,R) times a factor; lanes without a row are 0.
void to_lanes(const float* from, int rows, int stride, int d, float factor, float* to) {
    if (rows < R) std::fill_n(to, int64_t{d} * R, 0.f);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < d; ++c) to[c * R + r] = factor * from[int64_t{r} * stride + c];
}

void gather_rows(const float* from, const int32_t* index, int count, int stride, int d, float* to) {
    for (int g = 0; g < count; ++g) std::copy_n(from + int64_t{index[g]} * stride, d, to + g * d);
}

// S[j,:] = a[j].Qt for the keys of the band, then for the global ones
void scores(const SparseShape& s, const Band& b, const float* a, const float* ag, const float* Qt, float* S) {
    const int stride = 3 * s.d();
    gemm(no, no, b.keys, R, s.d_head, 1.f, a + int64_t{b.begin} * stride, stride, Qt, R, 0.f, S, R);
    gemm(no, no, s.globals, R, s.d_head, 1.f, ag, s.d(), Qt, R, 0.f, S + b.keys * R, R);
}

// out (d_head,R) = sum_j a[j] P[j,:] over the same keys
void weighted(const SparseShape& s, const Band& b, const float* a, const float* ag, const float* P, float* out) {
    const int stride = 3 * s.d();
    gemm(yes, no, s.d_head, R, b.keys, 1.f, a + int64_t{b.begin} * stride, stride, P, R, 0.f, out, R);
    gemm(yes, no, s.d_head, R, s.globals, 1.f, ag, s.d(), P + b.keys * R, R, 1.f, out, R);
}

// S[j,r] = -infinity where row r does not see key j: outside its window, or global but inside it (counted there).
void mask(const SparseShape& s, const Band& b, const int32_t* global, float* S) {
    for (int a = 0; a < b.keys + s.globals; ++a) {
        const bool near = a < b.keys;
        const int from_first = (near ? b.begin + a : global[a - b.keys]) - b.first;
        float* to = S + a * R;
        for (int r = 0; r < R; ++r) {
            const bool inside = from_first - r >= -reach && from_first - r < reach;
            to[r] = inside == near ? to[r] : -INFINITY;
        }
    }
}

// f(band, head) for every head of every block of rows: a block's keys stay in cache while its heads pass.
template <class F>
void for_each_block(const SparseShape& s, F f) {
    for (int first = 0; first < s.time; first += R)
        for (int head = 0; head < s.heads; ++head) f(Band(s, first), head);
}

float scale(const SparseShape& s) { return 1.f / std::sqrt(static_cast<float>(s.d_head)); }

} // namespace

void sparse_attention_forward(SparseShape s, const float* qkv, const int32_t* global, float* y, float* lse) {
    Scratch scratch;
    const Buffers at(s, scratch);
    const int d = s.d_head, stride = 3 * s.d();
    for (int b = 0; b < s.batch; ++b) {
        const float* x = qkv + int64_t{b} * s.time * stride;
        gather_rows(x + s.d(), global, s.globals, stride, s.d(), at.Kg);
        gather_rows(x + 2 * s.d(), global, s.globals, stride, s.d(), at.Vg);
        for_each_block(s, [&](const Band& band, int head) {
            const float *q = x + head * d, *k = q + s.d(), *v = k + s.d();
            const int keys = band.keys + s.globals;
            to_lanes(q + int64_t{band.first} * stride, band.rows, stride, d, scale(s) * log2_e, at.Qt);
            scores(s, band, k, at.Kg + head * d, at.Qt, at.S); // (1), base 2
            mask(s, band, global, at.S);
            float highest[R], total[R] = {};
            std::copy_n(at.S, R, highest);
            for (int a = 1; a < keys; ++a)
                for (int r = 0; r < R; ++r) highest[r] = std::max(highest[r], at.S[a * R + r]);
            for (int r = band.rows; r < R; ++r) highest[r] = 0; // no row: it may see nothing
            for (int a = 0; a < keys; ++a)
                for (int r = 0; r < R; ++r) {
                    float& p = at.S[a * R + r];
                    p = exp2(p - highest[r]);
                    total[r] += p;
                }
            weighted(s, band, v, at.Vg + head * d, at.S, at.Yt); // (3), still to be divided by total
            const int64_t row = (int64_t{b} * s.heads + head) * s.time + band.first;
            float* to = y + (int64_t{b} * s.time + band.first) * s.d() + head * d;
            for (int r = 0; r < band.rows; ++r) {
                LogSum<float>::of(highest[r], std::log2(total[r])).save(lse, row + r); // (2)
                for (int c = 0; c < d; ++c) to[r * s.d() + c] = at.Yt[c * R + r] / total[r];
            }
        });
    }
}

void sparse_attention_backward(SparseShape s, const float* qkv, const int32_t* global, const float* y, const float* lse,
                               const float* dy, float* dqkv) {
    Scratch scratch;
    const Buffers at(s, scratch);
    const int d = s.d_head, D = s.d(), stride = 3 * D;
    for (int b = 0; b < s.batch; ++b) {
        const float* x = qkv + int64_t{b} * s.time * stride;
        float* dx = dqkv + int64_t{b} * s.time * stride;
        gather_rows(x + D, global, s.globals, stride, D, at.Kg);
        gather_rows(x + 2 * D, global, s.globals, stride, D, at.Vg);
        std::fill_n(at.dKg, s.globals * D, 0.f);
        std::fill_n(at.dVg, s.globals * D, 0.f);
        for_each_block(s, [&](const Band& band, int head) {
            const int64_t out = (int64_t{b} * s.time + band.first) * D + head * d, rows = int64_t{band.first} * stride;
            const float *k = x + D + head * d, *v = k + D, *q_rows = x + rows + head * d, *dy_rows = dy + out;
            float *dk = dx + D + head * d, *dv = dk + D, *dq_rows = dx + rows + head * d;
            const int64_t row = (int64_t{b} * s.heads + head) * s.time + band.first;
            float shift[R], rest[R], delta[R];
            for (int r = 0; r < R; ++r) {
                const bool is_row = r < band.rows;
                float sum = 0;
                for (int c = 0; c < d && is_row; ++c) sum += y[out + r * D + c] * dy_rows[r * D + c];
                delta[r] = sum; // (delta)
                const auto l = is_row ? LogSum<float>::load(lse, row + r) : LogSum<float>{0, INFINITY};
                shift[r] = l.shift, rest[r] = l.rest;
            }
            to_lanes(q_rows, band.rows, stride, d, scale(s) * log2_e, at.Qt);
            to_lanes(dy_rows, band.rows, D, d, 1.f, at.Yt);
            scores(s, band, k, at.Kg + head * d, at.Qt, at.S); // (1), base 2
            mask(s, band, global, at.S);
            scores(s, band, v, at.Vg + head * d, at.Yt, at.dS); // dy.v
            for (int a = 0; a < band.keys + s.globals; ++a)
                for (int r = 0; r < R; ++r) {
                    float &p = at.S[a * R + r], &ds = at.dS[a * R + r];
                    p = exp2(LogSum<float>{shift[r], rest[r]}.share(p)); // (2)
                    ds = p * (ds - delta[r]); // (dS)
                }
            weighted(s, band, k, at.Kg + head * d, at.dS, at.dQt); // (dq), without scale
            for (int r = 0; r < band.rows; ++r)
                for (int c = 0; c < d; ++c) dq_rows[r * stride + c] += scale(s) * at.dQt[c * R + r];
            // Keys get a sum over the block's rows, in the band where they lie, the global ones in a place apart.
            const int64_t to = int64_t{band.begin} * stride;
            gemm(no, no, band.keys, d, band.rows, scale(s), at.dS, R, q_rows, stride, 1.f, dk + to, stride); // (dk)
            gemm(no, no, band.keys, d, band.rows, 1.f, at.S, R, dy_rows, D, 1.f, dv + to, stride);           // (dv)
            const float *S = at.S + band.keys * R, *dS = at.dS + band.keys * R;
            gemm(no, no, s.globals, d, band.rows, scale(s), dS, R, q_rows, stride, 1.f, at.dKg + head * d, D); // (dk)
            gemm(no, no, s.globals, d, band.rows, 1.f, S, R, dy_rows, D, 1.f, at.dVg + head * d, D);           // (dv)
        });
        for (int g = 0; g < s.globals; ++g) {
            float *dk = dx + int64_t{global[g]} * stride + D, *dv = dk + D;
            for (int c = 0; c < D; ++c) {
                dk[c] += at.dKg[g * D + c];
                dv[c] += at.dVg[g * D + c];
            }
        }
    }
}

} // namespace cpu

Tensor sparse_attention(Tape& tape, Tensor qkv, IntTensor global, int heads) {
    check(qkv.shape.rank == 3 && qkv.shape[2] % (3 * heads) == 0,
          "sparse_attention: qkv is {}, expected (b,t,3d), d a multiple of {} heads", qkv.shape.text(), heads);
    const int d = qkv.shape[2] / 3;
    const SparseShape s{qkv.shape[0], qkv.shape[1], heads, d / heads, global.cols()};
    for (int g = 0; g < s.globals; ++g)
        check(global.data[g] >= 0 && global.data[g] < s.time,
              "sparse_attention: global position {} is outside the length {}", global.data[g], s.time);
    Tensor y = tape.tensor({s.batch, s.time, d});
    const Device device = tape.device();
    const int32_t* where = constant(device, global.data, s.globals);
    float* lse = tape.arena().floats(s.lse_size());
    FCI_ON(device, sparse_attention_forward)(s, qkv.data, where, y.data, lse);
    tape.append("sparse_attention", y, sparse_attention_cost(s), [=] {
        FCI_ON(device, sparse_attention_backward)(s, qkv.data, where, y.data, lse, y.grad, qkv.grad);
    });
    return y;
}

// Floyd's sampling: every set of that size is as likely as every other.
std::vector<int32_t> global_positions(int length, uint64_t seed) {
    std::vector<int32_t> chosen;
    Rng rng(seed, Stream::pattern);
    for (int last = std::max(0, length - SparseShape::most_globals); last < length; ++last) {
        const int drawn = rng.between(0, last + 1);
        const bool taken = std::find(chosen.begin(), chosen.end(), drawn) != chosen.end();
        chosen.push_back(taken ? last : drawn);
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
}

} // namespace fci
