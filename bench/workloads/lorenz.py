"""Lorenz's equations, n Runge-Kutta steps: value and gradient with respect to the three parameters.

The state is small, so what counts is what an iteration costs beside its arithmetic. However many steps there are, they end at
the latest at time 10: the equations are chaotic, and after long there is no digit left that could be checked.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import applied, sized, with_casadi, with_gradxform, with_jax, with_numba, with_pytensor
from bench.peers import with_folding
from bench.workload import Call, Contender, Promise, Workload

STEPS = 10_000
PARAMETERS = (10.0, 28.0, 8 / 3)


def operands(steps: int) -> tuple[np.ndarray]:
    """Make the parameters."""
    return (np.array(PARAMETERS),)


def step_of(steps: int) -> float:
    """Give the length of a step."""
    return min(0.001, 10 / steps)


def runge_kutta(field: Callable[[Any], Any], state: Any, step: float) -> Any:
    """Make one classical Runge-Kutta step of a state that can be added and scaled."""
    k1 = field(state)
    k2 = field(state + step / 2 * k1)
    k3 = field(state + step / 2 * k2)
    k4 = field(state + step * k3)
    return state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def with_vectors(scan: Callable[..., Any], numpy: Any, steps: int) -> Callable[[Any], Any]:
    """Write the loss with a vector of three for the state."""

    def loss(parameters: Any) -> Any:
        def field(state: Any) -> Any:
            x, y, z = state[0], state[1], state[2]
            dx = parameters[0] * (y - x)
            dy = x * (parameters[1] - z) - y
            dz = x * y - parameters[2] * z
            return numpy.stack([dx, dy, dz])

        def advance(state: Any, _: Any) -> Any:
            return runge_kutta(field, state, step_of(steps)), None

        state, _ = scan(advance, numpy.ones(3), None, length=steps)
        return numpy.sum(state * state)

    return loss


def with_numbers(scan: Callable[..., Any], steps: int) -> Callable[[Any], Any]:
    """Write the loss with three numbers for the state."""
    length = step_of(steps)

    def loss(parameters: Any) -> Any:
        sigma, rho, beta = parameters[0], parameters[1], parameters[2]

        def field(x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
            return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

        def moved(state: Any, slope: Any, step: float) -> Any:
            return tuple(s + step * k for s, k in zip(state, slope, strict=True))

        def step(state: Any, _: Any) -> Any:
            k1 = field(*state)
            k2 = field(*moved(state, k1, length / 2))
            k3 = field(*moved(state, k2, length / 2))
            k4 = field(*moved(state, k3, length))
            slope = tuple(a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
            return moved(state, slope, length / 6), None

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
        state = runge_kutta(field, state, step_of(steps))
    return np.float64(state[:, 0] @ state[:, 0]), 2 * state[:, 0] @ state[:, 1:]


def build_vectors(steps: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Carry a vector of three."""
    return library.value_and_grad(with_vectors(library.lax.scan, numpy, steps))


def build_numbers(steps: int, library: Any, numpy: Any) -> Callable[..., Any]:
    """Carry three numbers."""
    return library.value_and_grad(with_numbers(library.lax.scan, steps))


def build_pytensor(steps: int, pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Carry three numbers through PyTensor's scan."""

    def scan(step: Callable[..., Any], state: Any, _: Any, *, length: int) -> Any:
        start = [tensor.as_tensor_variable(np.array(number)) for number in state]
        found = pytensor.scan(
            lambda *numbers: list(step(numbers, None)[0]), outputs_info=start, n_steps=length, return_updates=False
        )
        return tuple(numbers[-1] for numbers in found), None

    def call(parameters: Any) -> Any:
        value = with_numbers(scan, steps)(parameters)
        return value, pytensor.grad(value, parameters)

    return call


def build_casadi(steps: int, casadi: Any) -> Callable[..., Any]:
    """Write one step as a graph of numbers, which CasADi's `mapaccum` repeats."""

    def call(parameters: Any) -> Any:
        state, constants = casadi.SX.sym("state", 3), casadi.SX.sym("constants", 3)

        def field(s: Any) -> Any:
            x, y, z = s[0], s[1], s[2]
            return casadi.vertcat(
                constants[0] * (y - x), x * (constants[1] - z) - y, x * y - constants[2] * z
            )

        step = casadi.Function("step", [state, constants], [runge_kutta(field, state, step_of(steps))])
        states = step.mapaccum(steps)(casadi.DM.ones(3), casadi.repmat(parameters, 1, steps))
        value = casadi.sumsqr(states[:, -1])
        return value, casadi.gradient(value, parameters)

    return call


def build_numba(steps: int, numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops for Numba: the states are kept on the way forward, and the way back is from paper."""
    length = step_of(steps)

    @njit
    def slope(p: Any, s: Any) -> Any:
        x, y, z = s
        return p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z

    @njit
    def moved(s: Any, k: Any, step: float) -> Any:
        return s[0] + step * k[0], s[1] + step * k[1], s[2] + step * k[2]

    @njit
    def back(p: Any, s: Any, bar: Any) -> Any:
        """Give the cotangents of the state and of the parameters for one slope."""
        x, y, z = s
        a, b, c = bar
        return (-p[0] * a + (p[1] - z) * b + y * c, p[0] * a - b + x * c, -x * b - p[2] * c), ((y - x) * a, x * b, -z * c)

    def call(parameters: np.ndarray) -> Any:
        p = (parameters[0], parameters[1], parameters[2])
        kept, s = np.empty((steps, 3)), (1.0, 1.0, 1.0)
        for t in range(steps):
            kept[t, 0], kept[t, 1], kept[t, 2] = s
            k1 = slope(p, s)
            k2 = slope(p, moved(s, k1, length / 2))
            k3 = slope(p, moved(s, k2, length / 2))
            k4 = slope(p, moved(s, k3, length))
            s = moved(moved(moved(moved(s, k1, length / 6), k2, length / 3), k3, length / 3), k4, length / 6)
        bar, gradient, zero = (2 * s[0], 2 * s[1], 2 * s[2]), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        for t in range(steps - 1, -1, -1):
            s1 = (kept[t, 0], kept[t, 1], kept[t, 2])
            k1 = slope(p, s1)
            s2 = moved(s1, k1, length / 2)
            k2 = slope(p, s2)
            s3 = moved(s1, k2, length / 2)
            s4 = moved(s1, slope(p, s3), length)
            bar4, part4 = back(p, s4, moved(zero, bar, length / 6))
            bar3, part3 = back(p, s3, moved(moved(zero, bar, length / 3), bar4, length))
            bar2, part2 = back(p, s2, moved(moved(zero, bar, length / 3), bar3, length / 2))
            bar1, part1 = back(p, s1, moved(moved(zero, bar, length / 6), bar2, length / 2))
            bar = moved(moved(moved(moved(bar, bar1, 1.0), bar2, 1.0), bar3, 1.0), bar4, 1.0)
            gradient = moved(moved(moved(moved(gradient, part1, 1.0), part2, 1.0), part3, 1.0), part4, 1.0)
        return s[0] * s[0] + s[1] * s[1] + s[2] * s[2], np.array(gradient)

    return njit(call)


def native(size: int) -> Call:
    """C++, differentiated on paper."""
    from bench.native import load

    function = load("lorenz", elementary=False).lorenz
    function.argtypes, function.restype = (ctypes.c_long, ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p), ctypes.c_double

    def call(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.empty(3)
        return function(size, step_of(size), parameters.ctypes.data, gradient.ctypes.data), gradient

    return applied(call, operands(size))


def listed() -> tuple[Contender, ...]:
    """List both libraries in both ways."""
    found = [Contender("C++", native, ("$g++",))]
    for name, build in (("vectors", build_vectors), ("numbers", build_numbers)):
        theirs = sized(with_jax, build, operands)
        found += [
            Contender(f"gradxform, {name}", sized(with_gradxform, build, operands), ("gradxform",)),
            Contender(f"JAX, {name}", theirs, ("jax",)),
            Contender(f"JAX, {name}, folding", with_folding(theirs), ("jax",)),
        ]
    found += [
        Contender("Numba", sized(with_numba, build_numba, operands), ("numba",)),
        # It compiles for several seconds, at every size.
        Contender("PyTensor", sized(with_pytensor, build_pytensor, operands), ("pytensor", "numba"), sizes=(STEPS,)),
        Contender("CasADi", sized(functools.partial(with_casadi, whole=True), build_casadi, operands), ("casadi",)),
        Contender(
            "CasADi, compiled",
            sized(functools.partial(with_casadi, whole=True, compiled=True), build_casadi, operands),
            ("casadi", "$g++"),
        ),
    ]
    return tuple(sorted(found, key=lambda contender: not contender.ours))


WORKLOAD = Workload(
    name="lorenz",
    title="Lorenz, n Runge-Kutta steps, value and gradient in 3 parameters",
    sizes=(STEPS,),
    growth=(100, 100_000),
    serial=True,
    contenders=listed(),
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
        *(
            Promise(
                f"{name} / gradxform, numbers",
                lambda m, name=name: m.ratio(name, "gradxform, numbers", STEPS),  # type: ignore[misc]
                at_least=1,
            )
            for name in ("Numba", "PyTensor", "CasADi", "CasADi, compiled")
        ),
    ),
    # The equations are chaotic: each rounding is amplified some ten thousand times.
    relative_tolerance=1e-9,
)
