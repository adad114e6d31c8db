// Mixers of positions, in addition to the op table: seeded bugs that its columns must find, the drawn positions, masked
// keys, the names of representations, and messages.
// the names of representations, and messages.
#include <algorithm>
#include <cmath>
#include <set>

#include "model/fci.h"
#include "ops/fourier.h"
#include "ops/linear_attention.h"
#include "ops/sparse_attention.h"
#include "tests/catch.h"
#include "tests/op_table.h"
#include "tests/reference/linear_attention.h"
#include "tests/reference/sparse_attention.h"
#include "tests/scratch.h"

using namespace fci;
using namespace fci::test;
using Catch::Matchers::Contains;

TEST_CASE("seeded bug: a global position inside the window counts twice", "[ops][control]") {
    const SparseShape s{2, 41, 3, 2, 1};
    const int32_t global[] = {7};
    const auto twice = [&](Memory<float>& m) {
        const OpCase& op = row_of("sparse_attention batch=2 time=41 heads=3");
        const auto* qkv = m[op.buffer("qkv")];
        reference::sparse_attention_forward(s, qkv, global, m[op.buffer("y")], m[op.buffer("lse")]);
        const std::vector<float> P = reference::sparse_weights(s, 0, 0, qkv, reference::sparse_pattern(s, global));
        const float p = P[5 * s.time + 7]; // row 5 counted once more: weights p_j / (1 + p), p twice
        for (int c = 0; c < s.d_head; ++c) {
            float& y = m[op.buffer("y")][reference::at_y(s, 0, 5, 0, c)];
            y = (y + p * qkv[reference::at_part(s, 2, 0, 7, 0, c)]) / (1 + p);
        }
    };
    const OpCase& op = row_of("sparse_attention batch=2 time=41 heads=3");
    CHECK_THAT(check_kernel(op, twice, {}), Contains("y["));
}

TEST_CASE("seeded bug: linear attention without the gradient of its normaliser", "[ops][control]") {
    OpCase op = row_of("linear_attention batch=2 time=7 heads=3 d_head=5");
    const LinearAttentionShape s{2, 7, 3, 5};
    op.backward.in_double = [=](Memory<double>& m) {
        reference::for_each_head(s, [&](int in, int out) {
            const int stride = 3 * s.d();
            const double *q = m[op.buffer("qkv")] + in, *k = q + s.d(), *v = k + s.d();
            double *dq = m.grad(op.buffer("qkv")) + in, *dk = dq + s.d(), *dv = dk + s.d();
            const reference::LinearWeights<double> of(s, q, k);
            for (int i = 0; i < s.time; ++i)
                for (int j = 0; j < s.time; ++j) {
                    double dw = 0;
                    const double* dy = m.grad(op.buffer("y")) + out + i * s.d();
                    for (int c = 0; c < s.d_head; ++c) dw += dy[c] * v[j * stride + c];
                    for (int c = 0; c < s.d_head; ++c) { // mean_j(w dw) is missing
                        const double qc = q[i * stride + c], kc = k[j * stride + c];
                        dq[i * stride + c] += dw / of.sum[i] * reference::phi(kc) * reference::phi_derivative(qc);
                        dk[j * stride + c] += dw / of.sum[i] * reference::phi(qc) * reference::phi_derivative(kc);
                        dv[j * stride + c] += of.w[i * s.time + j] * dy[c];
                    }
                }
        });
    };
    CHECK_THAT(check_grad(op), Contains("<dy, J v>"));
}

TEST_CASE("global positions: distinct, ascending, of the seed, each as likely", "[ops]") {
    CHECK(global_positions(0, 1).empty());
    CHECK(global_positions(1, 1) == std::vector<int32_t>{0});
    std::vector<int32_t> all(16);
    for (int i = 0; i < 16; ++i) all[i] = i;
    CHECK(global_positions(16, 5) == all);
    CHECK(global_positions(512, 3) == global_positions(512, 3));
    CHECK(global_positions(512, 3) != global_positions(512, 4));
    const int length = 24, draws = 3000;
    std::vector<int> count(length);
    for (int seed = 0; seed < draws; ++seed) {
        const std::vector<int32_t> p = global_positions(length, seed);
        REQUIRE(p.size() == 16);
        REQUIRE(std::is_sorted(p.begin(), p.end()));
        REQUIRE(std::set(p.begin(), p.end()).size() == 16);
        REQUIRE((p.front() >= 0 && p.back() < length));
        for (int32_t i : p) ++count[i];
    }
    const double expected = draws * 16. / length, deviation = std::sqrt(expected * (1 - 16. / length));
    for (int c : count) CHECK(std::abs(c - expected) < 5 * deviation);
}

TEST_CASE("sparse attention: a key that is not seen has no effect, however large its score", "[ops]") {
    const int time = 70, heads = 2, d = 6, row = 3 * d, i = 40; // row 40 sees 24 .. 55 and 3; dy is 0 elsewhere
    const int32_t global[] = {3, 30};
    const auto run = [&](float unseen) {
        Rng rng(2, Stream::golden);
        std::vector<float> qkv(time * row), gradient(time * row, 0.f);
        for (int at = 0; at < time * row; ++at) {
            const int j = at / row;
            const bool key = at % row >= d && at % row < 2 * d, seen = (j >= i - 16 && j < i + 16) || j == 3;
            qkv[at] = rng.uniform(-1, 1) * (key && !seen ? unseen : 1);
        }
        Arena arena;
        Tape tape(arena);
        const Tensor y = sparse_attention(tape, {qkv.data(), gradient.data(), {1, time, row}}, {global, {2}}, heads);
        for (int c = 0; c < d; ++c) y.grad[i * d + c] = rng.uniform(-1, 1);
        tape.backward();
        std::vector<float> result(y.data + i * d, y.data + (i + 1) * d);
        result.insert(result.end(), gradient.begin(), gradient.end());
        return result;
    };
    const std::vector<float> result = run(1);
    CHECK(run(1e4f) == result); // exp of such a score overflows
    for (int j = 0; j < time; ++j) {
        const float* of = result.data() + d + j * row;
        const bool seen = (j >= i - 16 && j < i + 16) || j == 3;
        CHECK(std::any_of(of + d, of + row, [](float g) { return g != 0; }) == seen);
    }
}

TEST_CASE("mixers name what does not fit", "[ops]") {
    Arena arena;
    Tape tape(arena);
    const auto make = [&](Shape s) {
        Tensor t = tape.tensor(s);
        std::fill_n(t.data, t.size(), 0.f);
        return t;
    };
    const int32_t five = 5;
    CHECK_THROWS_WITH(sparse_attention(tape, make({1, 5, 6}), {&five, {1}}, 1),
                      "sparse_attention: global position 5 is outside the length 5");
    CHECK_THROWS_WITH(sparse_attention(tape, make({1, 5, 9}), {&five, {1}}, 2), Contains("qkv is (1,5,9)"));
    CHECK_THROWS_WITH(linear_attention(tape, make({1, 5, 9}), 2), Contains("qkv is (1,5,9)"));
    CHECK_THROWS_WITH(rank1_attention(tape, make({1, 5, 6}), make({1, 5, 6}), 2),
                      Contains("qk is (1,5,6)") && Contains("expected (b,t,4)"));
    CHECK_THROWS_WITH(fourier(tape, make({1, 5, 4}), FourierTables(5, 3)), Contains("x is (1,5,4)"));
}

TEST_CASE("representations: names, layers, hubs, and who gets positions", "[ops]") {
    const auto parsed = [](const char* text) {
        const Mixing m(text);
        return std::pair(std::string(m.kind->name), m.blocks());
    };
    CHECK(parsed("sparse-transformer:3") == std::pair(std::string("sparse-transformer"), 3));
    CHECK(parsed("fourier") == std::pair(std::string("fourier"), 1));
    CHECK(Mixing("perceiver:512").number == 512);
    CHECK(Mixing("perceiver").number == 1);
    CHECK_THROWS_WITH(Mixing("perceiver:513"), Contains("the number of hubs after ':' must be 1 to 512"));
    CHECK_THROWS_WITH(Mixing("linear-attention:65"), Contains("the number of layers after ':'"));
    CHECK_THROWS_WITH(Mixing("linear-attentoin"), Contains("did you mean 'linear-attention'?"));
    const auto names = [](const char* representation, const char* positions) {
        ModelOptions o;
        o.representation = representation, o.positions = positions;
        ParameterBinder p;
        Representation(p, o, 16, 40);
        std::set<std::string> all;
        for (const ParameterInfo& info : p.infos()) all.insert(info.name);
        return all;
    };
    for (const char* r : {"transformer", "causal-transformer", "sparse-transformer", "linear-attention",
                          "rank1-attention", "perceiver", "fourier", "flow", "bidir-flow", "raw"}) {
        INFO(r);
        const std::string kind = r;
        const bool attention = kind != "fourier" && kind != "flow" && kind != "bidir-flow" && kind != "raw";
        CHECK(names(r, "everywhere").count("position.weight"));
        CHECK(names(r, "in_mixer").count("position.weight") == attention);
        CHECK_FALSE(names(r, "none").count("position.weight"));
    }
    CHECK(names("perceiver:7", "none").count("block.0.hubs"));
    CHECK_FALSE(names("perceiver:7", "none").count("block.1.hubs"));
    CHECK(names("fourier:2", "none").count("block.1.ffn.0.weight"));
    ModelOptions o;
    o.representation = "fourier";
    expect_error(error_of([&] { check_model(o, 16, 16385); }), Exit::usage, "at most 16384");
    o.representation = "budgeted-attention", o.d_model = 516;
    expect_error(error_of([&] { check_model(o, 16, 64); }), Exit::usage, "--d-model 516");
}
