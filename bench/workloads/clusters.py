"""One step of k-means, and one of expectation maximisation for a mixture of Gaussians with diagonal covariances."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import Workload

SIZES = (1_000, 100_000)
FEATURES, CLUSTERS = 8, 16


@functools.cache
def operands(kind: str, count: int) -> tuple[np.ndarray, ...]:
    """Make points around centres, and a guess: centres; for the mixture also weights and variances."""
    random = np.random.default_rng(41)
    centres = 2 * random.standard_normal((CLUSTERS, FEATURES))
    # Every cluster has points, however few there are.
    points = centres[np.arange(count) % CLUSTERS] + random.standard_normal((count, FEATURES))
    guess = centres + 0.1 * random.standard_normal(centres.shape)
    if kind == "k_means":
        return points, guess
    return points, np.full(CLUSTERS, 1 / CLUSTERS), guess, random.uniform(0.8, 1.2, centres.shape)


def distances(points: Any, centres: Any) -> Any:
    """Give the squared distances less what does not depend on the centre: one product of matrices."""
    return (centres * centres).sum(1) - 2 * (points @ centres.T)


def k_means_with_gradxform() -> Callable[..., Any]:
    """Ask gradxform: sums by scattered addition."""
    import gradxform as gx

    def step(points: Any, centres: Any) -> Any:
        nearest = np.argmin(distances(points, centres), axis=1)
        sums = gx.numpy.zeros(centres.shape).at[nearest].add(points)
        counts = gx.numpy.zeros(CLUSTERS).at[nearest].add(1.0)
        return sums / counts[:, None]

    return step


def k_means_with_jax() -> Callable[..., Any]:
    """Ask JAX: sums by membership, which it multiplies faster than it scatters."""
    import jax
    import jax.numpy as jnp

    def step(points: Any, centres: Any) -> Any:
        members = jax.nn.one_hot(jnp.argmin(distances(points, centres), axis=1), CLUSTERS, dtype=points.dtype)
        return (members.T @ points) / members.sum(0)[:, None]

    return step


def k_means_with_torch() -> Callable[..., Any]:
    """Ask torch: sums by its indexed addition."""
    import torch

    def step(points: Any, centres: Any) -> Any:
        nearest = torch.argmin(distances(points, centres), 1)
        sums = torch.zeros_like(centres).index_add(0, nearest, points)
        return sums / torch.bincount(nearest, minlength=CLUSTERS)[:, None]

    return step


def k_means_by_hand(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Compute it in NumPy: sums by membership."""
    members = np.eye(CLUSTERS)[np.argmin(distances(points, centres), axis=1)]
    return (members.T @ points) / members.sum(axis=0)[:, None]


def mixture_step(numpy: Any, logsumexp: Callable[[Any], Any]) -> Callable[..., Any]:
    """Write the step for all libraries: mean log-likelihood of the guess, and weights, means and variances after it."""

    def step(points: Any, weights: Any, means: Any, variances: Any) -> Any:
        precisions = 1 / variances
        squares = points * points
        constant = numpy.log(weights) - 0.5 * (
            (means * means * precisions).sum(1) + numpy.log(variances).sum(1) + FEATURES * np.log(2 * np.pi)
        )
        logarithms = constant + points @ (means * precisions).T - 0.5 * (squares @ precisions.T)
        total = logsumexp(logarithms)
        shares = numpy.exp(logarithms - total[:, None])
        members = shares.sum(0)
        moved = (shares.T @ points) / members[:, None]
        spread = (shares.T @ squares) / members[:, None] - moved * moved
        return total.mean(), members / len(points), moved, spread

    return step


def mixture_with_gradxform() -> Callable[..., Any]:
    """Ask gradxform."""
    from gradxform.scipy.special import logsumexp

    return mixture_step(np, lambda x: logsumexp(x, axis=1))


def mixture_with_jax() -> Callable[..., Any]:
    """Ask JAX."""
    import jax
    import jax.numpy as jnp

    return mixture_step(jnp, lambda x: jax.nn.logsumexp(x, axis=1))


def mixture_with_torch() -> Callable[..., Any]:
    """Ask torch."""
    import torch

    return mixture_step(torch, lambda x: torch.logsumexp(x, 1))


def logsumexp_by_hand(x: np.ndarray) -> np.ndarray:
    """Compute it in NumPy."""
    greatest = x.max(axis=1)
    return greatest + np.log(np.exp(x - greatest[:, None]).sum(axis=1))


def workload(
    kind: str,
    title: str,
    gradxform: Callable[[], Callable[..., Any]],
    jax: Callable[[], Callable[..., Any]],
    torch: Callable[[], Callable[..., Any]],
    numpy: Callable[..., Any],
) -> Workload:
    """Make one of the two workloads."""
    given = functools.partial(operands, kind)
    listed = contenders(given, gradxform=gradxform, jax=jax, torch=torch, torch_compiled=torch, numpy=numpy)
    return Workload(
        name=f"clusters.{kind}",
        title=f"{title}, {FEATURES} features, {CLUSTERS} clusters",
        sizes=SIZES,
        contenders=listed,
        expected=lambda count: numpy(*given(count)),
        promises=promises(listed, SIZES),
        # Squares are subtracted, and sums go over all points.
        relative_tolerance=1e-8,
        absolute_tolerance=1e-9,
    )


WORKLOADS = (
    workload(
        "k_means",
        "a step of k-means",
        k_means_with_gradxform,
        k_means_with_jax,
        k_means_with_torch,
        k_means_by_hand,
    ),
    workload(
        "mixture",
        "a step of a Gaussian mixture",
        mixture_with_gradxform,
        mixture_with_jax,
        mixture_with_torch,
        mixture_step(np, logsumexp_by_hand),
    ),
)
