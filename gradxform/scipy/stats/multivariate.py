"""Distributions of vectors: multivariate normal, Dirichlet, multinomial; density estimation with Gaussian kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradxform.core import shape_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ShapeError
from gradxform.numpy import linalg
from gradxform.numpy.creation import diag, eye
from gradxform.numpy.indexing import where
from gradxform.numpy.reductions import all, sum
from gradxform.numpy.ufuncs import absolute, exp, floor, log
from gradxform.primitives import special
from gradxform.primitives.logic import stop_gradient
from gradxform.scipy.linalg import solve_triangular
from gradxform.scipy.special import logsumexp
from gradxform.scipy.special.calls import elementwise, float_operands
from gradxform.scipy.stats.frame import Distribution, quietly


def _lgamma(x: Any) -> Any:
    return elementwise("gammaln", special.lgamma, x)


def _whitened(factor: Any, deviation: Any) -> Any:
    """The rows of ``deviation`` in coordinates in which the covariance is the identity."""
    rows = deviation.reshape(-1, deviation.shape[-1])
    return solve_triangular(factor, rows.T, lower=True).T


class MultivariateNormal(Distribution):
    """The multivariate normal distribution of a mean vector and a covariance matrix, which is positive definite.

    ``cov`` may be a number or a vector of variances, as in SciPy. Components are along the last axis of the point.
    """

    others = (("mean", None), ("cov", 1.0))

    @quietly
    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the density. Raises LinAlgError unless ``cov`` is positive definite."""
        mean, cov = self._parameters("logpdf", args, kwargs)
        point, center, spread = float_operands("multivariate_normal.logpdf", x, 0.0 if mean is None else mean, cov)
        rank = len(shape_of(spread))
        size = max([shape_of(operand)[-1] for operand in (center, spread) if shape_of(operand)], default=1)
        if rank > 2 or (rank and shape_of(spread) != (size,) * rank):
            raise ShapeError(f"multivariate_normal.logpdf: expected cov of shape ({size}, {size}), ({size},) or (), got "
                             f"{shape_of(spread)}{user_line()}")
        matrix = spread if rank == 2 else diag(spread) if rank else spread * eye(size, dtype=spread.dtype)
        # Cholesky's decomposition reads one triangle; the density depends on both alike.
        matrix = 0.5 * (matrix + matrix.T)
        if size == 1 and (not shape_of(point) or shape_of(point)[-1] != 1):
            point = point[..., None]
        deviation = point - center
        factor = linalg.cholesky(matrix)
        white = _whitened(factor, deviation)
        log_determinant = 2 * sum(log(linalg.diagonal(factor)))
        squares = sum(white * white, axis=-1).reshape(shape_of(deviation)[:-1])
        return -0.5 * (squares + log_determinant + size * math.log(2 * math.pi))

    @quietly
    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The density."""
        return exp(self.logpdf(x, *args, **kwargs))


class Dirichlet(Distribution):
    """The Dirichlet distribution of concentrations ``alpha``; components are along the first axis of the point.

    The point has as many components as ``alpha``, or one fewer, the last being what is left of 1. Where it does not lie in the
    simplex the density is 0.
    """

    shapes = ("alpha",)

    @quietly
    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the density."""
        (alpha,) = self._parameters("logpdf", args, kwargs)
        point, weights = float_operands("dirichlet.logpdf", x, alpha)
        size = shape_of(weights)[0]
        if shape_of(point)[0] not in (size, size - 1):
            raise ShapeError(f"dirichlet.logpdf: expected {size} or {size - 1} components along the first axis, got shape "
                             f"{shape_of(point)}{user_line()}")
        weights = weights.reshape(size, *[1] * (len(shape_of(point)) - 1))
        parts = [point[i] for i in range(shape_of(point)[0])]
        if len(parts) < size:
            parts.append(1 - sum(point, axis=0))
        total: Any = 0.0
        inside: Any = True
        for i, part in enumerate(parts):
            power = weights[i] - 1
            good = (part > 0) | ((part == 0) & (power == 0))
            total = total + power * log(where(part > 0, part, 1.0))
            inside = inside & good
        if shape_of(point)[0] == size:
            tolerance = 1e-9 if point.dtype == np.float64 else 1e-4
            inside = inside & (absolute(stop_gradient(sum(point, axis=0)) - 1) < tolerance)
        constant = _lgamma(sum(weights, axis=0)) - sum(_lgamma(weights), axis=0)
        value = where(inside, total + constant, -np.inf)
        return where(all(weights > 0), value, np.nan)

    @quietly
    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The density."""
        value = self.logpdf(x, *args, **kwargs)
        empty = value == -np.inf
        return where(empty, 0.0, exp(where(empty, 0.0, value)))


class Multinomial(Distribution):
    """The multinomial distribution: counts of ``n`` trials of probabilities ``p``, along the last axis."""

    shapes = ("n", "p")

    @quietly
    def logpmf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The logarithm of the probability; -inf where the counts are no whole numbers with sum ``n``."""
        n, p = self._parameters("logpmf", args, kwargs)
        counts, trials, chances = float_operands("multinomial.logpmf", x, n, p)
        counts = stop_gradient(counts)
        good = all((counts >= 0) & (counts == floor(counts)), axis=-1) & (sum(counts, axis=-1) == trials)
        safe = where(counts >= 0, counts, 0.0)
        # 0 * log(0) is 0, with the derivative that x log(p) has there
        terms = safe * log(where(safe == 0, 1.0, chances)) - _lgamma(safe + 1)
        value = _lgamma(trials + 1) + sum(terms, axis=-1)
        return where(all(chances >= 0, axis=-1), where(good, value, -np.inf), np.nan)

    @quietly
    def pmf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability."""
        value = self.logpmf(x, *args, **kwargs)
        empty = value == -np.inf
        return where(empty, 0.0, exp(where(empty, 0.0, value)))


class gaussian_kde:
    """A density estimated from points with Gaussian kernels; differentiable in the points and in where it is evaluated.

    Args:
        dataset: points as columns, of shape (d, n), or (n,) for d = 1.
        bw_method: "scott" (the default), "silverman", or the factor itself.
        weights: of shape (n,), which are normalised; equal ones by default.
    """

    def __init__(self, dataset: Any, bw_method: Any = None, weights: Any = None) -> None:
        (data,) = float_operands("gaussian_kde", dataset)
        self.dataset = data if len(shape_of(data)) == 2 else data.reshape(1, -1)
        self.d, self.n = shape_of(self.dataset)
        given = self.dataset[0] * 0.0 + 1.0 if weights is None else float_operands("gaussian_kde", weights)[0]
        self.weights = given / sum(given)
        self.neff = 1 / sum(self.weights * self.weights)
        power = -1.0 / (self.d + 4)
        if bw_method is None or bw_method == "scott":
            self.factor = self.neff**power
        elif bw_method == "silverman":
            self.factor = (self.neff * (self.d + 2) / 4.0) ** power
        elif isinstance(bw_method, str):
            raise ArgumentError(f"gaussian_kde: bw_method is 'scott', 'silverman' or a number, got {bw_method!r}{user_line()}")
        else:
            (self.factor,) = float_operands("gaussian_kde", bw_method)
        mean = sum(self.dataset * self.weights, axis=1)
        centered = (self.dataset.T - mean).T
        unbiased = 1 - sum(self.weights * self.weights)
        self.covariance = (centered * self.weights) @ centered.T / unbiased * self.factor * self.factor
        self._factor = linalg.cholesky(self.covariance)
        self._white = _whitened(self._factor, self.dataset.T)

    def logpdf(self, points: Any) -> Any:
        """The logarithm of the density at ``points``, of shape (d, m), (m,) for d = 1, or (d,)."""
        (where_,) = float_operands("gaussian_kde.logpdf", points)
        if len(shape_of(where_)) < 2:
            where_ = where_.reshape((self.d, 1) if shape_of(where_) == (self.d,) and self.d > 1 else (self.d, -1))
        white = _whitened(self._factor, where_.T)
        squares = sum((white[:, None, :] - self._white[None, :, :]) ** 2, axis=-1)
        scale = sum(log(linalg.diagonal(self._factor))) + 0.5 * self.d * math.log(2 * math.pi)
        return logsumexp(-0.5 * squares, axis=1, b=self.weights) - scale

    def evaluate(self, points: Any) -> Any:
        """The density."""
        return exp(self.logpdf(points))

    __call__ = pdf = evaluate


multivariate_normal = MultivariateNormal("multivariate_normal")
dirichlet = Dirichlet("dirichlet")
multinomial = Multinomial("multinomial")
