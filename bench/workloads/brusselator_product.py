"""The Brusselator on a line: Hessian of the squared residuals times vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import Workload
from bench.workloads import brusselator
from bench.workloads.brusselator import InTorch, distance
from bench.workloads.rosenbrock_product import in_casadi, in_pytensor, in_torch, in_torch_transforms

SIZES = brusselator.SIZES


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make a state and a direction."""
    return (*brusselator.operands(size), np.cos(np.arange(2 * size)))


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Go forward over reverse."""
    return lambda x, v: library.jvp(library.grad(distance(numpy)), (x,), (v,))[1]


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch."""
    return in_torch(torch, distance(InTorch(torch)))


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch's function transforms, which its compiler sees through."""
    return in_torch_transforms(torch, distance(InTorch(torch)))


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""
    return in_pytensor(pytensor, distance(tensor))


def build_casadi(casadi: Any) -> Callable[..., Any]:
    """Ask CasADi."""
    return in_casadi(casadi, brusselator.distance_in_casadi(casadi))


def directional(state: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Take a complex step in the gradient that is written by hand: exact to rounding."""
    step = 1e-30
    return brusselator.by_hand(state + 1j * step * direction)[1].imag / step


LISTED = contenders(
    operands,
    both=build,
    torch=build_torch,
    torch_compiled=build_torch_compiled,
    pytensor=build_pytensor,
    casadi=build_casadi,
    casadi_compiled=build_casadi,
    whole=True,
)
WORKLOAD = Workload(
    name="brusselator_product",
    title="Brusselator on a line of n cells, squared residuals, Hessian times vector",
    sizes=SIZES,
    growth=(1_000, 100_000),
    flops=lambda size: 80 * size,
    contenders=LISTED,
    expected=lambda size: directional(*operands(size)),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-11,
)
