"""asin, acos, atan and atan2.

asin: an odd minimax polynomial for |x| <= 1/2, else pi/2 - 2 asin(sqrt((1 - |x|)/2)), where the square root carries
its rounding error.

atan2: with t = a/b, (a - b)/(a + b) or -b/a, whichever lies within tan(pi/8), the angle is 0, pi/4 or pi/2 (and for
negative x the supplement) plus atan(t); the quotient carries its remainder and the offset its low part, so that only
the last addition counts.
"""

from __future__ import annotations

from gradxform.backend.elementary.builder import Builder, Value

INFINITY = float("inf")
PI = (3.141592653589793, 1.2246467991473532e-16)
PI_2 = (1.5707963267948966, 6.123233995736766e-17)
PI_4 = (0.7853981633974483, 3.061616997868383e-17)
PI_3_4 = (2.356194490192345, 9.184850993605148e-17)
TAN_PI_8 = 0.41421356237309503

# (asin(x) - x) / x^3 as a polynomial in x^2 <= 1/4, error of asin below 2^-59.
ASIN = (
    0.16666666666666763,
    0.07499999999970143,
    0.0446428571752325,
    0.030381942678286193,
    0.022372215811612407,
    0.017351597322070138,
    0.013980995577879993,
    0.011397487418250796,
    0.01078820587086431,
    0.0036764657028647155,
    0.021780119922631958,
    -0.021101719410702026,
    0.03269274462540672,
)
# (atan(t) - t) / t^3 as a polynomial in t^2, |t| <= tan(pi/8), error of atan below 2^-59.
ATAN = (
    -0.333333333333332,
    0.19999999999953683,
    -0.14285714280199105,
    0.1111111078336203,
    -0.0909089775014787,
    0.0769206001060042,
    -0.06663101030681977,
    0.058478626900075784,
    -0.0503916521614407,
    0.0380605500444902,
    -0.017902335462663493,
)


def _asin_core(b: Builder, x: Value) -> tuple[Value, Value, Value]:
    """(r, rest, small) with asin(r) = r + rest, where r is |x| if small, else the sine of the half angle."""
    size = b.magnitude(x)
    small = size <= 0.5
    z = b.select(small, size * size, b.fma(size, -0.5, 0.5))
    root = b.sqrt(z)
    root_low = b.fma(-root, root, z) / (root + root)
    r = b.select(small, size, root)
    # At |x| = 1 the root vanishes and its correction is 0/0.
    r_low = b.select(small | z.equals(0.0), 0.0, root_low)
    return r, b.fma(r * z, b.polynomial(z, ASIN), r_low), small


def asin(b: Builder, x: Value) -> Value:
    r, rest, small = _asin_core(b, x)
    high, low = b.fast_two_sum(b.constant("double", PI_2[0]), r * -2.0)
    outer = high + (low + b.fma(rest, -2.0, PI_2[1]))
    return b.copysign(b.select(small, r + rest, outer), x)


def acos(b: Builder, x: Value) -> Value:
    r, rest, small = _asin_core(b, x)
    below = x < 0.0
    # One sum serves all: pi/2 - asin(x), 2 asin(root) or pi - 2 asin(root).
    sign = b.select(below, b.select(small, 1.0, -2.0), b.select(small, -1.0, 2.0))
    base = b.select(small, PI_2[0], b.select(below, PI[0], 0.0))
    base_low = b.select(small, PI_2[1], b.select(below, PI[1], 0.0))
    high, low = b.fast_two_sum(base, r * sign)
    return high + (low + b.fma(rest, sign, base_low))


def _angle(b: Builder, vertical: Value, horizontal: Value, left: Value | None) -> Value:
    """The angle of the point (horizontal, vertical), both >= 0, or of its mirror image where `left` holds."""
    flat = vertical <= horizontal * TAN_PI_8
    steep = horizontal < vertical * TAN_PI_8
    difference, difference_low = b.two_sum(vertical, -horizontal)
    total, total_low = b.two_sum(vertical, horizontal)
    numerator = b.select(flat, vertical, b.select(steep, -horizontal, difference))
    denominator = b.select(flat, horizontal, b.select(steep, vertical, total))
    outer = flat | steep
    numerator_low = b.select(outer, 0.0, difference_low)
    denominator_low = b.select(outer, 0.0, total_low)
    base = b.select(flat, 0.0, b.select(steep, PI_2[0], PI_4[0]))
    base_low = b.select(flat, 0.0, b.select(steep, PI_2[1], PI_4[1]))
    if left is not None:
        numerator = b.select(left, -numerator, numerator)
        numerator_low = b.select(left, -numerator_low, numerator_low)
        base = b.select(left, b.select(flat, PI[0], b.select(steep, PI_2[0], PI_3_4[0])), base)
        base_low = b.select(left, b.select(flat, PI[1], b.select(steep, PI_2[1], PI_3_4[1])), base_low)
    inverse = 1.0 / denominator
    t = numerator * inverse
    remainder = b.fma(-t, denominator, numerator) + b.fma(-t, denominator_low, numerator_low)
    z = t * t
    rest = b.fma(z * t, b.polynomial(z, ATAN), b.fma(remainder, inverse, base_low))
    high, low = b.fast_two_sum(base, t)
    return high + (low + rest)


def atan(b: Builder, x: Value) -> Value:
    # The quotient of infinities is NaN; at 2^100 the angle is pi/2 already.
    size = b.smaller(2.0**100, b.magnitude(x))
    return b.copysign(_angle(b, size, b.constant("double", 1.0), None), x)


def atan2(b: Builder, y: Value, x: Value) -> Value:
    vertical, horizontal = b.magnitude(y), b.magnitude(x)
    largest = b.select(vertical > horizontal, vertical, horizontal)
    scale = b.select(largest > 2.0**1000, 0.25, b.select(largest < 2.0**-900, 2.0**120, 1.0))
    vertical_infinite, horizontal_infinite = vertical.equals(INFINITY), horizontal.equals(INFINITY)
    infinite = vertical_infinite | horizontal_infinite
    vertical = b.select(infinite, b.select(vertical_infinite, 1.0, 0.0), vertical * scale)
    # At the origin the angle is 0 or pi, that of the point (1, 0) or (-1, 0).
    horizontal = b.select(largest.equals(0.0), 1.0, horizontal * scale)
    horizontal = b.select(infinite, b.select(horizontal_infinite, 1.0, 0.0), horizontal)
    left = b.bits(x) < 0
    angle = b.copysign(_angle(b, vertical, horizontal, left), y)
    return b.select(b.compare("uno", x, y), float("nan"), angle)
