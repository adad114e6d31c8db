#include "ops/fourier.h"

#include <cmath>
#include <map>
#include <mutex>

#include "core/gemm.h"
#include "core/scratch.h"

namespace fci {
namespace {

// cos and sin of 2 pi k j / n for k < rows, j < n
void fill_tables(int rows, int n, std::vector<float>& c, std::vector<float>& s) {
    c.resize(static_cast<size_t>(rows) * n), s.resize(c.size());
    for (int k = 0; k < rows; ++k)
        for (int j = 0; j < n; ++j) {
            const double angle = 2 * M_PI * static_cast<double>(int64_t{k} * j % n) / n;
            c[static_cast<size_t>(k) * n + j] = static_cast<float>(std::cos(angle));
            s[static_cast<size_t>(k) * n + j] = static_cast<float>(std::sin(angle));
        }
}

} // namespace

FourierTables::FourierTables(int time, int d) {
    fill_tables(time / 2 + 1, time, cos_t, sin_t);
    fill_tables(d, d, cos_d, sin_d);
}

std::shared_ptr<const FourierTables> fourier_tables(int time, int d) {
    static std::mutex mutex;
    static std::map<std::pair<int, int>, std::weak_ptr<const FourierTables>> made;
    const std::lock_guard lock(mutex);
    std::weak_ptr<const FourierTables>& known = made[{time, d}];
    std::shared_ptr<const FourierTables> tables = known.lock();
    if (!tables) known = tables = std::make_shared<const FourierTables>(time, d);
    return tables;
}

namespace cpu {
namespace {

// y (+)= (C_t x C_d - S_t x S_d) / sqrt(t d)
template <bool add>
void transform(FourierShape s, const float* x, const FourierTables& table, float* y) {
    constexpr Transpose no = Transpose::no;
    const int t = s.time, d = s.d, half = s.half();
    const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(t) * d));
    const int64_t all = int64_t{t} * d, halves = int64_t{half} * d;
    Scratch scratch;
    float *P = scratch.floats(all), *Q = scratch.floats(all);
    float *c = scratch.floats(halves), *sn = scratch.floats(halves);
    for (int b = 0; b < s.batch; ++b) {
        const int64_t at = int64_t{b} * t * d;
        gemm(no, no, t, d, d, 1.f, x + at, d, table.cos_d.data(), d, 0.f, P, d);
        gemm(no, no, t, d, d, 1.f, x + at, d, table.sin_d.data(), d, 0.f, Q, d);
        gemm(no, no, half, d, t, scale, table.cos_t.data(), t, P, d, 0.f, c, d);
        gemm(no, no, half, d, t, scale, table.sin_t.data(), t, Q, d, 0.f, sn, d);
        for (int k = 0; k < t; ++k) { // (2)
            const int row = k < half ? k : t - k;
            const float *ck = c + int64_t{row} * d, *sk = sn + int64_t{row} * d, sign = k < half ? -1.f : 1.f;
            float* to = y + at + int64_t{k} * d;
            for (int j = 0; j < d; ++j) to[j] = (add ? to[j] : 0.f) + (ck[j] + sign * sk[j]);
        }
    }
}

} // namespace

void fourier_forward(FourierShape s, const float* x, const FourierTables& table, float* y) {
    transform<false>(s, x, table, y); // (1)
}

void fourier_backward(FourierShape s, const float* dy, const FourierTables& table, float* dx) {
    transform<true>(s, dy, table, dx); // (dx)
}

} // namespace cpu

Tensor fourier(Tape& tape, Tensor x, const FourierTables& tables) {
    check(x.shape.rank == 3, "fourier: x is {}, expected (b,t,d)", x.shape.text());
    const FourierShape s{x.shape[0], x.shape[1], x.shape[2]};
    check(static_cast<int64_t>(tables.cos_t.size()) == int64_t{s.half()} * s.time &&
              static_cast<int64_t>(tables.cos_d.size()) == int64_t{s.d} * s.d,
          "fourier: x is {}, but the tables are of another length or width", x.shape.text());
    Tensor y = tape.tensor(x.shape);
    const Device device = tape.device();
    FCI_ON(device, fourier_forward)(s, x.data, tables, y.data);
    tape.append("fourier", y, fourier_cost(s), [=, table = &tables] {
        FCI_ON(device, fourier_backward)(s, y.grad, *table, x.grad);
    });
    return y;
}

} // namespace fci
