// Seeded bugs: wrong ops instead of correct ones, which the columns of the op table must find.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/scratch.h"
#include "ops/attention.h"
#include "ops/causal_conv1d.h"
#include "ops/gather.h"
#include "ops/linear.h"
#include "ops/pointwise.h"
#include "ops/selective_scan.h"
#include "tests/catch.h"
#include "tests/op_table.h"
#include "tests/reference/attention.h"
#include "tests/reference/layer_norm.h"
#include "tests/reference/selective_scan.h"

using namespace fci;
using namespace fci::test;
using Catch::Matchers::Contains;

namespace {

// Replaces the backward pass of both the reference and the kernel with a wrong one: both columns must report it.
template <class F>
void expect_found(const std::string& row, F wrong_backward) {
    OpCase op = row_of(row);
    CHECK(check_grad(op) == "");
    op.backward.in_double = [=](Memory<double>& m) { wrong_backward(op, m); };
    CHECK_THAT(check_grad(op), Contains("<dy, J v>"));
    CHECK_THAT(check_kernel(row_of(row), op.forward.cpu, [=](Memory<float>& m) { wrong_backward(op, m); }),
               Contains("off by"));
}

// A wrong kernel: its column's report must contain these words.
template <class F>
void expect_report(const std::string& row, F kernel, const std::string& words, bool in_forward = false) {
    const OpCase& op = row_of(row);
    const std::function<void(Memory<float>&)> wrong = [&](Memory<float>& m) { kernel(op, m); };
    CHECK_THAT(in_forward ? check_kernel(op, wrong, op.backward.cpu) : check_kernel(op, op.forward.cpu, wrong),
               Contains(words));
}

} // namespace

TEST_CASE("seeded bug: the scan's g forgets a[t+1]", "[ops][control]") {
    expect_found("selective_scan batch=2 time=17 channels=3 states=5 forward", [](const OpCase& op, auto& m) {
        const ScanShape s{2, 17, 3, 5, false};
        const auto x = [&](const char* name) { return m[op.buffer(name)]; };
        const auto d = [&](const char* name) { return m.grad(op.buffer(name)); };
        for (int b = 0; b < s.batch; ++b)
            for (int c = 0; c < s.channels; ++c)
                for (int n = 0; n < s.states; ++n) {
                    const reference::StateHistory of(s, b, c, n, x("u"), x("dt"), x("A"), x("B"));
                    auto g = of.h[0] * 0;
                    for (int i = s.time - 1; i >= 0; --i) {
                        const int bt = b * s.time + i, btc = bt * s.channels + c, btn = bt * s.states + n,
                                  cn = c * s.states + n;
                        g += x("C")[btn] * d("y")[btc]; // a[t+1] is missing
                        const auto r = g * of.a[i] * of.h_before(i);
                        d("A")[cn] += r * x("dt")[btc];
                        d("dt")[btc] += r * x("A")[cn] + g * x("B")[btn] * x("u")[btc];
                        d("u")[btc] += x("dt")[btc] * g * x("B")[btn] + (n ? 0 : x("D")[c] * d("y")[btc]);
                        d("B")[btn] += g * x("dt")[btc] * x("u")[btc];
                        d("C")[btn] += d("y")[btc] * of.h[i];
                        d("D")[c] += n ? 0 : d("y")[btc] * x("u")[btc];
                    }
                }
    });
}

TEST_CASE("seeded bug: layer_norm without mean_c(g xhat)", "[ops][control]") {
    expect_found("layer_norm rows=3 d=37 range=3", [](const OpCase& op, auto& m) {
        const int rows = 3, d = 37;
        const auto *x = m[op.buffer("x")], *w = m[op.buffer("w")], *mean = m[op.buffer("mean")],
                   *rstd = m[op.buffer("rstd")];
        const auto* dy = m.grad(op.buffer("y"));
        for (int r = 0; r < rows; ++r) {
            auto sum_g = dy[0] * 0;
            for (int c = 0; c < d; ++c) sum_g += dy[r * d + c] * w[c];
            for (int c = 0; c < d; ++c) {
                m.grad(op.buffer("x"))[r * d + c] += rstd[r] * (dy[r * d + c] * w[c] - sum_g / d);
                m.grad(op.buffer("w"))[c] += dy[r * d + c] * (x[r * d + c] - mean[r]) * rstd[r];
                m.grad(op.buffer("b"))[c] += dy[r * d + c];
            }
        }
    });
}

TEST_CASE("seeded bug: attention without delta", "[ops][control]") {
    expect_found("self_attention batch=2 time=5 heads=2 d_head=3 full", [](const OpCase& op, auto& m) {
        const int d = 6;
        const AttentionShape s{2, 5, 5, 2, 3, 3 * d, 3 * d, false};
        auto *q = m[op.buffer("qkv")], *dq = m.grad(op.buffer("qkv")), *dy = m.grad(op.buffer("y"));
        auto *k = q + d, *v = q + 2 * d, *dk = dq + d, *dv = dq + 2 * d;
        using T = std::remove_reference_t<decltype(*q)>;
        for (int b = 0; b < s.batch; ++b)
            for (int head = 0; head < s.heads; ++head) {
                const auto P = reference::attention_weights<T>(s, b, head, q, k);
                for (int i = 0; i < s.queries; ++i)
                    for (int j = 0; j < s.keys; ++j) {
                        const T p = P[i * s.keys + j];
                        T dP = 0;
                        for (int c = 0; c < s.d_head; ++c)
                            dP += dy[reference::at_y(s, b, i, head, c)] * v[reference::at_kv(s, b, j, head, c)];
                        for (int c = 0; c < s.d_head; ++c) {
                            const int qc = reference::at_q(s, b, i, head, c), kc = reference::at_kv(s, b, j, head, c);
                            dq[qc] += reference::attention_scale<T>(s) * p * dP * k[kc];
                            dk[kc] += reference::attention_scale<T>(s) * p * dP * q[qc];
                            dv[kc] += p * dy[reference::at_y(s, b, i, head, c)];
                        }
                    }
            }
    });
}

TEST_CASE("seeded bug: gradients that are assigned or incomplete or imprecise or written to the wrong place",
          "[ops][control]") {
    expect_report(
        "residual n=17",
        [](const OpCase& op, Memory<float>& m) {
            for (int i = 0; i < 17; ++i) {
                m.grad(op.buffer("x"))[i] = m.grad(op.buffer("y"))[i]; // assigned
                m.grad(op.buffer("z"))[i] += m.grad(op.buffer("y"))[i];
            }
        },
        "dx[");
    expect_report(
        "gelu n=17",
        [](const OpCase& op, Memory<float>& m) { // one element beyond the end
            cpu::gelu_backward(18, m[op.buffer("x")], m.grad(op.buffer("y")), m.grad(op.buffer("x")));
        },
        "a write outside dx of 17 floats");
    expect_report(
        "softplus n=17",
        [](const OpCase& op, Memory<float>& m) { // as if the derivative were in half precision
            op.backward.cpu(m);
            m.grad(op.buffer("x"))[16] *= 1 + 0x1p-11f;
        },
        "dx[16]");
    expect_report(
        "gate n=17",
        [](const OpCase& op, Memory<float>& m) {
            op.backward.cpu(m);
            m.grad(op.buffer("y"))[3] = 0;
        },
        "dy was changed");
    expect_report(
        "linear rows=63",
        [](const OpCase& op, Memory<float>& m) { // sums over 62 of 63 rows
            cpu::linear_backward({62, 65, 13}, m[op.buffer("x")], m[op.buffer("w")], m.grad(op.buffer("y")),
                                 m.grad(op.buffer("x")), m.grad(op.buffer("w")), m.grad(op.buffer("b")));
        },
        "off by");
}

TEST_CASE("seeded bug: a forward pass that leaves or overruns or changes something", "[ops][control]") {
    expect_report(
        "gelu n=17",
        [](const OpCase& op, Memory<float>& m) { cpu::gelu_forward(16, m[op.buffer("x")], m[op.buffer("y")]); },
        "y[16] is nan, ", true);
    expect_report(
        "gelu n=17",
        [](const OpCase& op, Memory<float>& m) { cpu::gelu_forward(18, m[op.buffer("x")], m[op.buffer("y")]); },
        "a write outside y of 17 floats", true);
    expect_report(
        "softplus n=17",
        [](const OpCase& op, Memory<float>& m) { // in place
            cpu::softplus_forward(17, m[op.buffer("x")], m[op.buffer("x")]);
            std::copy_n(m[op.buffer("x")], 17, m[op.buffer("y")]);
        },
        "x was changed", true);
    expect_report(
        "causal_conv1d batch=2 time=3 channels=5 width=4 forward",
        [](const OpCase& op, Memory<float>& m) {
            op.forward.cpu(m);
            cpu::Scratch scratch;
            scratch.floats(25)[25] = 0;
        },
        "a write outside scratch of 25 floats", true);
    expect_report(
        "causal_conv1d batch=2 time=3 channels=5 width=4 forward",
        [](const OpCase& op, Memory<float>& m) { // uses scratch before it is written
            op.forward.cpu(m);
            cpu::Scratch scratch;
            m[op.buffer("y")][7] += scratch.floats(25)[3];
        },
        "y[7] is nan", true);
    expect_report(
        "selective_scan batch=2 time=17",
        [](const OpCase& op, Memory<float>& m) { // the state saved before chunk 1
            op.forward.cpu(m);
            m[op.buffer("saved")][15] = std::numeric_limits<float>::quiet_NaN();
        },
        "nan", true);
    OpCase forgetful = row_of("gather batch=2");
    forgetful.node = [&](Tape& tape, const Memory<float>& m) { // a node whose backward does nothing
        Tensor y = row_of("gather batch=2").node(tape, m)[0];
        Tensor copy = tape.tensor(y.shape);
        std::copy_n(y.data, y.size(), copy.data);
        return copy;
    };
    CHECK_THAT(check_node(forgetful, Device::cpu), Contains("the node's dx differs"));
}

TEST_CASE("seeded bug: a budget whose ties go to the higher, or that learns in another order", "[ops][control]") {
    expect_report(
        "budget_choose batch=2 time=31 chosen=4 ties",
        [](const OpCase& op, Memory<float>& m) { // in reverse order
            float* bound = m[op.buffer("bound")];
            std::vector<float> kept(bound, bound + 62);
            for (int b = 0; b < 2; ++b) std::reverse(bound + 31 * b, bound + 31 * (b + 1));
            op.forward.cpu(m);
            std::copy(kept.begin(), kept.end(), bound);
            int32_t* chosen = m.index[0].data();
            for (int b = 0; b < 2; ++b) std::reverse(chosen + 4 * b, chosen + 4 * (b + 1));
            for (int i = 0; i < 8; ++i) chosen[i] = 30 - chosen[i];
        },
        "chosen differs", true);
    expect_report(
        "budget_learn batch=4 rows=3 d=5 before=7",
        [](const OpCase& op, Memory<float>& m) { // swaps the last two sequences with the first two
            const auto turn = [&](const char* name) {
                Guarded<float>& all = m.data[op.buffer(name).id];
                std::rotate(all.data(), all.data() + all.size() / 2, all.data() + all.size());
            };
            turn("x"), turn("loss");
            op.forward.cpu(m);
            turn("x"), turn("loss");
        },
        "off by", true);
}
