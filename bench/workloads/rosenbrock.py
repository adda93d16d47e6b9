"""Rosenbrock's function: value and gradient."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Call, Contender, Workload

SIZES = (100, 1_000, 100_000, 1_000_000)


@functools.cache
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

    return idioms.calling(call, operands(size))


WORKLOAD = Workload(
    name="rosenbrock",
    title="Rosenbrock's function, value and gradient",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands),
        Contender("C++, new array", native, ("$g++",)),
        Contender("NumPy, by hand", idioms.numpy(by_hand, operands)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=lambda size: by_hand(*operands(size)),
    promises=idioms.ahead(("JAX", "NumPy, by hand", "torch eager"), SIZES),
    relative_tolerance=1e-10,
    # Entries of the gradient are differences of terms a thousand times as large.
    absolute_tolerance=1e-9,
)
