"""Gauss-Seidel sweeps of Laplace's equation on n x n points, written with nested fori_loops and x.at[i, j].set(...)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import applied, sized, with_gradxform, with_jax, with_numba
from bench.peers import with_folding
from bench.workload import Call, Contender, Promise, Workload

SIZES = (200,)
SWEEPS = 20
# JAX copies the array for each element when it goes back.
SMALL = (8, 64)


@functools.lru_cache(maxsize=1)
def operands(extent: int) -> tuple[np.ndarray]:
    """Make the first array: a warm border around noise."""
    x = np.random.default_rng(11).standard_normal((extent, extent))
    x[0], x[-1], x[:, 0], x[:, -1] = 1.0, -1.0, 0.5, 2.0
    return (x,)


def smoothing(fori_loop: Callable[..., Any], extent: int) -> Callable[[Any], Any]:
    """Write the sweeps, one element at a time, each from neighbours of which two are new already."""

    def point(i: Any, j: Any, x: Any) -> Any:
        return x.at[i, j].set(0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]))

    def row(i: Any, x: Any) -> Any:
        return fori_loop(1, extent - 1, lambda j, x: point(i, j, x), x)

    def sweep(_: Any, x: Any) -> Any:
        return fori_loop(1, extent - 1, row, x)

    return lambda x: fori_loop(0, SWEEPS, sweep, x)


def energy(fori_loop: Callable[..., Any], extent: int) -> Callable[[Any], Any]:
    """Write the sum of squares after the sweeps."""
    smooth = smoothing(fori_loop, extent)
    return lambda x: (smooth(x) ** 2).sum()


def diagonals(extent: int) -> list[slice]:
    """List where, row after row, the inner points lie whose indices have the same sum: none of them needs another."""
    rows = [(max(1, total - extent + 2), min(total, extent - 1)) for total in range(2, 2 * extent - 3)]
    every = extent - 1
    return [slice(total + first * every, total + last * every, every) for total, (first, last) in enumerate(rows, start=2)]


def shifted(diagonal: slice, by: int) -> slice:
    """Give the neighbours of the points of a diagonal."""
    return slice(diagonal.start + by, diagonal.stop + by, diagonal.step)


@functools.lru_cache(maxsize=1)
def expected(extent: int) -> np.ndarray:
    """Sweep over diagonals."""
    x = operands(extent)[0].ravel().copy()
    for _ in range(SWEEPS):
        for diagonal in diagonals(extent):
            above, below, left, right = (x[shifted(diagonal, by)] for by in (-extent, extent, -1, 1))
            x[diagonal] = 0.25 * (above + below + left + right)
    return x.reshape(extent, extent)


@functools.lru_cache(maxsize=1)
def expected_gradient(extent: int) -> np.ndarray:
    """Go through the assignments backwards, spreading each cotangent over the four that were read."""
    bar = 2 * expected(extent).ravel()
    for _ in range(SWEEPS):
        for diagonal in reversed(diagonals(extent)):
            share = 0.25 * bar[diagonal]
            bar[diagonal] = 0.0
            for by in (-extent, extent, -1, 1):
                bar[shifted(diagonal, by)] += share
    return bar.reshape(extent, extent)


def build(extent: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for the array after the sweeps."""
    return smoothing(library.lax.fori_loop, extent)


def build_gradient(extent: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask them for the gradient of its energy."""
    return library.grad(energy(library.lax.fori_loop, extent))


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write the loops for Numba."""

    def smooth(given: np.ndarray) -> np.ndarray:
        x = given.copy()
        for _ in range(SWEEPS):
            for i in range(1, x.shape[0] - 1):
                for j in range(1, x.shape[1] - 1):
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
        function(size, SWEEPS, x.ctypes.data, y.ctypes.data)
        return y

    return applied(call, operands(size))


FORWARD, BACKWARD = sized(with_jax, build, operands), sized(with_jax, build_gradient, operands)
WORKLOAD = Workload(
    name="gauss_seidel",
    title=f"Gauss-Seidel with nested fori_loops and .at[i, j].set, n x n, {SWEEPS} sweeps",
    sizes=SIZES,
    growth=(8, 64, 512, 2_048),
    serial=True,
    contenders=(
        Contender("gradxform", sized(with_gradxform, build, operands), ("gradxform",)),
        Contender("C++", native, ("$g++",)),
        Contender("Numba", with_numba(build_numba, operands), ("numba",)),
        Contender("JAX", FORWARD, ("jax",)),
        Contender("JAX, folding", with_folding(FORWARD), ("jax",)),
        Contender(
            "gradxform, gradient",
            sized(with_gradxform, build_gradient, operands),
            ("gradxform",),
            expected=expected_gradient,
        ),
        Contender("JAX, gradient", BACKWARD, ("jax",), sizes=SMALL, expected=expected_gradient),
        Contender("JAX, gradient, folding", with_folding(BACKWARD), ("jax",), sizes=SMALL, expected=expected_gradient),
    ),
    expected=expected,
    promises=(
        Promise("JAX / gradxform, forward", lambda m: m.ratio("JAX", "gradxform", SIZES[-1]), at_least=50),
        Promise("Numba / gradxform, forward", lambda m: m.ratio("Numba", "gradxform", SIZES[-1]), at_least=1),
        Promise("gradxform / C++, forward", lambda m: m.ratio("gradxform", "C++", SIZES[-1]), at_most=1.5),
        Promise(
            "gradient / forward, gradxform", lambda m: m.ratio("gradxform, gradient", "gradxform", SIZES[-1]), at_most=6
        ),
        Promise(
            "JAX / gradxform, gradient", lambda m: m.ratio("JAX, gradient", "gradxform, gradient", SMALL[-1]), at_least=1
        ),
    ),
    relative_tolerance=1e-11,
)
