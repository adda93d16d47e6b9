"""exp, exp2, expm1 and the logistic sigmoid.

x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite, "Software Manual for the Elementary Functions", 1980): n ln 2 is subtracted in
two parts by fused multiply-adds, the first of which is exact, so r is correct to half a unit in the last place and, where it
matters, its rounding error is kept as a tail. exp(r) = 1 + r + r^2 q(r), q a minimax polynomial. The result is scaled by 2^n
in two factors, so that subnormal results round once and overflow gives infinity.

No coefficient list depends on the lanes; every expansion is straight-line and covers the whole domain.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Pair, Value, rounding_shift

LN2 = 0.6931471805599453
LN2_LOW = 2.3190468138462996e-17
LOG2_E = 1.4426950408889634

# (exp(r) - 1 - r) / r^2 on |r| <= 0.3468, error of exp below 2^-56.6.
EXP = (
    0.5000000000000006,
    0.16666666666666682,
    0.04166666666657361,
    0.008333333333317084,
    0.0013888888932399055,
    0.00019841269897390168,
    2.4801504401942274e-05,
    2.7557233132507496e-06,
    2.7626351326246803e-07,
    2.511280386256248e-08,
)
# (exp(r) - 1 - r - r^2/2) / r^3, error of expm1(r) below 2^-61.6 relative.
EXPM1 = (
    0.16666666666666677,
    0.041666666666666685,
    0.008333333333321445,
    0.0013888888888873012,
    0.0001984126988655708,
    2.4801587350213268e-05,
    2.7557243799498413e-06,
    2.755725063482579e-07,
    2.5109174492000152e-08,
    2.0922212791979793e-09,
)
# (2^r - 1) / r on |r| <= 0.5, error of 2^r below 2^-57.
EXP2 = (
    0.6931471805599453,
    0.24022650695910125,
    0.05550410866482279,
    0.009618129107595937,
    0.0013333558146204358,
    0.00015403530455338567,
    1.5252733998751606e-05,
    1.3215435999969572e-06,
    1.0178000865182316e-07,
    7.073679932457635e-09,
    4.463352374948066e-10,
)

# Halving the stored exponent n + 2046 yields two biased exponents at once: see scale_by_power.
EXPONENT_SHIFT = rounding_shift("double") + 2046.0


def split_exponent(b: Builder, scaled: Value, factor: float) -> Pair:
    """The integer n nearest to scaled * factor, and raw bits that hold n + 2046 below bit 12."""
    shifted = b.fma(scaled, factor, EXPONENT_SHIFT)
    return shifted - EXPONENT_SHIFT, b.bits(shifted)


def scale_by_power(b: Builder, x: Value, raw: Value) -> Value:
    """x * 2^n for -2046 < n < 2046: the product of x with 2^floor(n/2) and 2^(n - floor(n/2)), the only rounding being the last."""
    half = raw >> 1
    return (x * b.from_bits(half << 52)) * b.from_bits((raw - half) << 52)


def power_of_two(b: Builder, raw: Value) -> Value:
    """2^n for -1022 <= n <= 1023 from the raw bits of split_exponent."""
    return b.from_bits((raw - 1023) << 52)


def exp_parts(b: Builder, x: Value, low: Value | None = None) -> tuple[Value, Value, Value]:
    """(high, low, raw) with exp(x + low) = (high + low) 2^n for clamped x: 1 + x - n ln 2 without error, and what is left."""
    n, raw = split_exponent(b, x, LOG2_E)
    exact = b.fma(n, -LN2, x)
    correction = n * -LN2_LOW if low is None else b.fma(n, -LN2_LOW, low)
    r = exact + correction
    high, high_low = b.fast_two_sum(b.constant("double", 1.0), exact)
    return high, b.fma(r * r, b.polynomial(r, EXP), high_low + correction), raw


def exp(b: Builder, x: Value, low: Value | None = None, doublings: int = 0) -> Value:
    """exp(x + low) * 2^doublings where |low| is at most a few ulp of x; overflow, underflow and NaN as exp(x)."""
    clamped = b.smaller(711.0, b.larger(-746.0, x))
    high, rest, raw = exp_parts(b, clamped, low)
    return scale_by_power(b, high + rest, raw + doublings if doublings else raw)


def exp2(b: Builder, x: Value) -> Value:
    clamped = b.smaller(1025.0, b.larger(-1080.0, x))
    n, raw = split_exponent(b, clamped, 1.0)
    r = clamped - n
    return scale_by_power(b, b.fma(r, b.polynomial(r, EXP2), 1.0), raw)


def expm1_parts(b: Builder, x: Value, n: Value) -> tuple[Value, Value, Value]:
    """(r, r^2/2, rest) with expm1(x - n ln 2) = r + r^2/2 + rest."""
    exact = b.fma(n, -LN2, x)
    r = b.fma(n, -LN2_LOW, exact)
    tail = b.fma(n, -LN2_LOW, exact - r)
    square = r * r
    return r, square * 0.5, b.fma(square * r, b.polynomial(r, EXPM1), tail)


def expm1_sum(b: Builder, base: Value, scale: Value, parts: tuple[Value, Value, Value], low: Value) -> Pair:
    """base + low + scale * (the sum of the parts) as an unevaluated sum, the large terms added without error."""
    r, half, rest = parts
    high, first_low = b.fast_two_sum(base, scale * r)
    high, second_low = b.fast_two_sum(high, scale * half)
    return high, b.fma(scale, rest, (first_low + low) + second_low)


def expm1_pair(b: Builder, x: Value) -> Pair:
    """expm1(x) = high + low to about 2^-57 relative, for -700 < x <= 0: (2^n - 1) + 2^n expm1(r)."""
    n, raw = split_exponent(b, x, LOG2_E)
    scale = power_of_two(b, raw)
    base, low = b.fast_two_sum(b.constant("double", -1.0), scale)
    return b.fast_two_sum(*expm1_sum(b, base, scale, expm1_parts(b, x, n), low))


def expm1(b: Builder, x: Value) -> Value:
    """As expm1_pair; above 709 the scale is halved and the result doubled, for 2^1024 is no double."""
    clamped = b.smaller(710.0, b.larger(-60.0, x))
    n, raw = split_exponent(b, clamped, LOG2_E)
    huge = clamped > 709.0
    scale = power_of_two(b, raw - b.select(huge, 1, 0, "i64"))
    base = scale - 1.0
    high, low = expm1_sum(b, base, scale, expm1_parts(b, clamped, n), (scale - base) - 1.0)
    # Adding the parts turns -0 into +0.
    return b.copysign((high + low) * b.select(huge, 2.0, 1.0), x)


def sigmoid(b: Builder, x: Value) -> Value:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|), the quotient corrected by the remainder of the division."""
    clamped = b.larger(-746.0, -b.magnitude(x))
    e = exp(b, clamped)
    whole, whole_low = b.fast_two_sum(b.constant("double", 1.0), e)
    inverse = 1.0 / whole
    part = b.select(x < 0.0, e, 1.0)
    quotient = part * inverse
    remainder = b.fma(-quotient, whole_low, b.fma(-quotient, whole, part))
    return b.fma(remainder, inverse, quotient)
