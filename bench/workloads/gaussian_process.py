"""Gaussian-process regression: log marginal likelihood of n observations and its gradient in four logarithms.

They are those of two length scales, of the amplitude and of the noise. The kernel is a squared exponential in the plane; of the
time, a decomposition of a dense matrix takes one part, what its derivative takes in matrix products and triangular systems
most of the rest, and what is done to each pair of points the remainder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import ELEMENTARY, Workload

SIZES = (500, 2_000)
LOG_TWO_PI = math.log(2 * math.pi)


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make logarithms of parameters, points with a row for each coordinate, and noisy observations."""
    random = np.random.default_rng(41)
    points = random.uniform(-3.0, 3.0, (2, size))
    observed = np.sin(points[0]) * np.cos(0.5 * points[1]) + 0.1 * random.standard_normal(size)
    return np.log(np.array([0.8, 1.5, 1.2, 0.1])), points, observed


def with_both(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX: the factor L of the covariance, and L z = y."""
    solve_triangular = library.scipy.linalg.solve_triangular

    def likelihood(parameters: Any, points: Any, observed: Any) -> Any:
        scales, amplitude, noise = numpy.exp(parameters[:2]), numpy.exp(parameters[2]), numpy.exp(parameters[3])
        scaled = points / scales[:, None]
        squares = ((scaled[:, :, None] - scaled[:, None, :]) ** 2).sum(0)
        covariance = amplitude**2 * numpy.exp(-0.5 * squares) + noise**2 * numpy.eye(len(observed))
        factor = numpy.linalg.cholesky(covariance)
        z = solve_triangular(factor, observed, lower=True)
        return -0.5 * (z @ z) - numpy.log(numpy.diagonal(factor)).sum() - 0.5 * len(observed) * LOG_TWO_PI

    return library.value_and_grad(likelihood)


def with_torch_likelihood(torch: Any) -> Callable[..., Any]:
    """Write it for torch."""

    def likelihood(parameters: Any, points: Any, observed: Any) -> Any:
        scales, amplitude, noise = torch.exp(parameters[:2]), torch.exp(parameters[2]), torch.exp(parameters[3])
        scaled = points / scales[:, None]
        squares = ((scaled[:, :, None] - scaled[:, None, :]) ** 2).sum(0)
        identity = torch.eye(len(observed), dtype=observed.dtype)
        covariance = amplitude**2 * torch.exp(-0.5 * squares) + noise**2 * identity
        factor = torch.linalg.cholesky(covariance)
        z = torch.linalg.solve_triangular(factor, observed[:, None], upper=False)[:, 0]
        return -0.5 * (z @ z) - torch.log(torch.diagonal(factor)).sum() - 0.5 * len(observed) * LOG_TWO_PI

    return likelihood


def with_torch(torch: Any) -> Callable[..., Any]:
    """Ask torch's tape."""
    function = with_torch_likelihood(torch)

    def both(parameters: Any, points: Any, observed: Any) -> Any:
        leaf = parameters.detach().requires_grad_()
        value = function(leaf, points, observed)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return both


def with_torch_transforms(torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    swapped = torch.func.grad_and_value(with_torch_likelihood(torch))

    def both(*given: Any) -> Any:
        gradient, value = swapped(*given)
        return value, gradient

    return both


def by_hand(parameters: np.ndarray, points: np.ndarray, observed: np.ndarray) -> Any:
    """Compute it from the closed form: half the trace of (alpha alpha^T - K^-1) dK, where K alpha = y."""
    from scipy.linalg import cho_solve, cholesky, lapack

    scales, amplitude, noise = np.exp(parameters[:2]), np.exp(parameters[2]), np.exp(parameters[3])
    scaled = points / scales[:, None]
    squares = (scaled[:, :, None] - scaled[:, None, :]) ** 2
    kernel = amplitude**2 * np.exp(-0.5 * squares.sum(0))
    covariance = kernel.copy()
    covariance.flat[:: len(observed) + 1] += noise**2
    factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    alpha = cho_solve((factor, True), observed, check_finite=False)
    value = -0.5 * (observed @ alpha) - np.log(np.diagonal(factor)).sum() - 0.5 * len(observed) * LOG_TWO_PI
    # The lower triangle of the inverse; the upper one is zero, as it is in the factor.
    inverse, _ = lapack.dpotri(factor, lower=1)
    trace = np.trace(inverse)
    inner = alpha[:, None] * alpha[None, :] - (inverse + inverse.T)
    inner.flat[:: len(observed) + 1] += np.diagonal(inverse)
    weighed = inner * kernel
    of_scales = [0.5 * np.vdot(weighed, square) for square in squares]
    return value, np.array([*of_scales, weighed.sum(), noise**2 * (alpha @ alpha - trace)])


LISTED = contenders(
    operands, both=with_both, torch=with_torch, torch_compiled=with_torch_transforms, by_hand=by_hand)
WORKLOAD = Workload(
    name="gaussian_process",
    title="Gaussian process, log marginal likelihood and gradient in 4 parameters, n observations",
    sizes=SIZES,
    growth=(8, 50, 150, 1_000),
    # A decomposition takes n^3 / 3, its derivative twice that.
    flops=lambda size: float(size) ** 3 + (ELEMENTARY + 20) * size**2,
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
    # A covariance with a condition of 1e5; the parts of a derivative are up to a hundred times as large as the derivative.
    relative_tolerance=1e-8,
    absolute_tolerance=1e-8,
)
