"""One step of k-means, and one of expectation maximisation for a mixture of Gaussians with diagonal covariances."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import Build, contenders, promises, threads
from bench.workload import Workload

SIZES = (1_000, 100_000)
FEATURES, CLUSTERS = 8, 16


@functools.lru_cache(maxsize=1)
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


def k_means_with_gradxform(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform: sums by scattered addition."""

    def step(points: Any, centres: Any) -> Any:
        nearest = numpy.argmin(distances(points, centres), axis=1)
        sums = numpy.zeros(centres.shape).at[nearest].add(points)
        counts = numpy.zeros(CLUSTERS).at[nearest].add(1.0)
        return sums / counts[:, None]

    return step


def k_means_with_jax(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask JAX: sums by membership, which it multiplies faster than it scatters."""

    def step(points: Any, centres: Any) -> Any:
        members = library.nn.one_hot(numpy.argmin(distances(points, centres), axis=1), CLUSTERS, dtype=points.dtype)
        return (members.T @ points) / members.sum(0)[:, None]

    return step


def k_means_with_torch(torch: Any) -> Callable[..., Any]:
    """Ask torch: sums by its indexed addition."""

    def step(points: Any, centres: Any) -> Any:
        nearest = torch.argmin(distances(points, centres), 1)
        sums = torch.zeros_like(centres).index_add(0, nearest, points)
        return sums / torch.bincount(nearest, minlength=CLUSTERS)[:, None]

    return step


def k_means_with_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops for Numba: each thread finds the centres of its share of the points, and adds them up."""
    shares = threads()

    def step(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
        sums, counts = np.zeros((shares, CLUSTERS, FEATURES)), np.zeros((shares, CLUSTERS))
        for share in numba.prange(shares):
            for i in range(share * len(points) // shares, (share + 1) * len(points) // shares):
                nearest, least = 0, 1e300
                for cluster in range(CLUSTERS):
                    square = 0.0
                    for feature in range(FEATURES):
                        square += (points[i, feature] - centres[cluster, feature]) ** 2
                    if square < least:
                        nearest, least = cluster, square
                counts[share, nearest] += 1
                for feature in range(FEATURES):
                    sums[share, nearest, feature] += points[i, feature]
        return sums.sum(axis=0) / counts.sum(axis=0).reshape(CLUSTERS, 1)

    return njit(step)


def mixture_with_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""
    return mixture_step(tensor, lambda x: tensor.logsumexp(x, axis=1))


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
        return total.mean(), members / points.shape[0], moved, spread

    return step


def mixture_with_both(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return mixture_step(numpy, functools.partial(library.scipy.special.logsumexp, axis=1))


def mixture_with_torch(torch: Any) -> Callable[..., Any]:
    """Ask torch."""
    return mixture_step(torch, lambda x: torch.logsumexp(x, 1))


def logsumexp_by_hand(x: np.ndarray) -> np.ndarray:
    """Compute it in NumPy."""
    greatest = x.max(axis=1)
    return greatest + np.log(np.exp(x - greatest[:, None]).sum(axis=1))


def workload(
    kind: str,
    title: str,
    gradxform: Build,
    jax: Build,
    torch: Build,
    numpy: Callable[..., Any],
    **others: Any,
) -> Workload:
    """Make one of the two workloads."""
    given = functools.partial(operands, kind)
    listed = contenders(given, gradxform=gradxform, jax=jax, torch=torch, torch_compiled=torch, numpy=numpy, **others)
    return Workload(
        name=f"clusters.{kind}",
        title=f"{title}, {FEATURES} features, {CLUSTERS} clusters",
        sizes=SIZES,
        growth=(100, 10_000, 1_000_000),
        flops=lambda count: (4 if kind == "k_means" else 8) * FEATURES * CLUSTERS * count,
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
        numba=k_means_with_numba,
    ),
    workload(
        "mixture",
        "a step of a Gaussian mixture",
        mixture_with_both,
        mixture_with_both,
        mixture_with_torch,
        mixture_step(np, logsumexp_by_hand),
        pytensor=mixture_with_pytensor,
    ),
)
