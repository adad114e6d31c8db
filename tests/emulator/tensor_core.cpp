#include "tests/emulator/tensor_core.h"

#include <bit>
#include <cmath>

namespace emulator {
namespace {

constexpr int depth_most = 16, kept_bits = 25;

// significand 2^(exponent - 10), or not finite.
struct Factor {
    int32_t significand, exponent;
    bool finite, nan;
};

Factor of_half(uint32_t bits) {
    const int e = bits >> 10 & 31, fraction = bits & 1023, sign = bits & 0x8000 ? -1 : 1;
    return {sign * (e ? fraction | 1024 : fraction), (e ? e : 1) - 15, e != 31, e == 31 && fraction};
}
Factor of_tf32(uint32_t bits) {
    const int e = bits >> 23 & 255, fraction = bits >> 13 & 1023, sign = bits >> 31 ? -1 : 1;
    return {sign * (e ? fraction | 1024 : fraction), (e ? e : 1) - 127, e != 255, e == 255 && (bits & 0x7fffff)};
}

// x 2^by, truncated towards zero
int64_t shifted(int64_t x, int by) {
    const int64_t magnitude = x < 0 ? -x : x, moved = by >= 0 ? magnitude << by : -by < 63 ? magnitude >> -by : 0;
    return x < 0 ? -moved : moved;
}

float truncated_to_float(int64_t sum, int unit) { // sum 2^unit
    const uint64_t magnitude = static_cast<uint64_t>(sum < 0 ? -sum : sum);
    if (magnitude == 0) return 0;
    const int top = 63 - std::countl_zero(magnitude), e = top + unit; // 2^e <= magnitude < 2^(e+1)
    if (e > 127) return sum < 0 ? -INFINITY : INFINITY;
    const int last = (e < -126 ? -126 : e) - 23; // the power of the float's last bit
    const auto kept = static_cast<uint32_t>(shifted(static_cast<int64_t>(magnitude), unit - last));
    const uint32_t biased = e < -126 ? 0 : static_cast<uint32_t>(e + 127);
    return std::bit_cast<float>((sum < 0 ? 0x80000000u : 0u) | biased << 23 | (kept & 0x7fffffu));
}

// Replaces the sum if one of its terms is not finite.
void look_at_special(int depth, float d, const Factor* a, const Factor* b, float& sum) {
    bool nan = std::isnan(d), plus = d == INFINITY, minus = d == -INFINITY;
    for (int k = 0; k < depth; ++k) {
        if (a[k].finite && b[k].finite) continue;
        nan |= a[k].nan || b[k].nan || (a[k].finite && !a[k].significand) || (b[k].finite && !b[k].significand);
        ((a[k].significand < 0) != (b[k].significand < 0) ? minus : plus) = true;
    }
    if (nan || (plus && minus))
        sum = std::bit_cast<float>(0x7fffffffu);
    else if (plus || minus)
        sum = minus ? -INFINITY : INFINITY;
}

constexpr int columns = 8, zero = -1000; // exponent of 0: below all others

// B by columns: loops over a row's columns become vector instructions.
struct Columns {
    int32_t significand[depth_most][columns], exponent[depth_most][columns];
};

void sum_row(int depth, const Factor* a, const Columns& b, float (&d)[columns]) {
    int32_t e[columns], d_exponent[columns];
    int64_t d_significand[columns], sum[columns];
    for (int n = 0; n < columns; ++n) {
        const auto bits = std::bit_cast<uint32_t>(d[n]);
        const int biased = bits >> 23 & 255;
        const int64_t fraction = (bits & 0x7fffff) | (biased ? 1 << 23 : 0);
        d_significand[n] = bits >> 31 ? -fraction : fraction;
        e[n] = d_exponent[n] = fraction ? (biased ? biased : 1) - 127 : zero;
    }
    for (int k = 0; k < depth; ++k)
        for (int n = 0; n < columns; ++n) {
            const int32_t of_product = a[k].exponent + b.exponent[k][n];
            e[n] = of_product > e[n] ? of_product : e[n];
        }
    for (int n = 0; n < columns; ++n)
        sum[n] = d_significand[n] ? shifted(d_significand[n], kept_bits - 23 + d_exponent[n] - e[n]) : 0;
    for (int k = 0; k < depth; ++k)
        for (int n = 0; n < columns; ++n) {
            const int32_t product = a[k].significand * b.significand[k][n]; // 22 bits
            const int32_t down = e[n] - a[k].exponent - b.exponent[k][n], by = down < 31 ? down : 31;
            const int32_t magnitude = product < 0 ? -product : product, kept = (magnitude << (kept_bits - 20)) >> by;
            sum[n] += product < 0 ? -kept : kept;
        }
    for (int n = 0; n < columns; ++n)
        if (e[n] > zero / 2) d[n] = truncated_to_float(sum[n], e[n] - kept_bits); // else all terms are 0
}

} // namespace

void tensor_core(Format format, Fragments* const* lane) {
    const bool half = format == Format::half;
    const int depth = half ? 16 : 8, each = half ? 2 : 1, groups = depth / 2; // each: numbers of a register
    Factor a[16][depth_most], b[columns][depth_most];
    Columns by_column;
    bool finite = true;
    const auto put = [&](uint32_t bits, Factor* row, int k) {
        for (int i = 0; i < each; ++i) {
            Factor f = half ? of_half(bits >> 16 * i & 0xffff) : of_tf32(bits);
            if (!f.significand) f.exponent = zero;
            finite &= f.finite;
            row[k + i] = f;
        }
    };
    for (int l = 0; l < 32; ++l) {
        const int g = l / 4, k = l % 4 * each;
        const Fragments& of = *lane[l];
        for (int i = 0; i < 4; ++i) put(of.a[i], a[g + i % 2 * 8], k + i / 2 * groups);
        for (int i = 0; i < 2; ++i) put(of.b[i], b[g], k + i * groups);
        for (const float d : of.d) finite &= std::isfinite(d);
    }
    for (int k = 0; k < depth; ++k)
        for (int n = 0; n < columns; ++n)
            by_column.significand[k][n] = b[n][k].significand, by_column.exponent[k][n] = b[n][k].exponent;
    for (int r = 0; r < 16; ++r) {
        float d[columns];
        const auto at = [&](int n) -> float& { return lane[r % 8 * 4 + n / 2]->d[r / 8 * 2 + n % 2]; };
        for (int n = 0; n < columns; ++n) d[n] = at(n);
        sum_row(depth, a[r], by_column, d);
        for (int n = 0; n < columns; ++n)
            if (!finite) look_at_special(depth, at(n), a[r], b[n], d[n]);
        for (int n = 0; n < columns; ++n) at(n) = d[n];
    }
}

} // namespace emulator
