"""A cube root by damped Newton steps in a while_loop: what an iteration costs beyond its arithmetic.

The damping makes the loop long enough to be timed; it ends, after about a million iterations, when a step is small.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import with_folding
from bench.workload import Call, Contender, Medians, Promise, Workload

POINT = 2.0
DAMPING = 2e-5
TOLERANCE = 1e-9
ITERATIONS = 1_000_000


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


def gradxform(size: int) -> Call:
    """gradxform."""
    import gradxform as gx

    return Call("f(a)", {"f": gx.jit(with_loop(gx.lax.while_loop, np.abs)), "a": POINT})


def gradxform_reverse(size: int) -> Call:
    """gradxform, value and derivative in reverse mode: JAX refuses."""
    import gradxform as gx

    return Call("f(a)", {"f": gx.jit(gx.value_and_grad(with_loop(gx.lax.while_loop, np.abs))), "a": POINT})


def gradxform_forward(size: int) -> Call:
    """gradxform, value and derivative in forward mode."""
    import gradxform as gx

    function = with_loop(gx.lax.while_loop, np.abs)
    return Call("f(a)", {"f": gx.jit(lambda a: gx.jvp(function, (a,), (1.0,))), "a": POINT})


def jax_loop(size: int) -> Call:
    """JAX."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(with_loop(jax.lax.while_loop, jnp.abs))
    return Call("f(a).block_until_ready()", {"f": f, "a": jnp.asarray(POINT)})


def jax_forward(size: int) -> Call:
    """JAX, value and derivative in forward mode."""
    import jax
    import jax.numpy as jnp

    function = with_loop(jax.lax.while_loop, jnp.abs)
    f = jax.jit(lambda a: jax.jvp(function, (a,), (jnp.ones(()),)))
    return Call("ready(f(a))", {"f": f, "a": jnp.asarray(POINT), "ready": jax.block_until_ready})


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


WORKLOAD = Workload(
    name="newton_while",
    title="damped Newton in a while_loop, about a million iterations",
    sizes=(ITERATIONS,),
    contenders=(
        Contender("gradxform", gradxform, ("gradxform",)),
        Contender("C++", native("newton"), ("$g++",)),
        Contender("C++, dividing by 3", native("newton_exact"), ("$g++",)),
        Contender("JAX", jax_loop, ("jax",)),
        Contender("JAX, folding", with_folding(jax_loop), ("jax",)),
        Contender("gradxform, forward mode", gradxform_forward, ("gradxform",), expected=expected_gradient),
        Contender("gradxform, reverse mode", gradxform_reverse, ("gradxform",), expected=expected_gradient),
        Contender("JAX, forward mode", jax_forward, ("jax",), expected=expected_gradient),
        Contender("JAX, forward mode, folding", with_folding(jax_forward), ("jax",), expected=expected_gradient),
    ),
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
