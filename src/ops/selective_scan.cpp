#include "ops/selective_scan.h"

#include <algorithm>

#include "core/scalar.h"
#include "core/scratch.h"

namespace fci {
namespace cpu {
namespace {

// (d,n) -> (n,d), times a factor
void transpose_states(const ScanShape& s, const float* A, float factor, float* At) {
    for (int d = 0; d < s.channels; ++d)
        for (int n = 0; n < s.states; ++n) At[n * s.channels + d] = factor * A[d * s.states + n];
}

// Step i of the scan stands at this position.
int position(const ScanShape& s, int i) { return s.reverse ? s.time - 1 - i : i; }

} // namespace

void selective_scan_forward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                            const float* C, const float* D, float* y, float* saved) {
    const int nd = s.channels;
    Scratch scratch;
    float *A2 = scratch.floats(s.state_size()), *h = scratch.floats(s.state_size()), *dtu = scratch.floats(nd);
    // A2 = A log2(e): a = exp2(dt A2)
    transpose_states(s, A, log2_e, A2);
    for (int b = 0; b < s.batch; ++b) {
        std::fill(h, h + s.state_size(), 0.f);
        for (int i = 0; i < s.time; ++i) {
            if (saved && i % ScanShape::chunk == 0)
                std::copy(h, h + s.state_size(),
                          saved + (int64_t{b} * s.chunks() + i / ScanShape::chunk) * s.state_size());
            const int64_t bt = int64_t{b} * s.time + position(s, i);
            const float *ut = u + bt * nd, *dtt = dt + bt * nd;
            float* yt = y + bt * nd;
            for (int d = 0; d < nd; ++d) {
                dtu[d] = dtt[d] * ut[d];
                yt[d] = D[d] * ut[d];
            }
            for (int n = 0; n < s.states; ++n) {
                const float Bn = B[bt * s.states + n], Cn = C[bt * s.states + n];
                const float* A2n = A2 + n * nd;
                float* hn = h + n * nd;
#pragma omp simd
                for (int d = 0; d < nd; ++d) {
                    hn[d] = exp2(dtt[d] * A2n[d]) * hn[d] + dtu[d] * Bn; // (1)
                    yt[d] += Cn * hn[d];                                 // (2)
                }
            }
        }
    }
}

void selective_scan_backward(ScanShape s, const float* u, const float* dt, const float* A, const float* B,
                             const float* C, const float* D, const float* saved, const float* dy, float* du, float* ddt,
                             float* dA, float* dB, float* dC, float* dD) {
    const int nd = s.channels;
    const int64_t size = s.state_size();
    Scratch scratch;
    float *At = scratch.floats(size), *dAt = scratch.floats(size), *g = scratch.floats(size); // (n,d)
    float *a = scratch.floats(ScanShape::chunk * size),
          *h = scratch.floats((ScanShape::chunk + 1) * size);      // a[i], i in the chunk; h[i], h[0] is before it
    float *dtu = scratch.floats(nd), *sum_gB = scratch.floats(nd); // (d)
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
                const float *ut = u + bt * nd, *dtt = dt + bt * nd;
                for (int n = 0; n < s.states; ++n) {
                    const float Bn = B[bt * s.states + n];
                    const float *Atn = At + n * nd, *hp = h + i * size + n * nd;
                    float *an = a + i * size + n * nd, *hn = h + (i + 1) * size + n * nd;
#pragma omp simd
                    for (int d = 0; d < nd; ++d) {
                        an[d] = exp2(dtt[d] * (log2_e * Atn[d]));
                        hn[d] = an[d] * hp[d] + dtt[d] * ut[d] * Bn; // (1)
                    }
                }
            }
            for (int i = steps - 1; i >= 0; --i) { // here g holds a[t+1] g[t+1]
                const int64_t bt = int64_t{b} * s.time + position(s, first + i);
                const float *ut = u + bt * nd, *dtt = dt + bt * nd, *dyt = dy + bt * nd;
                float *dut = du + bt * nd, *ddtt = ddt + bt * nd;
                for (int d = 0; d < nd; ++d) {
                    dtu[d] = dtt[d] * ut[d];
                    sum_gB[d] = 0;
                }
                for (int n = 0; n < s.states; ++n) {
                    const float Bn = B[bt * s.states + n], Cn = C[bt * s.states + n];
                    const float *an = a + i * size + n * nd, *hp = h + i * size + n * nd, *hn = hp + size;
                    const float* Atn = At + n * nd;
                    float *gn = g + n * nd, *dAn = dAt + n * nd;
                    float sum_B = 0, sum_C = 0;
#pragma omp simd reduction(+ : sum_B, sum_C)
                    for (int d = 0; d < nd; ++d) {
                        const float gt = Cn * dyt[d] + gn[d]; // (g)
                        const float next = gt * an[d], r = next * hp[d];
                        sum_C += dyt[d] * hn[d];
                        sum_B += gt * dtu[d];
                        sum_gB[d] += gt * Bn;
                        dAn[d] += r * dtt[d];  // (dA)
                        ddtt[d] += r * Atn[d]; // (ddt), first term
                        gn[d] = next;
                    }
                    dB[bt * s.states + n] += sum_B; // (dB)
                    dC[bt * s.states + n] += sum_C; // (dC)
                }
#pragma omp simd
                for (int d = 0; d < nd; ++d) {
                    ddtt[d] += sum_gB[d] * ut[d];                 // (ddt), second term
                    dut[d] += sum_gB[d] * dtt[d] + D[d] * dyt[d]; // (du)
                    dD[d] += dyt[d] * ut[d];                      // (dD)
                }
            }
        }
    }
    for (int d = 0; d < nd; ++d)
        for (int n = 0; n < s.states; ++n) dA[d * s.states + n] += dAt[n * nd + d];
}

} // namespace cpu

Tensor selective_scan(Tape& tape, Tensor u, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, bool reverse) {
    check(u.shape.rank == 3 && A.shape.rank == 2, "selective_scan: u is {}, A is {}, expected (b,t,d) and (d,n)",
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
    tape.append("selective_scan", y, [=] {
        FCI_ON(device, selective_scan_backward)
        (s, u.data, dt.data, A.data, B.data, C.data, D.data, saved, y.grad, u.grad, dt.grad, A.grad, B.grad, C.grad,
         D.grad);
    });
    return y;
}

} // namespace fci
