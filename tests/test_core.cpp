// The engine: random numbers, arena, tape, workers, matrix products, tensors.
#include <cblas.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <set>

#include "core/arena.h"
#include "core/gemm.h"
#include "core/rng.h"
#include "core/tape.h"
#include "core/workers.h"
#include "ops/linear.h"
#include "ops/pointwise.h"
#include "tests/catch.h"
#include "tests/reference/dual.h"
#include "tests/reference/linear.h"
#include "tests/reference/pointwise.h"

using namespace fci;
using Catch::Matchers::Contains;

// --- random numbers

TEST_CASE("Philox4x32-10: known answers of Random123", "[rng]") {
    const uint32_t f = 0xffffffff;
    CHECK(philox4x32_10({0, 0, 0, 0}, {0, 0}) == Philox4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(philox4x32_10({f, f, f, f}, {f, f}) == Philox4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Philox4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("Rng: a draw is a function of seed and stream and step and its number", "[rng]") {
    const auto first = [](uint64_t seed, Stream stream, uint64_t step) { return Rng(seed, stream, step).bits64(); };
    CHECK(first(1, Stream::init, 2) == first(1, Stream::init, 2));
    const std::set<uint64_t> others{first(1, Stream::init, 2),          first(2, Stream::init, 2),
                                    first(1ull << 32, Stream::init, 2), first(1, Stream::order, 2),
                                    first(1, Stream::init, 3),          first(1, Stream::init, 1ull << 32)};
    CHECK(others.size() == 6);
    Rng rng(7, Stream::order); // the fifth number is the first of the second block
    for (int i = 0; i < 4; ++i) rng.bits();
    CHECK(rng.bits() == philox4x32_10({1, 0, 0, static_cast<uint32_t>(Stream::order)}, {7, 0})[0]);
}

// Sum of (count - mean)^2 / mean: n - 1 on average, standard deviation sqrt(2 (n - 1)).
static double chi_squared(const std::vector<int>& count) {
    double total = 0, sum = 0;
    for (int c : count) total += c;
    const double mean = total / count.size();
    for (int c : count) sum += (c - mean) * (c - mean) / mean;
    return sum;
}

TEST_CASE("Rng::below is uniform and without bias", "[rng]") {
    for (uint32_t n : {1u, 2u, 7u, 100u}) {
        Rng rng(n, Stream::test_data);
        std::vector<int> count(n);
        for (int i = 0; i < 100000; ++i) ++count.at(rng.below(n));
        CHECK(chi_squared(count) <= n - 1 + 5 * std::sqrt(2. * (n - 1)));
    }
    // 2^32 / n = 4/3: taking only the high half would give every third number twice as often as the others
    Rng rng(1, Stream::test_data);
    std::vector<int> residue(3);
    for (int i = 0; i < 100000; ++i) ++residue[rng.below(3u << 30) % 3];
    CHECK(chi_squared(residue) < 2 + 5 * 2);
    std::set<int> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(rng.between(-3, 4));
    CHECK(seen == std::set{-3, -2, -1, 0, 1, 2, 3});
}

TEST_CASE("Rng: moments of the uniform and of the normal distribution", "[rng]") {
    Rng rng(3, Stream::init);
    const int n = 200000;
    double sum = 0, squares = 0;
    bool in_range = true;
    for (int i = 0; i < n; ++i) {
        const float u = rng.uniform();
        const double v = rng.uniform64();
        in_range &= 0 <= u && u < 1 && 0 <= v && v < 1;
        sum += u + v, squares += u * u + v * v;
    }
    CHECK(in_range);
    CHECK(std::abs(sum / (2 * n) - 0.5) < 5 * std::sqrt(1 / 12. / (2 * n)));
    CHECK(std::abs(squares / (2 * n) - 1 / 3.) < 5 * std::sqrt(4 / 45. / (2 * n)));
    double moment[5] = {};
    int beyond_3 = 0;
    for (int i = 0; i < n; ++i) {
        const double z = rng.normal();
        for (int p = 1; p <= 4; ++p) moment[p] += std::pow(z, p) / n;
        beyond_3 += std::abs(z) > 3;
    }
    const double error = 5 / std::sqrt(n); // five standard errors, times the standard deviation of z^p
    CHECK(std::abs(moment[1]) < error);
    CHECK(std::abs(moment[2] - 1) < error * std::sqrt(2.));
    CHECK(std::abs(moment[3]) < error * std::sqrt(15.));
    CHECK(std::abs(moment[4] - 3) < error * std::sqrt(96.));
    CHECK(std::abs(beyond_3 - 0.0026998 * n) < 5 * std::sqrt(0.0027 * n));
}

// --- arena

TEST_CASE("Arena: alignment, mark and release, same addresses after reset, no growth", "[arena]") {
    Arena arena;
    CHECK(arena.reserved_bytes() == 0);
    const auto step = [&] {
        std::vector<void*> at;
        for (size_t n : {1, 3, 64, 65, 1000}) at.push_back(arena.bytes(n));
        at.push_back(arena.bytes(Arena::chunk_bytes));     // does not fit into the current chunk
        at.push_back(arena.bytes(Arena::chunk_bytes + 1)); // larger than a chunk
        at.push_back(arena.bytes(5));
        at.push_back(arena.array<double>(7));
        return at;
    };
    const std::vector<void*> at = step();
    for (void* p : at) CHECK(reinterpret_cast<uintptr_t>(p) % Arena::alignment == 0);
    CHECK(std::set<void*>(at.begin(), at.end()).size() == at.size());
    const size_t reserved = arena.reserved_bytes();
    for (int i = 0; i < 3; ++i) {
        arena.reset();
        CHECK(step() == at);
    }
    CHECK(arena.reserved_bytes() == reserved);

    arena.reset();
    float* kept = arena.floats(10);
    kept[9] = 7;
    const Arena::Mark mark = arena.mark();
    float* scratch = arena.floats(100);
    arena.bytes(2 * Arena::chunk_bytes); // into another chunk and back
    arena.release(mark);
    CHECK(arena.floats(100) == scratch);
    CHECK(kept[9] == 7);
}

// --- tape

TEST_CASE("Tape: backward runs from the end to the start", "[tape]") {
    Arena arena;
    Tape tape(arena);
    std::vector<int> order;
    const Tensor t = tape.tensor({1});
    for (int i = 0; i < 3; ++i) tape.append("node", t, {}, [i, &order] { order.push_back(i); });
    tape.backward();
    CHECK(order == std::vector{2, 1, 0});
    tape.reset();
    tape.backward();
    CHECK(order.size() == 3);
}

TEST_CASE("Tape: an activation's gradient starts at zero, also where the last step left something", "[tape]") {
    Arena arena;
    Tape tape(arena);
    for (int step = 0; step < 2; ++step) {
        const Tensor t = tape.tensor({3, 5});
        CHECK(std::all_of(t.grad, t.grad + 15, [](float g) { return g == 0; }));
        std::fill_n(t.grad, 15, 9.f);
        tape.reset();
    }
    Tape forward_only(arena, false);
    CHECK(forward_only.tensor({2}).grad == nullptr);
}

TEST_CASE("Tape: gradient of a composition in which a tensor is used twice", "[tape]") {
    using reference::Dual;
    const int rows = 3, d = 4; // y = x + gelu(x W^T + b)
    Rng rng(5, Stream::golden);
    std::vector<float> data(rows * d + d * d + d), gradient(data.size(), 0.f), dy(rows * d);
    std::vector<Dual> dual(data.size()), between(rows * d), after(rows * d), y(rows * d);
    for (size_t i = 0; i < data.size(); ++i) {
        data[i] = rng.uniform(-1, 1);
        dual[i] = {data[i], rng.uniform(-1, 1)};
    }
    for (float& g : dy) g = rng.uniform(-1, 1);

    Arena arena;
    Tape tape(arena);
    const Tensor x{data.data(), gradient.data(), {rows, d}}, w{x.data + rows * d, x.grad + rows * d, {d, d}},
        b{w.data + d * d, w.grad + d * d, {d}};
    const Tensor out = residual(tape, x, gelu(tape, linear(tape, x, w, b)));
    std::copy(dy.begin(), dy.end(), out.grad);
    tape.backward();

    reference::linear_forward<Dual>({rows, d, d}, dual.data(), dual.data() + rows * d, dual.data() + rows * d + d * d,
                                    between.data());
    reference::gelu_forward<Dual>(rows * d, between.data(), after.data());
    reference::residual_forward<Dual>(rows * d, dual.data(), after.data(), y.data());
    double by_tape = 0, by_dual = 0;
    for (size_t i = 0; i < data.size(); ++i) by_tape += gradient[i] * dual[i].tangent;
    for (int i = 0; i < rows * d; ++i) {
        CHECK(out.data[i] == Approx(y[i].value).margin(1e-6));
        by_dual += dy[i] * y[i].tangent;
    }
    CHECK(by_tape == Approx(by_dual).margin(1e-5));
}

TEST_CASE("Tape: the checked mode names the first op that is not finite", "[tape]") {
    Arena arena;
    Tape tape(arena);
    tape.set_checked(true);
    const auto constant = [&](float value) {
        const Tensor t = tape.tensor({2});
        t.data[0] = 0, t.data[1] = value;
        return t;
    };
    CHECK_THROWS_WITH(negative_exp(tape, constant(200)), "negative_exp: the output (2) has a NaN or Inf");
    tape.reset();
    try { // dz = dy x silu'(z): 1e30 * 1e30; earlier ops must not be named
        const Tensor z = residual(tape, constant(0), constant(0));
        const Tensor y = gate(tape, constant(1e30f), gelu(tape, z));
        std::fill_n(y.grad, 2, 1e30f);
        tape.backward();
        FAIL("no error");
    } catch (const Error& e) {
        CHECK_THAT(e.what(), Contains("gate: its backward") && Contains("(2)"));
        CHECK(e.exit == Exit::non_finite);
    }
    tape.reset();
    tape.set_checked(false);
    CHECK_NOTHROW(negative_exp(tape, constant(200)));
}

// --- workers

TEST_CASE("Workers: each index once, on a worker that there is", "[threads]") {
    for (int count = 1; count <= 8; ++count) {
        Workers workers(count);
        REQUIRE(workers.count() == count);
        for (int n : {0, 1, 7, 1000, 3}) {
            std::vector<int> seen(n);
            std::vector<int> scratch(count); // one per worker: a race here is a race in Workers
            workers.run(n, [&](int i, int worker) {
                ++seen[i];
                ++scratch[worker];
            });
            CHECK(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
            int sum = 0;
            for (int s : scratch) sum += s;
            CHECK(sum == n);
        }
    }
    CHECK(Workers::available() >= 1);
}

#if defined(__SSE__) || defined(__aarch64__)
TEST_CASE("Workers: denormals are zero within a job, and as before outside", "[threads]") {
    const volatile float tiny = 2e-38f; // the smallest normal float is 1.2e-38
    for (const int count : {1, 3}) {
        Workers workers(count);
        std::atomic<int> kept{0};
        workers.run(16, [&](int, int) { kept += tiny * 0.25f != 0; });
        CHECK(kept == 0);
        CHECK(tiny * 0.25f != 0);
    }
}
#endif

TEST_CASE("Workers: an exception reaches the caller and the next run is whole", "[threads]") {
    for (int count : {1, 2, 5}) {
        Workers workers(count);
        for (int round = 0; round < 20; ++round) {
            CHECK_THROWS_WITH(workers.run(50,
                                          [](int i, int) {
                                              if (i == 17) fail(Exit::usage, "number {}", i);
                                          }),
                              "number 17");
            CHECK_THROWS_AS(workers.run(50, [](int, int) { fail(Exit::usage, "all"); }), Error);
            std::atomic<int> done{0};
            workers.run(50, [&](int, int) { ++done; });
            CHECK(done == 50);
        }
    }
}

// --- products

// Rows are wider than necessary, so that a wrong stride shows; the memory between them must stay unchanged.
TEST_CASE("gemm agrees with OpenBLAS in every form, on both sides of each edge of its tiles", "[gemm]") {
    use_one_blas_thread();
    constexpr int gap = 3;
    const auto filled = [](int64_t n, uint64_t stream) {
        std::vector<float> x(n);
        Rng rng(1, Stream::pattern, stream);
        for (float& v : x) v = rng.uniform(-1, 1);
        return x;
    };
    for (const bool ta : {false, true})
        for (const bool tb : {false, true})
            for (const auto& [m, n, k] : {std::array{1, 1, 1},
                                          {4, 9, 30},
                                          {5, 7, 3},
                                          {6, 16, 4},
                                          {7, 17, 5},
                                          {5, 64, 6},
                                          {12, 63, 256},
                                          {13, 65, 257},
                                          {191, 8, 9},
                                          {192, 15, 40},
                                          {193, 130, 33},
                                          {385, 20, 513},
                                          {11, 129, 300}})
                for (const float beta : {0.f, 1.f}) {
                    const int lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap;
                    const std::vector<float> a = filled(int64_t{ta ? k : m} * lda, 1),
                                             b = filled(int64_t{tb ? n : k} * ldb, 2);
                    std::vector<float> ours = filled(int64_t{m} * ldc, 3), theirs = ours;
                    const float alpha = 0.7f;
                    gemm(ta ? Transpose::yes : Transpose::no, tb ? Transpose::yes : Transpose::no, m, n, k, alpha,
                         a.data(), lda, b.data(), ldb, beta, ours.data(), ldc);
                    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k,
                                alpha, a.data(), lda, b.data(), ldb, beta, theirs.data(), ldc);
                    float worst = 0; // in any order, a sum of k products below 1 is this close to the exact one
                    const float bound = 2 * (k + 2) * k * std::numeric_limits<float>::epsilon();
                    for (size_t i = 0; i < ours.size(); ++i) worst = std::max(worst, std::abs(ours[i] - theirs[i]));
                    INFO(ta << tb << " " << m << " x " << n << " x " << k << ", beta " << beta);
                    CHECK(worst <= std::min(bound, 1e-3f));
                }
}

// --- tensors

TEST_CASE("Tensor: views and their errors speak shapes", "[tensor]") {
    std::vector<float> data(24), grad(24);
    const Tensor t{data.data(), grad.data(), {4, 6}};
    CHECK((t.rows() == 4 && t.cols() == 6 && t.size() == 24));
    CHECK(t.reshape({2, 3, 4}).shape == Shape{2, 3, 4});
    CHECK(t.reshape({2, 3, 4}).grad == grad.data());
    CHECK_THROWS_WITH(t.reshape({5, 5}), "reshape: (4,6) has 24 numbers, (5,5) has 25");
    const Tensor middle = t.row_range(1, 3);
    CHECK((middle.shape == Shape{2, 6} && middle.data == data.data() + 6 && middle.grad == grad.data() + 6));
    CHECK(Tensor{data.data(), nullptr, {4, 6}}.row_range(1, 3).grad == nullptr);
    CHECK(t.row_range(4, 4).size() == 0);
    CHECK_THROWS_WITH(t.row_range(3, 5), "row_range: rows 3 to 5 of (4,6)");
    CHECK_THROWS_WITH(t.row_range(2, 1), "row_range: rows 2 to 1 of (4,6)");
    CHECK_THROWS_WITH(t.reshape({24}).row_range(0, 1), "row_range: rows 0 to 1 of (24)");
    CHECK_THROWS_WITH((Shape{1, 2, 3, 4, 5}), "shape: 5 dimensions, at most 4");
    CHECK_THROWS_WITH(expect_shape("op", "B", t, {4, 7}), "op: B is (4,6), expected (4,7)");
    CHECK((!Tensor{} && Shape{}.text() == "()"));
}
