"""Distributions of whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import exp, expm1, floor, log, log1p
from gradxform.primitives import gamma_functions, special
from gradxform.primitives.logic import stop_gradient
from gradxform.scipy.special.calls import elementwise
from gradxform.scipy.stats.frame import Discrete, log_of_complement
from gradxform.scipy.stats.searching import sum_over_numbers


def _of(constructor: Any, *operands: Any) -> Any:
    return elementwise(constructor.__name__, constructor, *operands)


def _xlogy(x: Any, y: Any) -> Any:
    """x * log(y) for whole x, 0 where x is 0."""
    return x * log(where(x == 0, 1.0, y))


def _xlog1py(x: Any, y: Any) -> Any:
    """x * log1p(y) for whole x, 0 where x is 0."""
    return x * log1p(where(x == 0, 0.0, y))


def _log_choose(n: Any, k: Any) -> Any:
    return -log(n + 1) - _of(gamma_functions.betaln, n - k + 1, k + 1)


def _probability(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


class Binom(Discrete):
    """The binomial distribution: successes among ``n`` trials of probability ``p``."""

    shapes = ("n", "p")

    def _example(self) -> tuple[float, ...]:
        return (1.0, 0.5)

    def valid(self, n: Any, p: Any) -> Any:
        return (n >= 0) & (n == floor(n)) & _probability(p)

    def support(self, n: Any, p: Any) -> tuple[Any, Any]:
        return 0.0, n

    def _logpmf(self, k: Any, n: Any, p: Any) -> Any:
        return _log_choose(n, k) + _xlogy(k, p) + _xlog1py(n - k, -p)

    def _cdf(self, k: Any, n: Any, p: Any) -> Any:
        return _of(gamma_functions.betaincc, k + 1, where(k < n, n - k, 1.0), p)

    def _sf(self, k: Any, n: Any, p: Any) -> Any:
        return _of(gamma_functions.betainc, k + 1, where(k < n, n - k, 1.0), p)


class Bernoulli(Discrete):
    """One trial of probability ``p``: 0 or 1."""

    shapes = ("p",)

    def valid(self, p: Any) -> Any:
        return _probability(p)

    def support(self, p: Any) -> tuple[Any, Any]:
        return 0.0, 1.0

    def _logpmf(self, k: Any, p: Any) -> Any:
        return _xlogy(k, p) + _xlog1py(1 - k, -p)

    def _cdf(self, k: Any, p: Any) -> Any:
        return 1 - p

    def _sf(self, k: Any, p: Any) -> Any:
        return p + 0.0


class Poisson(Discrete):
    """The Poisson distribution of mean ``mu``."""

    shapes = ("mu",)

    def valid(self, mu: Any) -> Any:
        return mu >= 0

    def _logpmf(self, k: Any, mu: Any) -> Any:
        return _xlogy(k, mu) - _of(special.lgamma, k + 1) - mu

    def _cdf(self, k: Any, mu: Any) -> Any:
        return _of(gamma_functions.gammaincc, k + 1, mu)

    def _sf(self, k: Any, mu: Any) -> Any:
        return _of(gamma_functions.gammainc, k + 1, mu)


class NBinom(Discrete):
    """The negative binomial distribution: failures before the ``n``-th success, of probability ``p``; n may be any positive
    number."""

    shapes = ("n", "p")

    def valid(self, n: Any, p: Any) -> Any:
        return (n > 0) & (p > 0) & (p <= 1)

    def _logpmf(self, k: Any, n: Any, p: Any) -> Any:
        # gamma(n + k) / (gamma(n) k!) = 1 / ((n + k) beta(n, k + 1))
        return -log(n + k) - _of(gamma_functions.betaln, n, k + 1) + n * log(p) + _xlog1py(k, -p)

    def _cdf(self, k: Any, n: Any, p: Any) -> Any:
        return _of(gamma_functions.betainc, n, k + 1, p)

    def _sf(self, k: Any, n: Any, p: Any) -> Any:
        return _of(gamma_functions.betaincc, n, k + 1, p)


class Geom(Discrete):
    """The geometric distribution: trials up to the first success, of probability ``p``."""

    shapes = ("p",)

    def valid(self, p: Any) -> Any:
        return (p > 0) & (p <= 1)

    def support(self, p: Any) -> tuple[Any, Any]:
        return 1.0, np.inf

    def _logpmf(self, k: Any, p: Any) -> Any:
        return _xlog1py(k - 1, -p) + log(p)

    def _cdf(self, k: Any, p: Any) -> Any:
        return -expm1(k * log1p(-p))

    def _sf(self, k: Any, p: Any) -> Any:
        return exp(k * log1p(-p))

    def _logcdf(self, k: Any, p: Any) -> Any:
        return log_of_complement(k * log1p(-p))

    def _logsf(self, k: Any, p: Any) -> Any:
        return k * log1p(-p)


class BetaBinom(Discrete):
    """The binomial distribution whose probability has a beta distribution.

    Distribution function and quantiles are sums of probabilities, each of as many terms as the greatest ``n`` asks for.
    """

    shapes = ("n", "a", "b")

    def _example(self) -> tuple[float, ...]:
        return (1.0, 1.0, 1.0)

    def valid(self, n: Any, a: Any, b: Any) -> Any:
        return (n >= 0) & (n == floor(n)) & (a > 0) & (b > 0)

    def support(self, n: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return 0.0, n

    def _logpmf(self, k: Any, n: Any, a: Any, b: Any) -> Any:
        betaln = gamma_functions.betaln
        return _log_choose(n, k) + _of(betaln, k + a, n - k + b) - _of(betaln, a, b)

    def _sum(self, chosen: Callable[[Any], Any], k: Any, n: Any, a: Any, b: Any) -> Any:
        """The sum of the probabilities of the numbers up to ``n`` that are ``chosen``."""

        def term(number: Any) -> Any:
            counts = chosen(number) & (number <= n)
            return where(counts, exp(self._logpmf(where(counts, number, 0.0), n, a, b)), 0.0)

        return sum_over_numbers(term, stop_gradient(n).max().astype(np.int64) + 1, 0.0 * (k + n + a + b))

    def _cdf(self, k: Any, n: Any, a: Any, b: Any) -> Any:
        return self._sum(lambda number: number <= k, k, n, a, b)

    def _sf(self, k: Any, n: Any, a: Any, b: Any) -> Any:
        return self._sum(lambda number: number > k, k, n, a, b)


bernoulli = Bernoulli("bernoulli")
binom = Binom("binom")
poisson = Poisson("poisson")
nbinom = NBinom("nbinom")
geom = Geom("geom")
betabinom = BetaBinom("betabinom")
