"""log, log1p, log2, log10 and logaddexp.

u = 2^k m with m in [sqrt(1/2), sqrt(2)), f = m - 1, s = f / (2 + f): log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 +
s^2 R(s^2)), R a minimax polynomial (the arrangement of P. T. P. Tang, ACM TOMS 16 (1990) 378, and of the Sun library:
the leading terms are exact or nearly, so that rounding errors enter only in small ones). log1p carries the rounding
error of 1 + x along as a correction.

Straight-line, one division each, no tables.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import EXPONENT_BIAS, FRACTION_BITS, Builder, Pair, Value
from gradxform.backend.elementary.exponential import LN2, LN2_LOW, exp_pair

INFINITY = float("inf")

# (2 atanh(s) - 2s) / s^3 as a polynomial in s^2 <= 0.02948, error of log below 2^-59 of it (float: 2^-30).
ATANH = {
    "double": (
        0.6666666666666735,
        0.3999999999940956,
        0.2857142874356535,
        0.22222198448239636,
        0.1818357104807582,
        0.15313872476881804,
        0.14797793813874804,
    ),
    "float": (
        0.6666677594184875,
        0.3997756242752075,
        0.2987169027328491,
    ),
}

LOG2_E = {"double": (1.4426950408889634, 2.0355273740931033e-17), "float": (1.4426950216293335, 1.925963033500011e-08)}
LOG10_E = {
    "double": (0.4342944819032518, 1.098319650216765e-17),
    "float": (0.4342944920063019, -1.0103049952192578e-08),
}
# The first part has few enough bits (40, float: 15) that its product with an exponent is exact.
LOG10_2 = {"double": (0.3010299956640665, -8.532344317057107e-14), "float": (0.301025390625, 4.605039066518657e-06)}

SQRT_HALF_BITS = {"double": 0x3FE6A09E667F3BCD, "float": 0x3F3504F3}
ONE_BITS = {"double": 0x3FF0000000000000, "float": 0x3F800000}
SMALLEST_NORMAL = {"double": 2.0**-1022, "float": 2.0**-126}
# Subnormal numbers are multiplied by two to this power.
LIFT = {"double": 54.0, "float": 25.0}


def integer_to_float(b: Builder, x: Value, kind: str, offset: float) -> Value:
    """x - offset for small x >= 0: put into the fraction of 2^52 (float: 2^23), an integer is converted."""
    fraction, bias = FRACTION_BITS[kind], EXPONENT_BIAS[kind]
    return b.from_bits(x | ((bias + fraction) << fraction)) - (2.0**fraction + offset)


def lift_subnormal(b: Builder, x: Value) -> Pair:
    """(x 2^j, j) with j = 0 for normal x."""
    subnormal = x < SMALLEST_NORMAL[x.kind]
    lift = LIFT[x.kind]
    return x * b.select(subnormal, 2.0**lift, 1.0, x.kind), b.select(subnormal, lift, 0.0, x.kind)


def split_binary(b: Builder, u: Value) -> tuple[Value, Value, Value]:
    """u = 2^k m with m in [sqrt(1/2), sqrt(2)): m, k as a float, and k + bias; u is normal and positive."""
    kind, fraction = u.kind, FRACTION_BITS[u.kind]
    shifted = b.bits(u) + (ONE_BITS[kind] - SQRT_HALF_BITS[kind])
    m = b.from_bits((shifted & ((1 << fraction) - 1)) + SQRT_HALF_BITS[kind])
    biased = shifted >> fraction
    return m, integer_to_float(b, biased, kind, EXPONENT_BIAS[kind]), biased


def log_rest(b: Builder, f: Value, k: Value, correction: Value | None = None) -> Value:
    """k ln 2 + log(1 + f) + correction, less f and k LN2."""
    kind = f.kind
    half_square = (f * 0.5) * f
    s = f / (f + 2.0)
    z = s * s
    series = b.fma(z, b.polynomial(z, ATANH[kind]), half_square)
    small = k * LN2_LOW[kind] if correction is None else b.fma(k, LN2_LOW[kind], correction)
    return b.fma(s, series, small) - half_square


def log_of_split(b: Builder, f: Value, k: Value, correction: Value | None = None) -> Value:
    """k ln 2 + log(1 + f) + correction."""
    return b.fma(k, LN2[f.kind], f + log_rest(b, f, k, correction))


def at_the_edges(b: Builder, u: Value, result: Value) -> Value:
    """The logarithm of zero, infinity, negative numbers and NaN."""
    bounded = b.select(u < INFINITY, result, u)
    return b.select(u > 0.0, bounded, b.select(u.equals(0.0), -INFINITY, float("nan"), u.kind))


def log(b: Builder, x: Value) -> Value:
    u, lift = lift_subnormal(b, x)
    m, k, _ = split_binary(b, u)
    return at_the_edges(b, x, log_of_split(b, m - 1.0, k - lift))


def split_one_plus(b: Builder, high: Value, low: Value | None = None) -> tuple[Value, Value, Value]:
    """(f, k, correction) for log_of_split to give log(1 + high + low)."""
    u, u_low = b.two_sum(b.constant(high.kind, 1.0), high)
    if low is not None:
        u_low = u_low + low
    m, k, biased = split_binary(b, u)
    # f + f_low = (u + u_low) 2^-k - 1. The factor 1/2 keeps the greatest k in range.
    inverse = b.from_bits((2 * EXPONENT_BIAS[u.kind] + 1 - biased) << FRACTION_BITS[u.kind]) * 0.5
    f, f_low = b.fast_two_sum(m - 1.0, u_low * inverse)
    return f, k, b.fma(-f_low, f, f_low)


def log1p_of_pair(b: Builder, high: Value, low: Value | None = None, offset: Value | None = None) -> Value:
    """log(1 + high + low) + offset ln 2 for finite 1 + high >= 2^-54; |low| is at most a few ulp of high."""
    f, k, correction = split_one_plus(b, high, low)
    return log_of_split(b, f, k if offset is None else k + offset, correction)


def log1p(b: Builder, x: Value) -> Value:
    # The result has the sign of x; the sum alone would turn -0 into +0.
    result = b.copysign(log1p_of_pair(b, x), x)
    bounded = b.select(x < INFINITY, result, x)
    return b.select(x > -1.0, bounded, b.select(x.equals(-1.0), -INFINITY, float("nan"), x.kind))


def _log_in_base(b: Builder, x: Value, factor: tuple[float, float], unit: tuple[float, float]) -> Value:
    """k * unit + log(m) * factor, both constants in two parts and log(m) as an unevaluated sum."""
    u, lift = lift_subnormal(b, x)
    m, k, _ = split_binary(b, u)
    k, f = k - lift, m - 1.0
    half_square, half_square_low = b.two_product(f * 0.5, f)
    s = f / (f + 2.0)
    z = s * s
    series = b.fma(z, b.polynomial(z, ATANH[x.kind]), half_square)
    high, low = b.fast_two_sum(f, -half_square)
    low = low + b.fma(s, series, -half_square_low)
    product, product_low = b.two_product(high, b.constant(x.kind, factor[0]))
    product_low = b.fma(low, factor[0], b.fma(high, factor[1], product_low))
    total, total_low = b.fast_two_sum(k * unit[0], product)
    rest = total_low + product_low if unit[1] == 0.0 else b.fma(k, unit[1], total_low + product_low)
    return at_the_edges(b, x, total + rest)


def log2(b: Builder, x: Value) -> Value:
    return _log_in_base(b, x, LOG2_E[x.kind], (1.0, 0.0))


def log10(b: Builder, x: Value) -> Value:
    return _log_in_base(b, x, LOG10_E[x.kind], LOG10_2[x.kind])


def logaddexp(b: Builder, x: Value, y: Value) -> Value:
    """log(exp(x) + exp(y)) = max + log1p(exp(-|x - y|)), the difference and the sum without rounding error.

    Where max and the logarithm cancel (the result is much smaller than 1 and max lies in (-ln 2, 0)), the bound is
    absolute: 2^-55 (float: 2^-26).
    """
    largest = b.select(x > y, x, y)
    smallest = b.select(x > y, y, x)
    gap, gap_low = b.two_sum(smallest, -largest)
    equal = x.equals(y)
    gap = b.select(equal, 0.0, gap)
    # Infinite operands leave NaN in the low parts.
    gap_low = b.select(equal, 0.0, b.select(gap > -1000.0, gap_low, 0.0))
    f, k, correction = split_one_plus(b, *exp_pair(b, gap, gap_low))
    # k is 0 or 1 here.
    high, low = b.fast_two_sum(k * LN2[x.kind], f)
    low = low + log_rest(b, f, k, correction)
    total, total_low = b.two_sum(largest, high)
    return total + b.select(b.magnitude(largest) < INFINITY, total_low + low, 0.0)
