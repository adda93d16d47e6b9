"""sin, cos and tan.

x = n pi/2 + r, |r| <= pi/4. pi/2 is subtracted in three parts by fused multiply-adds (Cody and Waite with FMA; S.
Boldo, M. Daumas and R.-C. Li, IEEE Trans. Comput. 58 (2009) 1139): the first subtraction is exact, the second is made
exact by a two-sum, so that r + r_low is right to some 2^-60 relative for |x| <= 2^32 (float: 2^16), however near x
lies to a multiple of pi/2. Beyond that the argument is `outside` of the straight-line code, and the careful version
reduces by M. Payne and R. Hanek's method (SIGNUM Newsletter 18 (1983) 19): an integer product with just those bits of
2/pi that matter.

sin(r) and cos(r) are both evaluated, and the quadrant selects: sin and cos of one argument then share everything but
the selection, and the derivative costs next to nothing.
"""

from __future__ import annotations

from gradxform.backend.elementary import huge_argument
from gradxform.backend.elementary.builder import WIDTH, Builder, Pair, Value, rounding_shift

# The second part must not be negative: reduce relies on it for the sign of zero.
PI_2 = {
    "double": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    "float": (1.570796251296997, 7.549789415861596e-08, 5.390302953474238e-15),
}
TWO_OVER_PI = 0.6366197723675814
LIMIT = {"double": 2.0**32, "float": 2.0**16}

# (r - sin r) / r^3 as a polynomial in r^2, r <= 0.7858, error of sin below 2^-57.9 (2^-28).
SIN = {
    "double": (
        0.16666666666666632,
        -0.008333333333322472,
        0.0001984126982983617,
        -2.7557313697590977e-06,
        2.505075853417203e-08,
        -1.589679903827009e-10,
    ),
    "float": (
        0.16666655242443085,
        -0.008332190103828907,
        0.00019518405315466225,
    ),
}
# (cos r - 1 + r^2/2) / r^4 likewise, error of cos below 2^-63 (2^-32.9).
COS = {
    "double": (
        0.041666666666666595,
        -0.0013888888888873333,
        2.4801587288992074e-05,
        -2.75573142130091e-07,
        2.0875704712504815e-09,
        -1.1358707577533633e-11,
    ),
    "float": (
        0.04166664555668831,
        -0.0013887309469282627,
        2.4432338250335306e-05,
    ),
}


def outside(b: Builder, x: Value) -> Value:
    return b.magnitude(x) > LIMIT[x.kind]


def reduce(b: Builder, x: Value) -> tuple[Value, Value, Value]:
    """(r, -r_low, quadrant bits), for |x| <= LIMIT or NaN. The low part is negated to keep the sign of sin(-0)."""
    shift, parts = rounding_shift(x.kind), PI_2[x.kind]
    shifted = b.fma(x, TWO_OVER_PI, shift)
    n = shifted - shift
    exact = b.fma(n, -parts[0], x)
    product, product_low = b.two_product(n, b.constant(x.kind, parts[1]))
    r = exact - product
    negated_low = b.fma(n, parts[2], product_low - ((exact - r) - product))
    return r, negated_low, b.bits(shifted)


def sine_and_cosine(b: Builder, r: Value, negated_low: Value) -> tuple[Value, Value]:
    """sin and cos of r + r_low on |r| <= pi/4."""
    z = r * r
    half = z * 0.5
    one_less = 1.0 - half
    sine = r - b.fma(z * r, b.polynomial(z, SIN[z.kind]), negated_low * one_less)
    lost = (1.0 - one_less) - half
    cosine = one_less + b.fma(z * z, b.polynomial(z, COS[z.kind]), b.fma(r, negated_low, lost))
    return sine, cosine


def sin_of_reduced(b: Builder, r: Value, negated_low: Value, quadrant: Value) -> Value:
    sine, cosine = sine_and_cosine(b, r, negated_low)
    chosen = b.select((quadrant & 1).differs(0), cosine, sine)
    return b.apply_sign(chosen, quadrant << (WIDTH[r.kind] - 2))


def cos_of_reduced(b: Builder, r: Value, negated_low: Value, quadrant: Value) -> Value:
    sine, cosine = sine_and_cosine(b, r, negated_low)
    chosen = b.select((quadrant & 1).differs(0), sine, cosine)
    return b.apply_sign(chosen, (quadrant + 1) << (WIDTH[r.kind] - 2))


def sin(b: Builder, x: Value) -> Value:
    return sin_of_reduced(b, *reduce(b, x))


def cos(b: Builder, x: Value) -> Value:
    return cos_of_reduced(b, *reduce(b, x))


def sine_and_cosine_pairs(b: Builder, r: Value, negated_low: Value) -> tuple[Pair, Pair]:
    """sin and cos of r + r_low on |r| <= pi/4 as unevaluated sums."""
    z = r * r
    half = z * 0.5
    one_less = 1.0 - half
    sine_rest = -b.fma(z * r, b.polynomial(z, SIN[z.kind]), negated_low * one_less)
    cosine_rest = b.fma(z * z, b.polynomial(z, COS[z.kind]), b.fma(r, negated_low, (1.0 - one_less) - half))
    return b.fast_two_sum(r, sine_rest), b.fast_two_sum(one_less, cosine_rest)


def tan_of_reduced(b: Builder, r: Value, negated_low: Value, quadrant: Value) -> Value:
    """sin/cos or -cos/sin, both as unevaluated sums, the quotient corrected by its remainder."""
    (sine, sine_low), (cosine, cosine_low) = sine_and_cosine_pairs(b, r, negated_low)
    odd = (quadrant & 1).differs(0)
    top, top_low = b.select(odd, cosine, sine), b.select(odd, cosine_low, sine_low)
    bottom, bottom_low = b.select(odd, -sine, cosine), b.select(odd, -sine_low, cosine_low)
    inverse = 1.0 / bottom
    quotient = top * inverse
    remainder = b.fma(-quotient, bottom_low, b.fma(-quotient, bottom, top) + top_low)
    # The correction alone could turn -0 into +0.
    return b.copysign(b.fma(remainder, inverse, quotient), quotient)


def tan(b: Builder, x: Value) -> Value:
    return tan_of_reduced(b, *reduce(b, x))


def sin_of_huge(b: Builder, x: Value) -> Value:
    return _unless_infinite(b, x, sin_of_reduced(b, *huge_argument.reduce(b, x)))


def cos_of_huge(b: Builder, x: Value) -> Value:
    return _unless_infinite(b, x, cos_of_reduced(b, *huge_argument.reduce(b, x)))


def tan_of_huge(b: Builder, x: Value) -> Value:
    return _unless_infinite(b, x, tan_of_reduced(b, *huge_argument.reduce(b, x)))


def _unless_infinite(b: Builder, x: Value, result: Value) -> Value:
    return b.select(b.magnitude(x) < float("inf"), result, float("nan"))
