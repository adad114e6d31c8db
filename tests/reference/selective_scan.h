// selective_scan, directly from the equations of ops/selective_scan.h: one state at a time, storing all of h and g. The
// kernel's saved memory is not used.
#pragma once
#include <cmath>
#include <vector>

#include "ops/selective_scan.h"

namespace fci::reference {

// a and h of one state (b,c,n), in scan order: [i] belongs to step i; h_before(i) is 0 at i = 0.
template <class T>
struct StateHistory {
    std::vector<T> a, h;
    T h_before(int i) const { return i ? h[i - 1] : T(0); }

    StateHistory(ScanShape s, int b, int c, int n, const T* u, const T* dt, const T* A, const T* B)
        : a(s.time), h(s.time) {
        using std::exp;
        for (int i = 0; i < s.time; ++i) {
            const int bt = b * s.time + (s.reverse ? s.time - 1 - i : i), btc = bt * s.channels + c;
            a[i] = exp(dt[btc] * A[c * s.states + n]);
            h[i] = a[i] * h_before(i) + dt[btc] * B[bt * s.states + n] * u[btc]; // (1)
        }
    }
};

template <class T>
void selective_scan_forward(ScanShape s, const T* u, const T* dt, const T* A, const T* B, const T* C, const T* D, T* y,
                            T*) {
    for (int b = 0; b < s.batch; ++b)
        for (int c = 0; c < s.channels; ++c) {
            for (int t = 0; t < s.time; ++t)
                y[(b * s.time + t) * s.channels + c] = D[c] * u[(b * s.time + t) * s.channels + c];
            for (int n = 0; n < s.states; ++n) {
                const StateHistory<T> of(s, b, c, n, u, dt, A, B);
                for (int i = 0; i < s.time; ++i) {
                    const int bt = b * s.time + (s.reverse ? s.time - 1 - i : i);
                    y[bt * s.channels + c] += C[bt * s.states + n] * of.h[i]; // (2)
                }
            }
        }
}

template <class T>
void selective_scan_backward(ScanShape s, const T* u, const T* dt, const T* A, const T* B, const T* C, const T* D,
                             const T*, const T* dy, T* du, T* ddt, T* dA, T* dB, T* dC, T* dD) {
    for (int b = 0; b < s.batch; ++b)
        for (int c = 0; c < s.channels; ++c) {
            for (int n = 0; n < s.states; ++n) {
                const StateHistory<T> of(s, b, c, n, u, dt, A, B);
                std::vector<T> g(s.time);
                for (int i = s.time - 1; i >= 0; --i) {
                    const int bt = b * s.time + (s.reverse ? s.time - 1 - i : i), btc = bt * s.channels + c;
                    const int cn = c * s.states + n, btn = bt * s.states + n;
                    g[i] = C[btn] * dy[btc];
                    if (i + 1 < s.time) g[i] += of.a[i + 1] * g[i + 1]; // (g)
                    const T r = g[i] * of.a[i] * of.h_before(i);
                    dA[cn] += r * dt[btc];                          // (dA)
                    ddt[btc] += r * A[cn] + g[i] * B[btn] * u[btc]; // (ddt)
                    du[btc] += dt[btc] * g[i] * B[btn];             // (du), first term
                    dB[btn] += g[i] * dt[btc] * u[btc];             // (dB)
                    dC[btn] += dy[btc] * of.h[i];                   // (dC)
                }
            }
            for (int t = 0; t < s.time; ++t) {
                const int btc = (b * s.time + t) * s.channels + c;
                du[btc] += D[c] * dy[btc]; // (du), second term
                dD[c] += dy[btc] * u[btc]; // (dD)
            }
        }
}

} // namespace fci::reference
