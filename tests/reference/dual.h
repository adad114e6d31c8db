// Dual: forward-mode differentiation. Run a function on (x, v) and it returns (f(x), J v), exact to rounding:
//   (a, a') + (b, b') = (a + b, a' + b')      (a, a') (b, b') = (a b, a' b + a b')      f(a, a') = (f(a), f'(a) a')
// Comparisons use the value, so that branches, maxima and choices are those of the plain function.
#pragma once
#include <cmath>

namespace fci::reference {

struct Dual {
    double value = 0, tangent = 0;

    Dual() = default;
    Dual(double v, double t = 0) : value(v), tangent(t) {} // implicit: a constant has tangent 0

    friend Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.tangent + b.tangent}; }
    friend Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.tangent - b.tangent}; }
    friend Dual operator*(Dual a, Dual b) { return {a.value * b.value, a.tangent * b.value + a.value * b.tangent}; }
    friend Dual operator/(Dual a, Dual b) {
        const double q = a.value / b.value;
        return {q, (a.tangent - q * b.tangent) / b.value};
    }
    friend Dual operator-(Dual a) { return {-a.value, -a.tangent}; }
    Dual& operator+=(Dual b) { return *this = *this + b; }
    Dual& operator-=(Dual b) { return *this = *this - b; }
    Dual& operator*=(Dual b) { return *this = *this * b; }

    friend bool operator<(Dual a, Dual b) { return a.value < b.value; }
    friend bool operator>(Dual a, Dual b) { return a.value > b.value; }
    friend bool operator==(Dual a, Dual b) { return a.value == b.value; }
    friend bool operator!=(Dual a, Dual b) { return a.value != b.value; }
};

inline Dual exp(Dual a) {
    const double e = std::exp(a.value);
    return {e, e * a.tangent};
}
inline Dual log(Dual a) { return {std::log(a.value), a.tangent / a.value}; }
inline Dual log1p(Dual a) { return {std::log1p(a.value), a.tangent / (1 + a.value)}; }
inline Dual sqrt(Dual a) {
    const double root = std::sqrt(a.value);
    return {root, a.tangent / (2 * root)};
}
inline Dual erf(Dual a) { return {std::erf(a.value), 2 / std::sqrt(M_PI) * std::exp(-a.value * a.value) * a.tangent}; }

} // namespace fci::reference
