#include "ops/selective_scan.h"

#include <algorithm>

#include "core/scalar.h"
#include "core/scratch.h"

namespace fci {
namespace cpu {
namespace {

// (c,n) -> (n,c), times a factor
void transpose_states(const ScanShape& s, const float* A, float factor, float* At) {
    for (int c = 0; c < s.channels; ++c)
        for (int n = 0; n < s.states; ++n) At[n * s.channels + c] = factor * A[c * s.states + n];
}

// Step i of the scan stands at this position.
int position(const ScanShape& s, int i) { return s.reverse ? s.time - 1 - i : i; }

} // namespace

void selective_scan_forward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                            const float* C, const float* D, float* y, float* saved) {
    const int nc = s.channels;
    Scratch scratch;
    float *A2 = scratch.floats(s.state_size()), *h = scratch.floats(s.state_size()), *dtu = scratch.floats(nc);
    // A2 = A log2(e): a = exp2(dt A2)
    transpose_states(s, A, log2_e, A2);
    for (int b = 0; b < s.batch; ++b) {
        std::fill(h, h + s.state_size(), 0.f);
        for (int i = 0; i < s.time; ++i) {
            if (saved && i % ScanShape::chunk == 0)
                std::copy(h, h + s.state_size(),
                          saved + (int64_t{b} * s.chunks() + i / ScanShape::chunk) * s.state_size());
            const int64_t bt = int64_t{b} * s.time + position(s, i);
            const float *ut = u + bt * nc, *dtt = dt + bt * nc;
            float* yt = y + bt * nc;
            for (int c = 0; c < nc; ++c) {
                dtu[c] = dtt[c] * ut[c];
                yt[c] = D[c] * ut[c];
            }
            for (int n = 0; n < s.states; ++n) {
                const float Bn = B[bt * s.states + n], Cn = C[bt * s.states + n];
                const float* A2n = A2 + n * nc;
                float* hn = h + n * nc;
#pragma omp simd
                for (int c = 0; c < nc; ++c) {
                    hn[c] = exp2(dtt[c] * A2n[c]) * hn[c] + dtu[c] * Bn; // (1)
                    yt[c] += Cn * hn[c];                                 // (2)
                }
            }
        }
    }
}

void selective_scan_backward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                             const float* C, const float* D, const float* saved, const float* dy, float* du, float* ddt,
                             float* dA, float* dB, float* dC, float* dD) {
    const int nc = s.channels;
    const int64_t size = s.state_size();
    Scratch scratch;
    float *At = scratch.floats(size), *dAt = scratch.floats(size), *g = scratch.floats(size); // (n,c)
    float *a = scratch.floats(ScanShape::chunk * size),
          *h = scratch.floats((ScanShape::chunk + 1) * size);      // a[i], i in the chunk; h[i], h[0] is before it
    float *dtu = scratch.floats(nc), *sum_gB = scratch.floats(nc); // (c)
    transpose_states(s, A, 1.f, At);
    std::fill(dAt, dAt + size, 0.f);
    for (int b = 0; b < s.batch; ++b) {
        std::fill(g, g + size, 0.f);
        for (int chunk = s.chunks() - 1; chunk >= 0; --chunk) {
            const int first = chunk * ScanShape::chunk, steps = std::min(ScanShape::chunk, s.time - first);
            const float* before = saved + (int64_t{b} * s.chunks() + chunk) * size;
            std::copy(before, before + size, h);
            for (int i = 0; i < steps; ++i) { // the forward pass again, a and h kept
                const int64_t bt = int64_t{b} * s.time + position(s, first + i);
                const float *ut = u + bt * nc, *dtt = dt + bt * nc;
                for (int n = 0; n < s.states; ++n) {
                    const float Bn = B[bt * s.states + n];
                    const float *Atn = At + n * nc, *hp = h + i * size + n * nc;
                    float *an = a + i * size + n * nc, *hn = h + (i + 1) * size + n * nc;
#pragma omp simd
                    for (int c = 0; c < nc; ++c) {
                        an[c] = exp2(dtt[c] * (log2_e * Atn[c]));
                        hn[c] = an[c] * hp[c] + dtt[c] * ut[c] * Bn; // (1)
                    }
                }
            }
            for (int i = steps - 1; i >= 0; --i) { // here g holds a[t+1] g[t+1]
                const int64_t bt = int64_t{b} * s.time + position(s, first + i);
                const float *ut = u + bt * nc, *dtt = dt + bt * nc, *dyt = dy + bt * nc;
                float *dut = du + bt * nc, *ddtt = ddt + bt * nc;
                for (int c = 0; c < nc; ++c) {
                    dtu[c] = dtt[c] * ut[c];
                    sum_gB[c] = 0;
                }
                for (int n = 0; n < s.states; ++n) {
                    const float Bn = B[bt * s.states + n], Cn = C[bt * s.states + n];
                    const float *an = a + i * size + n * nc, *hp = h + i * size + n * nc, *hn = hp + size;
                    const float* Atn = At + n * nc;
                    float *gn = g + n * nc, *dAn = dAt + n * nc;
                    float sum_B = 0, sum_C = 0;
#pragma omp simd reduction(+ : sum_B, sum_C)
                    for (int c = 0; c < nc; ++c) {
                        const float gt = Cn * dyt[c] + gn[c]; // (g)
                        const float next = gt * an[c], r = next * hp[c];
                        sum_C += dyt[c] * hn[c];
                        sum_B += gt * dtu[c];
                        sum_gB[c] += gt * Bn;
                        dAn[c] += r * dtt[c];  // (dA)
                        ddtt[c] += r * Atn[c]; // (ddt), first term
                        gn[c] = next;
                    }
                    dB[bt * s.states + n] += sum_B; // (dB)
                    dC[bt * s.states + n] += sum_C; // (dC)
                }
#pragma omp simd
                for (int c = 0; c < nc; ++c) {
                    ddtt[c] += sum_gB[c] * ut[c];                 // (ddt), second term
                    dut[c] += sum_gB[c] * dtt[c] + D[c] * dyt[c]; // (du)
                    dD[c] += dyt[c] * ut[c];                      // (dD)
                }
            }
        }
    }
    for (int c = 0; c < nc; ++c)
        for (int n = 0; n < s.states; ++n) dA[c * s.states + n] += dAt[n * nc + c];
}

} // namespace cpu

Tensor selective_scan(Tape& tape, Tensor u, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, bool reverse) {
    check(u.shape.rank == 3 && A.shape.rank == 2, "selective_scan: u is {}, A is {}, expected (b,t,c) and (c,n)",
          u.shape.text(), A.shape.text());
    const ScanShape s{u.shape[0], u.shape[1], u.shape[2], A.shape[1], reverse};
    expect_shape("selective_scan", "dt", dt, u.shape);
    expect_shape("selective_scan", "A", A, {s.channels, s.states});
    expect_shape("selective_scan", "B", B, {s.batch, s.time, s.states});
    expect_shape("selective_scan", "C", C, {s.batch, s.time, s.states});
    expect_shape("selective_scan", "D", D, {s.channels});
    Tensor y = tape.tensor(u.shape);
    float* saved = tape.recording() ? tape.arena().floats(s.saved_size()) : nullptr;
    const Device device = tape.device();
    FCI_ON(device, selective_scan_forward)
    (s, u.data, dt.data, A.data, B.data, C.data, D.data, y.data, saved);
    tape.append("selective_scan", y, selective_scan_cost(s), [=] {
        FCI_ON(device, selective_scan_backward)
        (s, u.data, dt.data, A.data, B.data, C.data, D.data, saved, y.grad, u.grad, dt.grad, A.grad, B.grad, C.grad,
         D.grad);
    });
    return y;
}

} // namespace fci
