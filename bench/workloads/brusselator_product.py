"""The Brusselator on a line: Hessian of the squared residuals times vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload
from bench.workloads import brusselator
from bench.workloads.brusselator import InTorch, distance
from bench.workloads.rosenbrock_product import in_torch

SIZES = brusselator.SIZES


@functools.cache
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make a state and a direction."""
    return (*brusselator.operands(size), np.cos(np.arange(2 * size)))


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Go forward over reverse."""
    return lambda x, v: library.jvp(library.grad(distance(numpy)), (x,), (v,))[1]


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch."""
    return in_torch(torch, distance(InTorch(torch)))


def directional(state: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Take a complex step in the gradient that is written by hand: exact to rounding."""
    step = 1e-30
    return brusselator.by_hand(state + 1j * step * direction)[1].imag / step


WORKLOAD = Workload(
    name="brusselator_product",
    title="Brusselator on a line of n cells, squared residuals, Hessian times vector",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=lambda size: directional(*operands(size)),
    promises=idioms.ahead(("JAX", "torch eager"), SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-11,
)
