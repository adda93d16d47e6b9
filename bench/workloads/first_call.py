"""The first call of a small function in a fresh process: trace, compile, load and run, or find it on disk.

The libraries are imported before the clock starts, llvmlite among them; whatever else is loaded lazily is part of the
figure.
"""

from __future__ import annotations

import importlib
import time

import numpy as np

from bench.workload import Contender, Once, Promise, Workload
from bench.workloads.small_call import function, operand


def gradxform(size: int) -> Once:
    """gradxform, the first function of the process."""
    import gradxform as gx

    importlib.import_module("llvmlite.binding")
    x = operand(size)
    start = time.perf_counter()
    result = gx.jit(function)(x)
    return Once(time.perf_counter() - start, result)


def gradxform_second(size: int) -> Once:
    """gradxform, another function after a first has been compiled in the process."""
    import gradxform as gx

    x = operand(size)
    gx.jit(lambda v: np.cos(v) - v)(x)
    start = time.perf_counter()
    result = gx.jit(function)(x)
    return Once(time.perf_counter() - start, result)


def jax_first(size: int) -> Once:
    """JAX, the first function of the process."""
    import jax
    import jax.numpy as jnp

    x = operand(size)
    start = time.perf_counter()
    result = jax.jit(lambda v: jnp.sin(v) * 2 + 1)(x).block_until_ready()
    return Once(time.perf_counter() - start, result)


def numba_first(size: int) -> Once:
    """Numba, the first function of the process."""
    from numba import njit

    x = operand(size)
    start = time.perf_counter()
    result = njit(function)(x)
    return Once(time.perf_counter() - start, result)


WORKLOAD = Workload(
    name="first_call",
    title="first call of jit(sin(x)*2+1) on 8 doubles, imports done",
    sizes=(8,),
    contenders=(
        Contender("gradxform, disk cache empty", gradxform, ("gradxform",)),
        Contender("gradxform, second function", gradxform_second, ("gradxform",), yardstick=True),
        Contender("gradxform, disk cache warm", gradxform, ("gradxform",), cache="warm"),
        Contender("JAX", jax_first, ("jax",)),
        Contender("Numba", numba_first, ("numba",)),
    ),
    expected=lambda size: function(operand(size)),
    promises=(
        Promise("milliseconds, cold", lambda m: m.of("gradxform, disk cache empty", 8) * 1e3, at_most=30),
        Promise("milliseconds, disk cache warm", lambda m: m.of("gradxform, disk cache warm", 8) * 1e3, at_most=8),
    ),
    fresh=True,
    fresh_samples=15,
)
