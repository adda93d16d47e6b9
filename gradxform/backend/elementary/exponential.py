"""exp, exp2, expm1 and the logistic sigmoid.

x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite, "Software Manual for the Elementary Functions", 1980): n ln 2 is
subtracted in two parts by fused multiply-adds, the first of which is exact, so r is correct to half a unit in the
last place and, where it matters, its rounding error is kept as a tail. exp(r) = 1 + r + r^2 q(r), q a minimax
polynomial. The result is scaled by 2^n in two factors, so that subnormal results round once and overflow gives
infinity.

Every expansion is straight-line and covers the whole domain. Tables are by kind: double and float follow the same
steps.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import EXPONENT_BIAS, FRACTION_BITS, Builder, Pair, Value, rounding_shift

LN2 = {"double": 0.6931471805599453, "float": 0.6931471824645996}
LN2_LOW = {"double": 2.3190468138462996e-17, "float": -1.9046542121259336e-09}
LOG2_E = 1.4426950408889634
# Below the first exp is 0, above the second infinity; expm1 is -1 and infinity.
EXP_RANGE = {"double": (-746.0, 711.0), "float": (-104.0, 90.0)}
EXP2_RANGE = {"double": (-1080.0, 1025.0), "float": (-155.0, 129.0)}
EXPM1_RANGE = {"double": (-60.0, 710.0), "float": (-30.0, 89.0)}
# Above this, 2^n may be too large for a float.
EXPM1_HUGE = {"double": 709.0, "float": 88.0}

# (exp(r) - 1 - r) / r^2 on |r| <= 0.3468, error of exp below 2^-56.6 (float: 2^-28.2).
EXP = {
    "double": (
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
    ),
    "float": (
        0.4999999403953552,
        0.1666651964187622,
        0.04166824743151665,
        0.008368827402591705,
        0.0013822655891999602,
    ),
}
# (exp(r) - 1 - r - r^2/2) / r^3, error of expm1(r) below 2^-61.6 relative (2^-31).
EXPM1 = {
    "double": (
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
    ),
    "float": (
        0.1666666716337204,
        0.041666481643915176,
        0.008333188481628895,
        0.0013933370355516672,
        0.00019961856014560908,
    ),
}
# (2^r - 1) / r on |r| <= 0.5, error of 2^r below 2^-57 (2^-28.1).
EXP2 = {
    "double": (
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
    ),
    "float": (
        0.6931471824645996,
        0.24022652208805084,
        0.05550358071923256,
        0.009617903269827366,
        0.0013391703832894564,
        0.00015503440226893872,
    ),
}


def clamp(b: Builder, x: Value, bounds: tuple[float, float]) -> Value:
    """x within bounds; NaN stays."""
    return b.smaller(bounds[1], b.larger(bounds[0], x))


def split_exponent(b: Builder, scaled: Value, factor: float) -> Pair:
    """The integer n nearest to scaled * factor, and raw bits whose low end holds n + 2 bias.

    Halving that sum yields two biased exponents at once: see scale_by_power.
    """
    shift = rounding_shift(scaled.kind) + 2.0 * EXPONENT_BIAS[scaled.kind]
    shifted = b.fma(scaled, factor, shift)
    return shifted - shift, b.bits(shifted)


def scale_by_power(b: Builder, x: Value, raw: Value) -> Value:
    """x * 2^n: the product of x with 2^floor(n/2) and 2^(n - floor(n/2)), the only rounding being the last."""
    half, fraction = raw >> 1, FRACTION_BITS[x.kind]
    return (x * b.from_bits(half << fraction)) * b.from_bits((raw - half) << fraction)


def power_of_two(b: Builder, raw: Value, kind: str) -> Value:
    """2^n, a normal number, from the raw bits of split_exponent."""
    return b.from_bits((raw - EXPONENT_BIAS[kind]) << FRACTION_BITS[kind])


def exp_parts(b: Builder, x: Value, low: Value | None = None) -> tuple[Value, Value, Value]:
    """(h, l, raw) with exp(x + low) = (h + l) 2^n for clamped x: 1 + x - n LN2 without error, and what is left."""
    n, raw = split_exponent(b, x, LOG2_E)
    exact = b.fma(n, -LN2[x.kind], x)
    correction = n * -LN2_LOW[x.kind] if low is None else b.fma(n, -LN2_LOW[x.kind], low)
    r = exact + correction
    high, high_low = b.fast_two_sum(b.constant(x.kind, 1.0), exact)
    return high, b.fma(r * r, b.polynomial(r, EXP[x.kind]), high_low + correction), raw


def exp(b: Builder, x: Value, low: Value | None = None, doublings: int = 0) -> Value:
    """exp(x + low) * 2^doublings where |low| is at most a few ulp of x; overflow, underflow and NaN as exp(x)."""
    clamped = clamp(b, x, EXP_RANGE[x.kind])
    high, rest, raw = exp_parts(b, clamped, low)
    return scale_by_power(b, high + rest, raw + doublings if doublings else raw)


def exp_pair(b: Builder, x: Value, low: Value) -> Pair:
    """exp(x + low) = high + low to about 2^-56, for x <= 0."""
    high, rest, raw = exp_parts(b, clamp(b, x, EXP_RANGE[x.kind]), low)
    total, total_low = b.fast_two_sum(high, rest)
    return scale_by_power(b, total, raw), scale_by_power(b, total_low, raw)


def exp2(b: Builder, x: Value) -> Value:
    clamped = clamp(b, x, EXP2_RANGE[x.kind])
    n, raw = split_exponent(b, clamped, 1.0)
    r = clamped - n
    return scale_by_power(b, b.fma(r, b.polynomial(r, EXP2[x.kind]), 1.0), raw)


def expm1_parts(b: Builder, x: Value, n: Value) -> tuple[Value, Value, Value]:
    """(r, r^2/2, rest) with expm1(x - n ln 2) = r + r^2/2 + rest."""
    exact = b.fma(n, -LN2[x.kind], x)
    r = b.fma(n, -LN2_LOW[x.kind], exact)
    tail = b.fma(n, -LN2_LOW[x.kind], exact - r)
    square = r * r
    return r, square * 0.5, b.fma(square * r, b.polynomial(r, EXPM1[x.kind]), tail)


def expm1_sum(b: Builder, base: Value, scale: Value, parts: tuple[Value, Value, Value], low: Value) -> Pair:
    """base + low + scale * (the sum of the parts) as an unevaluated sum, the large terms added without error."""
    r, half, rest = parts
    high, first_low = b.fast_two_sum(base, scale * r)
    high, second_low = b.fast_two_sum(high, scale * half)
    return high, b.fma(scale, rest, (first_low + low) + second_low)


def expm1_pair(b: Builder, x: Value) -> Pair:
    """expm1(x) = high + low to about 2^-57 relative, for x <= 0 that leave 2^n normal: (2^n - 1) + 2^n expm1(r)."""
    n, raw = split_exponent(b, x, LOG2_E)
    scale = power_of_two(b, raw, x.kind)
    base, low = b.fast_two_sum(b.constant(x.kind, -1.0), scale)
    return b.fast_two_sum(*expm1_sum(b, base, scale, expm1_parts(b, x, n), low))


def expm1(b: Builder, x: Value) -> Value:
    """As expm1_pair; near overflow the scale is halved and the result doubled, for 2^n may be too large."""
    clamped = clamp(b, x, EXPM1_RANGE[x.kind])
    n, raw = split_exponent(b, clamped, LOG2_E)
    huge = clamped > EXPM1_HUGE[x.kind]
    scale = power_of_two(b, raw - b.select(huge, 1, 0, raw.kind), x.kind)
    base = scale - 1.0
    high, low = expm1_sum(b, base, scale, expm1_parts(b, clamped, n), (scale - base) - 1.0)
    # Adding the parts turns -0 into +0.
    return b.copysign((high + low) * b.select(huge, 2.0, 1.0, x.kind), x)


def sigmoid(b: Builder, x: Value) -> Value:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|), the quotient corrected by the remainder of the division."""
    e = exp(b, -b.magnitude(x))
    whole, whole_low = b.fast_two_sum(b.constant(x.kind, 1.0), e)
    inverse = 1.0 / whole
    part = b.select(x < 0.0, e, 1.0)
    quotient = part * inverse
    remainder = b.fma(-quotient, whole_low, b.fma(-quotient, whole, part))
    return b.fma(remainder, inverse, quotient)
