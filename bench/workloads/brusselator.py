"""The Brusselator on a line: how far n cells are from a steady state, as a sum of squares, and its gradient.

Two substances react and diffuse between walls that hold them at their equilibrium; the state is one vector, the first
substance and then the second. This is what a solver of the steady state minimises.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, value_and_gradient
from bench.workload import Workload

SIZES = (100, 10_000, 1_000_000)
FEED, DRAIN, DIFFUSION = 1.0, 3.0, 0.02


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make a state of 2 n numbers: waves about the equilibrium."""
    place = np.linspace(0, 1, size)
    first = FEED + 0.3 * np.sin(12 * place) + 0.1 * np.random.default_rng(4).standard_normal(size)
    return (np.concatenate([first, DRAIN / FEED + 0.2 * np.cos(9 * place)]),)


def residuals(numpy: Any, state: Any) -> Any:
    """Write the rates of change of both substances."""
    count = state.shape[0] // 2
    u, v = state[:count], state[count:]
    wide_u = numpy.concatenate([numpy.full(1, FEED), u, numpy.full(1, FEED)])
    wide_v = numpy.concatenate([numpy.full(1, DRAIN / FEED), v, numpy.full(1, DRAIN / FEED)])
    spread_u = DIFFUSION * (wide_u[2:] - 2 * u + wide_u[:-2])
    spread_v = DIFFUSION * (wide_v[2:] - 2 * v + wide_v[:-2])
    reaction = u * u * v
    return FEED + reaction - (DRAIN + 1) * u + spread_u, DRAIN * u - reaction + spread_v


def distance(numpy: Any) -> Callable[[Any], Any]:
    """Write the objective."""

    def objective(state: Any) -> Any:
        first, second = residuals(numpy, state)
        return 0.5 * ((first * first).sum() + (second * second).sum())

    return objective


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for value and gradient."""
    return library.value_and_grad(distance(numpy))


class InTorch:
    """The two functions of NumPy that the objective uses, with PyTorch's tensors."""

    def __init__(self, torch: Any) -> None:
        self.concatenate = torch.cat
        self.full = lambda count, value: torch.full((count,), value, dtype=torch.float64)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch."""
    objective = distance(InTorch(torch))

    def call(state: Any) -> Any:
        leaf = state.detach().requires_grad_()
        value = objective(leaf)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return call


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch's function transforms, which its compiler sees through."""
    swapped = torch.func.grad_and_value(distance(InTorch(torch)))

    def call(state: Any) -> Any:
        gradient, value = swapped(state)
        return value, gradient

    return call


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""
    return value_and_gradient(pytensor.grad, distance(tensor))


class InCasadi:
    """The two functions of NumPy that the residuals use, with CasADi's columns."""

    def __init__(self, casadi: Any) -> None:
        self.concatenate = lambda parts: casadi.vertcat(*parts)
        self.full = lambda count, value: value


def distance_in_casadi(casadi: Any) -> Callable[[Any], Any]:
    """Write the objective with CasADi's sums of squares."""
    return lambda state: 0.5 * sum(casadi.sumsqr(residual) for residual in residuals(InCasadi(casadi), state))


def build_casadi(casadi: Any) -> Callable[..., Any]:
    """Ask CasADi."""
    return value_and_gradient(casadi.gradient, distance_in_casadi(casadi))


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops for Numba: the residuals with a zero at each end, then the gradient from them and their neighbours."""

    def call(state: np.ndarray) -> Any:
        count = state.size // 2
        gradient, first, second = np.empty_like(state), np.zeros(count + 2), np.zeros(count + 2)
        total = 0.0
        for i in numba.prange(count):
            u, v = state[i], state[count + i]
            left_u, left_v = (state[i - 1], state[count + i - 1]) if i > 0 else (FEED, DRAIN / FEED)
            right_u, right_v = (state[i + 1], state[count + i + 1]) if i < count - 1 else (FEED, DRAIN / FEED)
            reaction = u * u * v
            rate_u = FEED + reaction - (DRAIN + 1) * u + DIFFUSION * (left_u - 2 * u + right_u)
            rate_v = DRAIN * u - reaction + DIFFUSION * (left_v - 2 * v + right_v)
            first[i + 1], second[i + 1] = rate_u, rate_v
            total += 0.5 * (rate_u * rate_u + rate_v * rate_v)
        for i in numba.prange(count):
            u, v = state[i], state[count + i]
            a, b = first[i + 1], second[i + 1]
            spread_a, spread_b = first[i] - 2 * a + first[i + 2], second[i] - 2 * b + second[i + 2]
            gradient[i] = (2 * u * v - (DRAIN + 1)) * a + (DRAIN - 2 * u * v) * b + DIFFUSION * spread_a
            gradient[count + i] = u * u * (a - b) + DIFFUSION * spread_b
        return total, gradient

    return njit(call)


def by_hand(state: np.ndarray) -> tuple[np.floating[Any], np.ndarray]:
    """Multiply the residuals by the transposed Jacobian, written on paper."""
    count = state.size // 2
    u, v = state[:count], state[count:]
    first, second = residuals(np, state)
    gradient = np.empty_like(state)
    gradient[:count] = (2 * u * v - (DRAIN + 1)) * first + (DRAIN - 2 * u * v) * second
    gradient[count:] = u * u * (first - second)
    for part, residual in ((gradient[:count], first), (gradient[count:], second)):
        part -= 2 * DIFFUSION * residual
        part[1:] += DIFFUSION * residual[:-1]
        part[:-1] += DIFFUSION * residual[1:]
    return 0.5 * (np.sum(first * first) + np.sum(second * second)), gradient


def build_value(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the value alone."""
    return distance(numpy)


LISTED = contenders(
    operands,
    both=build,
    torch=build_torch,
    torch_compiled=build_torch_compiled,
    numba=build_numba,
    pytensor=build_pytensor,
    casadi=build_casadi,
    casadi_compiled=build_casadi,
    whole=True,
    by_hand=by_hand,
    value=build_value,
    expected_value=lambda size: by_hand(*operands(size))[0],
)
WORKLOAD = Workload(
    name="brusselator",
    title="Brusselator on a line of n cells, squared residuals, value and gradient",
    sizes=SIZES,
    growth=(1_000, 100_000, 10_000_000),
    flops=lambda size: 40 * size,
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-11,
)
