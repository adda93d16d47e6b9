"""A cube root by damped Newton steps in a while_loop: what an iteration costs beyond its arithmetic.

The damping makes the loop long enough to be timed; it ends, after about a million iterations, when a step is small.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, with_gradxform, with_jax
from bench.peers import with_folding
from bench.workload import Call, Contender, Medians, Promise, Workload

POINT = 2.0
DAMPING = 2e-5
TOLERANCE = 1e-9
ITERATIONS = 1_000_000


def operands(size: int) -> tuple[float]:
    """Give the number whose root is sought."""
    return (POINT,)


def with_loop(while_loop: Callable[..., Any], absolute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Write the cube root in terms of a while_loop."""

    def root(a: Any) -> Any:
        def improve(state: Any) -> Any:
            x, _ = state
            step = (x - a / (x * x)) / 3
            return x - DAMPING * step, step

        return while_loop(lambda state: absolute(state[1]) > TOLERANCE, improve, (a, a))[0]

    return root


@functools.cache
def by_hand() -> tuple[float, float, int]:
    """Compute the root, its derivative and the number of iterations in Python."""
    x, step, slope, count = POINT, POINT, 1.0, 0
    while abs(step) > TOLERANCE:
        square = x * x
        step = (x - POINT / square) / 3
        slope -= DAMPING * (slope - 1 / square + 2 * POINT * slope / (square * x)) / 3
        x -= DAMPING * step
        count += 1
    return x, slope, count


def expected(size: int) -> np.float64:
    """Give the root."""
    return np.float64(by_hand()[0])


def expected_gradient(size: int) -> tuple[np.float64, np.float64]:
    """Give the root and its derivative."""
    return np.float64(by_hand()[0]), np.float64(by_hand()[1])


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for the root."""
    return with_loop(library.lax.while_loop, numpy.abs)


def build_forward(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for value and derivative in forward mode."""
    return lambda a: library.jvp(build(library, numpy), (a,), (numpy.ones(()),))


def build_reverse(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for value and derivative in reverse mode: JAX refuses."""
    return library.value_and_grad(build(library, numpy))


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write the loop for Numba."""

    def root(a: float) -> float:
        x = step = a
        while abs(step) > TOLERANCE:
            step = (x - a / (x * x)) / 3
            x -= DAMPING * step
        return x

    return njit(root)


def native(source: str) -> Callable[[int], Call]:
    """C++."""

    def prepare(size: int) -> Call:
        from bench.native import load

        function = load(source, elementary=False).newton
        function.argtypes, function.restype = (ctypes.c_double,) * 3, ctypes.c_double
        return Call("f(a, damping, tolerance)", {"f": function, "a": POINT, "damping": DAMPING, "tolerance": TOLERANCE})

    return prepare


def nanoseconds(contender: str, yardstick: str) -> Callable[[Medians], float]:
    """Give the time of an iteration beyond one of the yardstick."""
    return lambda m: (m.of(contender, ITERATIONS) - m.of(yardstick, ITERATIONS)) / by_hand()[2] * 1e9


FORWARD = with_jax(build_forward, operands)
LISTED = (
    *contenders(operands, both=build, numba=build_numba, native=native("newton"), loop=True),
    Contender("C++, dividing by 3", native("newton_exact"), ("$g++",)),
    Contender(
        "gradxform, forward mode", with_gradxform(build_forward, operands), ("gradxform",), expected=expected_gradient
    ),
    Contender(
        "gradxform, reverse mode", with_gradxform(build_reverse, operands), ("gradxform",), expected=expected_gradient
    ),
    Contender("JAX, forward mode", FORWARD, ("jax",), expected=expected_gradient),
    Contender("JAX, forward mode, folding", with_folding(FORWARD), ("jax",), expected=expected_gradient),
)
WORKLOAD = Workload(
    name="newton_while",
    title="damped Newton in a while_loop, about a million iterations",
    sizes=(ITERATIONS,),
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
