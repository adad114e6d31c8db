// Scalar formulas, each once, for CPU loops and CUDA kernels alike. All are branch-free, so that a loop over
// them vectorises without -ffast-math (libm's expf and erff do not). exp2, exp, erf and log1p_unit are within
// 2 ulp of the true value, denormals apart (tests/test_scalar.cpp); on a GPU, exp is within 3. Polynomials are minimax
// fits of our own (tools/fit_scalar.py).
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define FCI_HD __host__ __device__ inline
#else
#define FCI_HD inline
#endif

namespace fci {

inline constexpr float log2_e = 1.44269504088896341f;

// The integer n nearest to y, kept within [-127, 128], and 2^n (n = -127: 0, n = 128: infinity). Adding 1.5 2^23 leaves
// no room for a fraction, so n stands in the sum's last bits. They are bounded as integers, which order like the floats
// that they stand for: a vector instruction each, where a float's minimum costs three, for the sake of NaN.
struct PowerOfTwo {
    float n, value;
};
FCI_HD PowerOfTwo nearest_power_of_two(float y) {
    constexpr float shift = 12582912.f;
    constexpr int32_t zero = 0x4b400000; // the bits of `shift`
    const int32_t bits = std::bit_cast<int32_t>(y + shift), low = bits > zero - 127 ? bits : zero - 127,
                  i = low < zero + 128 ? low : zero + 128;
    return {std::bit_cast<float>(i) - shift, std::bit_cast<float>((i - zero + 127) << 23)};
}

// 2^x = 2^n 2^r, n = round(x), |r| <= 1/2. Results below 2^-126.5 flush to 0; x >= 127.5 gives infinity; NaN stays.
// A GPU has an instruction for it, which is within 2 ulp, too, and flushes below 2^-126 [PTX ISA, ex2.approx.ftz].
FCI_HD float exp2(float x) {
#if defined(__CUDA_ARCH__)
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    const PowerOfTwo two = nearest_power_of_two(x);
    const float r = x - two.n;
    float p = 1.5469730471e-04f;
    p = p * r + 1.3390866856e-03f;
    p = p * r + 9.6180307853e-03f;
    p = p * r + 5.5503571055e-02f;
    p = p * r + 2.4022651084e-01f;
    p = p * r + 6.9314718803e-01f;
    return x < -127.f ? 0.f : (p * r + 1.f) * two.value;
#endif
}

// e^x by exp2, for a GPU, which has an instruction for it: within 3 ulp if exp2 is within 2. With y = x log2 e rounded,
//   e^x = 2^y 2^rest = 2^y (1 + rest ln 2),   rest = x log2 e - y, log2 e in two parts
// A fused operation gives the rest exactly for the first part. Where 2^y is 0 or infinity, there is no rest to add.
FCI_HD float exp_by_exp2(float x) {
    const float y = x * log2_e, rest = fmaf(x, 1.92596303e-8f, fmaf(x, log2_e, -y)), two_y = exp2(y);
    return x < 88.8f && x > -88.8f ? fmaf(two_y, rest * 0.69314718f, two_y) : two_y;
}

// e^x = 2^n e^r, r = x - n ln 2 with ln 2 in two parts (n times the first is exact) [Cody & Waite 1980]. As exp2, it
// flushes to 0 and gives infinity, from n = -127 and n = 128 on.
FCI_HD float exp(float x) {
#if defined(__CUDA_ARCH__)
    return exp_by_exp2(x);
#else
    const PowerOfTwo two = nearest_power_of_two(x * log2_e);
    const float r = (x - two.n * 0.693359375f) - two.n * -2.12194440e-4f;
    float p = 1.3941715096e-03f;
    p = p * r + 8.3635212805e-03f;
    p = p * r + 4.1666368506e-02f;
    p = p * r + 1.6666574916e-01f;
    p = p * r + 5.0000000279e-01f;
    return x < -88.f ? 0.f : (p * r * r + r + 1.f) * two.value;
#endif
}

// 1 / x for 1 <= x. A GPU has an instruction for it, within 1 ulp, where a division takes ten; it gives 0 for x > 2^126
// [PTX ISA, rcp.approx.ftz].
FCI_HD float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return 1.f / x;
#endif
}

// ln(1 + e) for e in [0, 1].
FCI_HD float log1p_unit(float e) {
    float p = 2.0899891e-03f;
    p = p * e - 1.3706337e-02f;
    p = p * e + 4.2113352e-02f;
    p = p * e - 8.3189177e-02f;
    p = p * e + 1.2471591e-01f;
    p = p * e - 1.6129088e-01f;
    p = p * e + 1.9897017e-01f;
    p = p * e - 2.4988236e-01f;
    p = p * e + 3.3332635e-01f;
    p = p * e - 4.9999984e-01f;
    return p * e * e + e;
}

// The log of a sum of exponentials of scores z_j, in base e or 2, in two parts that no rounding may mix:
//   shift + rest,  rest = log sum_j exp(z_j - shift)
// shift is the highest score. In one float32 a large one would swallow the log of the sum, and adding a constant to all
// scores would change the result. As long as float32 keeps the sum to 8e-6, |highest| <= 128, it is 0.
template <class T>
struct LogSum {
    T shift, rest;

    // log_sum: of exp(z_j - highest)
    FCI_HD static LogSum of(T highest, T log_sum) {
        const T shift = highest > T(128) || highest < T(-128) ? highest : T(0);
        return {shift, (highest - shift) + log_sum};
    }
    FCI_HD T share(T z) const { return z - shift - rest; } // the log of exp(z) / sum_j exp(z_j)
    FCI_HD T minus(LogSum other) const { return (shift - other.shift) + (rest - other.rest); }

    // Saved by an op for its backward pass: two numbers a row.
    FCI_HD static LogSum load(const T* saved, int64_t row) { return {saved[2 * row], saved[2 * row + 1]}; }
    FCI_HD void save(T* saved, int64_t row) const { saved[2 * row] = shift, saved[2 * row + 1] = rest; }
};

// erf(x) = x P(x^2) for |x| < 1, else sign(x) (1 - 2^Q(|x|)); 1 to float precision from |x| = 4 on.
FCI_HD float erf(float x) {
    const float m = x < 0.f ? -x : x, c = m > 4.f ? 4.f : m, s = c * c;
    float p = 7.8891195279e-05f;
    p = p * s - 8.0208412788e-04f;
    p = p * s + 5.1895353393e-03f;
    p = p * s - 2.6854444592e-02f;
    p = p * s + 1.1283600176e-01f;
    p = p * s - 3.7612627136e-01f;
    p = p * s + 1.283791659e-01f; // P - 1: the sum below then rounds once, at the end
    float q = 2.7118706828e-04f;
    q = q * c - 4.2761687270e-03f;
    q = q * c + 3.1604410399e-02f;
    q = q * c - 1.4896730426e-01f;
    q = q * c - 9.2038883623e-01f;
    q = q * c - 1.6262091958e+00f;
    q = q * c - 4.5078413533e-04f;
    const float y = m < 1.f ? c * p + c : 1.f - exp2(q);
    return x < 0.f ? -y : y;
}

FCI_HD float sigmoid(float x) { return reciprocal(1.f + exp(-x)); }

// softplus(x) = ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|); from x = 20 on it is x, as in PyTorch.
FCI_HD float softplus(float x) {
    const float m = x < 0.f ? -x : x;
    return (x > 0.f ? x : 0.f) + log1p_unit(exp(-m));
}
FCI_HD float softplus_derivative(float x) { return sigmoid(x); }

// silu(x) = x sigmoid(x);   silu'(x) = s + x s (1 - s), s = sigmoid(x), 1 - s = e^-x s (no digits cancel)
FCI_HD float silu(float x) { return x * sigmoid(x); }
FCI_HD float silu_derivative(float x) {
    const float e = exp(x < -88.f ? 88.f : -x), s = reciprocal(1.f + e);
    return s + x * s * (e * s);
}

// gelu(x) = x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2;   gelu'(x) = Phi(x) + x phi(x), phi the normal density
FCI_HD float gelu(float x) { return 0.5f * x * (1.f + erf(x * 0.70710678118f)); }
FCI_HD float gelu_derivative(float x) {
    const float density = 0.39894228040f * exp2(-0.5f * log2_e * x * x);
    return 0.5f * (1.f + erf(x * 0.70710678118f)) + x * density;
}

// elu(x) + 1 = x + 1 for x > 0, else e^x: positive and smooth;   its derivative: 1 for x > 0, else e^x
FCI_HD float elu_plus_one(float x) {
    const float e = exp(x > 0.f ? 0.f : x);
    return x > 0.f ? x + 1.f : e;
}
FCI_HD float elu_plus_one_derivative(float x) { return exp(x > 0.f ? 0.f : x); }

} // namespace fci
