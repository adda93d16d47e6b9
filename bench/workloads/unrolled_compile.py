"""The first call of a long straight program: how compiling grows with the number of its operations.

The operations alternate between arithmetic and elementary functions, on three numbers that depend on each other, as in an
unrolled integration or recurrence. Each contender runs in a fresh process; the disk cache is empty, or warm where it says so.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.workload import Contender, Once, Promise, Workload

SIZES = (10, 100, 1_000, 10_000)
POINT = 0.5


def program(numpy: Any, count: int) -> Callable[[Any], Any]:
    """Write a program of about `count` operations."""

    def run(x: Any) -> Any:
        a, b, c = x, 1.5 * x, 0.5 - x
        for _ in range(count // 5):
            a, b, c = b * 0.3 + numpy.sin(c), c - a * 0.25, a
        return a + b * c

    return run


def expected(size: int) -> np.float64:
    """Run it in Python."""
    return np.float64(program(math, size)(POINT))


def expected_gradient(size: int) -> np.float64:
    """Take a complex step."""
    return np.float64(program(np, size)(np.complex128(POINT + 1e-30j)).imag / 1e-30)


def gradxform(derivative: bool) -> Callable[[int], Once]:
    """gradxform, llvmlite imported before."""

    def measure(size: int) -> Once:
        import gradxform as gx

        importlib.import_module("llvmlite.binding")
        function = program(np, size)
        start = time.perf_counter()
        result = gx.jit(gx.grad(function) if derivative else function)(POINT)
        return Once(time.perf_counter() - start, result)

    return measure


def jax_first(derivative: bool) -> Callable[[int], Once]:
    """JAX."""

    def measure(size: int) -> Once:
        import jax
        import jax.numpy as jnp

        function = program(jnp, size)
        start = time.perf_counter()
        result = jax.jit(jax.grad(function) if derivative else function)(POINT).block_until_ready()
        return Once(time.perf_counter() - start, result)

    return measure


WORKLOAD = Workload(
    name="unrolled_compile",
    title="first call of a straight program of n operations, fresh process",
    sizes=SIZES,
    contenders=(
        Contender("gradxform", gradxform(False), ("gradxform",)),
        Contender("gradxform, disk cache warm", gradxform(False), ("gradxform",), cache="warm"),
        Contender("JAX", jax_first(False), ("jax",)),
        Contender("gradxform, gradient", gradxform(True), ("gradxform",), expected=expected_gradient),
        Contender("JAX, gradient", jax_first(True), ("jax",), expected=expected_gradient),
    ),
    expected=expected,
    promises=(
        *(
            Promise(
                f"{ours} / {theirs}, {size:,}",
                lambda m, ours=ours, theirs=theirs, size=size: m.ratio(ours, theirs, size),  # type: ignore[misc]
                at_most=0.5,
            )
            for size in SIZES
            for ours, theirs in (("gradxform", "JAX"), ("gradxform, gradient", "JAX, gradient"))
        ),
        Promise(
            "exponent of growth from 100 to 10,000",
            lambda m: m.growth("gradxform", [size for size in SIZES if size >= 100]),
            at_most=1.15,
        ),
        Promise(
            "exponent of growth from 100 to 10,000, gradient",
            lambda m: m.growth("gradxform, gradient", [size for size in SIZES if size >= 100]),
            at_most=1.15,
        ),
    ),
    fresh=True,
    fresh_samples=3,
    # Thousands of steps, each rounded.
    relative_tolerance=1e-9,
)
