"""exp(-x²)·sin(x) + log1p(x²): three elementary functions per element, in cache and out of it."""

from __future__ import annotations

import ctypes

import numpy as np

from bench.workload import Call, Contender, Promise, Workload

SIZES = (1_000, 100_000, 10_000_000)


def operand(size: int) -> np.ndarray:
    """Make the argument: values spread over the interesting range in no particular order."""
    return 2 * np.sin(0.37 * np.arange(size))


def function(x: np.ndarray) -> np.ndarray:
    """Compute the workload in NumPy's terms."""
    return np.exp(-x * x) * np.sin(x) + np.log1p(x * x)


def gradxform(size: int) -> Call:
    """gradxform, a new output array every call."""
    import gradxform as gx

    return Call("f(x)", {"f": gx.jit(function), "x": operand(size)})


def numpy(size: int) -> Call:
    """NumPy, a temporary for every step."""
    return Call("f(x)", {"f": function, "x": operand(size)})


def native_new(size: int) -> Call:
    """C++ called through ctypes, a new output array every call."""
    from bench.native import load

    function = load("elementwise").elementwise
    function.argtypes, function.restype = (ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p), None

    def call(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        function(x.size, x.ctypes.data, y.ctypes.data)
        return y

    return Call("f(x)", {"f": call, "x": operand(size)})


def native_in_place(size: int) -> Call:
    """C++ called through ctypes with ready pointers, writing into the same array every time."""
    from bench.native import load

    function = load("elementwise").elementwise
    function.argtypes, function.restype = (ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p), None
    x = operand(size)
    y = np.empty_like(x)
    names = {"f": function, "n": size, "source": x.ctypes.data, "target": y.ctypes.data, "x": x, "y": y}
    return Call("(f(n, source, target), y)[1]", names)


def jax_device(size: int) -> Call:
    """JAX with its own arrays in and out."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(lambda x: jnp.exp(-x * x) * jnp.sin(x) + jnp.log1p(x * x))
    return Call("f(x).block_until_ready()", {"f": f, "x": jnp.asarray(operand(size))})


def jax_numpy(size: int) -> Call:
    """JAX from a NumPy array to a NumPy array."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(lambda x: jnp.exp(-x * x) * jnp.sin(x) + jnp.log1p(x * x))
    return Call("asarray(f(x))", {"f": f, "x": operand(size), "asarray": np.asarray})


def numba_loop(size: int) -> Call:
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

    return Call("f(x)", {"f": call, "x": operand(size)})


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
    )


WORKLOAD = Workload(
    name="elementwise",
    title="exp(-x²)·sin(x) + log1p(x²)",
    sizes=SIZES,
    contenders=(
        Contender("gradxform", gradxform, ("gradxform",)),
        Contender("C++, new array", native_new, ("$g++",)),
        Contender("C++, same array", native_in_place, ("$g++",)),
        Contender("NumPy", numpy),
        Contender("JAX, its own arrays", jax_device, ("jax",)),
        Contender("JAX, NumPy in and out", jax_numpy, ("jax",)),
        Contender("Numba, loop by hand", numba_loop, ("numba",)),
    ),
    expected=lambda size: function(operand(size)),
    promises=promises(100_000) + promises(10_000_000),
)
