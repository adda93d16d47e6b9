"""The gamma family: gamma and beta functions, complete, incomplete and inverted; zeta functions."""

from __future__ import annotations

import math
from typing import Any

from gradxform.numpy.dispatch import as_inexact, refuse_unless
from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import floor, sin
from gradxform.operands import lift
from gradxform.primitives import gamma_functions, special
from gradxform.scipy.special.calls import elementwise, operands_of, traced


@traced
def gamma(z: Any, /, out: None = None) -> Any:
    """The gamma function, DLMF 5.2.1; NaN at the poles -1, -2, ..., infinite at 0."""
    return elementwise("gamma", gamma_functions.gamma, z)


@traced
def gammaln(x: Any, /, out: None = None) -> Any:
    """The logarithm of the magnitude of the gamma function, DLMF 5.2.1."""
    return lift("gammaln", special.lgamma(as_inexact("gammaln", x)))


@traced
def loggamma(z: Any, /, out: None = None) -> Any:
    """The logarithm of the gamma function for real z; NaN for z < 0."""
    operand = as_inexact("loggamma", z)
    return where(operand < 0, math.nan, special.lgamma(operand))


@traced
def gammasgn(x: Any, /, out: None = None) -> Any:
    """The sign of the gamma function; its derivative is zero."""
    return elementwise("gammasgn", gamma_functions.gammasgn, x)


@traced
def rgamma(z: Any, /, out: None = None) -> Any:
    """1 / gamma(z), zero at 0, -1, -2, ..., where it has derivatives too."""
    return elementwise("rgamma", gamma_functions.rgamma, z)


@traced
def digamma(z: Any, /, out: None = None) -> Any:
    """The derivative of ``gammaln``, DLMF 5.2.2."""
    return lift("digamma", special.digamma(as_inexact("digamma", z)))


@traced
def psi(z: Any, /, out: None = None) -> Any:
    """The derivative of ``gammaln``: another name of ``digamma``."""
    return lift("psi", special.digamma(as_inexact("psi", z)))


@traced
def polygamma(n: int, x: Any) -> Any:
    """The ``n``-th derivative of ``digamma`` for a known integer ``n``, DLMF 5.15."""
    operand = as_inexact("polygamma", x)
    return lift("polygamma", special.polygamma(operand, n) if n else special.digamma(operand))


@traced
def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``d`` for a > (d - 1) / 2."""
    operand = lift("multigammaln", as_inexact("multigammaln", a))
    total = 0.25 * d * (d - 1) * math.log(math.pi)
    for j in range(d):
        total = total + special.lgamma(operand - 0.5 * j)
    return total


@traced
def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """gamma(n + 1) for n >= 0, else 0; of traced arrays in floats only, so ``exact`` has to be False."""
    refuse_unless("factorial", "exact", exact, False)
    refuse_unless("factorial", "extend", extend, "zero")
    operand = lift("factorial", as_inexact("factorial", n))
    negative = operand < 0
    return where(negative, 0.0, lift("factorial", gamma_functions.gamma(where(negative, 0.0, operand) + 1)))


@traced
def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """The number of ways to choose ``k`` of ``N`` things, in floats; 0 unless 0 <= k <= N."""
    refuse_unless("comb", "exact", exact, False)
    things, chosen = operands_of("comb", N, k)
    if repetition:
        things = things + chosen - 1
    value = elementwise("comb", gamma_functions.binom, things, chosen)
    return where((chosen <= things) & (things >= 0) & (chosen >= 0), value, 0.0)


@traced
def perm(N: Any, k: Any, exact: bool = False) -> Any:
    """The number of ordered ways to choose ``k`` of ``N`` things, in floats; 0 unless 0 <= k <= N."""
    refuse_unless("perm", "exact", exact, False)
    things, chosen = operands_of("perm", N, k)
    value = elementwise("perm", gamma_functions.poch, things - chosen + 1, chosen)
    return where((chosen <= things) & (things >= 0) & (chosen >= 0), value, 0.0)


@traced
def poch(z: Any, m: Any, /, out: None = None) -> Any:
    """Pochhammer's symbol gamma(z + m) / gamma(z), DLMF 5.2.5."""
    return elementwise("poch", gamma_functions.poch, z, m)


@traced
def binom(x: Any, y: Any, /, out: None = None) -> Any:
    """The binomial coefficient of real numbers; derivatives are NaN where it is 0 at whole numbers."""
    return elementwise("binom", gamma_functions.binom, x, y)


@traced
def beta(a: Any, b: Any, /, out: None = None) -> Any:
    """The beta function gamma(a) gamma(b) / gamma(a + b), DLMF 5.12."""
    return elementwise("beta", gamma_functions.beta, a, b)


@traced
def betaln(a: Any, b: Any, /, out: None = None) -> Any:
    """The logarithm of the magnitude of the beta function."""
    return elementwise("betaln", gamma_functions.betaln, a, b)


@traced
def gammainc(a: Any, x: Any, /, out: None = None) -> Any:
    """The regularised lower incomplete gamma function P(a, x), DLMF 8.2.4; differentiable in both arguments."""
    return elementwise("gammainc", gamma_functions.gammainc, a, x)


@traced
def gammaincc(a: Any, x: Any, /, out: None = None) -> Any:
    """The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x), DLMF 8.2.4."""
    return elementwise("gammaincc", gamma_functions.gammaincc, a, x)


@traced
def gammaincinv(a: Any, y: Any, /, out: None = None) -> Any:
    """The x for which gammainc(a, x) is y."""
    return elementwise("gammaincinv", gamma_functions.gammaincinv, a, y)


@traced
def gammainccinv(a: Any, y: Any, /, out: None = None) -> Any:
    """The x for which gammaincc(a, x) is y."""
    return elementwise("gammainccinv", gamma_functions.gammainccinv, a, y)


@traced
def betainc(a: Any, b: Any, x: Any, /, out: None = None) -> Any:
    """The regularised incomplete beta function I(a, b, x), DLMF 8.17.2; differentiable in all arguments."""
    return elementwise("betainc", gamma_functions.betainc, a, b, x)


@traced
def betaincc(a: Any, b: Any, x: Any, /, out: None = None) -> Any:
    """1 - betainc(a, b, x), accurate where that is small."""
    return elementwise("betaincc", gamma_functions.betaincc, a, b, x)


@traced
def betaincinv(a: Any, b: Any, y: Any, /, out: None = None) -> Any:
    """The x for which betainc(a, b, x) is y."""
    return elementwise("betaincinv", gamma_functions.betaincinv, a, b, y)


@traced
def betainccinv(a: Any, b: Any, y: Any, /, out: None = None) -> Any:
    """The x for which betaincc(a, b, x) is y."""
    return elementwise("betainccinv", gamma_functions.betainccinv, a, b, y)


@traced
def zeta(x: Any, q: Any = None, out: None = None) -> Any:
    """Riemann's zeta function, or Hurwitz's zeta(x, q) for x > 1 and q > 0 (DLMF 25.2 and 25.11); differentiable in both."""
    if q is not None:
        s, shift = operands_of("zeta", x, q)
        return where(s < 1, math.nan, lift("zeta", gamma_functions.hurwitz_zeta(s, shift, s.dtype.type(0))))
    s = lift("zeta", as_inexact("zeta", x))
    one, zero = s.dtype.type(1), s.dtype.type(0)
    negative = s < 0
    right = lift("zeta", gamma_functions.hurwitz_zeta(where(negative, 2.0, s), one, zero))
    # The functional equation, DLMF 25.4.1; sin(pi s / 2) of what is left of the next multiple of 4.
    left = where(negative, s, -1.5)
    mirrored = lift("zeta", gamma_functions.hurwitz_zeta(1 - left, one, zero))
    scale = lift("zeta", gamma_functions.gamma(1 - left)) * (2 * math.pi) ** (left - 1)
    value = 2 * scale * sin(0.5 * math.pi * (left - 4 * floor(left / 4))) * mirrored
    return where(negative, value, right)


@traced
def zetac(x: Any, /, out: None = None) -> Any:
    """Riemann's zeta function less 1, accurate for large x."""
    return elementwise("zetac", gamma_functions.zetac, x)
