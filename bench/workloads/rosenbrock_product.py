"""Rosenbrock's function: Hessian times vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import Workload
from bench.workloads import rosenbrock
from bench.workloads.rosenbrock import valley

SIZES = (100, 1_000, 1_000_000)


@functools.lru_cache(maxsize=1)
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


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch's function transforms, which its compiler sees through."""
    return in_torch_transforms(torch, valley)


def in_torch_transforms(torch: Any, objective: Callable[[Any], Any]) -> Callable[..., Any]:
    """Go back over a way back."""
    gradient = torch.func.grad(objective)
    return lambda x, v: torch.func.grad(lambda x: (gradient(x) * v).sum())(x)


def in_pytensor(pytensor: Any, objective: Callable[[Any], Any]) -> Callable[..., Any]:
    """Go back over a way back."""
    return lambda x, v: pytensor.grad((pytensor.grad(objective(x), x) * v).sum(), x)


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""
    return in_pytensor(pytensor, valley)


def in_casadi(casadi: Any, objective: Callable[[Any], Any]) -> Callable[..., Any]:
    """Go forward over reverse."""
    return lambda x, v: casadi.jtimes(casadi.gradient(objective(x), x), x, v)


def build_casadi(casadi: Any) -> Callable[..., Any]:
    """Ask CasADi."""
    return in_casadi(casadi, rosenbrock.valley_in_casadi(casadi))


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write a loop for Numba, with the three diagonals."""

    def call(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        last = x.size - 1
        product = np.empty_like(x)
        product[0] = (1200 * x[0] * x[0] - 400 * x[1] + 2) * v[0] - 400 * x[0] * v[1]
        for i in numba.prange(1, last):
            diagonal = 202 + 1200 * x[i] * x[i] - 400 * x[i + 1]
            product[i] = diagonal * v[i] - 400 * (x[i - 1] * v[i - 1] + x[i] * v[i + 1])
        product[last] = 200 * v[last] - 400 * x[last - 1] * v[last - 1]
        return product

    return njit(call)


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


LISTED = contenders(
    operands,
    both=build,
    torch=build_torch,
    torch_compiled=build_torch_compiled,
    numba=build_numba,
    pytensor=build_pytensor,
    casadi=build_casadi,
    casadi_compiled=build_casadi,
    whole=True,
    by_hand=by_hand,
)
WORKLOAD = Workload(
    name="rosenbrock_product",
    title="Rosenbrock's function, Hessian times vector",
    sizes=SIZES,
    growth=(10_000, 100_000, 10_000_000),
    flops=lambda size: 18 * size,
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-9,
)
