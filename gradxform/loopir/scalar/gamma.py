"""Programs of the gamma family: densities of the incomplete gamma function and its derivatives in the shape parameter.

With P = gammainc(a, x), Q = 1 - P and their logarithms' derivatives in a, dP/da = P (log P)' = -Q (log Q)'. The power series
of P and the continued fraction of Q (DLMF 8.11.4 and 8.9.2) are differentiated term by term, as Moore (Applied Statistics
31, 1982, AS 187) does; the leading factors cancel from logarithmic derivatives. On its own side of x = a all that is added has
one sign, so that nothing cancels.
"""

from __future__ import annotations

from gradxform.loopir.scalar.library import (
    INFINITY,
    NOT_A_NUMBER,
    exp,
    exp1,
    fabs,
    gammainc,
    log,
    log1p,
    power,
    psi,
    rgamma,
    sqrt,
)

#: Where the asymptotic series of the gamma family have all their digits.
LARGE = 10.0
TINY = 1e-17
#: From here on the expansion for large shapes has all its digits; below, series converge in fewer terms than these.
HUGE = 1e7
MOST_TERMS = 100000.0
TWO_PI = 6.283185307179586


def excess_of_logarithm(u: float) -> float:
    """u - log(1 + u), accurate also near 0."""
    if fabs(u) > 0.4:
        return u - log1p(u)
    r = u / (2.0 + u)
    square = r * r
    # 2 artanh(r) = log(1 + u), less its first term
    total = 0.0
    odd = 25.0
    while odd > 2.0:
        total = total * square + 1.0 / odd
        odd = odd - 2.0
    return r * (u - 2.0 * square * total)


def stirling_error(a: float) -> float:
    """log(gamma(a)) - (a - 1/2) log(a) + a - log(2 pi)/2 for a >= 10 (DLMF 5.11.1)."""
    s = 1.0 / (a * a)
    return (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s * (
        1.0 / 1188.0 - s * (691.0 / 360360.0 - s / 156.0)))))) / a


def log_minus_digamma(a: float) -> float:
    """log(a) - digamma(a) for a >= 10 (DLMF 5.11.2)."""
    s = 1.0 / (a * a)
    return 0.5 / a + s * (1.0 / 12.0 - s * (1.0 / 120.0 - s * (1.0 / 252.0 - s * (1.0 / 240.0 - s * (
        1.0 / 132.0 - s * (691.0 / 32760.0 - s / 12.0))))))


def trigamma(a: float) -> float:
    """The derivative of digamma for a > 0."""
    total = 0.0
    while a < LARGE:
        total = total + 1.0 / (a * a)
        a = a + 1.0
    s = 1.0 / (a * a)
    series = 1.0 / 6.0 - s * (1.0 / 30.0 - s * (1.0 / 42.0 - s * (1.0 / 30.0 - s * (5.0 / 66.0 - s * (
        691.0 / 2730.0 - s * 7.0 / 6.0)))))
    return total + 1.0 / a + 0.5 * s + s * series / a


def log_ratio(a: float, x: float) -> float:
    """log(x) - digamma(a + 1) for positive a and x."""
    if a < LARGE:
        return log(x) - psi(a + 1.0)
    u = (x - a) / a
    return (log1p(u) if u > -0.5 else log(x / a)) + log_minus_digamma(a) - 1.0 / a


def gamma_density(a: float, x: float) -> float:
    """x**(a - 1) * exp(-x) / gamma(a), the density of the gamma distribution; also for a <= 0 (Loader 2000)."""
    if x < 0.0:
        return NOT_A_NUMBER
    if x == INFINITY:
        return 0.0
    if x == 0.0:
        return 1.0 if a == 1.0 else (0.0 if a > 1.0 or a == 0.0 else INFINITY)
    if a > LARGE:
        return sqrt(a / TWO_PI) / x * exp(-stirling_error(a) - a * excess_of_logarithm((x - a) / a))
    if x < 50.0:
        return power(x, a - 1.0) * exp(-x) * rgamma(a)
    return exp((a - 1.0) * log(x) - x) * rgamma(a)


def settled(change: float, total: float, parts: float) -> float:
    """1 if a ``change`` of ``total`` does not matter, or is the rounding error of ``parts``, of which it is a difference."""
    size = fabs(change)
    return 1.0 if size <= 1e-16 * fabs(total) or size <= 1e-15 * fabs(parts) else 0.0


def _from_below(a: float, x: float) -> tuple[float, float]:
    """The first two derivatives of gammainc(a, x) in a by the power series; for x not much above a."""
    term, slope, curvature = 1.0, 0.0, 0.0
    total, first, second = 1.0, 0.0, 0.0
    n = 0.0
    while n < MOST_TERMS:
        n = n + 1.0
        inverse = 1.0 / (a + n)
        term = term * x * inverse
        slope = slope - inverse
        curvature = curvature + inverse * inverse
        by_one, by_two = term * slope, term * (slope * slope + curvature)
        total, first, second = total + term, first + by_one, second + by_two
        if term <= TINY * total and -by_one <= -TINY * first and by_two <= TINY * second:
            break
    ratio = first / total
    first = log_ratio(a, x) + ratio
    # The density overflows for small x and a.
    value = gammainc(a, x) if x < 1.0 else gamma_density(a, x) * (x / a) * total
    return value * first, value * (first * first + (second / total - ratio * ratio - trigamma(a + 1.0)))


def _from_above(a: float, x: float) -> tuple[float, float]:
    """The same by the continued fraction of gammaincc and Lentz's method; for x above a and not small."""
    b = x + 1.0 - a
    # d and u are the reciprocals of the two ratios of successive convergents, each with two derivatives in a.
    d = 1.0 / b
    d1, d2 = d * d, 2.0 * d * d * d
    u, u1, u2 = 0.0, 0.0, 0.0
    total, first, second = d, d, d * d
    n = 0.0
    while n < MOST_TERMS:
        n = n + 1.0
        b = b + 2.0
        e = -n * (n - a)
        lower, lower1, lower2 = b + e * d, -1.0 + n * d + e * d1, 2.0 * n * d1 + e * d2
        upper, upper1, upper2 = b + e * u, -1.0 + n * u + e * u1, 2.0 * n * u1 + e * u2
        d, u = 1.0 / lower, 1.0 / upper
        lower1, upper1 = lower1 * d, upper1 * u
        lower2, upper2 = lower2 * d, upper2 * u
        d1, u1 = -lower1 * d, -upper1 * u
        d2, u2 = (2.0 * lower1 * lower1 - lower2) * d, (2.0 * upper1 * upper1 - upper2) * u
        by_one = upper1 - lower1
        by_two = upper2 - upper1 * upper1 - lower2 + lower1 * lower1
        total, first, second = total * (upper * d), first + by_one, second + by_two
        if (fabs(upper * d - 1.0) <= 4e-16 and settled(by_one, first, upper1) == 1.0
                and settled(by_two, second, upper2) == 1.0):
            break
    # The value is a times something smooth at a = 0, of whose logarithm these are the derivatives.
    first = log_ratio(a, x) + first
    second = second - trigamma(a + 1.0)
    value = -gamma_density(a, x) * x * total
    if a < LARGE:
        return value * (1.0 / a + first), value * (2.0 * first / a + (first * first + second))
    slope = first + 1.0 / a
    return value * slope, value * (slope * slope + (second - 1.0 / (a * a)))


def _huge_shape(a: float, x: float) -> tuple[float, float]:
    """The first two derivatives of gammainc(a, x) in a for large a.

    P(a + 1/2, x) - P(a - 1/2, x) = -density(a + 1/2, x) (DLMF 8.8.5), and a derivative is a central difference less 1/24 of the
    third one, and so on; where the density is not 0, all of these are powers of 1/a smaller.
    """
    density = gamma_density(a + 0.5, x)
    slope = log_ratio(a + 0.5, x) + 1.0 / (a + 0.5)
    variance = 1.0 / (a + 0.5)  # trigamma
    correction = 1.0 - (slope * slope - variance) / 24.0
    return -density * correction, -density * (slope * correction + slope * variance / 12.0)


def gammainc_a(a: float, x: float) -> float:
    """The derivative of gammainc(a, x) in a; 0 at x = 0 and x = inf."""
    if not (a >= 0.0 and x >= 0.0 and a < INFINITY):
        return NOT_A_NUMBER
    if x == 0.0 or x == INFINITY:
        return 0.0
    if a == 0.0:
        return -exp1(x)
    if a > HUGE:
        first, second = _huge_shape(a, x)
        return first
    if x <= a or x < 1.0:
        first, second = _from_below(a, x)
        return first
    first, second = _from_above(a, x)
    return first


def gammainc_aa(a: float, x: float) -> float:
    """The second derivative of gammainc(a, x) in a; 0 at x = 0 and x = inf."""
    if not (a > 0.0 and x >= 0.0 and a < INFINITY):
        return NOT_A_NUMBER
    if x == 0.0 or x == INFINITY:
        return 0.0
    if a > HUGE:
        first, second = _huge_shape(a, x)
        return second
    if x <= a or x < 1.0:
        first, second = _from_below(a, x)
        return second
    first, second = _from_above(a, x)
    return second


def digamma_rise(a: float, h: float) -> float:
    """digamma(a + h) - digamma(a), accurate also where h is small beside a."""
    b = a + h
    if not (a > 0.0 and b > 0.0 and b < INFINITY):
        return psi(b) - psi(a)
    total = 0.0
    while a < LARGE or b < LARGE:
        total = total + h / (a * b)
        a, b = a + 1.0, b + 1.0
    p, q = 1.0 / (a * a), 1.0 / (b * b)
    # differences of powers of p and q, which do not cancel
    by_one = h * (a + b) * p * q
    by_two = by_one * (p + q)
    by_three = by_two * p + by_one * q * q
    by_four = by_three * p + by_one * q * q * q
    by_five = by_four * p + by_one * q * q * q * q
    by_six = by_five * p + by_one * q * q * q * q * q
    series = (by_one / 12.0 - by_two / 120.0 + by_three / 252.0 - by_four / 240.0 + by_five / 132.0
              - by_six * 691.0 / 32760.0)
    return total + log1p(h / a) + 0.5 * h / (a * b) + series


def hurwitz_zeta(s: float, x: float, order: float) -> float:
    """The derivative of whole ``order`` (0, 1 or 2) in s of Hurwitz's zeta(s, x) for x > 0 (DLMF 25.11.28)."""
    if not (x > 0.0) or s == 1.0 or s != s:
        return INFINITY if s == 1.0 and order == 0.0 and x > 0.0 else NOT_A_NUMBER
    if x == INFINITY:
        return 0.0 if s > 1.0 else NOT_A_NUMBER
    total = 0.0
    bound = LARGE + 2.0 + fabs(s)
    while x < bound:
        weight = 1.0 if order == 0.0 else (-log(x) if order == 1.0 else log(x) * log(x))
        term = weight * power(x, -s)
        total = total + term
        x = x + 1.0
        if fabs(term) < 1e-20 * fabs(total):
            return total
    # what follows is x**-s times a sum, which is expanded with its two derivatives in s
    logarithm = log(x)
    inverse = 1.0 / (s - 1.0)
    value, slope, curvature = x * inverse + 0.5, -x * inverse * inverse, 2.0 * x * inverse * inverse * inverse
    factor, factor1, factor2 = s / x, 1.0 / x, 0.0
    j = 1.0
    while j < 12.5:
        # B(2j) / (2j)!
        b = 1.0 / 12.0
        b = -1.0 / 720.0 if j == 2.0 else b
        b = 1.0 / 30240.0 if j == 3.0 else b
        b = -1.0 / 1209600.0 if j == 4.0 else b
        b = 1.0 / 47900160.0 if j == 5.0 else b
        b = -691.0 / 1307674368000.0 if j == 6.0 else b
        b = 1.0 / 74724249600.0 if j == 7.0 else b
        b = -3617.0 / 10670622842880000.0 if j == 8.0 else b
        b = 43867.0 / 5109094217170944000.0 if j == 9.0 else b
        b = -174611.0 / 802857662698291200000.0 if j == 10.0 else b
        b = 77683.0 / 14101100039391805440000.0 if j == 11.0 else b
        b = -236364091.0 / 1693824136731743669452800000.0 if j == 12.0 else b
        value, slope, curvature = value + b * factor, slope + b * factor1, curvature + b * factor2
        k = 2.0 * j - 1.0
        while k < 2.0 * j + 0.5:
            shifted = (s + k) / x
            factor2 = factor2 * shifted + 2.0 * factor1 / x
            factor1 = factor1 * shifted + factor / x
            factor = factor * shifted
            k = k + 1.0
        j = j + 1.0
    if order == 1.0:
        value = slope - logarithm * value
    if order == 2.0:
        value = curvature - 2.0 * logarithm * slope + logarithm * logarithm * value
    return total + power(x, -s) * value
