"""Elementary functions of complex numbers on their parts.

Branch cuts, the signs of zeros and what infinities and NaN give are those of C99 (Annex G), which NumPy has too. A cut is
continuous with the side that the sign of a zero part tells. Of each identity the form is taken that neither cancels nor
overflows:

- W. Kahan, "Branch cuts for complex elementary functions, or much ado about nothing's sign bit", in The State of the Art in
  Numerical Analysis (1987): the plan of all functions, arctanh.
- T. E. Hull, T. F. Fairgrieve, P. T. P. Tang, "Implementing complex elementary functions using exception handling", ACM
  Transactions on Mathematical Software 20 (1994): sqrt and log; and "Implementing the complex arcsine and arccosine functions
  using exception handling", ibid. 23 (1997). There are no exceptions to be handled here: what would overflow is scaled.
- T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and dot product", SIAM Journal on Scientific Computing 26 (2005): the sum of
  squares in the logarithm, next to the unit circle.

Everything is computed in float64, also for complex64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradxform.dtypes import float32, float64
from gradxform.passes.complex_arithmetic import div, integer_pow, reciprocal
from gradxform.passes.complex_values import (
    INFINITY,
    NAN,
    Pair,
    Real,
    arccos,
    arcsin,
    arctan,
    arctan2,
    copysign,
    cos,
    cosh,
    exp,
    expm1,
    hypot,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    power,
    select,
    sin,
    sinh,
    sqrt,
    wide,
)

_LN2 = math.log(2)
#: Exponents beyond ``_FAR`` are taken less by ``_STEP``, which is exact there, and the product more by ``_LIFT``.
_FAR, _STEP = 700.0, 64.0
_LIFT = math.exp(_STEP)


def _larger(x: Real, y: Real) -> Real:
    return select(x > y, x, y)


def _lifted(x: Real) -> tuple[Real, Real]:
    """An exponent that does not overflow, and the factor that is then missing."""
    far = x > _FAR
    return select(far, x - _STEP, x), select(far, x.number(_LIFT), 1.0)


# -------------------------------------------------------------------------------------------------------- exponential


def _turned(size: Real, lift: Real, x: Real, y: Real, zero: Real) -> Pair:
    """size * lift * (cos y + i sin y), where ``size`` is a growing function of x that is 0 or infinite at infinity.

    An infinite or vanishing size has no direction to turn to where y is not finite; ``zero`` says where sin y is y.
    """
    lost = isinf(x) & ~isfinite(y)
    across = select(lost, 1.0, cos(y))
    upward = select(lost & (x < 0.0), copysign(y.number(0), y), sin(y))
    return Pair(size * across * lift, select(zero, y, size * upward * lift))


@wide
def exponential(z: Pair) -> Pair:
    exponent, lift = _lifted(z.re)
    return _turned(exp(exponent), lift, z.re, z.im, z.im.equals(0.0))


@wide
def exponential_2(z: Pair) -> Pair:
    far = z.re > 1000.0
    exponent, lift = select(far, z.re - 64.0, z.re), select(far, z.re.number(2.0**64), 1.0)
    return _turned(exponent.apply("exp2"), lift, z.re, z.im * _LN2, z.im.equals(0.0))


@wide
def exponential_minus_1(z: Pair) -> Pair:
    """exp(x) cos y - 1 = expm1(x) cos y - 2 sin(y/2)**2."""
    whole = exponential(z)
    half = sin(z.im * 0.5)
    # For large x the subtraction of 1 costs nothing, and expm1 has overflowed before exp(x) cos y does.
    near = abs(z.re) < 30.0
    re = select(near, expm1(z.re) * cos(z.im) - 2.0 * half * half, whole.re - 1.0)
    return Pair(select(z.im.equals(0.0), expm1(z.re), re), whole.im)


# -------------------------------------------------------------------------------------------------------- logarithms


def _split(x: Real) -> tuple[Real, Real]:
    """x = high + low exactly, such that products with ``high`` of such parts are exact (contracted or not)."""
    high = x.converted(float32).converted(float64)
    return high, x - high


def _sum(terms: Sequence[Real]) -> Real:
    """The sum as if rounded once, in twice the precision: each rounding error is caught and added at the end.

    The terms are exact products, so that fusing them with an addition changes nothing.
    """
    total, error = terms[0], None
    for term in terms[1:]:
        new = total + term
        shadow = new - total
        lost = (total - (new - shadow)) + (term - shadow)
        total, error = new, lost if error is None else error + lost
    return total if error is None else total + error


def _excess(first: Sequence[Real], x: Real, y: Real) -> Real:
    """The sum of ``first`` and x*x + y*y, where these may cancel."""
    (x_high, x_low), (y_high, y_low) = _split(x), _split(y)
    rest = x_low * x_low + y_low * y_low
    return _sum([*first, x_high * x_high, y_high * y_high, (x_high + x_high) * x_low, (y_high + y_high) * y_low, rest])


def _log_hypot(x: Real, y: Real, excess: Real) -> Real:
    """log(sqrt(x*x + y*y)); next to the unit circle, where it vanishes, by the ``excess`` of the square over 1."""
    size = _larger(abs(x), abs(y))
    scale = select(size > 2.0**1000, x.number(2.0**-64), select(size < 2.0**-900, x.number(2.0**128), 1.0))
    shift = select(size > 2.0**1000, x.number(64 * _LN2), select(size < 2.0**-900, x.number(-128 * _LN2), 0.0))
    radius = hypot(x * scale, y * scale)
    near = (radius > 0.5) & (radius < 2.0)
    return select(near, log1p(excess) * 0.5, log(radius) + shift)


@wide
def logarithm(z: Pair) -> Pair:
    return Pair(_log_size(z), arctan2(z.im, z.re))


def _log_size(z: Pair) -> Real:
    return _log_hypot(z.re, z.im, _excess([z.re.number(-1.0)], z.re, z.im))


@wide
def logarithm_2(z: Pair) -> Pair:
    return _scaled(logarithm(z), 1 / _LN2)


@wide
def logarithm_10(z: Pair) -> Pair:
    return _scaled(logarithm(z), 1 / math.log(10))


def _scaled(z: Pair, factor: float) -> Pair:
    return Pair(z.re * factor, z.im * factor)


@wide
def logarithm_1p(z: Pair) -> Pair:
    x, y = z
    one_more = x + 1.0
    re = _log_hypot(one_more, y, _excess([x + x], x, y))
    # Where it vanishes it is x, to the sign of a zero.
    return Pair(select(y.equals(0.0) & x.equals(0.0), x, re), arctan2(y, one_more))


# -------------------------------------------------------------------------------------------------------- roots, powers


@wide
def square_root(z: Pair) -> Pair:
    """The root t of (|z| + |x|)/2 and y/(2t) are the parts, in the order that the sign of x tells."""
    x, y = z
    across, along = abs(y), abs(x)
    size = _larger(along, across)
    large, small = size > 2.0**1020, size < 2.0**-900
    scale = select(large, x.number(2.0**-4), select(small, x.number(2.0**128), 1.0))
    back = select(large, x.number(2.0**2), select(small, x.number(2.0**-64), 1.0))
    radius = hypot(along * scale, across * scale)
    root = sqrt((radius + along * scale) * 0.5) * back
    other = select(root.equals(0.0), across, across / (root + root))
    endless = across.equals(INFINITY)
    root, other = select(endless, INFINITY, root), select(endless, INFINITY, other)
    # A negative zero is no negative number.
    left = x < 0.0
    return Pair(select(left, other, root), copysign(select(left, root, other), y))


def reciprocal_square_root(z: Pair) -> Pair:
    return reciprocal(square_root(z))


@wide
def general_power(z: Pair, w: Pair) -> Pair:
    """exp(w log z), the part of the size in w's real part by the real power, which keeps its digits.

    As in NumPy, z**0 is 1 and 0**w is 0 for w with a positive real part, else NaN. Known whole exponents are products.
    """
    count = _whole(w)
    if count is not None:
        product = integer_pow(z, abs(count))
        if count >= 0:
            return product
        origin = z.re.equals(0.0) & z.im.equals(0.0)
        inverse = div(Pair(z.re.number(1), z.re.number(0)), product)
        return Pair(select(origin, NAN, inverse.re), select(origin, NAN, inverse.im))
    radius, angle = hypot(z.re, z.im), arctan2(z.im, z.re)
    length = _log_size(z)
    turn = w.re * angle + w.im * length
    own, other = w.re * length, w.im * angle
    growth = own - other
    whole, lift = _lifted(growth)
    direct = (abs(own) < _FAR) & (abs(other) < _FAR) & (radius > 2.0**-1000) & (radius < 2.0**1000)
    size = select(direct, power(select(direct, radius, 1.0), w.re) * exp(-other), exp(whole) * lift)
    result = _turned(size, size.number(1), growth, turn, turn.equals(0.0))
    origin = z.re.equals(0.0) & z.im.equals(0.0)
    vanishes = w.re > 0.0
    constant = w.re.equals(0.0) & w.im.equals(0.0)

    def chosen(value: Real, one: float) -> Real:
        return select(constant, one, select(origin, select(vanishes, value.number(0), NAN), value))

    return Pair(chosen(result.re, 1.0), chosen(result.im, 0.0))


#: NumPy's bound: known whole exponents up to it are products.
_MOST_FACTORS = 100


def integer_power(z: Pair, exponent: int) -> Pair:
    if abs(exponent) < _MOST_FACTORS:
        return integer_pow(z, exponent)
    return general_power(z, Pair(z.re.number(exponent), z.re.number(0)))


def _whole(w: Pair) -> int | None:
    """The value of a known exponent that is whole and not large."""
    re, im = w.re.writer.constant(w.re.atom), w.im.writer.constant(w.im.atom)
    if re is None or im is None or im != 0 or not np.isfinite(re) or re != int(re) or abs(re) >= _MOST_FACTORS:
        return None
    return int(re)


# ------------------------------------------------------------------------------- trigonometric and hyperbolic functions


def _hyperbolic(x: Real) -> tuple[Real, Real, Real]:
    """sinh x, cosh x and the factor that is missing in both where they would overflow."""
    size, lift = _lifted(abs(x))
    return sinh(copysign(size, x)), cosh(size), lift


@wide
def hyperbolic_sine(z: Pair) -> Pair:
    """sinh x cos y + i cosh x sin y."""
    x, y = z
    sine, cosine, lift = _hyperbolic(x)
    lost = ~isfinite(y)
    across = select(isinf(x) & lost, 1.0, cos(y))
    re = select(x.equals(0.0) & lost, x, sine * across * lift)
    return Pair(re, select(y.equals(0.0), y, cosine * sin(y) * lift))


@wide
def hyperbolic_cosine(z: Pair) -> Pair:
    """cosh x cos y + i sinh x sin y."""
    x, y = z
    sine, cosine, lift = _hyperbolic(x)
    across = select(isinf(x) & ~isfinite(y), 1.0, cos(y))
    im = select(y.equals(0.0), copysign(x.number(1), x) * y, select(x.equals(0.0) & ~isfinite(y), x, sine * sin(y) * lift))
    return Pair(cosine * across * lift, im)


@wide
def hyperbolic_tangent(z: Pair) -> Pair:
    """(sinh x cosh x + i sin y cos y) / (sinh(x)**2 + cos(y)**2): a sum of squares does not cancel."""
    x, y = z
    size = abs(x)
    far = size > 22.0
    bounded = select(size > 500.0, 500.0, size)
    sine, cosine, across = sinh(bounded), cosh(bounded), cos(y)
    whole = sine * sine + across * across
    re = select(far, 1.0, sine * cosine / whole)
    # Two divisions, for the square of a large sinh overflows.
    im = sin(y) * across / select(far, sine, whole) / select(far, sine, 1.0)
    lost = ~isfinite(y)
    re, im = select(lost & isfinite(x), NAN, re), select(lost & isinf(x), copysign(y.number(0), y), im)
    return Pair(select(x.equals(0.0), x, copysign(re, x)), select(y.equals(0.0), y, im))


def sine(z: Pair) -> Pair:
    return hyperbolic_sine(z.swapped).swapped


def cosine(z: Pair) -> Pair:
    return hyperbolic_cosine(Pair(-z.im, z.re))


def tangent(z: Pair) -> Pair:
    return hyperbolic_tangent(z.swapped).swapped


# ---------------------------------------------------------------------------------------------------- their inverses

_HALF_PI, _QUARTER_PI = math.pi / 2, math.pi / 4
_ASIN_CROSSOVER, _LOG_CROSSOVER = 0.6417, 1.5


class _Ellipse:
    """What arcsin and arccos of x + i y, both not negative and not infinite, have in common.

    a is half the sum of the distances from the foci 1 and -1, b = x/a; then arcsin is arcsin(b) + i arccosh(a). Near the
    segment and the foci both are taken from differences that do not cancel: formulas (4.3) to (4.11) of the paper.
    """

    def __init__(self, x: Real, y: Real) -> None:
        # Far away 1 is nothing beside x and y, which are scaled down so that their sums do not overflow.
        self.far = _larger(x, y) > 2.0**60
        scale = select(self.far, x.number(2.0**-4), 1.0)
        self.x, self.y = x, y = x * scale, y * scale
        to_minus, to_plus = hypot(x + 1.0, y), hypot(x - 1.0, y)
        self.a = (to_minus + to_plus) * 0.5
        self.b = x / self.a
        self.inside = x < 1.0
        #: r + (x + 1), and s + |x - 1|.
        self.minus, self.plus = to_minus + (x + 1.0), to_plus + abs(x - 1.0)

    def height(self) -> Real:
        """arccosh(a) = log1p(d + sqrt(d (a + 1))) with d = a - 1."""
        a, y = self.a, self.y
        # Inside, 2d is y*y times this, and y may be taken out of the root.
        slope = 1.0 / self.minus + 1.0 / self.plus
        beside = y * (y / self.minus) + self.plus
        double = select(a > _LOG_CROSSOVER, 2.0 * (a - 1.0), select(self.inside, y * (y * slope), beside))
        near = self.inside & (a <= _LOG_CROSSOVER)
        root = select(near, y, 1.0) * sqrt(select(near, slope, double) * (0.5 * (a + 1.0)))
        found = log1p(select(self.far, a, 0.5 * double + root))
        return select(self.far, found + (_LN2 + 4 * _LN2), found)

    def leg(self) -> Real:
        """sqrt(a*a - x*x)."""
        a, x, y = self.a, self.x, self.y
        inside = sqrt(0.5 * (a + x) * (y * (y / self.minus) + self.plus))
        outside = y * sqrt(0.5 * ((a + x) / self.minus + (a + x) / self.plus))
        return select(x <= 1.0, inside, outside)


def _finite(x: Real) -> Real:
    return select(x.equals(INFINITY), 1.0, x)


@wide
def arc_sine(z: Pair) -> Pair:
    x, y = abs(z.re), abs(z.im)
    ellipse = _Ellipse(_finite(x), _finite(y))
    re = select(ellipse.b <= _ASIN_CROSSOVER, arcsin(ellipse.b), arctan(ellipse.x / ellipse.leg()))
    right, up = x.equals(INFINITY), y.equals(INFINITY)
    re = select(right, select(up, _QUARTER_PI, _HALF_PI + 0.0 * y), select(up, 0.0 * x, re))
    im = select(right | up, INFINITY, ellipse.height())
    return Pair(copysign(select(x.equals(0.0), x, re), z.re), copysign(im, z.im))


@wide
def arc_cosine(z: Pair) -> Pair:
    x, y = abs(z.re), abs(z.im)
    ellipse = _Ellipse(_finite(x), _finite(y))
    re = select(ellipse.b <= _ASIN_CROSSOVER, arccos(ellipse.b), arctan(ellipse.leg() / ellipse.x))
    right, up = x.equals(INFINITY), y.equals(INFINITY)
    re = select(right, select(up, _QUARTER_PI, 0.0 * y), select(up, _HALF_PI + 0.0 * x, re))
    im = select(right | up, INFINITY, ellipse.height())
    re = select(x.equals(0.0), _HALF_PI, re)
    return Pair(select(z.re < 0.0, math.pi - re, re), -copysign(im, z.im))


def arc_hyperbolic_sine(z: Pair) -> Pair:
    return arc_sine(z.swapped).swapped


def arc_hyperbolic_cosine(z: Pair) -> Pair:
    found = arc_cosine(z)
    return Pair(abs(found.im), copysign(found.re, z.im))


@wide
def arc_hyperbolic_tangent(z: Pair) -> Pair:
    """log1p(4x / ((1 - x)**2 + y*y)) / 4 + i arctan2(2y, (1 - x)(1 + x) - y*y) / 2."""
    x, y = abs(z.re), z.im
    endless = x.equals(INFINITY) | abs(y).equals(INFINITY)
    far = endless | (_larger(x, abs(y)) > 2.0**60)
    reach = hypot(x * 2.0**-4, y * 2.0**-4)
    distant = select(endless, 0.0, x / reach / reach * 2.0**-8)
    distance = hypot(1.0 - x, y)
    # So near to the pole at 1 the square of the distance underflows, and its inverse overflows: log(2/d)/2 there.
    near = distance < 2.0**-200
    ratio = select(near, 2.0 / (distance * 2.0**100), 4.0 * x / distance / distance)
    close = select(near, 0.5 * (log1p(ratio) + 100 * _LN2), 0.25 * log1p(ratio))
    angle = select(far, copysign(y.number(math.pi), y), arctan2(y + y, (1.0 - x) * (1.0 + x) - y * y)) * 0.5
    angle = select(isnan(y) | (isnan(x) & isfinite(y)), NAN, angle)
    re = select(x.equals(0.0), x, select(far, distant, close))
    return Pair(copysign(re, z.re), angle)


def arc_tangent(z: Pair) -> Pair:
    return arc_hyperbolic_tangent(z.swapped).swapped


