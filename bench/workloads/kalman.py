"""Kalman filter of a track in the plane: log-likelihood of 500 observations and its gradient in two noise levels.

Four states (position, velocity), two observed; the covariance of the innovation, 2x2, is inverted in closed form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import with_folding
from bench.workload import Call, Contender, Promise, Workload

STEPS = 500
PERIOD = 0.1
LEVELS = np.array([-0.5, 0.3])

MOTION = np.eye(4) + PERIOD * np.eye(4, k=2)
_IMPULSE = np.vstack([PERIOD**2 / 2 * np.eye(2), PERIOD * np.eye(2)])
DISTURBANCE = _IMPULSE @ _IMPULSE.T
OBSERVATION = np.eye(2, 4)


@functools.cache
def observations(steps: int) -> np.ndarray:
    """Make a track: a circle with noise."""
    time = PERIOD * np.arange(steps)
    noise = np.random.default_rng(3).standard_normal((steps, 2))
    return np.column_stack([10 * np.cos(0.2 * time), 10 * np.sin(0.2 * time)]) + 1.2 * noise


def likelihood(scan: Callable[..., Any], numpy: Any) -> Callable[[Any, Any], Any]:
    """Write the log-likelihood of observations, without its constant, in the logarithms of the two noise levels."""

    def loss(levels: Any, track: Any) -> Any:
        disturbance = numpy.exp(2 * levels[0]) * DISTURBANCE
        noise = numpy.exp(2 * levels[1]) * np.eye(2)

        def step(carry: Any, seen: Any) -> Any:
            mean, covariance, total = carry
            mean = MOTION @ mean
            covariance = MOTION @ covariance @ MOTION.T + disturbance
            innovation = seen - OBSERVATION @ mean
            spread = OBSERVATION @ covariance @ OBSERVATION.T + noise
            a, b, c, d = spread[0, 0], spread[0, 1], spread[1, 0], spread[1, 1]
            determinant = a * d - b * c
            inverse = numpy.stack([numpy.stack([d, -b]), numpy.stack([-c, a])]) / determinant
            gain = covariance @ OBSERVATION.T @ inverse
            mean = mean + gain @ innovation
            covariance = covariance - gain @ OBSERVATION @ covariance
            total = total - 0.5 * (numpy.log(determinant) + innovation @ inverse @ innovation)
            return (mean, covariance, total), None

        (_, _, total), _ = scan(step, (numpy.zeros(4), 100.0 * numpy.eye(4), 0.0), track)
        return total

    return loss


def python_scan(step: Callable[..., Any], carry: Any, xs: np.ndarray) -> Any:
    """Loop in Python."""
    for x in xs:
        carry, _ = step(carry, x)
    return carry, None


@functools.cache
def expected(steps: int) -> tuple[np.float64, np.ndarray]:
    """Differentiate by complex steps: exact to rounding, since the filter is analytic in the levels."""
    loss = likelihood(python_scan, np)
    track = observations(steps)
    gradient = np.array([loss(LEVELS + 1e-30j * direction, track).imag / 1e-30 for direction in np.eye(2)])
    return np.float64(loss(LEVELS, track)), gradient


def gradxform(size: int) -> Call:
    """gradxform."""
    import gradxform as gx

    f = gx.jit(gx.value_and_grad(likelihood(gx.lax.scan, np)))
    return Call("f(p, y)", {"f": f, "p": LEVELS, "y": observations(size)})


def gradxform_value(size: int) -> Call:
    """gradxform, the value alone."""
    import gradxform as gx

    return Call("f(p, y)", {"f": gx.jit(likelihood(gx.lax.scan, np)), "p": LEVELS, "y": observations(size)})


def jax_filter(size: int) -> Call:
    """JAX."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(jax.value_and_grad(likelihood(jax.lax.scan, jnp)))
    names = {"f": f, "p": jnp.asarray(LEVELS), "y": jnp.asarray(observations(size)), "ready": jax.block_until_ready}
    return Call("ready(f(p, y))", names)


def jax_value(size: int) -> Call:
    """JAX, the value alone."""
    import jax
    import jax.numpy as jnp

    f = jax.jit(likelihood(jax.lax.scan, jnp))
    return Call("f(p, y).block_until_ready()", {"f": f, "p": jnp.asarray(LEVELS), "y": jnp.asarray(observations(size))})


def expected_value(size: int) -> np.float64:
    """Give the log-likelihood."""
    return expected(size)[0]


WORKLOAD = Workload(
    name="kalman",
    title="Kalman filter, 4 states, 500 steps, log-likelihood and gradient in 2 noise levels",
    sizes=(STEPS,),
    contenders=(
        Contender("gradxform", gradxform, ("gradxform",)),
        Contender("JAX", jax_filter, ("jax",)),
        Contender("JAX, folding", with_folding(jax_filter), ("jax",)),
        Contender("gradxform, value", gradxform_value, ("gradxform",), expected=expected_value),
        Contender("JAX, value", jax_value, ("jax",), expected=expected_value),
        Contender("JAX, value, folding", with_folding(jax_value), ("jax",), expected=expected_value),
    ),
    expected=expected,
    promises=(Promise("JAX / gradxform", lambda m: m.ratio("JAX", "gradxform", STEPS), at_least=8),),
    relative_tolerance=1e-9,
)
