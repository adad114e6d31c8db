// The tail: what a query row goes through behind the representation, on a GPU as one node. Done op by op it is some 20
// kernels each way, each so small that it takes as long to start as to work; a query's numbers fit into a block's
// shared memory, so that a block does all of them  [Basu 2026, Sec. 3.2; the ops' headers have the mathematics]
//   s      = routing_scores(x_q, x)               c = top_k(s)                                 ops/routing_scores.h
//   u      = x_q + W_o attention(W_q LN1 x_q, W_kv LN1 x_c) + b_o                              routing/council.h
//   h      = u + W_2 gelu(W_1 LN2 u + b_1) + b_2
//   logits = W_h LN3 h + b_h
// Shapes    x (b,t,d)   query (b,r)   s (b,r,t)   c (b,r,2k)   logits (b,r,vocab)
// Backward  from ds and dlogits: dx and the gradients of all weights; every d* is ADDED to.
// Saved: what a query's block had in its shared memory (TailRecord), so that backward computes nothing twice.
//
// On the CPU, and where a tail does not fit (TailShape::fits), the model calls the ops one by one.
#pragma once
#include "core/tape.h"

namespace fci {

struct TailShape {
    int batch, time, rows, d, heads, k, vocab;
    // Of d; of vocab and of queries, above which the ops have enough to do, and read the weights once, not once a
    // query.
    static constexpr int widest = 512, most_words = 1024, most_queries = 256;
    static constexpr int most_threads = 512, at_once = 4; // of a block; rows that share a pass over a matrix

    constexpr int queries() const { return batch * rows; }
    constexpr int seen() const { return 2 * k; } // positions that the Council sees
    constexpr int hidden() const { return 4 * d; }
    constexpr int threads() const {
        const int wanted = (4 * d + 31) / 32 * 32;
        return wanted < 128 ? 128 : wanted > most_threads ? most_threads : wanted;
    }
    bool fits() const;
};

// Where each of a query's numbers is in its record: floats from its start, all multiples of 4. What the backward pass
// makes of them has a record of its own: of v, what is called dv.
struct TailRecord {
    int x, n;            // x_c, then x_q: (2k + 1,d); their norms: (2k + 1,d)
    int p, w;            // of routing_scores: (d) each
    int q, kv, share, y; // of the attention: (d) (2k,2d) (heads,2k) (d)
    int u, n2, h, n3;    // (d) each
    int pre, act;        // (4d) each: before and after gelu
    int mean, rstd;      // of the 2k + 1 norms, then of n2's and n3's
    int size;

    constexpr explicit TailRecord(const TailShape& s) : TailRecord() {
        const int m = s.seen(), d = s.d;
        const auto take = [this](int n) { return (size += (n + 3) / 4 * 4) - (n + 3) / 4 * 4; };
        x = take((m + 1) * d), n = take((m + 1) * d), p = take(d), w = take(d), q = take(d), kv = take(m * 2 * d);
        share = take(s.heads * m), y = take(d), u = take(d), n2 = take(d), h = take(d), n3 = take(d);
        pre = take(s.hidden()), act = take(s.hidden()), mean = take(m + 3), rstd = take(m + 3);
    }

private:
    constexpr TailRecord()
        : x(), n(), p(), w(), q(), kv(), share(), y(), u(), n2(), h(), n3(), pre(), act(), mean(), rstd(), size() {}
};

// Shared memory of the backward pass, the larger one: a record and its gradients, ds, dlogits, and sums under way.
constexpr int tail_floats(const TailShape& s) {
    return 2 * TailRecord(s).size + (s.time + 3) / 4 * 4 + (s.vocab + 3) / 4 * 4 + 4 * TailShape::at_once * s.threads();
}

// Weights, or their gradients. norm1 is that of the query row and of what it sees, norm3 the head's.
template <class T>
struct TailWeights {
    T *wq, *wk;
    struct Norm {
        T *w, *b;
    } norm1, norm2, norm3;
    struct Linear {
        T *w, *b;
    } q, kv, out, up, down, head;
};

namespace cuda {
// saved: TailRecord::size floats a query, or null: nothing will come back
[[gnu::weak]] void tail_forward(TailShape, TailWeights<const float>, const float* x, const int32_t* query,
                                float* scores, int32_t* chosen, float* logits, float* saved);
[[gnu::weak]] void tail_backward(TailShape, TailWeights<const float>, TailWeights<float>, const float* x,
                                 const int32_t* query, const int32_t* chosen, const float* saved, const float* dscores,
                                 const float* dlogits, float* dx);
} // namespace cuda

struct TailOutput {
    Tensor scores, logits;
    IntTensor chosen;
};
// Weights come with their gradients, if the tape records.
TailOutput tail(Tape&, TailShape, TailWeights<const float>, TailWeights<float>, Tensor x, IntTensor query);

} // namespace fci
