"""Distribution functions by their old names: Student's t, chi-squared, F, gamma, binomial, Poisson.

All are incomplete gamma and beta functions of their parameters, and differentiable in every argument that is real.
"""

from __future__ import annotations

from math import nan
from typing import Any

from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import exp, floor, isnan, log1p, sqrt
from gradxform.operands import lift
from gradxform.primitives import gamma_functions
from gradxform.scipy.special.calls import elementwise, operands_of, traced


def _gammainc(a: Any, x: Any) -> Any:
    return elementwise("gammainc", gamma_functions.gammainc, a, x)


def _gammaincc(a: Any, x: Any) -> Any:
    return elementwise("gammaincc", gamma_functions.gammaincc, a, x)


def _betainc(a: Any, b: Any, x: Any) -> Any:
    return elementwise("betainc", gamma_functions.betainc, a, b, x)


def _betaincc(a: Any, b: Any, x: Any) -> Any:
    return elementwise("betaincc", gamma_functions.betaincc, a, b, x)


def student_density(df: Any, t: Any) -> Any:
    """The density of Student's t distribution."""
    constant = lift("stdtr", gamma_functions.betaln(0.5 * df, df.dtype.type(0.5)))
    return exp(-constant - 0.5 * (df + 1) * log1p(t * t / df)) / sqrt(df)


@traced
def stdtr(df: Any, t: Any, /, out: None = None) -> Any:
    """The distribution function of Student's t distribution with ``df`` degrees of freedom."""
    freedom, x = operands_of("stdtr", df, t)
    return where(freedom > 0, student_distribution(where(freedom > 0, freedom, 1.0), x), nan)


def student_distribution(df: Any, t: Any) -> Any:
    """The distribution function of operands; its derivative in t is the density also at 0."""
    square = t * t
    far = square > df
    # Of the two forms that which is accurate: of the tail, or of what lies between -t and t. The second has the form
    # of a power series in t at 0, where it is replaced by its first term.
    tail = 0.5 * _betainc(0.5 * df, 0.5, where(far, df / (df + where(far, square, 1.0)), 0.5))
    center = t == 0
    near = 0.5 * _betainc(0.5, 0.5 * df, where(far | center, 0.5, square / (df + square)))
    inside = where(center, t * student_density(df, 0.0 * t), where(t < 0, -near, near))
    return where(far, where(t < 0, tail, 1 - tail), 0.5 + inside)


@traced
def stdtrit(df: Any, p: Any, /, out: None = None) -> Any:
    """The inverse of ``stdtr`` in t."""
    freedom, probability = operands_of("stdtrit", df, p)
    return student_quantile(freedom, probability)


def student_quantile(df: Any, p: Any) -> Any:
    """The quantile of operands."""
    upper = p > 0.5
    tail = where(upper, 1 - p, p)
    # From the tail where that is small, from the middle where it is not.
    outer = tail < 0.25
    y = elementwise("betaincinv", gamma_functions.betaincinv, 0.5 * df, 0.5, where(outer, 2 * tail, 0.25))
    x = elementwise("betaincinv", gamma_functions.betaincinv, 0.5, 0.5 * df, where(outer | (tail == 0.5), 0.5, 1 - 2 * tail))
    middle = tail == 0.5
    size = sqrt(df) * where(outer, sqrt((1 - y) / where(outer, y, 1.0)), sqrt(x / (1 - x)))
    signed = where(upper, size, -size)
    return where(middle, (p - 0.5) / student_density(df, 0.0 * p), signed)


@traced
def chdtr(v: Any, x: Any, /, out: None = None) -> Any:
    """The distribution function of the chi-squared distribution with ``v`` degrees of freedom."""
    freedom, value = operands_of("chdtr", v, x)
    return _gammainc(0.5 * freedom, 0.5 * value)


@traced
def chdtrc(v: Any, x: Any, /, out: None = None) -> Any:
    """The survival function of the chi-squared distribution with ``v`` degrees of freedom."""
    freedom, value = operands_of("chdtrc", v, x)
    return _gammaincc(0.5 * freedom, 0.5 * value)


@traced
def chdtri(v: Any, p: Any, /, out: None = None) -> Any:
    """The inverse of ``chdtrc`` in x."""
    freedom, probability = operands_of("chdtri", v, p)
    return 2 * elementwise("chdtri", gamma_functions.gammainccinv, 0.5 * freedom, probability)


@traced
def gdtr(a: Any, b: Any, x: Any, /, out: None = None) -> Any:
    """The distribution function of the gamma distribution of rate ``a`` and shape ``b``."""
    rate, shape, value = operands_of("gdtr", a, b, x)
    return _gammainc(shape, rate * value)


@traced
def gdtrc(a: Any, b: Any, x: Any, /, out: None = None) -> Any:
    """The survival function of the gamma distribution of rate ``a`` and shape ``b``."""
    rate, shape, value = operands_of("gdtrc", a, b, x)
    return _gammaincc(shape, rate * value)


@traced
def fdtr(dfn: Any, dfd: Any, x: Any, /, out: None = None) -> Any:
    """The distribution function of the F distribution."""
    upper, lower, value = operands_of("fdtr", dfn, dfd, x)
    return _betainc(0.5 * upper, 0.5 * lower, upper * value / (lower + upper * value))


@traced
def fdtrc(dfn: Any, dfd: Any, x: Any, /, out: None = None) -> Any:
    """The survival function of the F distribution."""
    upper, lower, value = operands_of("fdtrc", dfn, dfd, x)
    return _betainc(0.5 * lower, 0.5 * upper, lower / (lower + upper * value))


@traced
def fdtri(dfn: Any, dfd: Any, p: Any, /, out: None = None) -> Any:
    """The inverse of ``fdtr`` in x."""
    upper, lower, probability = operands_of("fdtri", dfn, dfd, p)
    # The beta variable of the other side: x is large where it is small.
    y = elementwise("fdtri", gamma_functions.betainccinv, 0.5 * lower, 0.5 * upper, probability)
    return lower * (1 - y) / (upper * y)


@traced
def pdtr(k: Any, m: Any, /, out: None = None) -> Any:
    """The distribution function of the Poisson distribution of mean ``m``; differentiable in the mean."""
    count, mean = operands_of("pdtr", k, m)
    return where(count < 0, 0.0, _gammaincc(floor(where(count < 0, 0.0, count)) + 1, mean))


@traced
def pdtrc(k: Any, m: Any, /, out: None = None) -> Any:
    """The survival function of the Poisson distribution of mean ``m``; differentiable in the mean."""
    count, mean = operands_of("pdtrc", k, m)
    return where(count < 0, 1.0, _gammainc(floor(where(count < 0, 0.0, count)) + 1, mean))


def _binomial(name: str, lower: bool, *values: Any) -> Any:
    k, n, p = operands_of(name, *values)
    count = floor(k)
    all_of_them, none = count >= n, count < 0
    inside = ~(all_of_them | none)
    successes, failures = where(inside, count, 0.0) + 1, where(inside, n - count, 1.0)
    value = (_betaincc if lower else _betainc)(successes, failures, p)
    edge = where(all_of_them, 1.0, 0.0) if lower else where(all_of_them, 0.0, 1.0)
    return where(inside | isnan(p), value, edge)


@traced
def bdtr(k: Any, n: Any, p: Any, /, out: None = None) -> Any:
    """The distribution function of the binomial distribution; differentiable in ``p``."""
    return _binomial("bdtr", True, k, n, p)


@traced
def bdtrc(k: Any, n: Any, p: Any, /, out: None = None) -> Any:
    """The survival function of the binomial distribution; differentiable in ``p``."""
    return _binomial("bdtrc", False, k, n, p)


@traced
def nbdtr(k: Any, n: Any, p: Any, /, out: None = None) -> Any:
    """The distribution function of the negative binomial distribution; differentiable in ``n`` and ``p``."""
    count, successes, probability = operands_of("nbdtr", k, n, p)
    return _betainc(successes, floor(count) + 1, probability)


@traced
def nbdtrc(k: Any, n: Any, p: Any, /, out: None = None) -> Any:
    """The survival function of the negative binomial distribution; differentiable in ``n`` and ``p``."""
    count, successes, probability = operands_of("nbdtrc", k, n, p)
    return _betaincc(successes, floor(count) + 1, probability)
