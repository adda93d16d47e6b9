"""Jacobians of a function of 6 variables in 6 variables, at n points by vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload

SIZES = (100, 10_000, 100_000)
VARIABLES = 6
LENGTHS = (0.4, 0.35, 0.3, 0.2, 0.15)


@functools.cache
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make the points."""
    return (np.random.default_rng(8).uniform(-1, 1, (size, VARIABLES)),)


def reach(numpy: Any) -> Callable[[Any], Any]:
    """Write where an arm of five links stands, and how it stands: two joints turn it, four lift it."""

    def position(q: Any) -> Any:
        x, y, z = 0.0, 0.0, 0.0
        turn, lift = q[0], q[1]
        for joint, length in enumerate(LENGTHS, start=1):
            if joint == 3:
                turn = turn + q[joint]
            elif joint > 1:
                lift = lift + q[joint]
            x = x + length * numpy.cos(turn) * numpy.cos(lift)
            y = y + length * numpy.sin(turn) * numpy.cos(lift)
            z = z + length * numpy.sin(lift)
        return numpy.stack([x, y, z, turn, lift, x * x + y * y + z * z])

    return position


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX, forward mode."""
    return library.vmap(library.jacfwd(reach(numpy)))


def build_reverse(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for reverse mode: as many columns as rows, so either may be the faster."""
    return library.vmap(library.jacrev(reach(numpy)))


def build_torch_reverse(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, reverse mode."""
    return torch.func.vmap(torch.func.jacrev(reach(torch)))


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, forward mode."""
    return torch.func.vmap(torch.func.jacfwd(reach(torch)))


@functools.cache
def expected(size: int) -> np.ndarray:
    """Take complex steps, all points at a time."""
    (points,) = operands(size)
    columns = [reach(np)((points + 1e-30j * unit).T).imag.T / 1e-30 for unit in np.eye(VARIABLES)]
    return np.ascontiguousarray(np.stack(columns, axis=-1))


WORKLOAD = Workload(
    name="small_jacobians",
    title="6x6 Jacobians of a chain of six joints, at n points",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands),
        Contender("gradxform, reverse", idioms.gradxform(build_reverse, operands), ("gradxform",)),
        Contender("JAX, reverse", idioms.jax(build_reverse, operands), ("jax",)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
        Contender("torch eager, reverse", idioms.torch(build_torch_reverse, operands), ("torch",)),
    ),
    expected=expected,
    promises=idioms.ahead(("JAX", "JAX, reverse", "torch eager", "torch eager, reverse"), SIZES),
    relative_tolerance=1e-10,
)
