// fourier: mixing without parameters, the real part of a discrete Fourier transform over positions and features
// [Lee-Thorp et al. 2022, "FNet"]
//   y = Re(F_t X F_d) / sqrt(t d),   F_n[k,j] = exp(-2 pi i k j / n)
//     = (C_t P - S_t Q) / sqrt(t d), P = X C_d, Q = X S_d, C_n[k,j] = cos(2 pi k j / n), S_n with sin    (1)
// cos is even and sin odd: row t-k of C_t is row k, of S_t minus row k, so that rows 0 .. t/2 make all:
//   y[k] = (c - s) / sqrt(t d),  y[t-k] = (c + s) / sqrt(t d),  c = C_t[k] P, s = S_t[k] Q               (2)
// Shapes    x y (b,t,d)
// Backward  dx += the same of dy: C and S are symmetric, so the map is its own adjoint                   (dx)
// Contract  dx is ADDED to.
// Cost      4 b t d^2 + 2 b t^2 d flops, each way. The tables hold (t + 2) t + 2 d^2 floats and are made once.
#pragma once
#include <memory>
#include <vector>

#include "core/tape.h"

namespace fci {

struct FourierShape {
    int batch, time, d;
    int half() const { return time / 2 + 1; } // rows whose products make all others
};

constexpr OpCost fourier_cost(FourierShape s) {
    const double n = 1. * s.batch * s.time * s.d, tables = s.time * (s.time + 2.) + 2. * s.d * s.d,
                 transform = 4 * n * s.d + 2 * n * s.time;
    return {{transform, 0, 2 * n + tables}, {transform, 0, 3 * n + tables}};
}

// Cosines and sines of 2 pi k j / n in double precision, k j reduced modulo n, rounded once.
struct FourierTables {
    std::vector<float> cos_t, sin_t; // (half,t)
    std::vector<float> cos_d, sin_d; // (d,d)
    FourierTables(int time, int d);
};
// Shared tables of these sizes; they live as long as somebody holds them.
std::shared_ptr<const FourierTables> fourier_tables(int time, int d);

template <class T>
using FourierForward = void(FourierShape, const T* x, const FourierTables&, T* y);
template <class T>
using FourierBackward = void(FourierShape, const T* dy, const FourierTables&, T* dx);

FCI_TWINS(FourierForward<float>, fourier_forward)
FCI_TWINS(FourierBackward<float>, fourier_backward)

// x (b,t,d) -> (b,t,d). The tables are those of t and d, and must live as long as the tape.
Tensor fourier(Tape&, Tensor x, const FourierTables&);

} // namespace fci
