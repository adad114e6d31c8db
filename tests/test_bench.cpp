// The benchmark's rows of the op table match the steps they stand for, and their calls run.
#include <cmath>
#include <map>

#include "bench/rows.h"
#include "routing/router.h"
#include "tests/catch.h"
#include "train/losses.h"

using namespace fci;

namespace {

Options der(const std::string& representation) {
    Options o;
    o.task.task = "der";
    o.model.representation = representation;
    resolve(o);
    return o;
}

} // namespace

TEST_CASE("bench: the GPU's rows have every call of the steps that they name", "[bench]") {
    for (const int batch : {2, 32}) {
        const std::vector<BenchOp> rows = bench_ops(Device::cuda, batch);
        for (size_t c = 0; c < std::size(op_steps); ++c) {
            INFO(op_steps[c]);
            std::map<std::string, double> listed, called; // number of calls
            for (const BenchOp& o : rows)
                if (o.calls[c] > 0 && o.name != "zero_gradients" && o.name != "update") listed[o.name] += o.calls[c];
            for (const Tape::Call& call : calls_of_step(der(op_steps[c]), batch)) ++called[call.op];
            for (const auto& [op, times] : called)
                CHECK(fmt::format("{} {}", op, listed[op]) == fmt::format("{} {}", op, times));
            CHECK(listed.size() == called.size());
        }
    }
}

TEST_CASE("bench: a row's calls can be made, of one sequence and of several", "[bench]") {
    for (const int batch : {1, 3})
        for (const BenchOp& o : bench_ops(Device::cpu, batch)) {
            INFO(o.name << " " << o.sizes);
            if (o.once) continue;
            DeviceMemory m(o, Device::cpu, 1);
            for (int i = 0; i < static_cast<int>(o.fields.size()); ++i)
                if (o.fields[i].role != Role::input) std::fill_n(m[Buffer{i}], o.fields[i].size, NAN);
            o.forward(m);
            if (o.backward) o.backward(m);
            const auto finite = [](const float* x, int64_t n) { return Tape::finite(x, n); };
            for (int i = 0; i < static_cast<int>(o.fields.size()); ++i) {
                INFO(o.fields[i].name);
                if (o.name == "zero_gradients")
                    CHECK(m[Buffer{i}][0] == 0);
                else
                    CHECK(finite(m[Buffer{i}], o.fields[i].size));
                CHECK(finite(m.grad(Buffer{i}), o.fields[i].size));
            }
        }
}

// The sums computed by hand for L 512, d 128, batch 32 (bench/steps.cpp).
TEST_CASE("bench: what a step computes is what its calls say", "[bench]") {
    const double d = 128, L = 512, k = 4;
    const double council = 6 * (10 * d * d + 2 * k * 2 * d * d) + 7 * 2 * 2 * k * d, route = 6 * (2 * d * d + L * d),
                 rest = council + route + 6 * d * der("raw").task.vocab;
    const auto expect = [&](const char* representation, double block) {
        INFO(representation);
        CHECK(1e9 * sequence_gflop(der(representation)) == Approx(block + rest).epsilon(1e-12));
    };
    const double products = 6 * 12 * d * d * L;
    expect("raw", 0);
    expect("transformer:3", 3 * (products + 7 * 2 * L * L * d));
    expect("causal-transformer:1", products + 7 * L * (L + 1) * d);
    expect("sparse-transformer:1", products + 7 * 2 * L * 63 * d);
    expect("linear-attention:1", products + 6 * 2 * L * d * d / 4);
    expect("rank1-attention:1", 6 * (10 * d * d + 8 * d) * L + 2 * L * L * (3 * d + 16));
    expect("perceiver:16", products + 7 * 2 * 2 * L * 16 * d + 6 * 3 * d * d * 16);
    expect("budgeted-attention:0.5", (products + 7 * L * L * d) / 2 + 3 * L * d * d);
    expect("fourier:1", 6 * 8 * d * d * L + 2 * (4 * L * d * d + 2 * L * L * d));
    const double inner = 256, mamba = 6 * inner * (2 * d + 8 + 32 + 8 + d) + 8 * 4 * inner + inner * 16 * 62;
    expect("flow:1", L * mamba);
    expect("bidir-flow:2", 4 * L * mamba);
    expect("global-mean", 6 * d * d);
}

TEST_CASE("a step's calls are known for every router without memory or time", "[bench]") {
    for (const RouterKind* router : routers())
        for (const char* representation : {"raw", "bidir-flow:1", "sparse-transformer:64"}) {
            if (router->type != RouterKind::in_model) continue;
            INFO(representation << " " << router->name);
            Options o = der(representation);
            o.model.router = router->name, o.task.length = 1 << 14;
            const double of_one = sequence_gflop(o); // 64 layers at this length would take 60 GB
            double of_three = 0;
            for (const Tape::Call& call : calls_of_step(o, 3))
                of_three += call.cost.forward.products + call.cost.backward.products;
            CHECK(of_one > 0);
            CHECK(1e-9 * of_three > 2.9 * of_one);
        }
}
