"""Sums of products and quotients of complex numbers on their parts, as NumPy has them.

Products are the plain formula, quotients R. L. Smith's ("Algorithm 116: Complex division", Communications of the ACM 5
(1962)), which divides by the larger part, so that infinities, NaN and zeros give what NumPy gives. What overflows or
underflows on the way without need is scaled by powers of two before and after, as M. Baudin and R. L. Smith ("A robust
complex division in Scilab", 2012) advise; parts of complex64 go through float64 for that.
"""

from __future__ import annotations

from gradxform.passes.complex_values import INFINITY, NAN, Pair, Real, copysign, hypot, isinf, isnan, select, wide

#: Beyond these a divisor is scaled: its square, and one over it, are far from the ends of the range then.
_LARGE, _SMALL, _SCALE = 2.0**511, 2.0**-511, 2.0**512


def add(z: Pair, w: Pair) -> Pair:
    return Pair(z.re + w.re, z.im + w.im)


def sub(z: Pair, w: Pair) -> Pair:
    return Pair(z.re - w.re, z.im - w.im)


def neg(z: Pair) -> Pair:
    return Pair(-z.re, -z.im)


def conj(z: Pair) -> Pair:
    return Pair(z.re, -z.im)


def mul(z: Pair, w: Pair) -> Pair:
    return Pair(z.re * w.re - z.im * w.im, z.re * w.im + z.im * w.re)


def square(z: Pair) -> Pair:
    return mul(z, z)


def _scale(size: Real) -> Real:
    """A power of two that brings what is about as large as ``size`` to the middle of the range."""
    return select(size >= _LARGE, 1 / _SCALE, select(size <= _SMALL, size.number(_SCALE), 1.0))


def div(z: Pair, w: Pair) -> Pair:
    return _over_real(z, w.re) if w.im.writer.constant(w.im.atom) == 0 else _quotient(z, w)


def _over_real(z: Pair, divisor: Real) -> Pair:
    """What Smith's quotient is by a number that is known to be real: the other part counts where it is not finite."""
    by_zero = divisor.equals(0.0)
    size, ratio = select(by_zero, abs(divisor), divisor), copysign(divisor.number(0), divisor)
    return Pair(select(by_zero, z.re, z.re + z.im * ratio) / size, select(by_zero, z.im, z.im - z.re * ratio) / size)


@wide
def _quotient(z: Pair, w: Pair) -> Pair:
    size, other = abs(w.re), abs(w.im)
    by_real = size >= other
    larger, smaller = select(by_real, w.re, w.im), select(by_real, w.im, w.re)
    first, second = select(by_real, z.re, z.im), select(by_real, z.im, z.re)
    down = _scale(abs(larger))
    larger, smaller = larger * down, smaller * down
    up = _scale(_larger(abs(first), abs(second)))
    ratio = smaller / larger
    inverse = 1.0 / (larger + smaller * ratio)
    first, second = first * up, second * up
    # Written twice and not negated: the sign of a zero differs.
    across = first * ratio
    re, im = (first + second * ratio) * inverse, select(by_real, second - across, across - second) * inverse
    # The quotient is that of the scaled numbers, times down / up, which one number may not hold.
    even = down.equals(up)
    down, back = select(even, 1.0, down), select(even, 1.0, 1.0 / up)
    by_zero = size.equals(0.0) & other.equals(0.0)
    return Pair(select(by_zero, z.re / size, re * down * back), select(by_zero, z.im / size, im * down * back))


def _larger(x: Real, y: Real) -> Real:
    return select(x >= y, x, y)


@wide
def reciprocal(z: Pair) -> Pair:
    by_real = abs(z.re) >= abs(z.im)
    larger, smaller = select(by_real, z.re, z.im), select(by_real, z.im, z.re)
    scale = _scale(abs(larger))
    larger, smaller = larger * scale, smaller * scale
    ratio = smaller / larger
    inverse = 1.0 / (larger + smaller * ratio)
    return Pair(select(by_real, 1.0, ratio) * inverse * scale, -(select(by_real, ratio, 1.0) * inverse * scale))


def absolute(z: Pair) -> Real:
    return hypot(z.re, z.im)


@wide
def sign(z: Pair) -> Pair:
    """z / abs(z), and 0 for 0; an infinite part alone gives the direction."""
    scale = _scale(_larger(abs(z.re), abs(z.im)))
    size = hypot(z.re * scale, z.im * scale)
    endless, zero = isinf(size), size.equals(0.0)
    divisor = select(zero, 1.0, size)
    bad = isnan(size) | (isinf(z.re) & isinf(z.im))

    def part(x: Real) -> Real:
        direction = select(isinf(x), copysign(x.number(1), x), 0.0)
        found = select(endless, direction, select(zero, 0.0, x * scale / divisor))
        return select(bad, NAN, found)

    return Pair(part(z.re), part(z.im))


def integer_pow(z: Pair, exponent: int) -> Pair:
    """By repeated squaring, a negative power as the reciprocal of the positive one."""
    if exponent == 0:
        return Pair(z.re.number(1), z.im.number(0))
    result: Pair | None = None
    count, factor = abs(exponent), z
    while True:
        if count & 1:
            result = factor if result is None else mul(result, factor)
        count >>= 1
        if not count:
            break
        factor = mul(factor, factor)
    assert result is not None
    return result if exponent > 0 else reciprocal(result)


def equal(z: Pair, w: Pair) -> Real:
    return z.re.equals(w.re) & z.im.equals(w.im)


def not_equal(z: Pair, w: Pair) -> Real:
    return z.re.differs(w.re) | z.im.differs(w.im)


def any_nan(z: Pair) -> Real:
    return isnan(z.re) | isnan(z.im)


def any_infinite(z: Pair) -> Real:
    return isinf(z.re) | isinf(z.im)


def all_finite(z: Pair) -> Real:
    return (abs(z.re) < INFINITY) & (abs(z.im) < INFINITY)
