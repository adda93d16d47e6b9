"""The first call of a training step of n layers, and of the Hessian of n operations: how compiling grows with a program.

Arrays are small, so that hardly anything of the time is spent on running. Each contender runs in a fresh process.
"""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.workload import Contender, Once, Promise, Workload
from bench.workloads import mlp

LAYERS = (3, 10, 30, 100)
OPERATIONS = (10, 100, 1_000)
# JAX needs more than five minutes for the Hessian of a thousand operations.
ENDED = {"hessian": (10, 100)}
BATCH, ENTERING, WIDTH, CLASSES = 8, 20, 16, 10
POINT = np.array([0.5, 0.7, -0.2])

Operands = Callable[[int], tuple[Any, ...]]
Build = Callable[[int, Any, Any], Callable[..., Any]]


def network(layers: int) -> tuple[Any, ...]:
    """Make weights, inputs and their classes."""
    random = np.random.default_rng(61)
    widths = (ENTERING, *(WIDTH,) * (layers - 1), CLASSES)
    parameters = [(random.standard_normal((n, m)) * (2 / n) ** 0.5, np.zeros(m)) for n, m in itertools.pairwise(widths)]
    return parameters, random.random((BATCH, ENTERING)), np.eye(CLASSES)[random.integers(0, CLASSES, BATCH)]


def step(layers: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Write the training step."""
    return mlp.build(library, numpy)


def points(count: int) -> tuple[np.ndarray]:
    """Give the three variables."""
    return (POINT,)


def hessian(count: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the Hessian of about `count` operations: arithmetic and sines, on numbers that depend on each other."""

    def run(x: Any) -> Any:
        a, b, c = x[0], x[1], x[2]
        for _ in range(count // 5):
            a, b, c = b * 0.3 + numpy.sin(c), c - a * 0.25, a
        return a + b * c

    return library.hessian(run)


def expected_hessian(count: int) -> np.ndarray:
    """Carry the gradient along, and take complex steps in it."""

    def gradient(x: np.ndarray) -> np.ndarray:
        # A row for each number: its value and its derivatives.
        a, b, c = np.column_stack([x, np.eye(3)])
        for _ in range(count // 5):
            a, b, c = b * 0.3 + np.concatenate([np.sin(c[:1]), np.cos(c[0]) * c[1:]]), c - a * 0.25, a
        return a[1:] + b[0] * c[1:] + b[1:] * c[0]

    return np.stack([gradient(POINT + 1e-30j * unit).imag / 1e-30 for unit in np.eye(3)])


def gradxform(build: Build, operands: Operands) -> Callable[[int], Once]:
    """gradxform, llvmlite imported before."""

    def measure(size: int) -> Once:
        import gradxform as gx

        importlib.import_module("llvmlite.binding")
        function, given = build(size, gx, gx.numpy), operands(size)
        start = time.perf_counter()
        result = gx.jit(function)(*given)
        return Once(time.perf_counter() - start, result)

    return measure


def jax_first(build: Build, operands: Operands) -> Callable[[int], Once]:
    """JAX."""

    def measure(size: int) -> Once:
        import jax
        import jax.numpy as jnp

        function = build(size, jax, jnp)
        given = jax.block_until_ready(jax.tree_util.tree_map(jnp.asarray, operands(size)))
        start = time.perf_counter()
        result = jax.block_until_ready(jax.jit(function)(*given))
        return Once(time.perf_counter() - start, result)

    return measure


def workload(
    name: str, title: str, sizes: tuple[int, ...], build: Build, operands: Operands, expected: Callable[[int], object]
) -> Workload:
    """Make the workload of one kind of program."""
    return Workload(
        name=f"model_compile.{name}",
        title=title,
        sizes=sizes,
        contenders=(
            Contender("gradxform", gradxform(build, operands), ("gradxform",)),
            Contender("gradxform, disk cache warm", gradxform(build, operands), ("gradxform",), cache="warm"),
            Contender("JAX", jax_first(build, operands), ("jax",), sizes=ENDED.get(name)),
        ),
        expected=expected,
        promises=(
            *(
                Promise(
                    f"gradxform / JAX, {size:,}",
                    lambda m, size=size: m.ratio("gradxform", "JAX", size),  # type: ignore[misc]
                    at_most=0.5,
                )
                for size in ENDED.get(name, sizes)
            ),
            Promise("exponent of growth", lambda m: m.growth("gradxform", sizes[1:]), at_most=1.15),
        ),
        fresh=True,
        fresh_samples=3,
        # Each of many operations is rounded.
        relative_tolerance=1e-9,
    )


WORKLOADS = (
    workload(
        "mlp",
        "first call of a training step of a network of n layers, fresh process",
        LAYERS,
        step,
        network,
        lambda layers: mlp.by_hand(*network(layers)),
    ),
    workload(
        "hessian",
        "first call of the Hessian of a straight program of n operations, fresh process",
        OPERATIONS,
        hessian,
        points,
        expected_hessian,
    ),
)
