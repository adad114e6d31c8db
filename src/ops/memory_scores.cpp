#include "ops/memory_scores.h"

#include <algorithm>
#include <cmath>

#include "core/scalar.h"
#include "core/scratch.h"

namespace fci {
namespace cpu {
namespace {

constexpr float least = 1e-30f;

void softmax(int n, const float* z, float* p) {
    const float high = *std::max_element(z, z + n);
    float sum = 0;
    for (int m = 0; m < n; ++m) sum += p[m] = exp(z[m] - high);
    for (int m = 0; m < n; ++m) p[m] /= sum;
}

// dz += p (dp - sum dp p)
void softmax_backward(int n, const float* p, const float* dp, float* dz) {
    float dot = 0;
    for (int m = 0; m < n; ++m) dot += dp[m] * p[m];
    for (int m = 0; m < n; ++m) dz[m] += p[m] * (dp[m] - dot);
}

} // namespace

void memory_scores_forward(MemoryShape s, const float* z, const float* zq, float* scores, float* saved) {
    const int M = s.slots;
    float *P = saved, *Pq = P + int64_t{s.batch} * s.time * M, *sums = Pq + int64_t{s.batch} * s.rows * M;
    for (int64_t i = 0; i < int64_t{s.batch} * s.time; ++i) softmax(M, z + i * M, P + i * M);   // (1)
    for (int64_t i = 0; i < int64_t{s.batch} * s.rows; ++i) softmax(M, zq + i * M, Pq + i * M); // (1)
    for (int64_t b = 0; b < s.batch; ++b) {
        const float* Pb = P + b * s.time * M;
        float* n = sums + b * M;
        std::fill(n, n + M, 0.f);
        for (int j = 0; j < s.time; ++j)
            for (int m = 0; m < M; ++m) n[m] += Pb[int64_t{j} * M + m]; // (2)
        for (int r = 0; r < s.rows; ++r)
            for (int j = 0; j < s.time; ++j) {
                const float* q = Pq + (b * s.rows + r) * M;
                float p = 0;
                for (int m = 0; m < M; ++m) p += q[m] * (Pb[int64_t{j} * M + m] / std::max(n[m], least));
                scores[(b * s.rows + r) * s.time + j] = std::log(std::max(p, least)); // (3)
            }
    }
}

void memory_scores_backward(MemoryShape s, const float* saved, const float* scores, const float* dscores, float* dz,
                            float* dzq) {
    const int M = s.slots;
    const float *P = saved, *Pq = P + int64_t{s.batch} * s.time * M, *sums = Pq + int64_t{s.batch} * s.rows * M;
    Scratch scratch;
    float* G = scratch.floats(int64_t{s.batch} * s.time * M);
    std::fill(G, G + int64_t{s.batch} * s.time * M, 0.f);
    constexpr int most = 64; // slots at a time on the stack
    float dPq[most], total[most];
    for (int64_t b = 0; b < s.batch; ++b) {
        const float *Pb = P + b * s.time * M, *n = sums + b * M;
        float* Gb = G + b * s.time * M;
        for (int r = 0; r < s.rows; ++r) {
            const int64_t row = b * s.rows + r;
            const float* q = Pq + row * M;
            std::fill(dPq, dPq + M, 0.f);
            for (int j = 0; j < s.time; ++j) {
                const float D = dscores[row * s.time + j] * exp(-scores[row * s.time + j]); // 1 / p(j|q)
                for (int m = 0; m < M; ++m) {
                    dPq[m] += D * (Pb[int64_t{j} * M + m] / std::max(n[m], least)); // (dPq)
                    Gb[int64_t{j} * M + m] += D * q[m];                             // (G)
                }
            }
            softmax_backward(M, q, dPq, dzq + row * M); // (dzq)
        }
        std::fill(total, total + M, 0.f);
        for (int j = 0; j < s.time; ++j)
            for (int m = 0; m < M; ++m)
                total[m] += Gb[int64_t{j} * M + m] * (Pb[int64_t{j} * M + m] / std::max(n[m], least));
        for (int j = 0; j < s.time; ++j) {
            float* g = Gb + int64_t{j} * M;
            for (int m = 0; m < M; ++m) g[m] = (g[m] - total[m]) / std::max(n[m], least); // (dP)
            softmax_backward(M, Pb + int64_t{j} * M, g, dz + (b * s.time + j) * M);       // (dz)
        }
    }
}

} // namespace cpu

Tensor memory_scores(Tape& tape, Tensor z, Tensor zq) {
    check(z.shape.rank == 3 && zq.shape.rank == 3 && z.shape[0] == zq.shape[0] && z.shape[2] == zq.shape[2] &&
              z.shape[2] <= 64,
          "memory_scores: z is {}, zq is {}, expected (b,t,m) and (b,r,m), m at most 64", z.shape.text(),
          zq.shape.text());
    const MemoryShape s{z.shape[0], z.shape[1], zq.shape[1], z.shape[2]};
    Tensor scores = tape.tensor({s.batch, s.rows, s.time});
    float* saved = tape.arena().floats(s.saved());
    const Device device = tape.device();
    FCI_ON(device, memory_scores_forward)(s, z.data, zq.data, scores.data, saved);
    tape.append("memory_scores", scores, memory_scores_cost(s), [=] {
        FCI_ON(device, memory_scores_backward)
        (s, saved, scores.data, scores.grad, z.grad, zq.grad);
    });
    return scores;
}

} // namespace fci
