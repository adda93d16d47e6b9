"""Kalman filter of a track in the plane: log-likelihood of 500 observations and its gradient in two noise levels.

Four states (position, velocity), two observed; the covariance of the innovation, 2x2, is inverted in closed form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_jax, with_pytensor
from bench.peers import with_folding
from bench.workload import Contender, Workload

SIZES = (500,)
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


def operands(steps: int) -> tuple[np.ndarray, ...]:
    """Give the noise levels and a track."""
    return LEVELS, observations(steps)


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


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for value and gradient."""
    return library.value_and_grad(build_value(library, numpy))


def build_value(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the value alone."""
    return likelihood(library.lax.scan, numpy)


def expected_value(steps: int) -> np.float64:
    """Give the log-likelihood."""
    return expected(steps)[0]


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor, through its scan."""

    def scan(step: Callable[..., Any], carry: Any, track: Any) -> Any:
        start = [tensor.as_tensor_variable(np.asarray(part)) for part in carry]
        found = pytensor.scan(
            lambda seen, *parts: list(step(parts, seen)[0]), sequences=[track], outputs_info=start, return_updates=False
        )
        return tuple(parts[-1] for parts in found), None

    class Namespace:
        """NumPy's names, with PyTensor's functions of its variables and NumPy's own constants."""

        exp, log, stack = tensor.exp, tensor.log, tensor.stack
        zeros, eye = np.zeros, np.eye

    def call(levels: Any, track: Any) -> Any:
        value = likelihood(scan, Namespace)(levels, track)
        return value, pytensor.grad(value, levels)

    return call


def build_casadi(casadi: Any) -> Callable[..., Any]:
    """Write one step as a graph of numbers, which CasADi's `mapaccum` repeats."""

    def call(levels: Any, track: Any) -> Any:
        state = casadi.SX.sym("state", 4 + 16 + 1)
        seen, given = casadi.SX.sym("seen", 2), casadi.SX.sym("levels", 2)
        mean, covariance, total = state[:4], casadi.reshape(state[4:20], 4, 4), state[20]
        mean = MOTION @ mean
        covariance = MOTION @ covariance @ MOTION.T + casadi.exp(2 * given[0]) * DISTURBANCE
        innovation = seen - OBSERVATION @ mean
        spread = OBSERVATION @ covariance @ OBSERVATION.T + casadi.exp(2 * given[1]) * np.eye(2)
        determinant = spread[0, 0] * spread[1, 1] - spread[0, 1] * spread[1, 0]
        turned = casadi.vertcat(
            casadi.horzcat(spread[1, 1], -spread[0, 1]), casadi.horzcat(-spread[1, 0], spread[0, 0])
        )
        inverse = turned / determinant
        gain = covariance @ OBSERVATION.T @ inverse
        after = covariance - gain @ OBSERVATION @ covariance
        total = total - 0.5 * (casadi.log(determinant) + innovation.T @ inverse @ innovation)
        moved = casadi.vertcat(mean + gain @ innovation, casadi.vec(after), total)
        step = casadi.Function("step", [state, seen, given], [moved])
        steps = track.shape[0]
        start = np.concatenate([np.zeros(4), 100 * np.eye(4).ravel(), np.zeros(1)])
        states = step.mapaccum(steps)(start, track.T, casadi.repmat(levels, 1, steps))
        value = states[20, -1]
        return value, casadi.gradient(value, levels)

    return call


LISTED = (
    *contenders(
        operands,
        both=build,
        casadi=build_casadi,
        casadi_compiled=build_casadi,
        whole=True,
        value=build_value,
        expected_value=expected_value,
        loop=True,
    ),
    # It compiles for a minute, at every size.
    Contender("PyTensor", with_pytensor(build_pytensor, operands), ("pytensor", "numba"), sizes=SIZES),
    Contender("JAX, value", with_jax(build_value, operands), ("jax",), expected=expected_value),
    Contender("JAX, value, folding", with_folding(with_jax(build_value, operands)), ("jax",), expected=expected_value),
)
WORKLOAD = Workload(
    name="kalman",
    title="Kalman filter, 4 states, n steps, log-likelihood and gradient in 2 noise levels",
    sizes=SIZES,
    growth=(50, 5_000, 50_000),
    serial=True,
    contenders=LISTED,
    expected=expected,
    promises=promises(LISTED, SIZES, jax=8),
    relative_tolerance=1e-9,
)
