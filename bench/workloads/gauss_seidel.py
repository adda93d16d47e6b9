"""Gauss-Seidel sweeps of Laplace's equation, 200x200, written with nested fori_loops and x.at[i, j].set(...)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import applied, sized, with_gradxform, with_jax, with_numba
from bench.peers import with_folding
from bench.workload import Call, Contender, Promise, Workload

EXTENT = 200
SWEEPS = 20


def operands(sweeps: int) -> tuple[np.ndarray]:
    """Make the first array: a warm border around noise."""
    x = np.random.default_rng(11).standard_normal((EXTENT, EXTENT))
    x[0], x[-1], x[:, 0], x[:, -1] = 1.0, -1.0, 0.5, 2.0
    return (x,)


def smoothing(fori_loop: Callable[..., Any], sweeps: int) -> Callable[[Any], Any]:
    """Write the sweeps, one element at a time, each from neighbours of which two are new already."""

    def point(i: Any, j: Any, x: Any) -> Any:
        return x.at[i, j].set(0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]))

    def row(i: Any, x: Any) -> Any:
        return fori_loop(1, EXTENT - 1, lambda j, x: point(i, j, x), x)

    def sweep(_: Any, x: Any) -> Any:
        return fori_loop(1, EXTENT - 1, row, x)

    return lambda x: fori_loop(0, sweeps, sweep, x)


def energy(fori_loop: Callable[..., Any], sweeps: int) -> Callable[[Any], Any]:
    """Write the sum of squares after the sweeps."""
    smooth = smoothing(fori_loop, sweeps)
    return lambda x: (smooth(x) ** 2).sum()


@functools.cache
def expected(sweeps: int) -> np.ndarray:
    """Sweep over lists in Python."""
    x = operands(sweeps)[0].tolist()
    for _ in range(sweeps):
        for i in range(1, EXTENT - 1):
            above, here, below = x[i - 1], x[i], x[i + 1]
            for j in range(1, EXTENT - 1):
                here[j] = 0.25 * (above[j] + below[j] + here[j - 1] + here[j + 1])
    return np.array(x)


@functools.cache
def expected_gradient(sweeps: int) -> np.ndarray:
    """Go through the assignments backwards, spreading each cotangent over the four that were read."""
    bar = (2 * expected(sweeps)).tolist()
    for _ in range(sweeps):
        for i in range(EXTENT - 2, 0, -1):
            above, here, below = bar[i - 1], bar[i], bar[i + 1]
            for j in range(EXTENT - 2, 0, -1):
                share = 0.25 * here[j]
                here[j] = 0.0
                above[j] += share
                below[j] += share
                here[j - 1] += share
                here[j + 1] += share
    return np.array(bar)


def build(sweeps: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for the array after the sweeps."""
    return smoothing(library.lax.fori_loop, sweeps)


def build_gradient(sweeps: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask them for the gradient of its energy."""
    return library.grad(energy(library.lax.fori_loop, sweeps))


def build_numba(sweeps: int, numba: Any, njit: Any) -> Callable[..., Any]:
    """Write the loops for Numba."""

    def smooth(given: np.ndarray) -> np.ndarray:
        x = given.copy()
        for _ in range(sweeps):
            for i in range(1, EXTENT - 1):
                for j in range(1, EXTENT - 1):
                    x[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])
        return x

    return numba.njit(fastmath=True)(smooth)


def native(size: int) -> Call:
    """C++."""
    from bench.native import load

    function = load("gauss_seidel", elementary=False).gauss_seidel
    function.argtypes, function.restype = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p), None

    def call(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        function(EXTENT, size, x.ctypes.data, y.ctypes.data)
        return y

    return applied(call, operands(size))


FORWARD, BACKWARD = sized(with_jax, build, operands), sized(with_jax, build_gradient, operands)
WORKLOAD = Workload(
    name="gauss_seidel",
    title="Gauss-Seidel with nested fori_loops and .at[i, j].set, 200x200, sweeps",
    sizes=(1, SWEEPS),
    serial=True,
    contenders=(
        Contender("gradxform", sized(with_gradxform, build, operands), ("gradxform",)),
        Contender("C++", native, ("$g++",)),
        Contender("Numba", sized(with_numba, build_numba, operands), ("numba",)),
        Contender("JAX", FORWARD, ("jax",)),
        Contender("JAX, folding", with_folding(FORWARD), ("jax",)),
        Contender(
            "gradxform, gradient",
            sized(with_gradxform, build_gradient, operands),
            ("gradxform",),
            expected=expected_gradient,
        ),
        Contender("JAX, gradient", BACKWARD, ("jax",), sizes=(1,), expected=expected_gradient),
        Contender("JAX, gradient, folding", with_folding(BACKWARD), ("jax",), sizes=(1,), expected=expected_gradient),
    ),
    expected=expected,
    promises=(
        Promise("JAX / gradxform, forward", lambda m: m.ratio("JAX", "gradxform", SWEEPS), at_least=50),
        Promise("Numba / gradxform, forward", lambda m: m.ratio("Numba", "gradxform", SWEEPS), at_least=1),
        Promise("gradxform / C++, forward", lambda m: m.ratio("gradxform", "C++", SWEEPS), at_most=1.5),
        Promise(
            "gradient / forward, gradxform", lambda m: m.ratio("gradxform, gradient", "gradxform", SWEEPS), at_most=6
        ),
        Promise(
            "JAX / gradxform, gradient, 1 sweep", lambda m: m.ratio("JAX, gradient", "gradxform, gradient", 1), at_least=1
        ),
    ),
    relative_tolerance=1e-11,
)
