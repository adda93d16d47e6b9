"""The gradient of a long chain of sines, first call: how compiling grows with the length of the program."""

from __future__ import annotations

import importlib
import time

import numpy as np

from bench.workload import Contender, Once, Promise, Workload

POINT = 0.5
SIZES = (10, 100, 300, 1_000, 3_000, 10_000)


def expected(size: int) -> np.float64:
    """Multiply the cosines along the chain."""
    x, slope = POINT, 1.0
    for _ in range(size):
        slope *= np.cos(x)
        x = np.sin(x)
    return np.float64(slope)


def gradxform(size: int) -> Once:
    """gradxform with an empty disk cache, llvmlite imported before."""
    import gradxform as gx

    importlib.import_module("llvmlite.binding")

    def chain(x: float) -> float:
        for _ in range(size):
            x = np.sin(x)
        return x

    start = time.perf_counter()
    result = gx.jit(gx.grad(chain))(POINT)
    return Once(time.perf_counter() - start, result)


def jax_chain(size: int) -> Once:
    """JAX."""
    import jax
    import jax.numpy as jnp

    def chain(x: float) -> float:
        for _ in range(size):
            x = jnp.sin(x)
        return x

    start = time.perf_counter()
    result = jax.jit(jax.grad(chain))(POINT).block_until_ready()
    return Once(time.perf_counter() - start, result)


WORKLOAD = Workload(
    name="chained_sin",
    title="gradient of a chain of sines, first call, disk cache empty",
    sizes=SIZES,
    contenders=(
        Contender("gradxform", gradxform, ("gradxform",)),
        Contender("JAX", jax_chain, ("jax",), sizes=(1_000,)),
    ),
    expected=expected,
    promises=(
        Promise("seconds for 1,000", lambda m: m.of("gradxform", 1_000), at_most=1.0),
        Promise(
            "exponent of growth from 300 to 10,000",
            lambda m: m.growth("gradxform", [size for size in SIZES if size >= 300]),
            at_most=1.1,
        ),
    ),
    fresh=True,
    fresh_samples=3,
    # Ten thousand factors, each rounded.
    relative_tolerance=1e-10,
)
