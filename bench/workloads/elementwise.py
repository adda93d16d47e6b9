"""exp(-x²)·sin(x) + log1p(x²): three elementary functions per element, in cache and out of it, float64 and float32."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import with_torch
from bench.workload import Call, Contender, Promise, Workload

SIZES = (1_000, 100_000, 10_000_000)


def operand(dtype: type, size: int) -> np.ndarray:
    """Make the argument: values spread over the interesting range in no particular order."""
    return (2 * np.sin(0.37 * np.arange(size))).astype(dtype)


def function(x: np.ndarray) -> np.ndarray:
    """Compute the workload in NumPy's terms."""
    return np.exp(-x * x) * np.sin(x) + np.log1p(x * x)


def gradxform(dtype: type, size: int) -> Call:
    """gradxform, a new output array every call."""
    import gradxform as gx

    return Call("f(x)", {"f": gx.jit(function), "x": operand(dtype, size)})


def numpy(dtype: type, size: int) -> Call:
    """NumPy, a temporary for every step."""
    return Call("f(x)", {"f": function, "x": operand(dtype, size)})


def native(dtype: type) -> Any:
    """Load the C++."""
    from bench.native import load

    function = getattr(load("elementwise"), f"elementwise_{dtype.__name__}")
    function.argtypes, function.restype = (ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p), None
    return function


def native_new(dtype: type, size: int) -> Call:
    """C++ called through ctypes, a new output array every call."""
    function = native(dtype)

    def call(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        function(x.size, x.ctypes.data, y.ctypes.data)
        return y

    return Call("f(x)", {"f": call, "x": operand(dtype, size)})


def native_in_place(dtype: type, size: int) -> Call:
    """C++ called through ctypes with ready pointers, writing into the same array every time."""
    function = native(dtype)
    x = operand(dtype, size)
    y = np.empty_like(x)
    names = {"f": function, "n": size, "source": x.ctypes.data, "target": y.ctypes.data, "x": x, "y": y}
    return Call("(f(n, source, target), y)[1]", names)


def jax_device(dtype: type, size: int) -> Call:
    """JAX with its own arrays in and out."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(lambda x: jnp.exp(-x * x) * jnp.sin(x) + jnp.log1p(x * x))
    return Call("f(x).block_until_ready()", {"f": f, "x": jnp.asarray(operand(dtype, size))})


def jax_numpy(dtype: type, size: int) -> Call:
    """JAX from a NumPy array to a NumPy array."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(lambda x: jnp.exp(-x * x) * jnp.sin(x) + jnp.log1p(x * x))
    return Call("asarray(f(x))", {"f": f, "x": operand(dtype, size), "asarray": np.asarray})


def numba_loop(dtype: type, size: int) -> Call:
    """Numba, a loop written by hand, parallel and with fast maths."""
    import math

    from numba import njit, prange

    @njit(parallel=True, fastmath=True)
    def call(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        for i in prange(x.size):
            square = x[i] * x[i]
            y[i] = math.exp(-square) * math.sin(x[i]) + math.log1p(square)
        return y

    return Call("f(x)", {"f": call, "x": operand(dtype, size)})


def torch_function() -> Callable[[Any], Any]:
    """torch's operations."""
    import torch

    return lambda x: torch.exp(-x * x) * torch.sin(x) + torch.log1p(x * x)


def promises(size: int) -> tuple[Promise, ...]:
    """Hold the figures at one size against C++ and JAX; each under the conditions that are hardest for us."""
    return (
        Promise(
            f"gradxform / C++ with a new array, {size:,}",
            lambda m: m.ratio("gradxform", "C++, new array", size),
            at_most=1.5,
        ),
        Promise(
            f"gradxform / C++ into the same array, {size:,}",
            lambda m: m.ratio("gradxform", "C++, same array", size),
            at_most=1.5,
        ),
        Promise(
            f"JAX on its own arrays / gradxform, {size:,}",
            lambda m: m.ratio("JAX, its own arrays", "gradxform", size),
            at_least=4,
        ),
        Promise(
            f"torch compiled / gradxform, {size:,}",
            lambda m: m.ratio("torch compiled", "gradxform", size),
            at_least=1,
        ),
    )


def expected(dtype: type, size: int) -> np.ndarray:
    """Compute it in float64."""
    return function(operand(dtype, size).astype(np.float64)).astype(dtype)


def workload(name: str, dtype: type, relative_tolerance: float) -> Workload:
    """Make the workload in one precision."""

    def of(prepare: Callable[[type, int], Call]) -> Callable[[int], Call]:
        return functools.partial(prepare, dtype)

    def operands(size: int) -> tuple[np.ndarray]:
        return (operand(dtype, size),)

    compiled = with_torch(torch_function, operands, compiled=True)
    return Workload(
        name=name,
        title=f"exp(-x²)·sin(x) + log1p(x²), {dtype.__name__}",
        sizes=SIZES,
        contenders=(
            Contender("gradxform", of(gradxform), ("gradxform",)),
            Contender("C++, new array", of(native_new), ("$g++",)),
            Contender("C++, same array", of(native_in_place), ("$g++",)),
            Contender("NumPy", of(numpy)),
            Contender("JAX, its own arrays", of(jax_device), ("jax",)),
            Contender("JAX, NumPy in and out", of(jax_numpy), ("jax",)),
            Contender("Numba, loop by hand", of(numba_loop), ("numba",)),
            Contender("torch eager", with_torch(torch_function, operands), ("torch",)),
            Contender("torch compiled", compiled, ("torch", "$g++")),
        ),
        expected=functools.partial(expected, dtype),
        promises=promises(100_000) + promises(10_000_000),
        relative_tolerance=relative_tolerance,
        # Near a zero the terms of float32 cancel.
        absolute_tolerance=relative_tolerance / 10,
    )


WORKLOAD = workload("elementwise", np.float64, 1e-12)
