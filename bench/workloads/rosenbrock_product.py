"""Rosenbrock's function: Hessian times vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload
from bench.workloads import rosenbrock
from bench.workloads.rosenbrock import valley

SIZES = (100, 1_000, 1_000_000)


@functools.cache
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make a point and a direction."""
    return (*rosenbrock.operands(size), np.cos(np.arange(size)))


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Go forward over reverse."""
    return lambda x, v: library.jvp(library.grad(valley), (x,), (v,))[1]


def in_torch(torch: Any, objective: Callable[[Any], Any]) -> Callable[..., Any]:
    """Go back over a way back: in PyTorch several times as fast as forward over reverse, above all for few variables."""

    def call(x: Any, v: Any) -> Any:
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(leaf), leaf, create_graph=True)
        return torch.autograd.grad(gradient, leaf, v)[0]

    return call


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch."""
    return in_torch(torch, valley)


def by_hand(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Multiply by the three diagonals, written on paper."""
    diagonal = np.zeros_like(x)
    diagonal[1:] = 200.0
    diagonal[:-1] += 1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0
    beside = -400.0 * x[:-1]
    product = diagonal * v
    product[:-1] += beside * v[1:]
    product[1:] += beside * v[:-1]
    return product


WORKLOAD = Workload(
    name="rosenbrock_product",
    title="Rosenbrock's function, Hessian times vector",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands),
        Contender("NumPy, by hand", idioms.numpy(by_hand, operands)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=lambda size: by_hand(*operands(size)),
    promises=idioms.ahead(("JAX", "NumPy, by hand", "torch eager"), SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-9,
)
