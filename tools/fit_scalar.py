#!/usr/bin/env python3
"""Fits the polynomials of src/core/scalar.h and prints their coefficients, lowest power first.

Each is the polynomial of a degree with the least largest weighted error on an interval, found by Lawson's iteration:
least squares again and again, each point weighted by how far off it was. Needs numpy and mpmath; neither is needed to
build or run fci.   python3 tools/fit_scalar.py
"""
import mpmath as mp
import numpy as np

mp.mp.dps = 40


def fit(f, low, high, degree, weight=lambda x: 1.0, points=2000, rounds=60):
    x = np.cos(np.pi * (np.arange(points) + 0.5) / points) * (high - low) / 2 + (low + high) / 2
    y = np.array([float(f(mp.mpf(float(t)))) for t in x])
    w = np.array([float(weight(t)) for t in x])
    basis = np.vander((2 * x - low - high) / (high - low), degree + 1, increasing=True)
    lawson = np.ones(points)
    for _ in range(rounds):
        scale = w * np.sqrt(lawson)
        c = np.linalg.lstsq(basis * scale[:, None], y * scale, rcond=None)[0]
        error = np.abs((basis @ c - y) * w)
        lawson *= error / error.max() + 1e-12
        lawson /= lawson.sum()
    # from powers of (2x - low - high) / (high - low) to powers of x
    u, power, p = np.poly1d([2 / (high - low), -(low + high) / (high - low)]), np.poly1d([1.0]), np.poly1d([0.0])
    for ci in c:
        p, power = p + ci * power, power * u
    return p.coeffs[::-1], error.max()


def near_zero(f, limit, below=1e-8):  # f is 0/0 at 0
    return lambda x: f(x) if abs(x) > below else mp.mpf(limit)


half_ln2 = float(mp.log(2)) / 2 + 0.002  # a little more than the reduced range: the reduction rounds
for name, result in {
    "exp2: (2^r - 1) / r, |r| <= 1/2": fit(near_zero(lambda r: (mp.power(2, r) - 1) / r, mp.log(2), 1e-15), -0.5, 0.5, 5),
    "exp: (e^r - 1 - r) / r^2, |r| <= ln 2 / 2": fit(near_zero(lambda r: (mp.e**r - 1 - r) / r**2, 0.5), -half_ln2, half_ln2, 4),
    "log1p_unit: (ln(1+e) / e; the constant is then taken as 1), 0 <= e <= 1": fit(near_zero(lambda e: mp.log(1 + e) / e, 1, 1e-15), 0, 1, 10),
    "erf: erf(x) / x in s = x^2, 0 <= s <= 1": fit(near_zero(lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(s), 2 / mp.sqrt(mp.pi), 1e-20), 0, 1, 6),
    "erf: log2 erfc(x), 1 <= x <= 4, error weighted by erfc": fit(lambda x: mp.log(mp.erfc(x)) / mp.log(2), 0.98, 4, 6, lambda x: float(mp.erfc(x))),
}.items():
    print(f"{name}\n  error {result[1]:.2g}\n  " + "  ".join(f"{c:.10e}" for c in result[0]))
