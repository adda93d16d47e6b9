"""A cube root by damped Newton steps in a while_loop: what an iteration costs beyond its arithmetic.

The damping makes the loop long enough to be timed; it ends, after about as many iterations as are asked for, when a step is
small.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import sized, with_gradxform, with_jax, with_numba
from bench.peers import with_folding
from bench.workload import Call, Contender, Medians, Promise, Workload

POINT = 2.0
TOLERANCE = 1e-9
ITERATIONS = 1_000_000


def operands(size: int) -> tuple[float]:
    """Give the number whose root is sought."""
    return (POINT,)


def damping(size: int) -> float:
    """Give what makes the loop take about `size` iterations."""
    return 20 / size


def with_loop(size: int, while_loop: Callable[..., Any], absolute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Write the cube root in terms of a while_loop."""
    damped = damping(size)

    def root(a: Any) -> Any:
        def improve(state: Any) -> Any:
            x, _ = state
            step = (x - a / (x * x)) / 3
            return x - damped * step, step

        return while_loop(lambda state: absolute(state[1]) > TOLERANCE, improve, (a, a))[0]

    return root


@functools.cache
def by_hand(size: int) -> tuple[float, float, int]:
    """Compute the root, its derivative and the number of iterations in Python."""
    damped = damping(size)
    x, step, slope, count = POINT, POINT, 1.0, 0
    while abs(step) > TOLERANCE:
        square = x * x
        step = (x - POINT / square) / 3
        slope -= damped * (slope - 1 / square + 2 * POINT * slope / (square * x)) / 3
        x -= damped * step
        count += 1
    return x, slope, count


def expected(size: int) -> np.float64:
    """Give the root."""
    return np.float64(by_hand(size)[0])


def expected_gradient(size: int) -> tuple[np.float64, np.float64]:
    """Give the root and its derivative."""
    return np.float64(by_hand(size)[0]), np.float64(by_hand(size)[1])


def build(size: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for the root."""
    return with_loop(size, library.lax.while_loop, numpy.abs)


def build_forward(size: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for value and derivative in forward mode."""
    return lambda a: library.jvp(build(size, library, numpy), (a,), (numpy.ones(()),))


def build_reverse(size: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for value and derivative in reverse mode: JAX refuses."""
    return library.value_and_grad(build(size, library, numpy))


def build_numba(size: int, numba: Any, njit: Any) -> Callable[..., Any]:
    """Write the loop for Numba."""
    damped = damping(size)

    def root(a: float) -> float:
        x = step = a
        while abs(step) > TOLERANCE:
            step = (x - a / (x * x)) / 3
            x -= damped * step
        return x

    return njit(root)


def native(source: str) -> Callable[[int], Call]:
    """C++."""

    def prepare(size: int) -> Call:
        from bench.native import load

        function = load(source, elementary=False).newton
        function.argtypes, function.restype = (ctypes.c_double,) * 3, ctypes.c_double
        given = {"a": POINT, "damping": damping(size), "tolerance": TOLERANCE}
        return Call("f(a, damping, tolerance)", {"f": function, **given})

    return prepare


def nanoseconds(contender: str, yardstick: str) -> Callable[[Medians], float]:
    """Give the time of an iteration beyond one of the yardstick."""
    return lambda m: (m.of(contender, ITERATIONS) - m.of(yardstick, ITERATIONS)) / by_hand(ITERATIONS)[2] * 1e9


THEIRS = sized(with_jax, build, operands)
RELAXED = functools.partial(with_gradxform, fast_math=True)
FORWARD = sized(with_jax, build_forward, operands)
LISTED = (
    Contender("gradxform", sized(with_gradxform, build, operands), ("gradxform",)),
    Contender("gradxform, fast maths", sized(RELAXED, build, operands), ("gradxform",)),
    Contender("C++", native("newton"), ("$g++",)),
    Contender("C++, dividing by 3", native("newton_exact"), ("$g++",)),
    Contender("JAX", THEIRS, ("jax",)),
    Contender("JAX, folding", with_folding(THEIRS), ("jax",)),
    Contender("Numba", sized(with_numba, build_numba, operands), ("numba",)),
    Contender(
        "gradxform, forward mode", sized(with_gradxform, build_forward, operands), ("gradxform",), expected=expected_gradient
    ),
    Contender(
        "gradxform, reverse mode", sized(with_gradxform, build_reverse, operands), ("gradxform",), expected=expected_gradient
    ),
    Contender("JAX, forward mode", FORWARD, ("jax",), expected=expected_gradient),
    Contender("JAX, forward mode, folding", with_folding(FORWARD), ("jax",), expected=expected_gradient),
)
WORKLOAD = Workload(
    name="newton_while",
    title="damped Newton in a while_loop, about n iterations",
    sizes=(ITERATIONS,),
    growth=(100, 10_000, 10_000_000),
    serial=True,
    contenders=LISTED,
    expected=expected,
    promises=(
        Promise("nanoseconds of an iteration beyond C++", nanoseconds("gradxform", "C++"), at_most=3.0),
        Promise(
            "nanoseconds beyond C++ that divides by 3", nanoseconds("gradxform", "C++, dividing by 3"), at_most=3.0
        ),
    ),
    # Rounding may end the loop an iteration earlier or later, which moves the result by damping x tolerance.
    relative_tolerance=1e-10,
)
