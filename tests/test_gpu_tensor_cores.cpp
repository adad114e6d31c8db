// Products on tensor cores: the places of fragments, the emulator's model of their sums (on a GPU: against the GPU's
// bits), the errors of cuda/mma.cuh by depth, and attention in each precision.
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "core/half.h"
#include "core/rng.h"
#include "cuda/ladder/ladder.cuh"
#include "ops/linear_pair.h"
#include "tests/catch.h"
#include "tests/emulator/tensor_core.h"
#include "tests/op_table.h"
#include "train/options.h"

namespace fci::test {
namespace {

using cuda::WarpProduct;
using emulator::Format;
template <class T>
using OnDevice = VisibleVector<T>;

struct InPrecision {
    explicit InPrecision(Precision p) { cuda::set_precision(p); }
    ~InPrecision() { cuda::set_precision(Precision::fp32); }
};

// All fragments of `sets` instructions.
struct Instructions {
    OnDevice<uint32_t> a, b;
    OnDevice<float> d;
    explicit Instructions(int sets) : a(sets * 128), b(sets * 64), d(sets * 128) {}
    int sets() const { return static_cast<int>(a.size()) / 128; }

    std::vector<float> on_device(Format format) const {
        OnDevice<float> sum = d;
        cuda::multiply_fragments(format == Format::half, sets(), a.data(), b.data(), sum.data());
        cuda::synchronize();
        return {sum.begin(), sum.end()};
    }
    std::vector<float> in_model(Format format) const {
        std::vector<float> sums;
        for (int s = 0; s < sets(); ++s) {
            std::array<emulator::Fragments, 32> f;
            std::array<emulator::Fragments*, 32> lanes;
            for (int l = 0; l < 32; ++l) {
                const int at = 32 * s + l;
                std::copy_n(&a[4 * at], 4, f[l].a), std::copy_n(&b[2 * at], 2, f[l].b),
                    std::copy_n(&d[4 * at], 4, f[l].d);
                lanes[l] = &f[l];
            }
            emulator::tensor_core(format, lanes.data());
            for (const auto& lane : f) sums.insert(sums.end(), lane.d, lane.d + 4);
        }
        return sums;
    }
};

// One sum: d plus the products of the first numbers of a row and a column. The others are 0.
float sum_of(Format format, float d, const std::vector<std::pair<float, float>>& factors) {
    Instructions one(1);
    one.d[0] = d; // row 0, column 0: a and b of lanes t = 0 .. 3
    const auto put = [&](uint32_t& word, float x, int at) {
        word |= format == Format::half ? uint32_t{float_to_half(x)} << 16 * at : std::bit_cast<uint32_t>(x);
    };
    for (size_t k = 0; k < factors.size(); ++k) {
        const bool half = format == Format::half;
        const int quarter = static_cast<int>(half ? k / 2 % 4 : k % 4), second = static_cast<int>(half ? k / 8 : k / 4),
                  at = half ? static_cast<int>(k % 2) : 0;
        put(one.a[4 * quarter + 2 * second], factors[k].first, at);
        put(one.b[2 * quarter + second], factors[k].second, at);
    }
    return one.on_device(format)[0];
}

bool same(float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); }

// The error of C = A B^T, root mean square and largest, and the largest entry.
struct Error {
    double rms = 0, most = 0, scale = 0;
};
Error error_of(WarpProduct how, int depth, const OnDevice<float>& a, const OnDevice<float>& b) {
    OnDevice<float> c(16 * 32, NAN);
    cuda::warp_product(how, depth, a.data(), b.data(), c.data());
    cuda::synchronize();
    Error e;
    for (int r = 0; r < 16; ++r)
        for (int n = 0; n < 32; ++n) {
            double exact = 0;
            for (int k = 0; k < depth; ++k) exact += double{a[r * depth + k]} * b[n * depth + k];
            const double off = std::abs(c[r * 32 + n] - exact);
            REQUIRE(std::isfinite(off));
            e.rms += off * off / (16 * 32), e.most = std::max(e.most, off),
                                            e.scale = std::max(e.scale, std::abs(exact));
        }
    e.rms = std::sqrt(e.rms);
    return e;
}

OnDevice<float> random(size_t n, uint64_t stream, bool positive = false) {
    Rng rng(7, Stream::pattern, stream);
    OnDevice<float> x(n);
    for (float& v : x) v = rng.uniform(positive ? 0 : -1, 1);
    return x;
}

} // namespace

TEST_CASE("tensor cores: every number of a fragment is where a plain product has it", "[twin]") {
    for (const Format format : {Format::half, Format::tf32}) {
        const bool half = format == Format::half;
        const int depth = half ? 16 : 8, each = half ? 2 : 1;
        const auto value = [](int r, int k, int prime) {
            return static_cast<float>((r * 31 + k * 17) % prime - prime / 2);
        };
        Instructions one(1);
        const auto word = [&](int r, int k, int prime) {
            if (!half) return std::bit_cast<uint32_t>(value(r, k, prime));
            return float_to_half(value(r, k, prime)) | uint32_t{float_to_half(value(r, k + 1, prime))} << 16;
        };
        for (int l = 0; l < 32; ++l) { // as PTX numbers them
            const int g = l / 4, k = l % 4 * each;
            for (int i = 0; i < 4; ++i) one.a[4 * l + i] = word(g + i % 2 * 8, k + i / 2 * depth / 2, 29);
            for (int i = 0; i < 2; ++i) one.b[2 * l + i] = word(g, k + i * depth / 2, 23);
            for (int i = 0; i < 4; ++i) one.d[4 * l + i] = static_cast<float>(l + i);
        }
        const auto expect = [&](int l, int i) {
            const int r = l / 4 + i / 2 * 8, n = l % 4 * 2 + i % 2;
            float sum = static_cast<float>(l + i);
            for (int k = 0; k < depth; ++k) sum += value(r, k, 29) * value(n, k, 23);
            return sum;
        };
        const auto differing = [&] {
            const std::vector<float> got = one.on_device(format);
            int count = 0;
            for (int e = 0; e < 128; ++e) count += got[e] != expect(e / 4, e % 4);
            return count;
        };
        CHECK(differing() == 0);
        for (int l = 0; l < 32; ++l) std::swap(one.a[4 * l + 1], one.a[4 * l + 2]); // the usual mistake
        CHECK(differing() > 100);
    }
}

TEST_CASE("tensor cores truncate: to 25 bits below the largest term, and to a float", "[twin]") {
    const float inf = INFINITY, nan = std::bit_cast<float>(0x7fffffffu), below_1 = std::nextafter(1.f, 0.f);
    for (const Format format : {Format::half, Format::tf32}) {
        INFO((format == Format::half ? "half" : "TF32"));
        CHECK(same(sum_of(format, 1, {{0x1p-12f, 0x1p-12f}}), 1));        // 2^-24: half of the last bit
        CHECK(same(sum_of(format, 1, {{0x1p-12f, -0x1p-14f}}), 1));       // -2^-26: lost before the sum
        CHECK(same(sum_of(format, 1, {{0x1p-12f, -0x1p-13f}}), below_1)); // -2^-25: kept
        CHECK(same(
            sum_of(format, 1, {{0x1p-12f, 0x1p-13f}, {0x1p-12f, 0x1p-13f}, {0x1p-12f, 0x1p-13f}, {0x1p-12f, 0x1p-13f}}),
            1 + 0x1p-23f)); // four quarters of the last bit
        CHECK(same(sum_of(format, 0, {{1.5f, 1.5f}, {-1.5f, 1.5f}}), 0));
        CHECK(same(sum_of(format, -3, {{1.5f, 2}}), 0));
        CHECK(same(sum_of(format, 1024, {{32, -32}, {0x1p-10f, 0x1p-5f}}), 0x1p-15f)); // 25 bits below 1024: kept
        CHECK(same(sum_of(format, 1024, {{32, -32}, {0x1p-10f, 0x1p-6f}}), 0));        // 26 bits: lost
        CHECK(same(sum_of(format, 0, {{1, 0x1p-14f}, {0x1.ffcp-1f, 1}}), 0x1.ffcp-1f + 0x1p-14f));
        CHECK(same(sum_of(format, 0x1p-130f, {}), 0x1p-130f));
        CHECK(same(sum_of(format, 0x1p-149f, {{1, 0}}), 0x1p-149f));
        CHECK(same(sum_of(format, 1, {{inf, 1}}), inf));
        CHECK(same(sum_of(format, 1, {{-inf, 1}}), -inf));
        CHECK(same(sum_of(format, 1, {{inf, 0}}), nan));
        CHECK(same(sum_of(format, 1, {{inf, 1}, {-inf, 1}}), nan));
        CHECK(same(sum_of(format, -inf, {{inf, 1}}), nan));
        CHECK(same(sum_of(format, std::nanf(""), {{1, 1}}), nan));
        CHECK(same(sum_of(format, 1, {{1, std::nanf("")}}), nan));
    }
    CHECK(same(sum_of(Format::tf32, 0, {{1 + 0x1p-11f, 1}}), 1)); // the low 13 bits count as zeros
    CHECK(same(sum_of(Format::tf32, 0, {{0x1p100f, 0x1p100f}}), inf));
    CHECK(same(sum_of(Format::tf32, 0, {{0x1p-74f, 0x1p-75f}}), 0x1p-149f));
    CHECK(same(sum_of(Format::half, 0, {{0x1p-24f, 1024}}), 0x1p-14f)); // a denormal half
}

TEST_CASE("tensor cores: the model has the device's bits, whatever the operands", "[gpu]") {
    constexpr int sets = 512;
    Rng rng(3, Stream::pattern, 0);
    for (const Format format : {Format::half, Format::tf32})
        for (const bool all_bits : {false, true}) {
            Instructions many(sets);
            const auto number = [&] { // all_bits: NaN, Inf and denormal ones too
                if (all_bits) return rng.below(1u << 16) << 16 | rng.below(1u << 16);
                const auto near_1 = [&] { return std::ldexp(rng.uniform(-1, 1), static_cast<int>(rng.below(12)) - 6); };
                if (format == Format::tf32) return std::bit_cast<uint32_t>(near_1());
                return float_to_half(near_1()) | uint32_t{float_to_half(near_1())} << 16;
            };
            for (uint32_t& w : many.a) w = number();
            for (uint32_t& w : many.b) w = number();
            for (float& x : many.d)
                x = all_bits ? std::bit_cast<float>(number())
                             : std::ldexp(rng.uniform(-1, 1), static_cast<int>(rng.below(12)) - 4);
            const std::vector<float> device = many.on_device(format), model = many.in_model(format);
            int differing = 0;
            for (size_t i = 0; i < model.size(); ++i) differing += !same(device[i], model[i]);
            INFO((format == Format::half ? "half" : "TF32") << (all_bits ? ", all bits" : ""));
            CHECK(differing == 0);
        }
}

TEST_CASE("tensor cores: products have float32's accuracy at every depth", "[gpu]") {
    for (const bool positive : {false, true})
        for (const int depth : {1, 2, 7, 31, 32, 33, 100, 512, 2048, 16384}) {
            const OnDevice<float> a = random(16 * depth, 1, positive), b = random(32 * depth, 2, positive);
            const Error fma = error_of(WarpProduct::fp32, depth, a, b);
            INFO("depth " << depth << (positive ? ", all positive" : ""));
            for (const WarpProduct how : {WarpProduct::fp16x3, WarpProduct::tf32x3}) {
                const Error e = error_of(how, depth, a, b);
                INFO((how == WarpProduct::fp16x3 ? "fp16x3 " : "3xTF32 ") << e.rms / fma.rms << " times the error");
                CHECK(e.rms <= 2 * fma.rms + float_eps * e.scale);
                CHECK(e.most <= 2 * fma.most + 2 * float_eps * e.scale);
            }
            const Error coarse = error_of(WarpProduct::tf32, depth, a, b);
            CHECK(coarse.rms <= 0x1p-11 * std::sqrt(depth));
            if (depth <= 512) CHECK(coarse.rms >= 10 * fma.rms);
            // One accumulator for everything: the deeper, the worse. So the bounds above can fail.
            if (depth >= 512) CHECK(error_of(WarpProduct::one_accumulator, depth, a, b).rms > 5 * fma.rms);
        }
}

// Hidden: prints the table in cuda/README.md.
TEST_CASE("tensor cores: the errors by depth, as a table", "[.][tensor-core-errors]") {
    constexpr std::pair<const char*, WarpProduct> ways[] = {{"fp16x3", WarpProduct::fp16x3},
                                                            {"3xTF32", WarpProduct::tf32x3},
                                                            {"3xTF32, one accumulator", WarpProduct::one_accumulator},
                                                            {"TF32", WarpProduct::tf32}};
    constexpr int depths[] = {32, 128, 512, 2048, 16384};
    for (const bool positive : {false, true}) {
        fmt::print("{:<26}", positive ? "numbers in [0, 1]" : "numbers in [-1, 1]");
        std::vector<double> fma;
        for (const int depth : depths) {
            fmt::print("{:>10}", depth);
            fma.push_back(
                error_of(WarpProduct::fp32, depth, random(16 * depth, 1, positive), random(32 * depth, 2, positive))
                    .rms);
        }
        fmt::print("\n{:<26}", "multiply-adds: error");
        for (const double e : fma) fmt::print("{:>10.1e}", e);
        for (const auto& [name, how] : ways) {
            fmt::print("\n{:<26}", name);
            for (size_t i = 0; i < fma.size(); ++i) {
                const int depth = depths[i];
                const Error e = error_of(how, depth, random(16 * depth, 1, positive), random(32 * depth, 2, positive));
                fmt::print("{:>10.2f}", e.rms / fma[i]);
            }
        }
        fmt::print("\n\n");
    }
}

TEST_CASE("tensor cores: large and small numbers of a row neither overflow nor vanish", "[gpu]") {
    constexpr int depth = 70;
    for (const float of_a : {1e-30f, 1e-6f, 1e4f, 1e18f, 1e30f})
        for (const float of_b : {1e-30f, 1e-6f, 1.f, 1e7f, 1e30f}) {
            if (of_a * of_b > 1e30f || of_a * of_b < 1e-30f) continue; // float32 itself has no room
            OnDevice<float> a = random(16 * depth, 1), b = random(32 * depth, 2);
            for (size_t i = 0; i < a.size(); ++i) a[i] *= of_a * (i / depth % 3 == 1 ? 1e-3f : 1.f); // rows differ
            for (size_t i = 0; i < b.size(); ++i) b[i] *= of_b * (i / depth % 2 ? 1e-4f : 1.f);
            const Error fma = error_of(WarpProduct::fp32, depth, a, b);
            INFO(of_a << " times " << of_b);
            for (const WarpProduct how : {WarpProduct::fp16x3, WarpProduct::tf32x3}) {
                const Error e = error_of(how, depth, a, b);
                CHECK(e.rms <= 2 * fma.rms + float_eps * e.scale);
            }
        }
    // An Inf or NaN stays to be seen.
    for (const float bad : {INFINITY, -INFINITY, std::nanf("")})
        for (const WarpProduct how : {WarpProduct::fp16x3, WarpProduct::tf32x3, WarpProduct::tf32}) {
            OnDevice<float> a = random(16 * depth, 1), b = random(32 * depth, 2), c(16 * 32);
            a[3 * depth + 40] = bad;
            cuda::warp_product(how, depth, a.data(), b.data(), c.data());
            cuda::synchronize();
            for (int n = 0; n < 32; ++n) CHECK(!std::isfinite(c[3 * 32 + n]));
            CHECK(std::isfinite(c[4 * 32]));
        }
}

// More than 512 rows; as many queries and keys as a chunk has, and heads of up to 32 columns: the others have other
// kernels.
// The emulator takes microseconds for each instruction: two draws, and the largest rows in one precision.
TEST_CASE("tensor cores: linear layers and attention in every precision", "[gpu]") {
    struct Draws {
        const bool ours = !std::getenv("FCI_TWIN_DRAWS");
        Draws() { setenv("FCI_TWIN_DRAWS", "2", 0); }
        ~Draws() {
            if (ours) unsetenv("FCI_TWIN_DRAWS");
        }
    } few;
    const std::vector<std::string> rows{"self_attention batch=2 time=33 heads=2 d_head=3 full",
                                        "self_attention batch=1 time=49 heads=1 d_head=4 causal",
                                        "self_attention batch=1 time=129 heads=1 d_head=4 causal",
                                        "query_attention batch=2 queries=49", "linear rows=513 in=6 out=4 bias"},
        large{"self_attention batch=1 time=135 heads=2 d_head=32 full", "linear rows=600 in=36 out=130 bias"};
    for (const Precision precision : {Precision::fp16x3, Precision::tf32x3, Precision::tf32}) {
        const InPrecision in(precision);
        const auto passes = [&](const std::string& row) {
            INFO(precision_names[static_cast<int>(precision)]);
            CHECK(check_twin(row_of(row), precision == Precision::tf32 ? 0x1p-9 : float_eps) == "");
        };
        for (const std::string& row : rows) passes(row);
        for (const std::string& row : large)
            if (precision == Precision::fp16x3) passes(row);
    }
}

TEST_CASE("tensor cores: a pair of linear layers, with two inputs or one", "[gpu]") {
    const LinearShape s{530, 20, 36};
    const int64_t nx = int64_t{s.rows} * s.in, nw = int64_t{s.out} * s.in, ny = int64_t{s.rows} * s.out;
    for (const Precision precision : {Precision::fp16x3, Precision::tf32x3, Precision::tf32})
        for (const bool one : {false, true}) {
            const InPrecision in(precision);
            const OnDevice<float> x = random(one ? nx : 2 * nx, 1), w = random(2 * nw, 2), dy = random(2 * ny, 3);
            OnDevice<float> y(2 * ny, NAN), dx(x.size(), 1), dw(2 * nw, 1); // gradients are added to what is there
            const cuda::PairSteps step{one ? 0 : nx, nw, ny};
            cuda::linear_pair_forward(s, step, x.data(), w.data(), y.data());
            cuda::linear_pair_backward(s, step, x.data(), w.data(), dy.data(), dx.data(), dw.data());
            cuda::synchronize();
            std::vector<double> in_y(2 * ny), in_dx(x.size(), 1), in_dw(2 * nw, 1);
            for (int i = 0; i < 2; ++i)
                for (int r = 0; r < s.rows; ++r)
                    for (int o = 0; o < s.out; ++o)
                        for (int k = 0; k < s.in; ++k) {
                            const int64_t at_x = i * step.x + int64_t{r} * s.in + k, at_w = i * nw + o * s.in + k,
                                          at_y = i * ny + int64_t{r} * s.out + o;
                            in_y[at_y] += double{x[at_x]} * w[at_w];
                            in_dx[at_x] += double{dy[at_y]} * w[at_w];
                            in_dw[at_w] += double{dy[at_y]} * x[at_x];
                        }
            const double eps = precision == Precision::tf32 ? 0x1p-8 : 16 * float_eps; // of sums of 20 to 530 terms
            const auto off = [](const OnDevice<float>& got, const std::vector<double>& expected) {
                double most = 0, scale = 0;
                for (size_t i = 0; i < got.size(); ++i)
                    most = std::max(most, std::abs(got[i] - expected[i])),
                    scale = std::max(scale, std::abs(expected[i]));
                return most / scale;
            };
            INFO(precision_names[static_cast<int>(precision)] << (one ? ", one input" : ", two inputs"));
            CHECK(off(y, in_y) < eps);
            CHECK(off(dx, in_dx) < eps);
            CHECK(off(dw, in_dw) < eps);
        }
}

} // namespace fci::test
