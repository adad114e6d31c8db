#include "ops/gated_scan.h"

#include <algorithm>

#include "core/scratch.h"
#include "ops/pointwise.h"

namespace fci {
namespace cpu {
namespace {

// What the CPU keeps of a direction for backward; and, of the same sizes, the gradients of it.
struct Kept {
    float *p, *dt, *scan, *A, *dt_low, *B, *C;
    Kept(const GatedScanShape& s, float* at)
        : p(at), dt(p + s.size()), scan(dt + s.size()), A(scan + s.size()), dt_low(A + s.scan(false).state_size()),
          B(dt_low + s.rows() * s.rank), C(B + s.rows() * s.states) {}
};

// f(a row of low, the same rows of its three parts and their widths)
template <class Low, class F>
void each_part(const GatedScanShape& s, Low* low, const Kept& v, F f) {
    for (int64_t row = 0; row < s.rows(); ++row, low += s.low_width()) {
        f(low, v.dt_low + row * s.rank, s.rank);
        f(low + s.rank, v.B + row * s.states, s.states);
        f(low + s.rank + s.states, v.C + row * s.states, s.states);
    }
}

} // namespace

void gated_scan_forward(GatedScanShape s, Directions<GatedScanDirection<float>> directions) {
    for (const GatedScanDirection<float>& to : directions) {
        const ScanShape shape = s.scan(to.reverse);
        const Kept v(s, to.kept);
        each_part(s, to.low, v, [](const float* row, float* part, int n) { std::copy_n(row, n, part); });
        linear_forward(s.step(), v.dt_low, to.dt_weight, to.dt_bias, v.p); // (1)
        softplus_forward(s.size(), v.p, v.dt);
        negative_exp_forward(shape.state_size(), to.A_log, v.A);
        selective_scan_forward(shape, to.u, v.dt, v.A, v.B, v.C, to.D, v.scan, to.saved); // (2)
        gate_forward(s.size(), v.scan, to.z, to.y);                                       // (3)
    }
}

void gated_scan_backward(GatedScanShape s, Directions<GatedScanDirection<float>> directions) {
    Scratch scratch;
    float* gradients = scratch.floats(s.kept_size());
    const Kept d(s, gradients);
    for (const GatedScanDirection<float>& to : directions) {
        const ScanShape shape = s.scan(to.reverse);
        const Kept v(s, to.kept);
        std::fill(gradients, gradients + s.kept_size(), 0.f);
        gate_backward(s.size(), v.scan, to.z, to.dy, d.scan, to.dz); // (ds) (dz)
        selective_scan_backward(shape, to.u, v.dt, v.A, v.B, v.C, to.D, to.saved, d.scan, to.du, d.dt, d.A, d.B, d.C,
                                to.dD);
        negative_exp_backward(shape.state_size(), to.A_log, d.A, to.dA_log); // (dA)
        softplus_backward(s.size(), v.p, d.dt, d.p);                         // (dp)
        linear_backward(s.step(), v.dt_low, to.dt_weight, d.p, d.dt_low, to.d_dt_weight,
                        to.d_dt_bias); // (dlow) (dW) (db)
        each_part(s, to.d_low, d, [](float* row, const float* part, int n) {
            for (int i = 0; i < n; ++i) row[i] += part[i];
        });
    }
}

} // namespace cpu

Tensor gated_scan(Tape& tape, std::span<const GatedScanInput> in) {
    check(!in.empty() && in.size() <= most_directions, "gated_scan: {} directions, expected 1 or 2", in.size());
    const Shape &u = in[0].u.shape, &A = in[0].A_log.shape, &W = in[0].dt_weight.shape;
    check(u.rank == 3 && A.rank == 2 && W.rank == 2,
          "gated_scan: u is {}, A_log is {}, dt_weight is {}, expected (b,t,c), (c,n) and (c,rank)", u.text(), A.text(),
          W.text());
    const GatedScanShape s{u[0], u[1], u[2], A[1], W[1]};
    check(s.states > 0, "gated_scan: A_log is {}: there are no states", A.text());
    using In = GatedScanInput;
    expect_apart("gated_scan", in, &In::u, &In::low, &In::z, &In::dt_weight, &In::dt_bias, &In::A_log, &In::D);
    const Tensor y = tape.tensor({static_cast<int>(in.size()), s.batch, s.time, s.channels});
    const Device device = tape.device();
    Arena& arena = tape.arena();
    Directions<GatedScanDirection<float>> directions;
    for (const GatedScanInput& i : in) {
        const auto expect = [](const char* what, const Tensor& t, const Shape& shape) {
            expect_shape("gated_scan", what, t, shape);
        };
        expect("u", i.u, u);
        expect("low", i.low, {s.batch, s.time, s.low_width()});
        expect("z", i.z, u);
        expect("dt_weight", i.dt_weight, {s.channels, s.rank});
        expect("dt_bias", i.dt_bias, {s.channels});
        expect("A_log", i.A_log, {s.channels, s.states});
        expect("D", i.D, {s.channels});
        const Tensor to = direction_of(y, directions.count);
        float* saved = tape.recording() ? arena.floats(s.saved_size()) : nullptr;
        float* kept = device == Device::cpu ? arena.floats(s.kept_size()) : nullptr;
        directions.add(i.direction(to, saved, kept));
    }
    FCI_ON(device, gated_scan_forward)(s, directions);
    tape.append("gated_scan", y, gated_scan_cost(s, directions.count), [=] {
        FCI_ON(device, gated_scan_backward)(s, directions);
    });
    return y;
}

} // namespace fci
