"""Hessians of a function of 6 variables, at n points by vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Promise, Workload
from bench.workloads.small_jacobians import SIZES, VARIABLES, operands


def energy(numpy: Any) -> Callable[[Any], Any]:
    """Write a function whose second derivatives are all but a few of them not zero, and not constant."""

    def value(x: Any) -> Any:
        a, b, c, d, e, f = x[0], x[1], x[2], x[3], x[4], x[5]
        square = (x * x).sum()
        return numpy.sin(a * b) * numpy.exp(-c * c) + d * numpy.log1p(e * e) + numpy.tanh(f * d) + numpy.exp(-square / 4)

    return value


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.vmap(library.hessian(energy(numpy)))


def build_forward(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for forward over forward, which is faster in both at many points."""
    return library.vmap(library.jacfwd(library.jacfwd(energy(numpy))))


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch for reverse over reverse, which is its fastest."""
    return torch.func.vmap(torch.func.jacrev(torch.func.jacrev(energy(torch))))


def gradient(x: np.ndarray) -> np.ndarray:
    """Write the gradient from the derivative on paper, variables along the first axis."""
    a, b, c, d, e, f = x
    bell, wave, slope = np.exp(-c * c), np.sin(a * b), np.cos(a * b)
    bent = 1 - np.tanh(f * d) ** 2
    rows = np.stack(
        [
            b * slope * bell,
            a * slope * bell,
            -2 * c * wave * bell,
            np.log1p(e * e) + f * bent,
            2 * d * e / (1 + e * e),
            d * bent,
        ]
    )
    return rows - x / 2 * np.exp(-(x * x).sum(axis=0) / 4)


@functools.cache
def expected(size: int) -> np.ndarray:
    """Take complex steps in the gradient, all points at a time."""
    (points,) = operands(size)
    columns = [gradient((points + 1e-30j * unit).T).imag.T / 1e-30 for unit in np.eye(VARIABLES)]
    return np.ascontiguousarray(np.stack(columns, axis=-1))


WORKLOAD = Workload(
    name="small_hessians",
    title="6x6 Hessians of a function of 6 variables, at n points",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands),
        Contender("gradxform, forward twice", idioms.gradxform(build_forward, operands), ("gradxform",)),
        Contender("JAX, forward twice", idioms.jax(build_forward, operands), ("jax",)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=expected,
    promises=(
        Promise("JAX / gradxform, 100,000", lambda m: m.ratio("JAX", "gradxform", 100_000), at_least=8),
        Promise(
            "JAX, forward twice / gradxform, 100,000",
            lambda m: m.ratio("JAX, forward twice", "gradxform", 100_000),
            at_least=8,
        ),
        *idioms.ahead(("JAX", "torch eager"), SIZES[:-1]),
    ),
    relative_tolerance=1e-10,
)
