"""Programs of the incomplete beta function: its density, and its derivatives in both shape parameters.

As for the gamma function, I = betainc(a, b, x) is SciPy's and the derivatives of its logarithm come from a continued fraction
(DLMF 8.17.22) differentiated step by step, as by Boik and Robinson-Cox (Journal of Statistical Software 3, 1998). It is used
for x below the mean; above, I(a, b, x) = 1 - I(b, a, 1 - x).
"""

from __future__ import annotations

from gradxform.loopir.scalar.gamma import (
    LARGE,
    MOST_TERMS,
    TWO_PI,
    excess_of_logarithm,
    log_minus_digamma,
    settled,
    stirling_error,
    trigamma,
)
from gradxform.loopir.scalar.library import (
    INFINITY,
    NOT_A_NUMBER,
    betainc,
    betaincc,
    exp,
    fabs,
    floor,
    gamma,
    gammaln,
    log,
    log1p,
    psi,
    sqrt,
)


def betaln(a: float, b: float) -> float:
    """The logarithm of the magnitude of beta(a, b); of one large argument, or two, by Stirling's formula: nothing cancels."""
    p, q = (a if a < b else b), (b if a < b else a)
    n = p + q
    if a == 0.0 or b == 0.0:
        return INFINITY
    if p <= 0.0 or q < LARGE or n == INFINITY:
        if p > 0.0 and q < LARGE:
            return log(gamma(p) * (gamma(q) / gamma(n)))
        return gammaln(a) + gammaln(b) - gammaln(n)
    share = p / n
    if p < LARGE:
        return gammaln(p) + (stirling_error(q) - stirling_error(n)) + p - p * log(n) + (q - 0.5) * log1p(-share)
    correction = stirling_error(p) + stirling_error(q) - stirling_error(n)
    return 0.5 * log(TWO_PI / q) + correction + (p - 0.5) * log(share) + q * log1p(-share)


def beta_density(a: float, b: float, x: float) -> float:
    """x**(a - 1) * (1 - x)**(b - 1) / beta(a, b), the density of the beta distribution."""
    if not (a > 0.0 and b > 0.0 and x >= 0.0 and x <= 1.0):
        return NOT_A_NUMBER
    if x == 0.0:
        return b if a == 1.0 else (0.0 if a > 1.0 else INFINITY)
    if x == 1.0:
        return a if b == 1.0 else (0.0 if b > 1.0 else INFINITY)
    y = 1.0 - x
    if a > LARGE and b > LARGE:
        n = a + b
        off = x * b - y * a
        exponent = (stirling_error(n) - stirling_error(a) - stirling_error(b)
                    - a * excess_of_logarithm(off / a) - b * excess_of_logarithm(-off / b))
        return sqrt(a / TWO_PI * (b / n)) / (x * y) * exp(exponent)
    return exp((a - 1.0) * log(x) + (b - 1.0) * log1p(-x) - betaln(a, b))


def _log_ratio(a: float, n: float, x: float, excess: float) -> float:
    """log(x) + digamma(n) - digamma(a + 1), where excess = (x n - a) / a."""
    if n < LARGE:
        return log(x) + psi(n) - psi(a + 1.0)
    if a < LARGE:
        return log(x * n) - log_minus_digamma(n) - psi(a + 1.0)
    return (log1p(excess) if excess > -0.5 else log(x * n / a)) - log_minus_digamma(n) + log_minus_digamma(a) - 1.0 / a


def _logarithm(a: float, b: float, x: float, y: float, order: float) -> tuple[float, float, float, float, float]:
    """The derivatives of betainc(a, b, x) in a, b, aa, ab and bb, over its value; y = 1 - x, and x below the mean.

    Of ``order`` 1 the last three are not computed.
    """
    n = a + b
    # d and u are the reciprocals of the two ratios of successive convergents, with their derivatives.
    d, d_a, d_b, d_aa, d_ab, d_bb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    u, u_a, u_b, u_aa, u_ab, u_bb = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    f_a, f_b, f_aa, f_ab, f_bb = 0.0, 0.0, 0.0, 0.0, 0.0
    by_aa, by_ab, by_bb, t_aa, t_ab, t_bb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    k = 0.0
    while k < MOST_TERMS:
        k = k + 1.0
        m = floor(0.5 * k)
        v, w = 1.0 / (a + (k - 1.0)), 1.0 / (a + k)
        if k > 2.0 * m:
            p, q = 1.0 / (a + m), 1.0 / (n + m)
            e = -(a + m) * (n + m) * x * v * w
            l_a, l_b = (p - v) + (q - w), q
            l_aa, l_ab = (v * v - p * p) + (w * w - q * q), -q * q
            e_a, e_b = e * l_a, e * l_b
            e_aa, e_ab, e_bb = e * (l_a * l_a + l_aa), e * (l_a * l_b + l_ab), 0.0
        else:
            e_b = m * x * v * w
            e = e_b * (b - m)
            l_a, l_aa = -v - w, v * v + w * w
            e_a, e_ab = e * l_a, e_b * l_a
            e_aa, e_bb = e * (l_a * l_a + l_aa), 0.0
        s_a, s_b = e_a * d + e * d_a, e_b * d + e * d_b
        t_a, t_b = e_a * u + e * u_a, e_b * u + e * u_b
        if order > 1.0:
            s_aa = e_aa * d + 2.0 * e_a * d_a + e * d_aa
            s_ab = e_ab * d + e_a * d_b + e_b * d_a + e * d_ab
            s_bb = e_bb * d + 2.0 * e_b * d_b + e * d_bb
            t_aa = e_aa * u + 2.0 * e_a * u_a + e * u_aa
            t_ab = e_ab * u + e_a * u_b + e_b * u_a + e * u_ab
            t_bb = e_bb * u + 2.0 * e_b * u_b + e * u_bb
        t = 1.0 + e * u
        d, u = 1.0 / (1.0 + e * d), 1.0 / t
        s_a, s_b, t_a, t_b = s_a * d, s_b * d, t_a * u, t_b * u
        d_a, d_b, u_a, u_b = -s_a * d, -s_b * d, -t_a * u, -t_b * u
        by_a, by_b = t_a - s_a, t_b - s_b
        if order > 1.0:
            s_aa, s_ab, s_bb = s_aa * d, s_ab * d, s_bb * d
            t_aa, t_ab, t_bb = t_aa * u, t_ab * u, t_bb * u
            d_aa, d_ab, d_bb = (2.0 * s_a * s_a - s_aa) * d, (2.0 * s_a * s_b - s_ab) * d, (2.0 * s_b * s_b - s_bb) * d
            u_aa, u_ab, u_bb = (2.0 * t_a * t_a - t_aa) * u, (2.0 * t_a * t_b - t_ab) * u, (2.0 * t_b * t_b - t_bb) * u
            by_aa = t_aa - t_a * t_a - s_aa + s_a * s_a
            by_ab = t_ab - t_a * t_b - s_ab + s_a * s_b
            by_bb = t_bb - t_b * t_b - s_bb + s_b * s_b
        f_a, f_b = f_a + by_a, f_b + by_b
        f_aa, f_ab, f_bb = f_aa + by_aa, f_ab + by_ab, f_bb + by_bb
        if (k > 3.0 and fabs(t * d - 1.0) <= 4e-16 and settled(by_a, f_a, t_a) == 1.0 and settled(by_b, f_b, t_b) == 1.0
                and settled(by_aa, f_aa, t_aa) == 1.0 and settled(by_ab, f_ab, t_ab) == 1.0
                and settled(by_bb, f_bb, t_bb) == 1.0):
            break
    if k >= MOST_TERMS:
        # Parameters beyond some 1e8: nothing rather than something wrong.
        return NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER
    off = x * b - y * a
    slope_a, slope_b = _log_ratio(a, n, x, off / a) - f_a, _log_ratio(b, n, y, -off / b) - f_b
    if order == 1.0:
        return slope_a, slope_b + 1.0 / b, 0.0, 0.0, 0.0
    whole = trigamma(n)
    f_a, f_aa, f_ab = slope_a, whole - trigamma(a + 1.0) - f_aa, whole - f_ab
    # The value is b times something smooth at b = 0, of whose logarithm these are the derivatives.
    smooth, smooth_b = slope_b, whole - trigamma(b + 1.0) - f_bb
    f_b = smooth + 1.0 / b
    f_bb = 2.0 * smooth / b + (smooth * smooth + smooth_b) if b < LARGE else f_b * f_b + (smooth_b - 1.0 / (b * b))
    return f_a, f_b, f_a * f_a + f_aa, f_a * f_b + f_ab, f_bb


def _outside(a: float, b: float, x: float) -> float:
    """0 for points at which the derivatives are to be computed, 1 where they are 0, 2 where there are none."""
    if not (a > 0.0 and b > 0.0 and x >= 0.0 and x <= 1.0 and a + b < INFINITY):
        return 2.0
    return 1.0 if x == 0.0 or x == 1.0 else 0.0


def _slopes(a: float, b: float, x: float, order: float) -> tuple[float, float, float, float, float]:
    """The derivatives of betainc(a, b, x) in a, b, aa, ab and bb up to ``order``; 0 at x = 0 and x = 1."""
    outside = _outside(a, b, x)
    if outside > 0.0:
        value = 0.0 if outside == 1.0 else NOT_A_NUMBER
        return value, value, value, value, value
    if x * (a + b + 2.0) <= a + 1.0:
        f_a, f_b, f_aa, f_ab, f_bb = _logarithm(a, b, x, 1.0 - x, order)
        scale = betainc(a, b, x)
    else:
        f_b, f_a, f_bb, f_ab, f_aa = _logarithm(b, a, 1.0 - x, x, order)
        scale = -betaincc(a, b, x)
    return scale * f_a, scale * f_b, scale * f_aa, scale * f_ab, scale * f_bb


def betainc_a(a: float, b: float, x: float) -> float:
    """The derivative of betainc(a, b, x) in a; 0 at x = 0 and x = 1."""
    f_a, f_b, f_aa, f_ab, f_bb = _slopes(a, b, x, 1.0)
    return f_a


def betainc_b(a: float, b: float, x: float) -> float:
    """The derivative of betainc(a, b, x) in b; 0 at x = 0 and x = 1."""
    f_a, f_b, f_aa, f_ab, f_bb = _slopes(a, b, x, 1.0)
    return f_b


def betainc_aa(a: float, b: float, x: float) -> float:
    """The second derivative of betainc(a, b, x) in a; 0 at x = 0 and x = 1."""
    f_a, f_b, f_aa, f_ab, f_bb = _slopes(a, b, x, 2.0)
    return f_aa


def betainc_ab(a: float, b: float, x: float) -> float:
    """The derivative of betainc(a, b, x) in a and b; 0 at x = 0 and x = 1."""
    f_a, f_b, f_aa, f_ab, f_bb = _slopes(a, b, x, 2.0)
    return f_ab


def betainc_bb(a: float, b: float, x: float) -> float:
    """The second derivative of betainc(a, b, x) in b; 0 at x = 0 and x = 1."""
    f_a, f_b, f_aa, f_ab, f_bb = _slopes(a, b, x, 2.0)
    return f_bb
