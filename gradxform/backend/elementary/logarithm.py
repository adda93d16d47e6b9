"""log, log1p, log2, log10 and logaddexp.

u = 2^k m with m in [sqrt(1/2), sqrt(2)), f = m - 1, s = f / (2 + f): log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + s^2 R(s^2)),
R a minimax polynomial (the arrangement of P. T. P. Tang, ACM TOMS 16 (1990) 378, and of the Sun library: the leading terms are exact
or nearly, so that rounding errors enter only in small ones). log1p carries the rounding error of 1 + x along as a correction.

Straight-line, one division each, no tables.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Value
from gradxform.backend.elementary.exponential import LN2, LN2_LOW, exp

# (2 atanh(s) - 2s) / s^3 as a polynomial in s^2 <= 0.02948, error of log below 2^-59 of it.
ATANH = (
    0.6666666666666735,
    0.3999999999940956,
    0.2857142874356535,
    0.22222198448239636,
    0.1818357104807582,
    0.15313872476881804,
    0.14797793813874804,
)

SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
ONE_BITS = 0x3FF0000000000000
FRACTION_MASK = (1 << 52) - 1
# Putting an integer below 2^52 into the fraction of 2^52 converts it.
TWO_52_BITS = 0x4330000000000000
TWO_52 = 2.0**52


def split_binary(b: Builder, u: Value, offset: float = 0.0) -> tuple[Value, Value, Value]:
    """u = 2^k m with m in [sqrt(1/2), sqrt(2)): m, k + offset as a float, and the bits of 2^k above bit 52 (of a normal u > 0)."""
    shifted = b.bits(u) + (ONE_BITS - SQRT_HALF_BITS)
    m = b.from_bits((shifted & FRACTION_MASK) + SQRT_HALF_BITS)
    biased = shifted >> 52
    k = b.from_bits(biased | TWO_52_BITS) - (TWO_52 + 1023.0 - offset)
    return m, k, biased


def log_of_split(b: Builder, f: Value, k: Value, correction: Value | None = None) -> Value:
    """k ln 2 + log(1 + f) + correction."""
    half_square = (f * 0.5) * f
    s = f / (f + 2.0)
    z = s * s
    series = b.fma(z, b.polynomial(z, ATANH), half_square)
    small = k * LN2_LOW if correction is None else b.fma(k, LN2_LOW, correction)
    return b.fma(k, LN2, f - (half_square - b.fma(s, series, small)))


def at_the_edges(b: Builder, u: Value, result: Value) -> Value:
    """The logarithm of zero, infinity, negative numbers and NaN."""
    infinity = float("inf")
    bounded = b.select(u < infinity, result, u)
    return b.select(u > 0.0, bounded, b.select(u.equals(0.0), -infinity, float("nan")))


def log(b: Builder, x: Value) -> Value:
    subnormal = x < 2.0**-1022
    u = x * b.select(subnormal, 2.0**54, 1.0)
    m, k, _ = split_binary(b, u)
    k = k - b.select(subnormal, 54.0, 0.0)
    return at_the_edges(b, x, log_of_split(b, m - 1.0, k))


def log1p_of_pair(b: Builder, high: Value, low: Value | None = None, offset: Value | None = None) -> Value:
    """log(1 + high + low) + offset ln 2 for finite 1 + high >= 2^-54; |low| is at most a few ulp of high."""
    u, u_low = b.two_sum(b.constant("double", 1.0), high)
    if low is not None:
        u_low = u_low + low
    m, k, biased = split_binary(b, u)
    # f + f_low = (u + u_low) 2^-k - 1. The factor 1/2 keeps k = 1024 in range.
    inverse = b.from_bits((2047 - biased) << 52) * 0.5
    f, f_low = b.fast_two_sum(m - 1.0, u_low * inverse)
    if offset is not None:
        k = k + offset
    return log_of_split(b, f, k, b.fma(-f_low, f, f_low))


def log1p(b: Builder, x: Value) -> Value:
    infinity = float("inf")
    # The result has the sign of x; the sum alone would turn -0 into +0.
    result = b.copysign(log1p_of_pair(b, x), x)
    bounded = b.select(x < infinity, result, x)
    return b.select(x > -1.0, bounded, b.select(x.equals(-1.0), -infinity, float("nan")))


LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
LOG10_E = (0.4342944819032518, 1.098319650216765e-17)
# The first part has 40 bits, so that its product with an exponent is exact.
LOG10_2 = (0.3010299956640665, -8.532344317057107e-14)


def _log_in_base(b: Builder, x: Value, factor: tuple[float, float], unit: tuple[float, float]) -> Value:
    """k * unit + log(m) * factor, both constants in two parts and log(m) as an unevaluated sum."""
    subnormal = x < 2.0**-1022
    m, k, _ = split_binary(b, x * b.select(subnormal, 2.0**54, 1.0))
    k = k - b.select(subnormal, 54.0, 0.0)
    f = m - 1.0
    half = f * 0.5
    half_square, half_square_low = b.two_product(half, f)
    s = f / (f + 2.0)
    z = s * s
    series = b.fma(z, b.polynomial(z, ATANH), half_square)
    high, low = b.fast_two_sum(f, -half_square)
    low = low + b.fma(s, series, -half_square_low)
    product, product_low = b.two_product(high, b.constant("double", factor[0]))
    product_low = b.fma(low, factor[0], b.fma(high, factor[1], product_low))
    total, total_low = b.fast_two_sum(k * unit[0], product)
    rest = total_low + product_low if unit[1] == 0.0 else b.fma(k, unit[1], total_low + product_low)
    return at_the_edges(b, x, total + rest)


def log2(b: Builder, x: Value) -> Value:
    return _log_in_base(b, x, LOG2_E, (1.0, 0.0))


def log10(b: Builder, x: Value) -> Value:
    return _log_in_base(b, x, LOG10_E, LOG10_2)


def logaddexp(b: Builder, x: Value, y: Value) -> Value:
    """log(exp(x) + exp(y)) = max + log1p(exp(-|x - y|)), the difference without rounding error.

    Where max and the logarithm cancel (the result is much smaller than 1 and max lies in (-ln 2, 0)), the bound is absolute: 2^-53.
    """
    largest = b.select(x > y, x, y)
    smallest = b.select(x > y, y, x)
    gap, gap_low = b.two_sum(smallest, -largest)
    equal = x.equals(y)
    gap = b.select(equal, 0.0, gap)
    # Infinite operands leave NaN in the low part.
    gap_low = b.select(gap > -1000.0, gap_low, 0.0)
    return largest + log1p_of_pair(b, exp(b, gap, b.select(equal, 0.0, gap_low)))
