"""Rosenbrock's function: value and gradient."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import applied, contenders, promises, value_and_gradient
from bench.workload import Call, Workload

SIZES = (100, 1_000, 100_000, 1_000_000)


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make a point: away from the minimum and from any pattern."""
    return (1 + 0.5 * np.random.default_rng(7).standard_normal(size),)


def valley(x: Any) -> Any:
    """Write the function."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for value and gradient."""
    return library.value_and_grad(valley)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch."""

    def call(x: Any) -> Any:
        leaf = x.detach().requires_grad_()
        value = valley(leaf)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return call


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch's function transforms, which its compiler sees through."""
    swapped = torch.func.grad_and_value(valley)

    def call(x: Any) -> Any:
        gradient, value = swapped(x)
        return value, gradient

    return call


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""
    return value_and_gradient(pytensor.grad, valley)


def valley_in_casadi(casadi: Any) -> Callable[[Any], Any]:
    """Write the function with CasADi's sums of squares."""
    return lambda x: 100 * casadi.sumsqr(x[1:] - x[:-1] ** 2) + casadi.sumsqr(1 - x[:-1])


def build_casadi(casadi: Any) -> Callable[..., Any]:
    """Ask CasADi."""
    return value_and_gradient(casadi.gradient, valley_in_casadi(casadi))


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write a loop for Numba: each entry of the gradient from its two neighbours."""

    def call(x: np.ndarray) -> Any:
        last = x.size - 1
        gradient = np.empty_like(x)
        rise, gap = x[1] - x[0] * x[0], 1 - x[0]
        total = 100 * rise * rise + gap * gap
        gradient[0] = -400 * rise * x[0] - 2 * gap
        for i in numba.prange(1, last):
            before, after, here = x[i] - x[i - 1] * x[i - 1], x[i + 1] - x[i] * x[i], 1 - x[i]
            gradient[i] = 200 * before - 400 * after * x[i] - 2 * here
            total += 100 * after * after + here * here
        gradient[last] = 200 * (x[last] - x[last - 1] * x[last - 1])
        return total, gradient

    return njit(call)


def by_hand(x: np.ndarray) -> tuple[np.floating[Any], np.ndarray]:
    """Write value and gradient in NumPy, from the derivative on paper."""
    rise, gap = x[1:] - x[:-1] ** 2, 1.0 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[1:] = 200.0 * rise
    gradient[:-1] -= 400.0 * rise * x[:-1] + 2.0 * gap
    return np.sum(100.0 * rise**2 + gap**2), gradient


def native(size: int) -> Call:
    """C++ called through ctypes, a new gradient every call."""
    from bench.native import load

    function = load("rosenbrock", elementary=False).rosenbrock
    function.argtypes, function.restype = (ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p), ctypes.c_double

    def call(x: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.empty_like(x)
        return function(x.size, x.ctypes.data, gradient.ctypes.data), gradient

    return applied(call, operands(size))


def build_value(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the value alone."""
    return valley


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
    native=native,
    value=build_value,
    expected_value=lambda size: by_hand(*operands(size))[0],
)
WORKLOAD = Workload(
    name="rosenbrock",
    title="Rosenbrock's function, value and gradient",
    sizes=SIZES,
    growth=(10_000, 10_000_000),
    flops=lambda size: 15 * size,
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
    # Entries of the gradient are differences of terms a thousand times as large.
    absolute_tolerance=1e-9,
)
