"""pow, cbrt, rsqrt and hypot.

pow(x, y) = exp(y log|x|) with the logarithm as an unevaluated sum of two doubles good to 2^-65 relative: s = f / (2 +
f) with its remainder, 2 atanh(s) = 2s + s^3 (2/3 + s^2 Q(s^2)) with the first coefficient and every product above Q
in double-double (T. J. Dekker, Numer. Math. 18 (1971) 224). The special values are those of C99 Annex F.9.4.4, which
NumPy follows.

cbrt: x = 2^(3q) z with z in [1/2, 4); a cubic for m^(-1/3), one step of fourth order without division, and a last
Newton correction whose residual z - y^3 is formed in double-double.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Pair, Value, rounding_shift
from gradxform.backend.elementary.exponential import LN2, LN2_LOW, exp
from gradxform.backend.elementary.logarithm import ONE_BITS, integer_to_float, lift_subnormal, log, split_binary

INFINITY = float("inf")
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
# ((2 atanh(s) - 2s) / s^3 - 2/3) / s^2 as a polynomial in s^2 <= 0.02948, error of log below 2^-66.
ATANH_TAIL = (
    0.4000000000000229,
    0.2857142857008376,
    0.22222222522737953,
    0.18181784121022426,
    0.1538676866643677,
    0.13256553723100792,
    0.1319878050394106,
)


def log_pair(b: Builder, x: Value) -> Pair:
    """log(x) = high + low for finite x > 0."""
    u, lift = lift_subnormal(b, x)
    m, k, _ = split_binary(b, u)
    k, f = k - lift, m - 1.0
    whole, whole_low = b.fast_two_sum(b.constant("double", 2.0), f)
    inverse = 1.0 / whole
    s = f * inverse
    s_low = b.fma(-s, whole_low, b.fma(-s, whole, f)) * inverse
    z = s * s
    z_low = b.fma(s, s, -z) + (s + s) * s_low
    factor, factor_low = b.fast_two_sum(b.constant("double", TWO_THIRDS[0]), z * b.polynomial(z, ATANH_TAIL))
    square, square_low = b.two_product(z, factor)
    square_low = b.fma(z, factor_low + TWO_THIRDS[1], b.fma(z_low, factor, square_low))
    cube, cube_low = b.two_product(s, square)
    cube_low = b.fma(s, square_low, b.fma(s_low, square, cube_low))
    high, low = b.fast_two_sum(s + s, cube)
    low = low + b.fma(s_low, 2.0, cube_low)
    whole_k, whole_k_low = b.two_product(k, b.constant("double", LN2["double"]))
    total, total_low = b.fast_two_sum(whole_k, high)
    return total, (total_low + low) + b.fma(k, LN2_LOW["double"], whole_k_low)


def pow(b: Builder, x: Value, y: Value) -> Value:  # noqa: A001 - the name of the function that is expanded
    size = b.magnitude(x)
    high, low = log_pair(b, size)
    high = b.select(size < INFINITY, b.select(size.equals(0.0), -INFINITY, high), size)
    exponent = y * high
    exponent_low = b.fma(y, low, b.fma(y, high, -exponent))
    # Also replaces the NaN that infinities leave in the low part.
    exponent_low = b.select(b.magnitude(exponent) < 1000.0, exponent_low, 0.0)
    return _with_special_powers(b, x, y, exp(b, exponent, exponent_low))


def pow_float(b: Builder, x: Value, y: Value) -> Value:
    """The same for float32, in plain float64 arithmetic: its 29 spare bits absorb the factor of at most 104."""
    base, exponent = b.convert("fpext", x, "double"), b.convert("fpext", y, "double")
    result = exp(b, exponent * log(b, b.magnitude(base)))
    return b.convert("fptrunc", _with_special_powers(b, base, exponent, result), "float")


def _with_special_powers(b: Builder, x: Value, y: Value, result: Value) -> Value:
    """|x|^y with the sign of x^y, and the cases in which C99 wants 1 or NaN."""
    integral = b.intrinsic("trunc", y).equals(y)
    half = y * 0.5
    odd = integral & b.intrinsic("trunc", half).differs(half)
    result = b.select(odd, b.copysign(result, x), result)
    result = b.select((x < 0.0) & (x > -INFINITY) & ~integral, float("nan"), result)
    one = x.equals(1.0) | y.equals(0.0) | (x.equals(-1.0) & b.magnitude(y).equals(INFINITY))
    return b.select(one, 1.0, result)


# x^(-1/3) on [1, 2], error below 2^-11.9 relative.
RECIPROCAL_CBRT = (1.5415289857936676, -0.8092033292974482, 0.3172391550433586, -0.049822023590370274)
CBRT_2 = 1.2599210498948732
CBRT_HALF = 0.7937005259840998


def cbrt(b: Builder, x: Value) -> Value:
    size = b.magnitude(x)
    u, lift = lift_subnormal(b, size)
    raw = b.bits(u)
    m = b.from_bits((raw & ((1 << 52) - 1)) | ONE_BITS["double"])
    k = integer_to_float(b, raw >> 52, "double", 1023.0) - lift
    shift = rounding_shift("double")
    shifted = b.fma(k, 1.0 / 3.0, shift)
    third = shifted - shift
    left = b.fma(third, -3.0, k)
    above, below = left > 0.5, left < -0.5
    z = m * b.select(above, 2.0, b.select(below, 0.5, 1.0))
    root = b.select(above, CBRT_2, b.select(below, CBRT_HALF, 1.0))
    inverse_root = b.select(above, CBRT_HALF, b.select(below, CBRT_2, 1.0))
    w = b.polynomial(m, RECIPROCAL_CBRT)
    h = b.fma(-(w * w), w * m, 1.0)
    w = b.fma(w * h, b.polynomial(h, (1.0 / 3.0, 2.0 / 9.0, 14.0 / 81.0)), w)
    y = (w * w) * m * root
    w = w * inverse_root
    square, square_low = b.two_product(y, y)
    residual = b.fma(-square_low, y, b.fma(-square, y, z))
    y = b.fma(residual, (w * w) * (1.0 / 3.0), y)
    result = b.copysign(y * b.from_bits((b.bits(shifted) + 1023) << 52), x)
    return b.select((size < INFINITY) & (size > 0.0), result, x)


def rsqrt(b: Builder, x: Value) -> Value:
    """1 / sqrt(x), infinity at either zero with its sign."""
    return 1.0 / b.sqrt(x)


def hypot(b: Builder, x: Value, y: Value) -> Value:
    """sqrt(x^2 + y^2), scaled by a power of two where squares would overflow or underflow; infinity even beside NaN."""
    first, second = b.magnitude(x), b.magnitude(y)
    largest = b.larger(first, second)
    huge, tiny = largest > 2.0**500, largest < 2.0**-400
    scale = b.select(huge, 2.0**-600, b.select(tiny, 2.0**600, 1.0))
    back = b.select(huge, 2.0**600, b.select(tiny, 2.0**-600, 1.0))
    first_scaled, second_scaled = first * scale, second * scale
    squares = b.fma(first_scaled, first_scaled, second_scaled * second_scaled)
    infinite = first.equals(INFINITY) | second.equals(INFINITY)
    return b.select(infinite, INFINITY, b.sqrt(squares) * back)
