// The scalar formulas against the standard library's in double: within 2 ulp over the ranges that core/scalar.h states,
// and correct at the edges. A sweep takes evenly spaced bit patterns, so every binade gets the same number of floats.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/scalar.h"
#include "tests/catch.h"

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float smallest_normal = std::numeric_limits<float>::min();
constexpr double eps = std::numeric_limits<float>::epsilon();

template <class F>
void for_floats_of_one_sign(float from, float to, F f) { // 0 <= from < to, or 0 >= from > to
    const uint32_t first = std::bit_cast<uint32_t>(from), last = std::bit_cast<uint32_t>(to);
    const uint32_t step = std::max(1u, (last - first) / 1000003);
    for (uint64_t bits = first; bits <= last; bits += step) f(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    f(to);
}
template <class F>
void for_floats(float from, float to, F f) {
    if (from < 0) for_floats_of_one_sign(-0.f, from, f);
    if (to > 0) for_floats_of_one_sign(std::max(from, 0.f), to, f);
}

// |got - exact| in units of the last place of a float as large as `exact`.
double ulps(float got, double exact) {
    const int exponent = std::max(exact == 0 ? -126 : std::ilogb(exact), -126);
    return std::abs(got - exact) / std::ldexp(1., exponent - 23);
}

struct Worst {
    double error = 0;
    float x = 0;
};
template <class F, class G>
Worst worst_ulps(float from, float to, F f, G exact) {
    Worst worst;
    for_floats(from, to, [&](float x) {
        const double error = ulps(f(x), exact(static_cast<double>(x)));
        if (!(error <= worst.error)) worst = {error, x};
    });
    return worst;
}
// Largest error in units of eps max(1, |exact|).
template <class F, class G>
Worst worst_eps(float from, float to, F f, G exact) {
    Worst worst;
    for_floats(from, to, [&](float x) {
        const double y = exact(static_cast<double>(x)), error = std::abs(f(x) - y) / (eps * std::max(1., std::abs(y)));
        if (!(error <= worst.error)) worst = {error, x};
    });
    return worst;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double normal_below(double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); }
double normal_density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI); }

} // namespace

#define CHECK_WORST(worst, limit)                                                                                      \
    do {                                                                                                               \
        const Worst w = worst;                                                                                         \
        INFO("at x = " << w.x);                                                                                        \
        CHECK(w.error <= limit);                                                                                       \
    } while (false)

TEST_CASE("exp2 is within 2 ulp and right at the edges", "[scalar]") {
    CHECK_WORST(worst_ulps(-126, 127.499f, fci::exp2, [](double x) { return std::exp2(x); }), 2);
    for (int n = -126; n <= 127; ++n) CHECK(fci::exp2(n) == std::ldexp(1.f, n));
    CHECK(fci::exp2(std::numeric_limits<float>::denorm_min()) == 1);
    for (float x : {127.5f, 128.f, 1e10f, inf}) CHECK(fci::exp2(x) == inf);
    for (float x : {-127.f, -149.f, -1e10f, -inf}) CHECK(fci::exp2(x) == 0);
    bool flushed_or_exact = true;
    for_floats_of_one_sign(-126.0001f, -127.f, [&](float x) {
        flushed_or_exact &= fci::exp2(x) == 0 || ulps(fci::exp2(x), std::exp2(static_cast<double>(x))) <= 2;
    });
    CHECK(flushed_or_exact);
    CHECK(std::isnan(fci::exp2(not_a_number)));
}

TEST_CASE("exp is within 2 ulp and right at the edges", "[scalar]") {
    CHECK_WORST(worst_ulps(-87.33f, 88.37f, fci::exp, [](double x) { return std::exp(x); }), 2);
    CHECK(fci::exp(0.f) == 1);
    CHECK(fci::exp(-0.f) == 1);
    CHECK(fci::exp(smallest_normal / 4) == 1);
    for (float x : {89.f, 1e10f, inf}) CHECK(fci::exp(x) == inf);
    for (float x : {-88.f, -104.f, -1e10f, -inf}) CHECK(fci::exp(x) == 0);
    bool flushed_or_exact = true;
    for_floats_of_one_sign(-87.34f, -88.f, [&](float x) {
        flushed_or_exact &= fci::exp(x) == 0 || ulps(fci::exp(x), std::exp(static_cast<double>(x))) <= 2;
    });
    CHECK(flushed_or_exact);
    CHECK(std::isnan(fci::exp(not_a_number)));
}

TEST_CASE("exp by exp2, as on a GPU, is within 3 ulp and right at the edges", "[scalar]") {
    CHECK_WORST(worst_ulps(-87.33f, 88.37f, fci::exp_by_exp2, [](double x) { return std::exp(x); }), 3);
    CHECK(fci::exp_by_exp2(0) == 1);
    for (float x : {88.8f, 1e10f, inf}) CHECK(fci::exp_by_exp2(x) == inf);
    for (float x : {-88.8f, -1e10f, -inf}) CHECK(fci::exp_by_exp2(x) == 0);
    CHECK(std::isnan(fci::exp_by_exp2(not_a_number)));
}

TEST_CASE("log1p_unit is within 2 ulp on [0, 1]", "[scalar]") {
    CHECK_WORST(worst_ulps(0, 1, fci::log1p_unit, [](double x) { return std::log1p(x); }), 2);
    CHECK(fci::log1p_unit(0.f) == 0);
}

TEST_CASE("erf is within 2 ulp and right at the edges", "[scalar]") {
    for (float sign : {1.f, -1.f}) {
        const auto f = [=](float x) { return fci::erf(sign * x); };
        const auto exact = [=](double x) { return std::erf(sign * x); };
        CHECK_WORST(worst_ulps(0x1p-120f, 5, f, exact), 2);
        bool close = true; // below, x (P - 1) may be denormal, which a worker treats as zero
        for_floats(0, 0x1p-120f, [&](float x) { close &= std::abs(f(x) - exact(x)) <= smallest_normal; });
        CHECK(close);
    }
    CHECK(fci::erf(0.f) == 0);
    for (float x : {4.f, 100.f, inf}) {
        CHECK(fci::erf(x) == 1);
        CHECK(fci::erf(-x) == -1);
    }
    CHECK(std::isnan(fci::erf(not_a_number)));
}

TEST_CASE("sigmoid softplus silu gelu elu and their derivatives", "[scalar]") {
    CHECK_WORST(worst_eps(-200, 200, fci::sigmoid, sigmoid), 4);
    CHECK_WORST(worst_eps(-200, 200, fci::softplus,
                          [](double x) { return std::max(x, 0.) + std::log1p(std::exp(-std::abs(x))); }),
                4);
    CHECK_WORST(worst_eps(-200, 200, fci::softplus_derivative, sigmoid), 4);
    CHECK_WORST(worst_eps(-200, 200, fci::silu, [](double x) { return x * sigmoid(x); }), 4);
    CHECK_WORST(
        worst_eps(-200, 200, fci::silu_derivative, [](double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }),
        4);
    CHECK_WORST(worst_eps(-200, 200, fci::gelu, [](double x) { return x * normal_below(x); }), 4);
    CHECK_WORST(
        worst_eps(-200, 200, fci::gelu_derivative, [](double x) { return normal_below(x) + x * normal_density(x); }),
        4);
    CHECK_WORST(worst_ulps(-87.33f, 200, fci::elu_plus_one, [](double x) { return x > 0 ? x + 1 : std::exp(x); }), 2);
    CHECK_WORST(
        worst_ulps(-87.33f, 200, fci::elu_plus_one_derivative, [](double x) { return std::exp(std::min(x, 0.)); }), 2);
    for (float x : {20.f, 21.f, 1e10f, inf}) CHECK(fci::softplus(x) == x);
    CHECK(fci::softplus(-inf) == 0);
    CHECK(fci::elu_plus_one(-inf) == 0);
    CHECK(fci::elu_plus_one(inf) == inf);
    for (auto f : {fci::sigmoid, fci::softplus, fci::silu, fci::silu_derivative, fci::gelu, fci::gelu_derivative,
                   fci::elu_plus_one, fci::elu_plus_one_derivative})
        CHECK(std::isnan(f(not_a_number)));
}
