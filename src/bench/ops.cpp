// The table of ops: sizes, analytic costs, how often a step calls each, and the call itself. Flops are those of the
// Cost lines in src/ops/*.h, an exp2 at its polynomial's 18; of pointwise ops those of the formulas in core/scalar.h
// (exp 22, erf 49); other O(n) work has none here: memory binds. Numbers that must move: each input read and each
// output written once, a gradient that is added to both.
#include <unistd.h>

#include <cmath>

#include "bench/measure.h"
#include "ops/attention.h"
#include "ops/causal_conv1d.h"
#include "ops/cross_entropy.h"
#include "ops/embedding.h"
#include "ops/fourier.h"
#include "ops/gather.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/linear_attention.h"
#include "ops/pointwise.h"
#include "ops/rank1_scores.h"
#include "ops/rms_norm.h"
#include "ops/routing_scores.h"
#include "ops/selective_scan.h"
#include "ops/sparse_attention.h"
#include "ops/top_k.h"
#include "train/adamw.h"

namespace fci {

constexpr int L = 512, d = 128, heads = 4, inner = 256, states = 16, rank = 8, vocab = 256, k = 4;
constexpr int groups = 8, parameters = 560000; // about those of transformer:1 and bidir-flow:1

struct BenchOp::Lane {
    static constexpr int64_t slot = int64_t{512} * 512, unit = int64_t{L} * d, units = 40;
    Arena arena;
    float *x[5], *y[4], *g[7]; // inputs, outputs and scratch, gradients that are added to
    float *dt, *A, *far;       // Mamba's step and A in their range; activations of a whole step, to be zeroed
    int32_t* index;
    int next = 0;

    explicit Lane(int worker) {
        for (float*& p : x) fill_normal(p = arena.floats(slot), slot, 10 * worker + (&p - x));
        for (float*& p : y) std::memset(p = arena.floats(slot), 0, slot * sizeof(float));
        for (float*& p : g) std::memset(p = arena.floats(slot), 0, slot * sizeof(float));
        dt = arena.floats(slot), A = arena.floats(inner * states), far = arena.floats(units * unit);
        index = arena.array<int32_t>(L);
        std::memset(far, 0, units * unit * sizeof(float));
        Rng rng(1, Stream::pattern, 1000 + worker);
        for (int64_t i = 0; i < slot; ++i) dt[i] = rng.uniform(0.001f, 0.1f);
        for (int i = 0; i < inner * states; ++i) A[i] = -1.f - static_cast<float>(i % states);
        for (int i = 0; i < L; ++i) index[i] = rng.between(0, vocab);
    }
};

namespace {

using Lane = BenchOp::Lane;
using Calls = const double (&)[3];

BenchOp op(const char* name, std::string sizes, BenchOp::Cost forward, BenchOp::Cost backward, Calls calls,
           std::function<void(Lane&)> run_forward, std::function<void(Lane&)> run_backward) {
    return {name,
            std::move(sizes),
            forward,
            backward,
            {calls[0], calls[1], calls[2]},
            false,
            std::move(run_forward),
            std::move(run_backward)};
}

BenchOp linear_op(int rows, int in, int out, bool bias, Calls calls) {
    const LinearShape s{rows, in, out};
    const double x = 1.0 * rows * in, w = 1.0 * in * out, y = 1.0 * rows * out, b = bias ? out : 0,
                 flops = 2.0 * rows * w;
    return op(
        "linear", fmt::format("{} x {} -> {}", rows, in, out), {flops, x + w + b + y},
        {2 * flops, 3 * x + 3 * w + y + 2 * b}, calls,
        [=](Lane& l) { cpu::linear_forward(s, l.x[0], l.x[1], bias ? l.x[2] : nullptr, l.y[0]); },
        [=](Lane& l) { cpu::linear_backward(s, l.x[0], l.x[1], l.x[3], l.g[0], l.g[1], bias ? l.g[2] : nullptr); });
}

BenchOp unary_op(const char* name, int n, double flops, double dflops, UnaryForward<float>* forward,
                 UnaryBackward<float>* backward, Calls calls) {
    return op(
        name, fmt::format("{} x {}", L, n / L), {flops * n, 2.0 * n}, {dflops * n, 4.0 * n}, calls,
        [=](Lane& l) { forward(n, l.x[0], l.y[0]); }, [=](Lane& l) { backward(n, l.x[0], l.x[1], l.g[0]); });
}

BenchOp attention_op(const char* name, AttentionShape s, Calls calls) {
    check(s.scratch() <= Lane::slot, "bench: {} needs {} floats of scratch", name, s.scratch());
    const double pairs = 1.0 * s.queries * (s.causal ? (s.keys + 1) / 2.0 : s.keys);
    const double product = 2 * pairs * d, q = 1.0 * s.queries * d, kv = 2.0 * s.keys * d, lse = 1.0 * heads * s.queries;
    const int v = s.q_stride == 3 * d ? 2 * d : d, key = v - d; // columns of q | k | v, or of k | v
    return op(
        name, fmt::format("{} x {}, {} heads{}", s.queries, s.keys, heads, s.causal ? ", c." : ""),
        {2 * product, 2 * q + kv + lse}, {5 * product, 5 * q + 3 * kv + lse}, calls,
        [=](Lane& l) {
            const float* from = key ? l.x[0] : l.x[1];
            cpu::attention_forward(s, l.x[0], from + key, from + v, l.y[0], l.y[1], l.y[2]);
        },
        [=](Lane& l) {
            const float* from = key ? l.x[0] : l.x[1];
            float* to = key ? l.g[0] : l.g[1];
            cpu::attention_backward(s, l.x[0], from + key, from + v, l.y[0], l.y[1], l.x[2], l.g[0], to + key, to + v,
                                    l.y[2]);
        });
}

BenchOp scan_op(bool reverse, Calls calls) {
    const ScanShape s{1, L, inner, states, reverse};
    const double n = 1.0 * L * inner, bc = 2.0 * L * states, work = n * states, parameters = inner * (states + 1.0),
                 saved = static_cast<double>(s.saved_size());
    return op(
        "selective_scan", fmt::format("{} x {} x {}{}", L, inner, states, reverse ? ", reverse" : ""),
        {(6 + 18) * work, 3 * n + bc + parameters + saved}, {(20 + 18) * work, 7 * n + 3 * bc + 3 * parameters + saved},
        calls,
        [=](Lane& l) {
            cpu::selective_scan_forward(s, l.x[0], l.dt, l.A, l.x[1], l.x[2], l.x[3], l.y[0], l.y[1], l.y[2]);
        },
        [=](Lane& l) {
            cpu::selective_scan_backward(s, l.x[0], l.dt, l.A, l.x[1], l.x[2], l.x[3], l.y[1], l.x[4], l.g[0], l.g[1],
                                         l.g[2], l.g[3], l.g[4], l.g[5], l.y[2]);
        });
}

} // namespace

std::vector<BenchOp> bench_ops() {
    // How often a sequence calls the op in raw, transformer:1 and bidir-flow:1.
    constexpr double all[3] = {1, 1, 1}, twice[3] = {2, 2, 2}, T1[3] = {0, 1, 0}, M1[3] = {0, 0, 1}, M2[3] = {0, 0, 2},
                     M4[3] = {0, 0, 4}, never[3] = {};
    constexpr double n = L * d, m = L * inner, rows = 2 * k;
    const NormShape norm{L, d};
    const RoutingShape route{1, L, 1, d, heads};
    const Rank1Shape rank1{1, L, 1, d};
    const ConvShape conv{1, L, inner, 4, false};
    const SparseShape sparse{1, L, heads, d / heads, SparseShape::most_globals};
    const LinearAttentionShape features{1, L, heads, d / heads};
    const FourierShape wave{1, L, d};
    const auto waves = fourier_tables(L, d);
    const auto global = std::make_shared<const std::vector<int32_t>>(global_positions(L, 1));
    const double pairs = L * (SparseShape::rows + 2. * SparseShape::reach - 1 + sparse.globals), lse = 1.0 * heads * L,
                 sums = static_cast<double>(features.saved_size()), tables = L * (L + 2.) + 2. * d * d,
                 transform = 4 * n * d + 2 * n * L;
    std::vector<BenchOp> t;
    t.push_back(op(
        "embedding", fmt::format("{} x {}", L, d), {0, L + 3 * n}, {0, L + 5 * n}, all,
        [](Lane& l) {
            cpu::embedding_forward({1, L, d}, l.index, l.x[0], l.x[1], l.y[0]);
        },
        [](Lane& l) {
            cpu::embedding_backward({1, L, d}, l.index, l.x[2], l.g[0], l.g[1]);
        }));
    t.push_back(op(
        "layer_norm", fmt::format("{} x {}", L, d), {0, 2 * n + 2 * d + 2 * L}, {0, 4 * n + 5 * d + 2 * L},
        {0, 2, 1}, // the council's and the head's few rows cost nothing beside these
        [=](Lane& l) { cpu::layer_norm_forward(norm, l.x[0], l.x[1], l.x[2], l.y[0], l.y[1], l.y[2]); },
        [=](Lane& l) {
            cpu::layer_norm_backward(norm, l.x[0], l.x[1], l.y[1], l.y[2], l.x[3], l.g[0], l.g[1], l.g[2]);
        }));
    t.push_back(op(
        "rms_norm", fmt::format("{} x {}", L, d), {0, 2 * n + d + L}, {0, 4 * n + 3 * d + L}, never,
        [=](Lane& l) { cpu::rms_norm_forward(norm, l.x[0], l.x[1], l.y[0], l.y[1]); },
        [=](Lane& l) { cpu::rms_norm_backward(norm, l.x[0], l.x[1], l.y[1], l.x[3], l.g[0], l.g[1]); }));
    t.push_back(linear_op(L, d, 3 * d, true, T1));
    t.push_back(linear_op(L, d, d, true, T1));
    t.push_back(linear_op(L, d, 4 * d, true, T1));
    t.push_back(linear_op(L, 4 * d, d, true, T1));
    t.push_back(attention_op("self_attention", {1, L, L, heads, d / heads, 3 * d, 3 * d, false}, T1));
    t.push_back(attention_op("self_attention", {1, L, L, heads, d / heads, 3 * d, 3 * d, true}, never));
    t.push_back(unary_op("gelu", L * 4 * d, 53, 77, cpu::gelu_forward, cpu::gelu_backward, T1));
    t.push_back(op(
        "residual", fmt::format("{} x {}", L, d), {0, 3 * n}, {0, 5 * n}, {0, 2, 2},
        [](Lane& l) { cpu::residual_forward(int64_t{L} * d, l.x[0], l.x[1], l.y[0]); },
        [](Lane& l) { cpu::residual_backward(int64_t{L} * d, nullptr, nullptr, l.x[2], l.g[0], l.g[1]); }));
    t.push_back(linear_op(L, d, inner, false, M4));
    t.push_back(linear_op(L, inner, rank, false, M2));
    t.push_back(linear_op(L, rank, inner, true, M2));
    t.push_back(linear_op(L, inner, states, false, M4));
    t.push_back(linear_op(L, inner, d, false, M2));
    t.push_back(op(
        "causal_conv1d", fmt::format("{} x {}, width 4", L, inner), {8 * m, 2 * m + 5 * inner},
        {16 * m, 4 * m + 14 * inner}, M2,
        [=](Lane& l) { cpu::causal_conv1d_forward(conv, l.x[0], l.x[1], l.x[2], l.y[0], l.y[1]); },
        [=](Lane& l) { cpu::causal_conv1d_backward(conv, l.x[0], l.x[1], l.x[3], l.g[0], l.g[1], l.g[2], l.y[1]); }));
    t.push_back(unary_op("silu", L * inner, 26, 31, cpu::silu_forward, cpu::silu_backward, M2));
    t.push_back(unary_op("softplus", L * inner, 46, 27, cpu::softplus_forward, cpu::softplus_backward, M2));
    t.push_back(scan_op(false, M1));
    t.push_back(scan_op(true, M1));
    t.push_back(op(
        "gate", fmt::format("{} x {}", L, inner), {27 * m, 3 * m}, {35 * m, 7 * m}, M2,
        [](Lane& l) { cpu::gate_forward(int64_t{L} * inner, l.x[0], l.x[1], l.y[0]); },
        [](Lane& l) { cpu::gate_backward(int64_t{L} * inner, l.x[0], l.x[1], l.x[2], l.g[0], l.g[1]); }));
    constexpr double route_flops = 2.0 * (2 * d * d + n);
    t.push_back(op(
        "routing_scores", fmt::format("1 row x {}", L), {route_flops, n + 2 * d * d + L + 3 * d},
        {2 * route_flops, 3 * n + 6 * d * d + L + 3 * d}, all,
        [=](Lane& l) { cpu::routing_scores_forward(route, l.x[0], l.x[0], l.x[1], l.x[2], l.y[0], l.y[1]); },
        [=](Lane& l) {
            cpu::routing_scores_backward(route, l.x[0], l.x[0], l.x[1], l.x[2], l.y[1], l.x[3], l.g[0], l.g[0], l.g[1],
                                         l.g[2], l.y[2]);
        }));
    t.push_back(op(
        "sparse_attention", fmt::format("{} x {}, {} heads", L, pairs / L, heads), {4 * pairs * d, 4 * n + lse},
        {10 * pairs * d, 11 * n + lse}, never,
        [=](Lane& l) { cpu::sparse_attention_forward(sparse, l.x[0], global->data(), l.y[0], l.y[1], l.y[2]); },
        [=](Lane& l) {
            cpu::sparse_attention_backward(sparse, l.x[0], global->data(), l.y[0], l.y[1], l.x[2], l.g[0], l.y[2]);
        }));
    t.push_back(op(
        "linear_attention", fmt::format("{}, {} heads", L, heads), {4 * n * d / heads + 2 * 22 * n, 4 * n + sums},
        {10 * n * d / heads + 4 * 22 * n, 11 * n + sums}, never,
        [=](Lane& l) { cpu::linear_attention_forward(features, l.x[0], l.y[0], l.y[1], l.y[2]); },
        [=](Lane& l) { cpu::linear_attention_backward(features, l.x[0], l.y[0], l.y[1], l.x[2], l.g[0], l.y[2]); }));
    t.push_back(op(
        "fourier", fmt::format("{} x {}", L, d), {transform, 2 * n + tables}, {transform, 3 * n + tables}, never,
        [=](Lane& l) { cpu::fourier_forward(wave, l.x[0], *waves, l.y[0], l.y[2]); },
        [=](Lane& l) { cpu::fourier_backward(wave, l.x[0], *waves, l.g[0], l.y[2]); }));
    t.push_back(op(
        "rank1_scores", fmt::format("1 row x {}", L), {2 * n + L, n + d + 2 * L},
        {4 * n + 4 * L, 3 * n + 3 * d + 2 * L}, never,
        [=](Lane& l) { cpu::rank1_scores_forward(rank1, l.x[0], l.index, l.x[1], l.y[0], l.y[1]); },
        [=](Lane& l) {
            cpu::rank1_scores_backward(rank1, l.x[0], l.index, l.x[1], l.y[1], l.x[2], l.g[0], l.g[1], l.y[2]);
        }));
    t.push_back(op("top_k", fmt::format("1 x {}, k {}", L, k), {0, L + rows}, {}, all,
                   [](Lane& l) {
                       cpu::top_k_forward({1, L, k}, l.x[0], reinterpret_cast<int32_t*>(l.y[0]));
                   },
                   {}));
    t.push_back(op(
        "gather", fmt::format("{} rows of {}", rows, d), {0, 2 * rows * d + rows}, {0, 3 * rows * d + rows}, all,
        [](Lane& l) {
            cpu::gather_forward({1, L, 2 * k, d}, l.x[0], l.index, l.y[0]);
        },
        [](Lane& l) {
            cpu::gather_backward({1, L, 2 * k, d}, l.index, l.x[1], l.g[0]);
        }));
    t.push_back(linear_op(2 * k, d, 2 * d, true, all)); // the council's
    t.push_back(linear_op(1, d, d, true, twice));
    t.push_back(linear_op(1, d, 4 * d, true, all));
    t.push_back(linear_op(1, 4 * d, d, true, all));
    t.push_back(attention_op("query_attention", {1, 1, 2 * k, heads, d / heads, d, 2 * d, false}, all));
    t.push_back(linear_op(1, d, vocab, true, all)); // the head
    t.push_back(op(
        "cross_entropy", fmt::format("1 x {}", L), {0, L}, {0, 3.0 * L}, twice,
        [](Lane& l) {
            cpu::cross_entropy_forward({1, L}, l.x[0], l.index, l.y[0], l.y[1]);
        },
        [](Lane& l) {
            cpu::cross_entropy_backward({1, L}, l.x[0], l.index, l.y[1], l.x[1], l.g[0]);
        }));
    t.push_back(op(
        "zero_gradients", fmt::format("{} x {}", L, d), {0, n}, {}, {1, 19, 39}, // activations of a sequence
        [](Lane& l) { std::memset(l.far + l.next++ % Lane::units * Lane::unit, 0, Lane::unit * sizeof(float)); }, {}));
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

namespace {

// The three that run once a step and spread over the workers by themselves.
double seconds_once(Together& together, const std::string& name) {
    std::vector<float> data(parameters, 0.1f), grads(int64_t{parameters} * groups, 1e-3f);
    std::vector<float*> blocks;
    std::vector<double> partial(slices(parameters));
    AdamW optimiser(parameters);
    int64_t step = 0;
    for (int g = 0; g < groups; ++g) blocks.push_back(grads.data() + int64_t{g} * parameters);
    Workers& workers = together.workers();
    return together.seconds_alone([&] {
        if (name == "zero_groups")
            workers.run(groups, [&](int g, int) { std::memset(blocks[g], 0, parameters * sizeof(float)); });
        else if (name == "sum_and_norm")
            sum_and_norm(blocks, parameters, partial, workers);
        else
            optimiser.step(++step, {1e-4, 0.9}, 1.f, blocks[0], data.data(), workers);
    });
}

} // namespace

std::vector<double> copy_rates(Together& together, int samples) {
    double bytes = 256 << 20; // of all buffers together
#ifdef _SC_LEVEL3_CACHE_SIZE
    bytes = std::clamp(2.0 * static_cast<double>(sysconf(_SC_LEVEL3_CACHE_SIZE)), bytes, 1024.0 * (1 << 20));
#endif
    const auto size = static_cast<size_t>(bytes / 2 / together.count() / 64) * 64;
    Arena arena;
    std::vector<char*> from, to;
    for (int i = 0; i < together.count(); ++i) {
        from.push_back(arena.array<char>(size)), to.push_back(arena.array<char>(size));
        std::memset(from[i], 1, size);
    }
    std::vector<double> rates;
    for (int s = 0; s < samples; ++s) {
        const double seconds = together.seconds([&](int i) { std::memcpy(to[i], from[i], size); }, 3);
        rates.push_back(2e-9 * static_cast<double>(size) * together.count() / seconds);
    }
    return rates;
}

std::vector<double> time_ops(Together& together, const std::vector<BenchOp>& ops,
                             const std::function<void(const BenchOp&)>& between) {
    std::vector<std::unique_ptr<Lane>> lanes;
    for (int w = 0; w < together.count(); ++w) lanes.push_back(std::make_unique<Lane>(w));
    std::vector<double> seconds;
    for (const BenchOp& o : ops) {
        between(o);
        if (o.once) {
            seconds.insert(seconds.end(), {seconds_once(together, o.name), 0});
            continue;
        }
        for (const auto& run : {o.run_forward, o.run_backward}) // backward reads what forward saved
            seconds.push_back(run ? together.seconds([&](int i) { run(*lanes[i]); }) : 0);
    }
    return seconds;
}

} // namespace fci
