"""Continuous distributions on the line, in standard form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import absolute, arctan2, exp, expm1, log, log1p, logaddexp, power, sqrt, tan
from gradxform.primitives import bessel, gamma_functions, integrals, special
from gradxform.scipy.special.calls import elementwise
from gradxform.scipy.special.distribution_functions import student_distribution, student_quantile
from gradxform.scipy.stats.circular import von_mises_parts
from gradxform.scipy.stats.frame import LOG_HALF, Continuous, Symmetric, like, log_of_complement

LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


def _of(constructor: Any, *operands: Any) -> Any:
    return elementwise(constructor.__name__, constructor, *operands)


def _ndtr(z: Any) -> Any:
    return 0.5 * _of(special.erfc, -math.sqrt(0.5) * z)


def _xlogy(x: Any, y: Any) -> Any:
    """x * log(y) for y >= 0; 0 where x is 0, with no derivative there at y = 0."""
    edge = (x == 0) & (y == 0)
    return x * log(where(edge, 1.0, y))


def _xlog1py(x: Any, y: Any) -> Any:
    """The same of 1 + y."""
    edge = (x == 0) & (y == -1)
    return x * log1p(where(edge, 0.0, y))


def _end(shape: Any, flat: float) -> Any:
    """The log-density at an end where it grows like a power of which ``shape`` is the exponent, 0 for ``flat``."""
    return where(shape < flat, like(np.inf, shape), where(shape > flat, like(-np.inf, shape), like(0.0, shape)))


class Norm(Symmetric):
    """The normal distribution with mean ``loc`` and standard deviation ``scale``."""

    def _logpdf(self, z: Any) -> Any:
        return -0.5 * z * z - LOG_ROOT_TWO_PI

    def _cdf(self, z: Any) -> Any:
        return _ndtr(z)

    def _logcdf(self, z: Any) -> Any:
        return _of(integrals.log_ndtr, z)

    def _ppf(self, q: Any) -> Any:
        return _of(integrals.ndtri, q)


class HalfNorm(Continuous):
    """The magnitude of a normal variable."""

    def support(self) -> tuple[Any, Any]:
        return 0.0, np.inf

    def _logpdf(self, z: Any) -> Any:
        return -0.5 * z * z - LOG_ROOT_TWO_PI - LOG_HALF

    def _cdf(self, z: Any) -> Any:
        return _of(special.erf, math.sqrt(0.5) * z)

    def _sf(self, z: Any) -> Any:
        return _of(special.erfc, math.sqrt(0.5) * z)

    def _logsf(self, z: Any) -> Any:
        return _of(integrals.log_ndtr, -z) - LOG_HALF

    def _ppf(self, q: Any) -> Any:
        return math.sqrt(2) * _of(special.erfinv, q)

    def _isf(self, q: Any) -> Any:
        return math.sqrt(2) * _of(integrals.erfcinv, q)


class Uniform(Continuous):
    """The uniform distribution on [loc, loc + scale]."""

    def support(self) -> tuple[Any, Any]:
        return 0.0, 1.0

    def _logpdf(self, z: Any) -> Any:
        return 0.0 * z

    def _cdf(self, z: Any) -> Any:
        return z

    def _sf(self, z: Any) -> Any:
        return 1 - z

    def _logsf(self, z: Any) -> Any:
        return log1p(-z)

    def _ppf(self, q: Any) -> Any:
        return q

    def _isf(self, q: Any) -> Any:
        return 1 - q


class Expon(Continuous):
    """The exponential distribution of mean ``scale``."""

    def support(self) -> tuple[Any, Any]:
        return 0.0, np.inf

    def _logpdf(self, z: Any) -> Any:
        return -z

    def _cdf(self, z: Any) -> Any:
        return -expm1(-z)

    def _sf(self, z: Any) -> Any:
        return exp(-z)

    def _logcdf(self, z: Any) -> Any:
        return log_of_complement(-z)

    def _logsf(self, z: Any) -> Any:
        return -z

    def _ppf(self, q: Any) -> Any:
        return -log1p(-q)

    def _isf(self, q: Any) -> Any:
        return -log(q)


class Gamma(Continuous):
    """The gamma distribution of shape ``a``."""

    shapes = ("a",)

    def support(self, a: Any) -> tuple[Any, Any]:
        return 0.0, np.inf

    def ends(self, a: Any) -> tuple[Any, Any] | None:
        return _end(a, 1), 0.0

    def _logpdf(self, z: Any, a: Any) -> Any:
        return _xlogy(a - 1, z) - z - _of(special.lgamma, a)

    def _cdf(self, z: Any, a: Any) -> Any:
        return _of(gamma_functions.gammainc, a, z)

    def _sf(self, z: Any, a: Any) -> Any:
        return _of(gamma_functions.gammaincc, a, z)

    def _ppf(self, q: Any, a: Any) -> Any:
        return _of(gamma_functions.gammaincinv, a, q)

    def _isf(self, q: Any, a: Any) -> Any:
        return _of(gamma_functions.gammainccinv, a, q)


class InvGamma(Continuous):
    """The distribution of the reciprocal of a gamma variable of shape ``a``."""

    shapes = ("a",)

    def support(self, a: Any) -> tuple[Any, Any]:
        return 0.0, np.inf

    def ends(self, a: Any) -> tuple[Any, Any] | None:
        return -np.inf, 0.0

    def _logpdf(self, z: Any, a: Any) -> Any:
        return -(a + 1) * log(z) - 1 / z - _of(special.lgamma, a)

    def _cdf(self, z: Any, a: Any) -> Any:
        return _of(gamma_functions.gammaincc, a, 1 / z)

    def _sf(self, z: Any, a: Any) -> Any:
        return _of(gamma_functions.gammainc, a, 1 / z)

    def _ppf(self, q: Any, a: Any) -> Any:
        return 1 / _of(gamma_functions.gammainccinv, a, q)

    def _isf(self, q: Any, a: Any) -> Any:
        return 1 / _of(gamma_functions.gammaincinv, a, q)


class Chi2(Continuous):
    """The chi-squared distribution with ``df`` degrees of freedom: that of twice a gamma variable of shape df / 2."""

    shapes = ("df",)

    def support(self, df: Any) -> tuple[Any, Any]:
        return 0.0, np.inf

    def ends(self, df: Any) -> tuple[Any, Any] | None:
        return _end(df, 2), 0.0

    def _logpdf(self, z: Any, df: Any) -> Any:
        return gamma._logpdf(0.5 * z, 0.5 * df) + LOG_HALF

    def _cdf(self, z: Any, df: Any) -> Any:
        return gamma._cdf(0.5 * z, 0.5 * df)

    def _sf(self, z: Any, df: Any) -> Any:
        return gamma._sf(0.5 * z, 0.5 * df)

    def _ppf(self, q: Any, df: Any) -> Any:
        return 2 * gamma._ppf(q, 0.5 * df)

    def _isf(self, q: Any, df: Any) -> Any:
        return 2 * gamma._isf(q, 0.5 * df)


class Beta(Continuous):
    """The beta distribution of shapes ``a`` and ``b``."""

    shapes = ("a", "b")

    def support(self, a: Any, b: Any) -> tuple[Any, Any]:
        return 0.0, 1.0

    def ends(self, a: Any, b: Any) -> tuple[Any, Any] | None:
        return _end(a, 1), _end(b, 1)

    def _logpdf(self, z: Any, a: Any, b: Any) -> Any:
        return _xlog1py(b - 1, -z) + _xlogy(a - 1, z) - _of(gamma_functions.betaln, a, b)

    def _cdf(self, z: Any, a: Any, b: Any) -> Any:
        return _of(gamma_functions.betainc, a, b, z)

    def _sf(self, z: Any, a: Any, b: Any) -> Any:
        return _of(gamma_functions.betaincc, a, b, z)

    def _ppf(self, q: Any, a: Any, b: Any) -> Any:
        return _of(gamma_functions.betaincinv, a, b, q)

    def _isf(self, q: Any, a: Any, b: Any) -> Any:
        return _of(gamma_functions.betainccinv, a, b, q)


class T(Symmetric):
    """Student's t distribution with ``df`` degrees of freedom."""

    shapes = ("df",)

    def _logpdf(self, z: Any, df: Any) -> Any:
        return -0.5 * (df + 1) * log1p(z * z / df) - 0.5 * log(df) - _of(gamma_functions.betaln, 0.5 * df, 0.5)

    def _cdf(self, z: Any, df: Any) -> Any:
        return student_distribution(df, z)

    def _ppf(self, q: Any, df: Any) -> Any:
        return student_quantile(df, q)


class F(Continuous):
    """The F distribution with ``dfn`` and ``dfd`` degrees of freedom."""

    shapes = ("dfn", "dfd")

    def support(self, dfn: Any, dfd: Any) -> tuple[Any, Any]:
        return 0.0, np.inf

    def ends(self, dfn: Any, dfd: Any) -> tuple[Any, Any] | None:
        return _end(dfn, 2), 0.0

    def _logpdf(self, z: Any, dfn: Any, dfd: Any) -> Any:
        a, b, ratio = 0.5 * dfn, 0.5 * dfd, dfn / dfd
        return a * log(ratio) + _xlogy(a - 1, z) - (a + b) * log1p(ratio * z) - _of(gamma_functions.betaln, a, b)

    def _cdf(self, z: Any, dfn: Any, dfd: Any) -> Any:
        return _of(gamma_functions.betainc, 0.5 * dfn, 0.5 * dfd, z / (dfd / dfn + z))

    def _sf(self, z: Any, dfn: Any, dfd: Any) -> Any:
        return _of(gamma_functions.betainc, 0.5 * dfd, 0.5 * dfn, dfd / (dfd + dfn * z))

    def _ppf(self, q: Any, dfn: Any, dfd: Any) -> Any:
        # Of the two beta variables that which is small: the other is rounded near 1.
        x = _of(gamma_functions.betaincinv, 0.5 * dfn, 0.5 * dfd, q)
        y = _of(gamma_functions.betainccinv, 0.5 * dfd, 0.5 * dfn, q)
        return dfd * x / (dfn * y)

    def _isf(self, q: Any, dfn: Any, dfd: Any) -> Any:
        x = _of(gamma_functions.betainccinv, 0.5 * dfn, 0.5 * dfd, q)
        y = _of(gamma_functions.betaincinv, 0.5 * dfd, 0.5 * dfn, q)
        return dfd * x / (dfn * y)


class LogNorm(Continuous):
    """The distribution of exp(s * u) for a standard normal u."""

    shapes = ("s",)

    def support(self, s: Any) -> tuple[Any, Any]:
        return 0.0, np.inf

    def ends(self, s: Any) -> tuple[Any, Any] | None:
        return -np.inf, 0.0

    def _logpdf(self, z: Any, s: Any) -> Any:
        ratio = log(z) / s
        return -0.5 * ratio * ratio - log(z) - log(s) - LOG_ROOT_TWO_PI

    def _cdf(self, z: Any, s: Any) -> Any:
        return norm._cdf(log(z) / s)

    def _sf(self, z: Any, s: Any) -> Any:
        return norm._sf(log(z) / s)

    def _logcdf(self, z: Any, s: Any) -> Any:
        return norm._logcdf(log(z) / s)

    def _logsf(self, z: Any, s: Any) -> Any:
        return norm._logsf(log(z) / s)

    def _ppf(self, q: Any, s: Any) -> Any:
        return exp(s * norm._ppf(q))

    def _isf(self, q: Any, s: Any) -> Any:
        return exp(s * norm._isf(q))


class Laplace(Symmetric):
    """Laplace's double exponential distribution; at its kink the derivative of the density is taken as 0."""

    def _logpdf(self, z: Any) -> Any:
        return LOG_HALF - absolute(z)

    def _cdf(self, z: Any) -> Any:
        tail = 0.5 * exp(-absolute(z))
        # The distribution function has no kink at 0, where the derivative of the magnitude is 0.
        return where(z > 0, 1 - tail, where(z == 0, 0.5 + 0.5 * z, tail))

    def _logcdf(self, z: Any) -> Any:
        upper = z > 0
        return where(upper, log1p(-0.5 * exp(-where(upper, z, 0.0))), where(upper, 0.0, z) + LOG_HALF)

    def _ppf(self, q: Any) -> Any:
        upper = q > 0.5
        tail = log(2 * where(upper, 1 - q, q))
        return where(upper, -tail, tail)


class Logistic(Symmetric):
    """The logistic distribution."""

    def _logpdf(self, z: Any) -> Any:
        return -logaddexp(0.0, z) - logaddexp(0.0, -z)

    def _cdf(self, z: Any) -> Any:
        return _of(special.sigmoid, z)

    def _logcdf(self, z: Any) -> Any:
        return -logaddexp(0.0, -z)

    def _ppf(self, q: Any) -> Any:
        return log(q) - log1p(-q)


class Cauchy(Symmetric):
    """Cauchy's distribution."""

    def _logpdf(self, z: Any) -> Any:
        # Of large z the square overflows, and 1 does not matter.
        large = abs(z) > 1e8
        tail, body = where(large, abs(z), 1.0), where(large, 0.0, z)
        return -where(large, 2 * log(tail), log1p(body * body)) - math.log(math.pi)

    def _cdf(self, z: Any) -> Any:
        return arctan2(1.0 + 0.0 * z, -z) / math.pi

    def _ppf(self, q: Any) -> Any:
        # The tangent of the angle from the nearer pole.
        upper, middle = q > 0.75, (q >= 0.25) & (q <= 0.75)
        outer = -1 / tan(math.pi * where(upper, q - 1, where(middle, 0.25, q)))
        return where(middle, tan(math.pi * (where(middle, q, 0.5) - 0.5)), outer)


class GumbelRight(Continuous):
    """Gumbel's distribution of largest values."""

    def _logpdf(self, z: Any) -> Any:
        return -z - exp(-z)

    def _cdf(self, z: Any) -> Any:
        return exp(-exp(-z))

    def _sf(self, z: Any) -> Any:
        return -expm1(-exp(-z))

    def _logcdf(self, z: Any) -> Any:
        return -exp(-z)

    def _logsf(self, z: Any) -> Any:
        return log_of_complement(-exp(-z))

    def _ppf(self, q: Any) -> Any:
        return -log(-log(q))

    def _isf(self, q: Any) -> Any:
        return -log(-log1p(-q))


class GumbelLeft(Continuous):
    """Gumbel's distribution of smallest values: that of largest ones, mirrored."""

    def _logpdf(self, z: Any) -> Any:
        return gumbel_r._logpdf(-z)

    def _cdf(self, z: Any) -> Any:
        return gumbel_r._sf(-z)

    def _sf(self, z: Any) -> Any:
        return gumbel_r._cdf(-z)

    def _logcdf(self, z: Any) -> Any:
        return gumbel_r._logsf(-z)

    def _logsf(self, z: Any) -> Any:
        return gumbel_r._logcdf(-z)

    def _ppf(self, q: Any) -> Any:
        return -gumbel_r._isf(q)

    def _isf(self, q: Any) -> Any:
        return -gumbel_r._ppf(q)


class WeibullMin(Continuous):
    """Weibull's distribution of smallest values, of shape ``c``."""

    shapes = ("c",)

    def support(self, c: Any) -> tuple[Any, Any]:
        return 0.0, np.inf

    def ends(self, c: Any) -> tuple[Any, Any] | None:
        return _end(c, 1), 0.0

    def _logpdf(self, z: Any, c: Any) -> Any:
        return log(c) + _xlogy(c - 1, z) - power(z, c)

    def _cdf(self, z: Any, c: Any) -> Any:
        return -expm1(-power(z, c))

    def _sf(self, z: Any, c: Any) -> Any:
        return exp(-power(z, c))

    def _logcdf(self, z: Any, c: Any) -> Any:
        return log_of_complement(-power(z, c))

    def _logsf(self, z: Any, c: Any) -> Any:
        return -power(z, c)

    def _ppf(self, q: Any, c: Any) -> Any:
        return power(-log1p(-q), 1 / c)

    def _isf(self, q: Any, c: Any) -> Any:
        return power(-log(q), 1 / c)


class Pareto(Continuous):
    """Pareto's distribution of exponent ``b`` on x >= 1."""

    shapes = ("b",)

    def support(self, b: Any) -> tuple[Any, Any]:
        return 1.0, np.inf

    def _logpdf(self, z: Any, b: Any) -> Any:
        return log(b) - (b + 1) * log(z)

    def _cdf(self, z: Any, b: Any) -> Any:
        return -expm1(-b * log(z))

    def _sf(self, z: Any, b: Any) -> Any:
        return exp(-b * log(z))

    def _logcdf(self, z: Any, b: Any) -> Any:
        return log_of_complement(-b * log(z))

    def _logsf(self, z: Any, b: Any) -> Any:
        return -b * log(z)

    def _ppf(self, q: Any, b: Any) -> Any:
        return exp(-log1p(-q) / b)

    def _isf(self, q: Any, b: Any) -> Any:
        return exp(-log(q) / b)


def _log_mass(a: Any, b: Any) -> Any:
    """log(ndtr(b) - ndtr(a)) for a < b, from that tail in which both are small."""
    right, left = a > 0, b < 0
    aside = right | left
    near, far = where(right, -a, where(left, b, 0.0)), where(right, -b, where(left, a, -1.0))
    greater, smaller = _of(integrals.log_ndtr, near), _of(integrals.log_ndtr, far)
    tail = greater + log_of_complement(smaller - greater)
    middle = log1p(-_ndtr(where(aside, -1.0, a)) - _ndtr(-where(aside, 1.0, b)))
    return where(aside, tail, middle)


class TruncNorm(Continuous):
    """The normal distribution between ``a`` and ``b`` standard deviations, renormalised."""

    shapes = ("a", "b")

    def _example(self) -> tuple[float, ...]:
        return (-1.0, 1.0)

    def valid(self, a: Any, b: Any) -> Any:
        return a < b

    def support(self, a: Any, b: Any) -> tuple[Any, Any]:
        return a, b

    def _interior(self, a: Any, b: Any) -> Any:
        below, above = a > -np.inf, b < np.inf
        middle = 0.5 * (where(below, a, 0.0) + where(above, b, 0.0))
        return where(below & above, middle, where(below, a + 1.0, where(above, b - 1.0, 0.0 * middle)))

    def _logpdf(self, z: Any, a: Any, b: Any) -> Any:
        return norm._logpdf(z) - _log_mass(a, b)

    def _logcdf(self, z: Any, a: Any, b: Any) -> Any:
        return _log_mass(a, z) - _log_mass(a, b)

    def _logsf(self, z: Any, a: Any, b: Any) -> Any:
        return _log_mass(z, b) - _log_mass(a, b)

    def _cdf(self, z: Any, a: Any, b: Any) -> Any:
        return exp(self._logcdf(z, a, b))

    def _sf(self, z: Any, a: Any, b: Any) -> Any:
        return exp(self._logsf(z, a, b))

    def _ppf(self, q: Any, a: Any, b: Any) -> Any:
        return self._inverse(log(q), log1p(-q), a, b)

    def _isf(self, q: Any, a: Any, b: Any) -> Any:
        return self._inverse(log1p(-q), log(q), a, b)

    def _inverse(self, below: Any, above: Any, a: Any, b: Any) -> Any:
        """The quantile, given the logarithms of the probabilities on its two sides."""
        left, mass = a < 0, _log_mass(a, b)
        base = _of(integrals.log_ndtr, where(left, a, -b))
        value = _of(integrals.ndtri_exp, logaddexp(base, where(left, below, above) + mass))
        return where(left, value, -value)


class VonMises(Continuous):
    """Von Mises's distribution of angles, of concentration ``kappa``; it has no quantiles here.

    As in SciPy, angles may be any numbers: each full turn adds 1 to the distribution function.
    """

    shapes = ("kappa",)

    def valid(self, kappa: Any) -> Any:
        return kappa >= 0

    def ends(self, kappa: Any) -> tuple[Any, Any] | None:
        return np.nan, np.nan

    def _logpdf(self, z: Any, kappa: Any) -> Any:
        return kappa * _of(integrals.cosm1, z) - math.log(2 * math.pi) - log(_of(bessel.i0e, kappa))

    def _cdf(self, z: Any, kappa: Any) -> Any:
        turns, positive, tail = von_mises_parts(z, kappa)
        return turns + where(positive, 1 - tail, tail)

    def _sf(self, z: Any, kappa: Any) -> Any:
        turns, positive, tail = von_mises_parts(z, kappa)
        return where(positive, tail, 1 - tail) - turns


class GenNorm(Symmetric):
    """The generalised normal distribution, of exponent ``beta``."""

    shapes = ("beta",)

    def _logpdf(self, z: Any, beta: Any) -> Any:
        return log(beta) + LOG_HALF - _of(special.lgamma, 1 / beta) - self._power(z, beta)

    def _power(self, z: Any, beta: Any) -> Any:
        center = z == 0
        return where(center, 0.0, power(absolute(where(center, 1.0, z)), beta))

    def _cdf(self, z: Any, beta: Any) -> Any:
        center = z == 0
        tail = 0.5 * _of(gamma_functions.gammaincc, 1 / beta, power(absolute(where(center, 1.0, z)), beta))
        return where(center, 0.5 + z * exp(self._logpdf(0.0 * z, beta)), where(z < 0, tail, 1 - tail))

    def _ppf(self, q: Any, beta: Any) -> Any:
        center, upper = q == 0.5, q > 0.5
        tail = where(center, 0.25, where(upper, 1 - q, q))
        size = power(_of(gamma_functions.gammainccinv, 1 / beta, 2 * tail), 1 / beta)
        return where(center, (q - 0.5) / exp(self._logpdf(0.0 * q, beta)), where(upper, size, -size))


class Rayleigh(Continuous):
    """Rayleigh's distribution: of the length of a vector of two standard normal variables."""

    def support(self) -> tuple[Any, Any]:
        return 0.0, np.inf

    def ends(self) -> tuple[Any, Any] | None:
        return -np.inf, 0.0

    def _logpdf(self, z: Any) -> Any:
        return log(z) - 0.5 * z * z

    def _cdf(self, z: Any) -> Any:
        return -expm1(-0.5 * z * z)

    def _sf(self, z: Any) -> Any:
        return exp(-0.5 * z * z)

    def _logcdf(self, z: Any) -> Any:
        return log_of_complement(-0.5 * z * z)

    def _logsf(self, z: Any) -> Any:
        return -0.5 * z * z

    def _ppf(self, q: Any) -> Any:
        return sqrt(-2 * log1p(-q))

    def _isf(self, q: Any) -> Any:
        return sqrt(-2 * log(q))


class SkewNorm(Continuous):
    """The skew normal distribution, of skewness parameter ``a``; it has no quantiles and no logarithms of probabilities."""

    shapes = ("a",)

    def valid(self, a: Any) -> Any:
        return a == a

    def _logpdf(self, z: Any, a: Any) -> Any:
        return norm._logpdf(z) - LOG_HALF + _of(integrals.log_ndtr, a * z)

    def _cdf(self, z: Any, a: Any) -> Any:
        return _ndtr(z) - 2 * _of(integrals.owens_t, z, a)

    def _sf(self, z: Any, a: Any) -> Any:
        return self._cdf(-z, -a)

    # The difference above is accurate beside 1, not relative to itself in the tails.
    def _logcdf(self, z: Any, a: Any) -> Any:
        raise self._absent("logcdf")

    def _logsf(self, z: Any, a: Any) -> Any:
        raise self._absent("logsf")


norm = Norm("norm")
halfnorm = HalfNorm("halfnorm")
uniform = Uniform("uniform")
expon = Expon("expon")
gamma = Gamma("gamma")
invgamma = InvGamma("invgamma")
chi2 = Chi2("chi2")
beta = Beta("beta")
t = T("t")
f = F("f")
lognorm = LogNorm("lognorm")
laplace = Laplace("laplace")
logistic = Logistic("logistic")
cauchy = Cauchy("cauchy")
gumbel_r = GumbelRight("gumbel_r")
gumbel_l = GumbelLeft("gumbel_l")
weibull_min = WeibullMin("weibull_min")
pareto = Pareto("pareto")
truncnorm = TruncNorm("truncnorm")
vonmises = VonMises("vonmises")
gennorm = GenNorm("gennorm")
rayleigh = Rayleigh("rayleigh")
skewnorm = SkewNorm("skewnorm")
