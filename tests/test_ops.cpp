// Every row of the op table in every column (test_op_controls.cpp: bugs that the columns must find); then parts without
// a row: the choice without scores, the root of the tape, and the messages for wrong shapes.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "ops/attention.h"
#include "ops/causal_conv1d.h"
#include "ops/cross_entropy.h"
#include "ops/gated_scan.h"
#include "ops/gather.h"
#include "ops/linear.h"
#include "ops/pointwise.h"
#include "ops/selective_scan.h"
#include "ops/set_cross_entropy.h"
#include "ops/sparse_attention.h"
#include "ops/top_k.h"
#include "tests/catch.h"
#include "tests/op_table.h"
#include "tests/reference/rank1_scores.h"

using namespace fci;
using namespace fci::test;
using Catch::Matchers::Contains;

TEST_CASE("op table grad: reference backward against dual numbers", "[ops]") {
    for (const OpCase& op : op_table())
        if (op.backward.in_double) CHECK(check_grad(op) == "");
}

TEST_CASE("op table cpu: kernels against the reference in double", "[ops]") {
    for (const OpCase& op : op_table()) CHECK(check_kernel(op, op.forward.cpu, op.backward.cpu) == "");
}

TEST_CASE("op table node: tape nodes against the kernels bit for bit", "[ops]") {
    for (const OpCase& op : op_table())
        if (op.node) CHECK(check_node(op, Device::cpu) == "");
}

namespace {

// The rows of the twin column. FCI_TWIN_ROWS: only the first few of each op, for compute-sanitizer.
std::vector<const OpCase*> twin_rows() {
    const char* fewer = std::getenv("FCI_TWIN_ROWS");
    std::map<std::string, int> seen;
    std::vector<const OpCase*> rows;
    for (const OpCase& op : op_table())
        if (op.forward.has_twin && (!fewer || ++seen[op.name.substr(0, op.name.find(' '))] <= std::atoi(fewer)))
            rows.push_back(&op);
    return rows;
}

} // namespace

// On the emulator; tools/gpu_check.sh runs the same two tests on a GPU.
TEST_CASE("op table twin: CUDA kernels against the reference in double", "[ops][twin]") {
    for (const OpCase* op : twin_rows()) CHECK(check_twin(*op) == "");
}

TEST_CASE("op table twin: tape nodes on the GPU against its kernels bit for bit", "[ops][twin]") {
    for (const OpCase* op : twin_rows())
        if (op->node) CHECK(check_node(*op, Device::cuda) == "");
}

TEST_CASE("causal attention: a key that is not seen has no effect, however large its score", "[ops]") {
    const int time = 33, heads = 2, d = 6, row = 3 * d, seen = 20; // dy is 0 from position `seen` on
    const auto run = [&](float later_keys) {
        Rng rng(2, Stream::golden);
        std::vector<float> qkv(time * row), gradient(time * row, 0.f);
        for (int i = 0; i < time * row; ++i) {
            const bool is_later_key = i >= seen * row && i % row >= d && i % row < 2 * d;
            qkv[i] = rng.uniform(-1, 1) * (is_later_key ? later_keys : 1);
        }
        Arena arena;
        Tape tape(arena);
        const Tensor y = self_attention(tape, {qkv.data(), gradient.data(), {1, time, row}}, heads, true);
        for (int i = 0; i < seen * d; ++i) y.grad[i] = rng.uniform(-1, 1);
        tape.backward();
        std::vector<float> result(y.data, y.data + seen * d);
        result.insert(result.end(), gradient.begin(), gradient.end());
        return result;
    };
    const std::vector<float> result = run(1);
    CHECK(run(1e4f) == result); // exp of such a score overflows
    CHECK(std::all_of(result.end() - (time - seen) * row, result.end(), [](float g) { return g == 0; }));
}

TEST_CASE("rank1_choose picks what top_k of all rank-1 scores picks", "[ops]") {
    const int b = 3, t = 41, r = 7, d = 5;
    Rng rng(1, Stream::golden);
    std::vector<float> x(b * t * d), v(d), scores(b * r * t), f(b * t);
    std::vector<int32_t> query(b * r);
    for (float& e : x) e = rng.uniform(-1, 1);
    for (float& e : v) e = rng.uniform(-1, 1);
    for (int32_t& q : query) q = rng.between(0, t);
    std::fill_n(x.begin() + query[0] * d, d, 0.f); // a fingerprint of 0: all scores are tied
    reference::rank1_scores_forward<float>({b, t, r, d}, x.data(), query.data(), v.data(), scores.data(), f.data());
    for (int k : {1, 4, t}) {
        Arena arena;
        Tape tape(arena, false);
        const Tensor xt{x.data(), nullptr, {b, t, d}}, vt{v.data(), nullptr, {d}};
        const IntTensor chosen = rank1_choose(tape, xt, {query.data(), {b, r}}, vt, k);
        const IntTensor expected = top_k(tape, {scores.data(), nullptr, {b, r, t}}, k);
        CHECK(chosen.shape == Shape{b, r, 2 * k});
        CHECK(std::vector(chosen.data, chosen.data + b * r * 2 * k) ==
              std::vector(expected.data, expected.data + b * r * 2 * k));
    }
}

TEST_CASE("cross_entropy is a root of the tape: weight times the sum of its rows", "[ops]") {
    const float z_data[] = {1, 2, 3, 0, 0, 0};
    const int32_t target[] = {2, 0};
    float z[6], dz[6] = {};
    std::copy_n(z_data, 6, z);
    Arena arena;
    Tape tape(arena);
    const Tensor loss = cross_entropy(tape, {z, dz, {2, 3}}, {target, {2}}, 0.5f);
    tape.backward();
    const double sum = std::exp(1.) + std::exp(2.) + std::exp(3.);
    CHECK(loss.shape == Shape{2});
    CHECK(loss.data[0] == Approx(std::log(sum) - 3));
    CHECK(loss.data[1] == Approx(std::log(3.)));
    for (int c = 0; c < 3; ++c) {
        CHECK(dz[c] == Approx(0.5 * (std::exp(c + 1.) / sum - (c == 2))));
        CHECK(dz[3 + c] == Approx(0.5 * (1 / 3. - (c == 0))));
    }
}

TEST_CASE("cross_entropy and set_cross_entropy: a constant added to all logits changes nothing", "[ops]") {
    for (const float v : {0.f, 100.f, 1e3f, 1e4f, 1e6f, 1e8f, -1e8f, 3e38f}) {
        INFO(v);
        float z[] = {v, v}, dz[] = {0, 0}, w[] = {v, v, v, v}, dw[] = {0, 0, 0, 0};
        const int32_t target = 0, begin[] = {0, 2}, set[] = {0, 1};
        Arena arena;
        Tape tape(arena);
        const Tensor loss = cross_entropy(tape, {z, dz, {1, 2}}, {&target, {1}}, 1.f);
        const Tensor of_set = set_cross_entropy(tape, {w, dw, {1, 4}}, {begin, {2}}, {set, {2}}, 1.f);
        tape.backward();
        CHECK(loss.data[0] == Approx(std::log(2.)).epsilon(4e-6));
        CHECK(of_set.data[0] == Approx(std::log(2.)).epsilon(4e-6));
        CHECK(dz[0] == Approx(-0.5).epsilon(4e-6));
        CHECK(dz[1] == Approx(0.5).epsilon(4e-6));
        for (int c = 0; c < 4; ++c) CHECK(dw[c] == Approx(c < 2 ? -0.25 : 0.25).epsilon(8e-6));
    }
    // The set far below all else: its shares are still exact.
    float z[] = {1e8f, 0, 0}, dz[] = {0, 0, 0};
    const int32_t begin[] = {0, 2}, set[] = {1, 2};
    Arena arena;
    Tape tape(arena);
    const Tensor loss = set_cross_entropy(tape, {z, dz, {1, 3}}, {begin, {2}}, {set, {2}}, 1.f);
    tape.backward();
    CHECK(loss.data[0] == 1e8f);
    CHECK(dz[0] == 1);
    CHECK(dz[1] == Approx(-0.5));
    CHECK(dz[2] == Approx(-0.5));
}

TEST_CASE("attention: equal scores are equal shares, however large, on each device and in each kernel", "[ops]") {
    const auto check = [](Device device, int queries, int keys, float score) {
        INFO((device == Device::cpu ? "cpu" : "cuda")
             << ", " << queries << " queries, " << keys << " keys of " << score);
        const int d = 1;
        test::VisibleVector<float> q(queries * d, std::sqrt(score)), k(keys * d, std::sqrt(score)), v(keys * d, 2),
            y(queries * d), dy(queries * d, 1), dq(q.size()), dk(k.size()), dv(v.size());
        const AttentionShape s{1, queries, keys, 1, d, d, d, false};
        test::VisibleVector<float> lse(s.lse_size());
        FCI_ON(device, attention_forward)(s, q.data(), k.data(), v.data(), y.data(), lse.data());
        FCI_ON(device, attention_backward)
        (s, q.data(), k.data(), v.data(), y.data(), lse.data(), dy.data(), dq.data(), dk.data(), dv.data());
        if (device == Device::cuda) cuda::synchronize();
        for (const float x : y) CHECK(x == Approx(2));
        for (const float x : dv) CHECK(x == Approx(static_cast<double>(queries) / keys).epsilon(1e-5));
    };
    for (const float score : {1.f, 1e4f, 1e8f})
        for (const Device device : {Device::cpu, Device::cuda})
            for (const auto& [queries, keys] : {std::pair(1, 8), {3, 65}, {50, 65}, {130, 7}})
                check(device, queries, keys, score);
    // In sparse attention row i sees the 32 keys of its window, fewer at the ends.
    const int time = 64;
    const SparseShape s{1, time, 1, 1, 0};
    for (const Device device : {Device::cpu, Device::cuda}) {
        test::VisibleVector<float> qkv(3 * time, 1e4f), y(time), dy(time), dqkv(3 * time), lse(s.lse_size());
        dy[32] = 1;
        FCI_ON(device, sparse_attention_forward)(s, qkv.data(), nullptr, y.data(), lse.data());
        FCI_ON(device, sparse_attention_backward)
        (s, qkv.data(), nullptr, y.data(), lse.data(), dy.data(), dqkv.data());
        if (device == Device::cuda) cuda::synchronize();
        for (int j = 0; j < time; ++j)
            CHECK(dqkv[3 * j + 2] == Approx(j >= 16 && j < 48 ? 1 / 32. : 0).epsilon(1e-5).margin(0));
    }
}

TEST_CASE("set_cross_entropy: minus the log of the probability that the set holds", "[ops]") {
    const int32_t begin[] = {0, 2, 5, 6}, target[] = {0, 3, 0, 1, 2, 1};
    float z[] = {1, 2, 3, 4, 0, 0, 0, -90, 60, -60, 0, 0}, dz[12] = {};
    Arena arena;
    Tape tape(arena);
    const Tensor loss = set_cross_entropy(tape, {z, dz, {3, 4}}, {begin, {4}}, {target, {6}}, 0.5f);
    tape.backward();
    const double sum = std::exp(1.) + std::exp(2.) + std::exp(3.) + std::exp(4.), held = std::exp(1.) + std::exp(4.);
    CHECK(loss.shape == Shape{3});
    CHECK(loss.data[0] == Approx(std::log(sum / held)));
    CHECK(loss.data[1] == Approx(0).margin(1e-6)); // the set has all the weight
    CHECK(loss.data[2] == Approx(120));            // far below the highest: no underflow
    for (int c = 0; c < 4; ++c) {
        const double p = std::exp(c + 1.);
        CHECK(dz[c] == Approx(0.5 * (p / sum - (c % 3 == 0 ? p / held : 0))));
    }
    CHECK(dz[9] == Approx(-0.5));

    // With one class per set it is cross_entropy, bit for bit.
    const OpCase& row = row_of("cross_entropy rows=5 classes=17");
    Memory<float> memory(row, 3), other(row, 3);
    const Buffer logits = row.buffer("z");
    const int32_t one[] = {0, 1, 2, 3, 4, 5}, class_of[] = {3, 0, 16, 5, 5};
    Tape a(arena), b(arena);
    const Tensor x = cross_entropy(a, memory.tensor(logits, {5, 17}), {class_of, {5}}, 0.3f);
    const Tensor y = set_cross_entropy(b, other.tensor(logits, {5, 17}), {one, {6}}, {class_of, {5}}, 0.3f);
    a.backward(), b.backward();
    CHECK(std::vector(x.data, x.data + 5) == std::vector(y.data, y.data + 5));
    CHECK(std::vector(memory.grad(logits), memory.grad(logits) + 85) ==
          std::vector(other.grad(logits), other.grad(logits) + 85));
}

TEST_CASE("ops that record nothing leave no gradient and give the same numbers", "[ops]") {
    for (const char* row : {"selective_scan batch=2 time=17", "gated_scan batch=2 time=19"}) {
        const OpCase& op = row_of(row);
        Memory<float> memory(op, 3);
        Arena arena, other;
        Tape recording(arena), forward_only(other, false);
        const Tensor y = op.node(recording, memory)[0], same = op.node(forward_only, memory)[0];
        CHECK(same.grad == nullptr);
        CHECK(std::vector(y.data, y.data + y.size()) == std::vector(same.data, same.data + same.size()));
    }
}

TEST_CASE("ops name the shapes that do not fit", "[ops]") {
    Arena arena;
    Tape tape(arena);
    const auto make = [&](Shape s) {
        Tensor t = tape.tensor(s);
        std::fill_n(t.data, t.size(), 0.f);
        return t;
    };
    const Tensor u = make({4, 64, 8}), A = make({8, 16}), C = make({4, 64, 16}), D = make({8});
    CHECK_THROWS_WITH(selective_scan(tape, u, u, A, make({4, 63, 16}), C, D, false),
                      "selective_scan: B is (4,63,16), expected (4,64,16)");
    CHECK_THROWS_WITH(linear(tape, make({2, 3}), make({5, 4}), {}),
                      "linear: x is (2,3), W is (5,4): x needs 4 columns");
    CHECK_THROWS_WITH(residual(tape, make({2, 3}), make({3, 2})), "residual: z is (3,2), expected (2,3)");
    const Tensor w = make({8, 4}), low = make({4, 64, 34}), narrow = make({4, 64, 4});
    const std::array conv{ConvInput{u, w, D, false}, ConvInput{u, w, make({4}), true}, ConvInput{u, w, D, true}};
    CHECK_THROWS_WITH(causal_conv1d(tape, std::span(conv).first(2)), "causal_conv1d: bias is (4), expected (8)");
    CHECK_THROWS_WITH(causal_conv1d(tape, conv), "causal_conv1d: 3 directions, expected 1 or 2");
    CHECK_THROWS_WITH(causal_conv1d(tape, std::array{conv[0], conv[2]}),
                      "causal_conv1d: a tensor belongs to both directions");
    std::array scan{GatedScanInput{u, low, u, make({8, 2}), D, A, D, false}};
    CHECK(gated_scan(tape, scan).shape == Shape{1, 4, 64, 8});
    CHECK_THROWS_WITH(gated_scan(tape, {}), "gated_scan: 0 directions, expected 1 or 2");
    CHECK_THROWS_WITH(gated_scan(tape, std::array{scan[0], scan[0]}),
                      "gated_scan: a tensor belongs to both directions");
    scan[0].z = narrow;
    CHECK_THROWS_WITH(gated_scan(tape, scan), "gated_scan: z is (4,64,4), expected (4,64,8)");
    scan[0].z = u, scan[0].low = narrow;
    CHECK_THROWS_WITH(gated_scan(tape, scan), "gated_scan: low is (4,64,4), expected (4,64,34)");
    CHECK_THROWS_WITH(self_attention(tape, make({1, 2, 9}), 2, true),
                      Contains("qkv is (1,2,9)") && Contains("2 heads"));
    CHECK_THROWS_WITH(top_k(tape, make({2, 3}), 4), Contains("k is 4, expected 1 to 3"));
    const int32_t three = 3;
    CHECK_THROWS_WITH(cross_entropy(tape, make({1, 3}), {&three, {1}}, 1.f),
                      Contains("target 3 at 0 is outside 0 to 2"));
    const int32_t none[] = {0, 0}, one[] = {0, 1};
    CHECK_THROWS_WITH(set_cross_entropy(tape, make({1, 3}), {none, {2}}, {&three, {1}}, 1.f),
                      "set_cross_entropy: the set of row 0 is empty");
    CHECK_THROWS_WITH(set_cross_entropy(tape, make({1, 3}), {one, {2}}, {&three, {1}}, 1.f),
                      Contains("target 3 at 0 is outside 0 to 2"));
    CHECK_THROWS_WITH(set_cross_entropy(tape, make({2, 3}), {one, {2}}, {&three, {1}}, 1.f),
                      Contains("z is (2,3), but there are 2 bounds"));
    CHECK_THROWS_WITH(gather(tape, make({1, 3, 2}), {&three, {1, 1}}), "gather: index 3 at 0 is outside 0 to 2");
}
