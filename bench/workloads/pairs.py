"""Energies over all pairs of points, value and gradient in the points: gravitation, and a Gaussian kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_native
from bench.workload import Workload

SIZES = (100, 1_000)
SOFTENING = 1e-3
KINDS = ("gravitation", "gaussian")
# Gravitation in three dimensions, the kernel in more features.
DIMENSIONS = {"gravitation": 3, "gaussian": 8}


@functools.cache
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


def with_gradxform(kind: str) -> Callable[..., Any]:
    """Ask gradxform."""
    import gradxform as gx

    return gx.value_and_grad(energy(kind, np))


def with_jax(kind: str) -> Callable[..., Any]:
    """Ask JAX."""
    import jax
    import jax.numpy as jnp

    return jax.value_and_grad(energy(kind, jnp))


def with_torch(kind: str) -> Callable[..., Any]:
    """Ask torch's tape."""
    import torch

    function = energy(kind, torch)

    def both(points: Any, *weights: Any) -> Any:
        leaf = points.detach().requires_grad_()
        value = function(leaf, *weights)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return both


def with_torch_transforms(kind: str) -> Callable[..., Any]:
    """Ask torch's function transforms, which its compiler sees through."""
    import torch

    swapped = torch.func.grad_and_value(energy(kind, torch))

    def both(*given: Any) -> Any:
        gradient, value = swapped(*given)
        return value, gradient

    return both


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
        gradxform=lambda: with_gradxform(kind),
        jax=lambda: with_jax(kind),
        torch=lambda: with_torch(kind),
        torch_compiled=lambda: with_torch_transforms(kind),
        by_hand=functools.partial(by_hand, kind),
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
        contenders=listed,
        expected=lambda count: by_hand(kind, *given(count)),
        promises=promises(listed, SIZES),
        # Forces on a point cancel; close pairs have large ones.
        relative_tolerance=1e-9,
        absolute_tolerance=1e-8,
    )


WORKLOADS = tuple(workload(kind) for kind in KINDS)
