"""Energies over all pairs of points, value and gradient in the points: gravitation, and a Gaussian kernel."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, threads, with_native
from bench.workload import ELEMENTARY, Workload

SIZES = (100, 1_000)
SOFTENING = 1e-3
KINDS = ("gravitation", "gaussian")
# Gravitation in three dimensions, the kernel in more features.
DIMENSIONS = {"gravitation": 3, "gaussian": 8}


@functools.lru_cache(maxsize=1)
def operands(kind: str, count: int) -> tuple[np.ndarray, ...]:
    """Make the points, a row for each coordinate; for the kernel, a weight for each point."""
    random = np.random.default_rng(37)
    points = random.standard_normal((DIMENSIONS[kind], count))
    return (points,) if kind == "gravitation" else (points, random.standard_normal(count))


def energy(kind: str, numpy: Any) -> Callable[..., Any]:
    """Write the energy with a matrix of squared distances, for all libraries."""

    def squares(points: Any) -> Any:
        differences = points[:, :, None] - points[:, None, :]
        return (differences * differences).sum(0)

    def gravitation(points: Any) -> Any:
        return -0.5 * (1 / numpy.sqrt(squares(points) + SOFTENING)).sum()

    def gaussian(points: Any, weights: Any) -> Any:
        return (weights[:, None] * weights[None, :] * numpy.exp(-0.5 * squares(points))).sum()

    return gravitation if kind == "gravitation" else gaussian


def value_alone(kind: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform for the energy."""
    return energy(kind, numpy)


def with_both(kind: str, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.value_and_grad(energy(kind, numpy))


def with_torch(kind: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's tape."""
    function = energy(kind, torch)

    def both(points: Any, *weights: Any) -> Any:
        leaf = points.detach().requires_grad_()
        value = function(leaf, *weights)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return both


def with_torch_transforms(kind: str, torch: Any) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    swapped = torch.func.grad_and_value(energy(kind, torch))

    def both(*given: Any) -> Any:
        gradient, value = swapped(*given)
        return value, gradient

    return both


def with_pytensor(kind: str, pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""
    function = energy(kind, tensor)

    def both(points: Any, *weights: Any) -> Any:
        value = function(points, *weights)
        return value, pytensor.grad(value, points)

    return both


def with_numba(kind: str, numba: Any, _: Any) -> Callable[..., Any]:
    """Write loops for Numba: all pairs, each point's force summed up before it is stored; in threads from a hundred points."""

    def gravitation(points: np.ndarray) -> Any:
        count = points.shape[1]
        gradient, value = np.empty_like(points), 0.0
        x, y, z = points
        for i in numba.prange(count):
            near, pull_x, pull_y, pull_z = 0.0, 0.0, 0.0, 0.0
            for j in range(count):
                dx, dy, dz = x[i] - x[j], y[i] - y[j], z[i] - z[j]
                inverse = 1 / math.sqrt(dx * dx + dy * dy + dz * dz + SOFTENING)
                cube = inverse * inverse * inverse
                near += inverse
                pull_x += cube * dx
                pull_y += cube * dy
                pull_z += cube * dz
            value -= 0.5 * near
            gradient[0, i], gradient[1, i], gradient[2, i] = pull_x, pull_y, pull_z
        return value, gradient

    def gaussian(points: np.ndarray, weights: np.ndarray) -> Any:
        dimensions, count = points.shape
        gradient, value = np.empty_like(points), 0.0
        rows = np.ascontiguousarray(points.T)
        for i in numba.prange(count):
            near, pull = 0.0, np.zeros(dimensions)
            for j in range(count):
                square = 0.0
                for d in range(dimensions):
                    square += (rows[i, d] - rows[j, d]) ** 2
                kernel = weights[j] * math.exp(-0.5 * square)
                near += kernel
                for d in range(dimensions):
                    pull[d] += kernel * (rows[i, d] - rows[j, d])
            value += weights[i] * near
            gradient[:, i] = -2 * weights[i] * pull
        return value, gradient

    chosen = gravitation if kind == "gravitation" else gaussian
    serial = numba.njit(fastmath=True)(chosen)
    if threads() == 1:
        return serial
    parallel = numba.njit(fastmath=True, parallel=True)(chosen)
    return lambda points, *weights: (parallel if points.shape[1] > 100 else serial)(points, *weights)


def by_hand(kind: str, points: np.ndarray, *weights: np.ndarray) -> tuple[np.float64, np.ndarray]:
    """Compute both in NumPy; the gradient of a sum over pairs is a matrix of forces times the points."""
    squares = sum((row[:, None] - row[None, :]) ** 2 for row in points)
    if kind == "gravitation":
        inverse = 1 / np.sqrt(squares + SOFTENING)
        value, pull = -0.5 * inverse.sum(), inverse**3
    else:
        kernel = np.outer(*weights * 2) * np.exp(-0.5 * squares)
        value, pull = kernel.sum(), -2 * kernel
    return value, points * pull.sum(axis=1) - points @ pull


def workload(kind: str) -> Workload:
    """Make the workload of one energy."""
    given = functools.partial(operands, kind)
    dimensions = DIMENSIONS[kind]
    listed = contenders(
        given,
        both=functools.partial(with_both, kind),
        torch=functools.partial(with_torch, kind),
        torch_compiled=functools.partial(with_torch_transforms, kind),
        value=functools.partial(value_alone, kind),
        expected_value=lambda count: by_hand(kind, *given(count))[0],
        by_hand=functools.partial(by_hand, kind),
        numba=functools.partial(with_numba, kind),
        pytensor=functools.partial(with_pytensor, kind),
        native=with_native(
            kind,
            kind,
            given,
            lambda count: (count,),
            lambda count: ((), (dimensions, count)),
            elementary=kind == "gaussian",
        ),
    )
    return Workload(
        name=f"pairs.{kind}",
        title=f"{kind} energy of all pairs of points in {dimensions} dimensions, value and gradient",
        sizes=SIZES,
        growth=(10, 300, 3_000),
        fused=True,
        flops=lambda count: (8 * dimensions + (ELEMENTARY if kind == "gaussian" else 6)) * count**2,
        contenders=listed,
        expected=lambda count: by_hand(kind, *given(count)),
        promises=promises(listed, SIZES),
        # Forces on a point cancel; close pairs have large ones.
        relative_tolerance=1e-9,
        absolute_tolerance=1e-8,
    )


WORKLOADS = tuple(workload(kind) for kind in KINDS)
