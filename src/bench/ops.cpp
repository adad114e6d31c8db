// The table of ops: sizes, analytic costs, how often a step calls each, and the call itself: for one sequence on the
// CPU, for the whole batch on a GPU, whose table also has the calls on a few rows that cost nothing on a CPU. Flops are
// those of the Cost lines in src/ops/*.h, an exp2 at its polynomial's 18; of pointwise ops those of the formulas in
// core/scalar.h (exp 22, erf 49); other O(n) work has none here: memory binds. Numbers that must move: each input read
// and each output written once, a gradient that is added to both.
#include <cmath>

#include "bench/lane.h"
#include "ops/attention.h"
#include "ops/causal_conv1d.h"
#include "ops/cross_entropy.h"
#include "ops/embedding.h"
#include "ops/fourier.h"
#include "ops/gated_scan.h"
#include "ops/gather.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/linear_attention.h"
#include "ops/pointwise.h"
#include "ops/rank1_scores.h"
#include "ops/rms_norm.h"
#include "ops/routing_scores.h"
#include "ops/sparse_attention.h"
#include "ops/top_k.h"

namespace fci {

using namespace bench;

namespace {

using Lane = BenchOp::Lane;
using Calls = const std::array<double, std::size(op_steps)>&;

BenchOp op(const char* name, std::string sizes, BenchOp::Cost forward, BenchOp::Cost backward, Calls calls,
           std::function<void(Lane&)> run_forward, std::function<void(Lane&)> run_backward) {
    return {name, std::move(sizes), forward, backward, calls, false, std::move(run_forward), std::move(run_backward)};
}

// The ops of a table: on a device, of this many sequences at once.
struct Maker {
    Device device;
    int batch;

    BenchOp linear(int rows, int in, int out, bool bias, Calls calls) const { // rows: of a sequence
        const LinearShape s{batch * rows, in, out};
        const double x = 1.0 * s.rows * in, w = 1.0 * in * out, y = 1.0 * s.rows * out, b = bias ? out : 0,
                     flops = 2.0 * s.rows * w;
        return op(
            "linear", fmt::format("{} x {} -> {}", s.rows, in, out), {flops, x + w + b + y},
            {2 * flops, 3 * x + 3 * w + y + 2 * b}, calls,
            [=](Lane& l) {
                FCI_ON(l.device, linear_forward)
                (s, l.x[0], l.x[1], bias ? l.x[2] : nullptr, l.y[0]);
            },
            [=](Lane& l) {
                FCI_ON(l.device, linear_backward)
                (s, l.x[0], l.x[1], l.x[3], l.g[0], l.g[1], bias ? l.g[2] : nullptr);
            });
    }

    BenchOp layer_norm(int rows, Calls calls) const {
        const NormShape s{batch * rows, d};
        const double n = 1.0 * s.rows * d;
        return op(
            "layer_norm", fmt::format("{} x {}", s.rows, d), {0, 2 * n + 2 * d + 2 * s.rows},
            {0, 4 * n + 5 * d + 2 * s.rows}, calls,
            [=](Lane& l) {
                FCI_ON(l.device, layer_norm_forward)
                (s, l.x[0], l.x[1], l.x[2], l.y[0], l.y[1], l.y[2]);
            },
            [=](Lane& l) {
                FCI_ON(l.device, layer_norm_backward)
                (s, l.x[0], l.x[1], l.y[1], l.y[2], l.x[3], l.g[0], l.g[1], l.g[2]);
            });
    }

    BenchOp residual_norm(int rows, Calls calls) const {
        const NormShape s{batch * rows, d};
        const double n = 1.0 * s.rows * d;
        return op(
            "residual_norm", fmt::format("{} x {}", s.rows, d), {0, 4 * n + 2 * d + 2 * s.rows},
            {0, 7 * n + 5 * d + 2 * s.rows}, calls,
            [=](Lane& l) {
                FCI_ON(l.device, residual_norm_forward)
                (s, l.x[0], l.x[3], l.x[1], l.x[2], l.y[3], l.y[0], l.y[1], l.y[2]);
            },
            [=](Lane& l) {
                FCI_ON(l.device, residual_norm_backward)
                (s, l.x[0], l.x[1], l.y[1], l.y[2], l.x[2], l.x[3], l.g[0], l.g[3], l.g[1], l.g[2]);
            });
    }

    // n: of all sequences
    BenchOp unary(const char* name, int rows, int n, double flops, double dflops, UnaryForward<float>* forward,
                  UnaryBackward<float>* backward, Calls calls) const {
        return op(
            name, fmt::format("{} x {}", rows, n / rows), {flops * n, 2.0 * n}, {dflops * n, 4.0 * n}, calls,
            [=](Lane& l) { forward(n, l.x[0], l.y[0]); }, [=](Lane& l) { backward(n, l.x[0], l.x[1], l.g[0]); });
    }
    BenchOp gelu(int rows, Calls calls) const {
        return unary("gelu", batch * rows, batch * rows * 4 * d, 53, 77, FCI_ON(device, gelu_forward),
                     FCI_ON(device, gelu_backward), calls);
    }

    BenchOp residual(int rows, Calls calls) const {
        const int64_t n = int64_t{batch} * rows * d;
        return op(
            "residual", fmt::format("{} x {}", batch * rows, d), {0, 3.0 * n}, {0, 5.0 * n}, calls,
            [=](Lane& l) {
                FCI_ON(l.device, residual_forward)
                (n, l.x[0], l.x[1], l.y[0]);
            },
            [=](Lane& l) {
                FCI_ON(l.device, residual_backward)
                (n, nullptr, nullptr, l.x[2], l.g[0], l.g[1]);
            });
    }

    BenchOp embedding(int rows, bool positions, Calls calls) const {
        const EmbeddingShape s{batch, rows, d};
        const double n = 1.0 * batch * rows * d, p = positions ? 1.0 * rows * d : 0;
        return op(
            "embedding", fmt::format("{} x {}", batch * rows, d), {0, batch * rows + 2 * n + p},
            {0, batch * rows + 3 * n + 2 * p}, calls,
            [=](Lane& l) {
                FCI_ON(l.device, embedding_forward)(s, l.index, l.x[0], positions ? l.x[1] : nullptr, l.y[0]);
            },
            [=](Lane& l) {
                FCI_ON(l.device, embedding_backward)(s, l.index, l.x[2], l.g[0], positions ? l.g[1] : nullptr);
            });
    }

    BenchOp gather(int rows, Calls calls) const {
        const GatherShape s{batch, L, rows, d};
        const double n = 1.0 * batch * rows * d;
        return op(
            "gather", fmt::format("{} rows of {}", batch * rows, d), {0, 2 * n + batch * rows},
            {0, 3 * n + batch * rows}, calls,
            [=](Lane& l) {
                FCI_ON(l.device, gather_forward)
                (s, l.x[0], l.index, l.y[0]);
            },
            [=](Lane& l) {
                FCI_ON(l.device, gather_backward)
                (s, l.index, l.x[1], l.g[0]);
            });
    }

    BenchOp attention(const char* name, AttentionShape s, Calls calls) const {
        const double pairs = 1.0 * batch * s.queries * (s.causal ? (s.keys + 1) / 2.0 : s.keys);
        const double product = 2 * pairs * d, q = 1.0 * batch * s.queries * d, kv = 2.0 * batch * s.keys * d,
                     lse = 1.0 * batch * heads * s.queries;
        const int v = s.q_stride == 3 * d ? 2 * d : d, key = v - d; // columns of q | k | v, or of k | v
        return op(
            name, fmt::format("{} x {}, {} heads{}", s.queries, s.keys, heads, s.causal ? ", c." : ""),
            {2 * product, 2 * q + kv + lse}, {5 * product, 5 * q + 3 * kv + lse}, calls,
            [=](Lane& l) {
                const float* from = key ? l.x[0] : l.x[1];
                FCI_ON(l.device, attention_forward)(s, l.x[0], from + key, from + v, l.y[0], l.y[1]);
            },
            [=](Lane& l) {
                const float* from = key ? l.x[0] : l.x[1];
                float* to = key ? l.g[0] : l.g[1];
                FCI_ON(l.device, attention_backward)
                (s, l.x[0], from + key, from + v, l.y[0], l.y[1], l.x[2], l.g[0], to + key, to + v);
            });
    }

    // Of one or two directions of time at once: in each slot the numbers of the first, then of the second.
    static Tensor tensor(Lane& l, int slot, int64_t skip) { return {l.x[slot] + skip, l.g[slot] + skip, {}}; }
    BenchOp conv(int directions, Calls calls) const {
        const ConvShape s{batch, L, inner, 4};
        const auto forward = FCI_ON(device, causal_conv1d_forward), backward = FCI_ON(device, causal_conv1d_backward);
        const double n = 1.0 * directions * batch * L * inner, w = 5.0 * directions * inner;
        const auto both = [=](Lane& l) {
            Directions<ConvDirection<float>> all;
            for (int i = 0; i < directions; ++i) {
                const int64_t skip = i * int64_t{s.batch} * L * inner;
                const ConvInput in{tensor(l, 0, skip), tensor(l, 1, i * 5 * inner), tensor(l, 1, (i * 5 + 4) * inner),
                                   i == 1};
                all.add(in.direction({l.y[0] + skip, l.x[4] + skip, {}}));
            }
            return all;
        };
        return op(
            "causal_conv1d", fmt::format("{} x {} x {}, width 4", directions, batch * L, inner),
            {(8 + 26) * n, 2 * n + w}, {(24 + 31) * n, 4 * n + 3 * w}, calls, [=](Lane& l) { forward(s, both(l)); },
            [=](Lane& l) { backward(s, both(l)); });
    }

    BenchOp gated_scan(int directions, Calls calls) const {
        const GatedScanShape s{batch, L, inner, states, rank};
        const auto forward = FCI_ON(device, gated_scan_forward), backward = FCI_ON(device, gated_scan_backward);
        const auto both = [=](Lane& l) {
            Directions<GatedScanDirection<float>> all;
            for (int i = 0; i < directions; ++i) {
                const int64_t n = i * s.size(), low = n / 2, B = low + s.step().rows * rank,
                              C = B + s.step().rows * states, w = i * inner * (rank + states + 2),
                              bias = w + inner * rank, D = bias + inner, A = D + inner;
                const GatedScanInput in{
                    tensor(l, 0, n), tensor(l, 2, low),  tensor(l, 2, B), tensor(l, 2, C), tensor(l, 1, n),
                    tensor(l, 3, w), tensor(l, 3, bias), tensor(l, 3, A), tensor(l, 3, D), i == 1};
                all.add(
                    in.direction({l.y[0] + n, l.x[4] + n, {}}, l.y[1] + i * s.saved_size(), l.far + i * s.kept_size()));
            }
            return all;
        };
        const int64_t kept = s.saved_size() + (device == Device::cpu ? s.kept_size() : 0);
        const double n = 1.0 * directions * s.size(), low = 1.0 * directions * batch * L * (rank + 2 * states),
                     constants = directions * inner * (rank + states + 2.0), k = 1.0 * directions * kept;
        return op(
            "gated_scan", fmt::format("{} x {} x {} x {}", directions, batch * L, inner, states),
            {((6 + 18) * states + 2 * rank + 46 + 27) * n, 3 * n + low + constants + k},
            {((20 + 18) * states + 4 * rank + 27 + 35) * n, 7 * n + 3 * low + 3 * constants + k}, calls,
            [=](Lane& l) { forward(s, both(l)); }, [=](Lane& l) { backward(s, both(l)); });
    }

    BenchOp scan(Calls calls) const { // what is left of gated_scan without its step and gate
        const ScanShape s{batch, L, inner, states, false};
        const auto forward = FCI_ON(device, selective_scan_forward);
        const auto backward = FCI_ON(device, selective_scan_backward);
        const double n = 1.0 * batch * L * inner, bc = 2.0 * batch * L * states, work = n * states,
                     constants = inner * (states + 1.0), saved = static_cast<double>(s.saved_size());
        return op(
            "selective_scan", fmt::format("{} x {} x {}", batch * L, inner, states),
            {(6 + 18) * work, 3 * n + bc + constants + saved},
            {(20 + 18) * work, 7 * n + 3 * bc + 3 * constants + saved}, calls,
            [=](Lane& l) { forward(s, l.x[0], l.dt, l.A, l.x[1], l.x[2], l.x[3], l.y[0], l.y[1]); },
            [=](Lane& l) {
                backward(s, l.x[0], l.dt, l.A, l.x[1], l.x[2], l.x[3], l.y[1], l.x[4], l.g[0], l.g[1], l.g[2], l.g[3],
                         l.g[4], l.g[5]);
            });
    }
};

// What a GPU's step does once: the norm of the gradients, the log, AdamW.
BenchOp update_op(int batch, Calls calls) {
    return op("update", fmt::format("{:.2f} M", 1e-6 * parameters), {0, 9.0 * parameters}, {}, calls,
              [=](Lane& l) {
                  const GpuUpdate u{parameters, l.y[0], l.y[3], l.y[1], l.y[2], nullptr, 1.0, l.update.schedule};
                  const GpuCount count{batch, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr, l.update.hits};
                  cuda::finish_step(u, {}, count, l.update.step, l.update.log, 1);
              },
              {});
}

} // namespace

std::vector<BenchOp> bench_ops(Device device, int batch) {
    // How often a sequence calls the op in each of op_steps: e.g. T a transformer's blocks, F Mamba's, P the hubs'.
    const auto times = [](double n, std::array<double, std::size(op_steps)> calls) {
        for (double& c : calls) c *= n;
        return calls;
    };
    //                                                     raw  t  bf  c ct  f  p  s
    constexpr std::array<double, std::size(op_steps)> all = {1, 1, 1, 1, 1, 1, 1, 1}, never = {},
                                                      T = {0, 1, 0, 0, 1, 0, 0, 1}, B = {0, 1, 0, 0, 1, 0, 1, 1},
                                                      F = {0, 0, 2, 0, 0, 2, 0, 0}, P = {0, 0, 0, 0, 0, 0, 1, 0};
    const Maker make{device, batch};
    constexpr int rows = 2 * k, hubs = 16;
    const int bL = batch * L;
    const double n = 1.0 * bL * d;
    const NormShape norm{bL, d};
    const RoutingShape route{batch, L, 1, d, heads};
    const Rank1Shape rank1{batch, L, 1, d};
    const SparseShape sparse{batch, L, heads, d / heads, SparseShape::most_globals};
    const LinearAttentionShape features{batch, L, heads, d / heads};
    const FourierShape wave{batch, L, d};
    const auto waves = fourier_tables(L, d);
    const auto global = std::make_shared<const std::vector<int32_t>>(global_positions(L, 1));
    const double pairs = bL * (SparseShape::rows + 2. * SparseShape::reach - 1 + sparse.globals),
                 lse = 1.0 * heads * bL, sums = static_cast<double>(features.saved_size()),
                 tables = L * (L + 2.) + 2. * d * d, transform = 4 * n * d + 2 * n * L;
    std::vector<BenchOp> t;
    t.push_back(make.embedding(L, true, all));
    t.push_back(make.layer_norm(L, {0, 1, 1, 0, 1, 2, 1, 1}));
    t.push_back(make.residual_norm(L, B));
    t.push_back(op(
        "rms_norm", fmt::format("{} x {}", bL, d), {0, 2 * n + d + bL}, {0, 4 * n + 3 * d + bL}, never,
        [=](Lane& l) {
            FCI_ON(l.device, rms_norm_forward)
            (norm, l.x[0], l.x[1], l.y[0], l.y[1]);
        },
        [=](Lane& l) {
            FCI_ON(l.device, rms_norm_backward)
            (norm, l.x[0], l.x[1], l.y[1], l.x[3], l.g[0], l.g[1]);
        }));
    t.push_back(make.linear(L, d, 3 * d, true, T));
    t.push_back(make.linear(L, d, d, true, {0, 1, 0, 0, 1, 0, 2, 1}));
    t.push_back(make.linear(L, d, 4 * d, true, B));
    t.push_back(make.linear(L, 4 * d, d, true, B));
    t.push_back(make.attention("self_attention", {batch, L, L, heads, d / heads, 3 * d, 3 * d, false}, {0, 1}));
    t.push_back(make.attention("self_attention", {batch, L, L, heads, d / heads, 3 * d, 3 * d, true}, {0, 0, 0, 0, 1}));
    t.push_back(make.gelu(L, B));
    t.push_back(make.residual(L, {0, 1, 2, 0, 1, 2, 1, 1}));
    t.push_back(make.linear(L, d, inner, false, times(2, F)));
    t.push_back(make.linear(L, inner, rank, false, F));
    t.push_back(make.linear(L, inner, states, false, times(2, F)));
    t.push_back(make.linear(L, inner, d, false, F));
    t.push_back(make.conv(2, {0, 0, 1}));
    t.push_back(make.conv(1, {0, 0, 0, 0, 0, 2}));
    t.push_back(make.gated_scan(2, {0, 0, 1}));
    t.push_back(make.gated_scan(1, {0, 0, 0, 0, 0, 2}));
    t.push_back(make.scan(never));
    const double route_flops = 2.0 * (2. * batch * d * d + n), route_rows = batch * (L + 3. * d);
    t.push_back(op(
        "routing_scores", fmt::format("{} row{} x {}", batch, batch == 1 ? "" : "s", L),
        {route_flops, n + 2 * d * d + route_rows}, {2 * route_flops, 3 * n + 6 * d * d + route_rows}, all,
        [=](Lane& l) {
            FCI_ON(l.device, routing_scores_forward)(route, l.x[0], l.x[0], l.x[1], l.x[2], l.y[0], l.y[1]);
        },
        [=](Lane& l) {
            FCI_ON(l.device, routing_scores_backward)
            (route, l.x[0], l.x[0], l.x[1], l.x[2], l.y[1], l.x[3], l.g[0], l.g[0], l.g[1], l.g[2]);
        }));
    t.push_back(op(
        "sparse_attention", fmt::format("{} x {}, {} heads", bL, pairs / bL, heads), {4 * pairs * d, 4 * n + lse},
        {10 * pairs * d, 11 * n + lse}, {0, 0, 0, 0, 0, 0, 0, 1},
        [=](Lane& l) {
            const int32_t* at = constant(l.device, global->data(), global->size());
            FCI_ON(l.device, sparse_attention_forward)(sparse, l.x[0], at, l.y[0], l.y[1]);
        },
        [=](Lane& l) {
            const int32_t* at = constant(l.device, global->data(), global->size());
            FCI_ON(l.device, sparse_attention_backward)
            (sparse, l.x[0], at, l.y[0], l.y[1], l.x[2], l.g[0]);
        }));
    t.push_back(op(
        "linear_attention", fmt::format("{}, {} heads", bL, heads), {4 * n * d / heads + 2 * 22 * n, 4 * n + sums},
        {8 * n * d / heads + 4 * 22 * n, 11 * n + sums}, never,
        [=](Lane& l) {
            FCI_ON(l.device, linear_attention_forward)
            (features, l.x[0], l.y[0], l.y[1]);
        },
        [=](Lane& l) {
            FCI_ON(l.device, linear_attention_backward)(features, l.x[0], l.y[0], l.y[1], l.x[2], l.g[0]);
        }));
    t.push_back(op(
        "fourier", fmt::format("{} x {}", bL, d), {transform, 2 * n + tables}, {transform, 3 * n + tables}, never,
        [=](Lane& l) {
            FCI_ON(l.device, fourier_forward)
            (wave, l.x[0], *waves, l.y[0]);
        },
        [=](Lane& l) {
            FCI_ON(l.device, fourier_backward)
            (wave, l.x[0], *waves, l.g[0]);
        }));
    t.push_back(op(
        "rank1_scores", fmt::format("{} row{} x {}", batch, batch == 1 ? "" : "s", L), {2 * n + bL, n + d + 2 * bL},
        {4 * n + 4 * bL, 3 * n + 3 * d + 2 * bL}, never,
        [=](Lane& l) {
            FCI_ON(l.device, rank1_scores_forward)
            (rank1, l.x[0], l.index, l.x[1], l.y[0], l.y[1]);
        },
        [=](Lane& l) {
            FCI_ON(l.device, rank1_scores_backward)
            (rank1, l.x[0], l.index, l.x[1], l.y[1], l.x[2], l.g[0], l.g[1]);
        }));
    t.push_back(op("top_k", fmt::format("{} x {}, k {}", batch, L, k), {0, 1. * bL + batch * rows}, {}, all,
                   [=](Lane& l) {
                       FCI_ON(l.device, top_k_forward)({batch, L, k}, l.x[0], reinterpret_cast<int32_t*>(l.y[0]));
                   },
                   {}));
    t.push_back(make.gather(rows, all));
    t.push_back(make.linear(rows, d, 2 * d, true, all)); // the council's
    t.push_back(make.linear(1, d, d, true, times(2, all)));
    t.push_back(make.linear(1, d, 4 * d, true, all));
    t.push_back(make.linear(1, 4 * d, d, true, all));
    t.push_back(make.attention("query_attention", {batch, 1, rows, heads, d / heads, d, 2 * d, false}, all));
    t.push_back(make.linear(1, d, vocab, true, all)); // the head
    t.push_back(op(
        "cross_entropy", fmt::format("{} x {}", batch, L), {0, 1. * bL}, {0, 3. * bL}, times(2, all),
        [=](Lane& l) {
            FCI_ON(l.device, cross_entropy_forward)({batch, L}, l.x[0], l.index, l.y[0], l.y[1]);
        },
        [=](Lane& l) {
            FCI_ON(l.device, cross_entropy_backward)({batch, L}, l.x[0], l.index, l.y[1], l.x[1], l.g[0]);
        }));
    t.push_back(op("zero_gradients", fmt::format("{} x {}", bL, d), {0, n}, {},
                   {1, 19, 23, 1, 19, 23, 19, 19}, // activations of a sequence
                   [](Lane& l) { set_zero(l.device, l.far + l.next++ % Lane::units * l.unit, l.unit * sizeof(float)); },
                   {}));
    if (device == Device::cuda) {
        t.push_back(make.layer_norm(rows, all)); // the council's and the head's
        t.push_back(make.layer_norm(1, times(2, all)));
        t.push_back(make.residual_norm(1, all));
        t.push_back(make.residual(1, all));
        t.push_back(make.gelu(1, all));
        t.push_back(make.gather(1, all));
        t.push_back(make.embedding(hubs, false, P)); // the perceiver's
        t.push_back(make.linear(L, d, 2 * d, true, P));
        t.push_back(make.linear(hubs, d, d, true, P));
        t.push_back(make.linear(hubs, d, 2 * d, true, P));
        t.push_back(make.residual(hubs, P));
        t.push_back(make.attention("query_attention", {batch, hubs, L, heads, d / heads, d, 2 * d, false}, P));
        t.push_back(make.attention("query_attention", {batch, L, hubs, heads, d / heads, d, 2 * d, false}, P));
        t.push_back(update_op(batch, all));
        return t;
    }
    const std::string block = fmt::format("{:.2f} M", 1e-6 * parameters),
                      blocks = fmt::format("{} x {}", groups, block);
    const auto once = [&](const char* name, const std::string& sizes, double passes) { // raw has two thirds of them
        t.push_back({name, sizes, {0, passes * parameters}, {}, {0.65, 1, 1}, true, {}, {}});
    };
    once("zero_groups", blocks, groups);
    once("sum_and_norm", blocks, groups + 1);
    once("adamw", block, 7);
    return t;
}

} // namespace fci
