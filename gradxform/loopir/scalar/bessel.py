"""Programs of the Bessel functions: derivatives in the order, and those that a difference of values would lose digits of."""

from __future__ import annotations

from gradxform.loopir.scalar.library import (
    INFINITY,
    NOT_A_NUMBER,
    airy,
    exp,
    expm1,
    fabs,
    floor,
    ive,
    jv,
    kve,
    power,
    sqrt,
    yv,
)

TWO_PI = 6.283185307179586
HALF_PI = 1.5707963267948966
#: From here on, and for orders of which it is the square, the expansions for large arguments have all their digits.
LARGE = 50.0


def kve_order(v: float, x: float, order: float) -> float:
    """The derivative of whole ``order`` in v of exp(x) kv(v, x), for x > 0.

    The integral of cosh(v t) exp(-x cosh t) over t > 0 (DLMF 10.32.9) is differentiated in v; the trapezoidal rule
    converges for it, all of whose terms are positive, faster than any power of its step.
    """
    if not (x > 0.0) or v != v:
        return INFINITY if x == 0.0 and order == 0.0 else NOT_A_NUMBER
    if x == INFINITY:
        return 0.0
    size = fabs(v)
    odd = order - 2.0 * floor(0.5 * order)
    sign = -1.0 if odd == 1.0 and v < 0.0 else 1.0
    if odd == 1.0 and v == 0.0:
        return 0.0
    step = 0.4 / sqrt(sqrt(x * x + v * v))
    step = 0.125 if step > 0.125 else step
    total = 0.5 if order == 0.0 else 0.0
    i = 0.0
    previous = 0.0
    while i < 100000.0:
        i = i + 1.0
        t = i * step
        half = 0.5 * expm1(t) / sqrt(exp(t))  # sinh(t / 2)
        weight = power(t, order) if order > 0.0 else 1.0
        wave = -0.5 * expm1(-2.0 * size * t) if odd == 1.0 else 0.5 + 0.5 * exp(-2.0 * size * t)
        term = weight * wave * exp(size * t - 2.0 * x * half * half)
        total = total + term
        if term <= 1e-19 * total and term <= previous:
            break
        previous = term
    return sign * step * total


def _for_large(v: float, x: float, sign: float) -> float:
    """The derivative of the expansion of exp(-x) iv(v, x) (sign -1), or exp(x) kv(v, x) (1), in 1/x (DLMF 10.40.1 and 2),
    over 1/sqrt(x)."""
    four = 4.0 * v * v
    term = 1.0
    total = -0.5
    k = 0.0
    while k < 60.0:
        k = k + 1.0
        odd = 2.0 * k - 1.0
        term = sign * term * (four - odd * odd) / (8.0 * k * x)
        add = -(k + 0.5) * term
        total = total + add
        if fabs(add) <= 1e-17 * fabs(total):
            break
    return total / x


def ive_slope(v: float, x: float) -> float:
    """The derivative of ive(v, x) in x; at 0, where the exponential has a kink, the mean of the two sides."""
    if x < 0.0:
        # v is whole, and ive is even or odd
        odd = v - 2.0 * floor(0.5 * v)
        return ive_slope(v, -x) if odd == 1.0 else -ive_slope(v, -x)
    if x == 0.0:
        return 0.5 * (ive(v - 1.0, x) + ive(v + 1.0, x))
    if x >= LARGE and v * v <= x:
        return _for_large(v, x, -1.0) / sqrt(TWO_PI * x)
    return 0.5 * (ive(v - 1.0, x) + ive(v + 1.0, x)) - ive(v, x)


def kve_slope(v: float, x: float) -> float:
    """The derivative of kve(v, x) in x."""
    if x >= LARGE and v * v <= x:
        return _for_large(v, x, 1.0) * sqrt(HALF_PI / x)
    return kve(v, x) - 0.5 * (kve(v - 1.0, x) + kve(v + 1.0, x))


def spherical_jn(n: float, x: float) -> float:
    """The spherical Bessel function of the first kind of whole order n >= 0 (DLMF 10.47.3)."""
    if x < 0.0:
        return -spherical_jn(n, -x) if n - 2.0 * floor(0.5 * n) == 1.0 else spherical_jn(n, -x)
    if x == 0.0:
        return 1.0 if n == 0.0 else 0.0
    if x == INFINITY:
        return 0.0
    return sqrt(HALF_PI / x) * jv(n + 0.5, x)


def spherical_yn(n: float, x: float) -> float:
    """The spherical Bessel function of the second kind of whole order n >= 0 (DLMF 10.47.4)."""
    if x < 0.0:
        return spherical_yn(n, -x) if n - 2.0 * floor(0.5 * n) == 1.0 else -spherical_yn(n, -x)
    if x == 0.0:
        return -INFINITY
    if x == INFINITY:
        return 0.0
    return sqrt(HALF_PI / x) * yv(n + 0.5, x)


def airy_ai(x: float) -> float:
    """Airy's function Ai."""
    ai, aip, bi, bip = airy(x)
    return ai


def airy_aip(x: float) -> float:
    """The derivative of Airy's function Ai."""
    ai, aip, bi, bip = airy(x)
    return aip


def airy_bi(x: float) -> float:
    """Airy's function Bi."""
    ai, aip, bi, bip = airy(x)
    return bi


def airy_bip(x: float) -> float:
    """The derivative of Airy's function Bi."""
    ai, aip, bi, bip = airy(x)
    return bip
