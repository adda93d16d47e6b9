"""Lorenz's equations, 10,000 Runge-Kutta steps: value and gradient with respect to the three parameters.

The state is small, so what counts is what an iteration costs beside its arithmetic.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import with_folding
from bench.workload import Call, Contender, Promise, Workload

STEPS = 10_000
STEP = 0.001
PARAMETERS = (10.0, 28.0, 8 / 3)


def operand() -> np.ndarray:
    """Make the parameters."""
    return np.array(PARAMETERS)


def runge_kutta(field: Callable[[Any], Any], state: Any) -> Any:
    """Make one classical Runge-Kutta step of a state that can be added and scaled."""
    k1 = field(state)
    k2 = field(state + STEP / 2 * k1)
    k3 = field(state + STEP / 2 * k2)
    k4 = field(state + STEP * k3)
    return state + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def with_vectors(scan: Callable[..., Any], numpy: Any, steps: int) -> Callable[[Any], Any]:
    """Write the loss with a vector of three for the state."""

    def loss(parameters: Any) -> Any:
        def field(state: Any) -> Any:
            x, y, z = state[0], state[1], state[2]
            dx = parameters[0] * (y - x)
            dy = x * (parameters[1] - z) - y
            dz = x * y - parameters[2] * z
            return numpy.stack([dx, dy, dz])

        state, _ = scan(lambda state, _: (runge_kutta(field, state), None), numpy.ones(3), None, length=steps)
        return numpy.sum(state * state)

    return loss


def with_numbers(scan: Callable[..., Any], steps: int) -> Callable[[Any], Any]:
    """Write the loss with three numbers for the state."""

    def loss(parameters: Any) -> Any:
        sigma, rho, beta = parameters[0], parameters[1], parameters[2]

        def field(x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
            return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

        def moved(state: Any, slope: Any, step: float) -> Any:
            return tuple(s + step * k for s, k in zip(state, slope, strict=True))

        def step(state: Any, _: Any) -> Any:
            k1 = field(*state)
            k2 = field(*moved(state, k1, STEP / 2))
            k3 = field(*moved(state, k2, STEP / 2))
            k4 = field(*moved(state, k3, STEP))
            slope = tuple(a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
            return moved(state, slope, STEP / 6), None

        (x, y, z), _ = scan(step, (1.0, 1.0, 1.0), None, length=steps)
        return x * x + y * y + z * z

    return loss


@functools.cache
def expected(steps: int) -> tuple[np.float64, np.ndarray]:
    """Carry the derivatives along in forward mode: the tangents of the state in each parameter are its columns 1 to 3."""
    sigma, rho, beta = PARAMETERS

    def field(s: np.ndarray) -> np.ndarray:
        x, y, z = s
        jacobian = np.array([[-sigma, sigma, 0.0], [rho - z[0], -1.0, -x[0]], [y[0], x[0], -beta]])
        value = [sigma * (y[0] - x[0]), x[0] * (rho - z[0]) - y[0], x[0] * y[0] - beta * z[0]]
        tangents = jacobian @ s[:, 1:] + np.diag([y[0] - x[0], x[0], -z[0]])
        return np.column_stack([value, tangents])

    state = np.column_stack([np.ones(3), np.zeros((3, 3))])
    for _ in range(steps):
        state = runge_kutta(field, state)
    return np.float64(state[:, 0] @ state[:, 0]), 2 * state[:, 0] @ state[:, 1:]


def gradxform_vectors(size: int) -> Call:
    """gradxform, a vector of three carried."""
    import gradxform as gx

    f = gx.jit(gx.value_and_grad(with_vectors(gx.lax.scan, np, size)))
    return Call("f(p)", {"f": f, "p": operand()})


def gradxform_numbers(size: int) -> Call:
    """gradxform, three numbers carried."""
    import gradxform as gx

    f = gx.jit(gx.value_and_grad(with_numbers(gx.lax.scan, size)))
    return Call("f(p)", {"f": f, "p": operand()})


def jax_vectors(size: int) -> Call:
    """JAX, a vector of three carried."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(jax.value_and_grad(with_vectors(jax.lax.scan, jnp, size)))
    return Call("ready(f(p))", {"f": f, "p": jnp.asarray(operand()), "ready": jax.block_until_ready})


def jax_numbers(size: int) -> Call:
    """JAX, three numbers carried."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(jax.value_and_grad(with_numbers(jax.lax.scan, size)))
    return Call("ready(f(p))", {"f": f, "p": jnp.asarray(operand()), "ready": jax.block_until_ready})


def native(size: int) -> Call:
    """C++, differentiated on paper."""
    from bench.native import load

    function = load("lorenz", elementary=False).lorenz
    function.argtypes, function.restype = (ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p), ctypes.c_double
    parameters = operand()

    def call(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.empty(3)
        return function(size, parameters.ctypes.data, gradient.ctypes.data), gradient

    return Call("f(p)", {"f": call, "p": parameters})


WORKLOAD = Workload(
    name="lorenz",
    title="Lorenz, 10,000 Runge-Kutta steps, value and gradient in 3 parameters",
    sizes=(STEPS,),
    contenders=(
        Contender("gradxform, vectors", gradxform_vectors, ("gradxform",)),
        Contender("gradxform, numbers", gradxform_numbers, ("gradxform",)),
        Contender("C++", native, ("$g++",)),
        Contender("JAX, vectors", jax_vectors, ("jax",)),
        Contender("JAX, numbers", jax_numbers, ("jax",)),
        Contender("JAX, vectors, folding", with_folding(jax_vectors), ("jax",)),
        Contender("JAX, numbers, folding", with_folding(jax_numbers), ("jax",)),
    ),
    expected=expected,
    promises=(
        Promise("gradxform, vectors / C++", lambda m: m.ratio("gradxform, vectors", "C++", STEPS), at_most=1.5),
        Promise("gradxform, numbers / C++", lambda m: m.ratio("gradxform, numbers", "C++", STEPS), at_most=1.5),
        Promise("JAX / gradxform, vectors", lambda m: m.ratio("JAX, vectors", "gradxform, vectors", STEPS), at_least=40),
        Promise("JAX / gradxform, numbers", lambda m: m.ratio("JAX, numbers", "gradxform, numbers", STEPS), at_least=40),
        Promise(
            "JAX folding / gradxform, vectors",
            lambda m: m.ratio("JAX, vectors, folding", "gradxform, vectors", STEPS),
            at_least=1,
        ),
        Promise(
            "JAX folding / gradxform, numbers",
            lambda m: m.ratio("JAX, numbers, folding", "gradxform, numbers", STEPS),
            at_least=1,
        ),
    ),
    # The equations are chaotic: each rounding is amplified some ten thousand times.
    relative_tolerance=1e-9,
)
