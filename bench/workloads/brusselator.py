"""The Brusselator on a line: how far n cells are from a steady state, as a sum of squares, and its gradient.

Two substances react and diffuse between walls that hold them at their equilibrium; the state is one vector, the first
substance and then the second. This is what a solver of the steady state minimises.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload

SIZES = (100, 10_000, 1_000_000)
FEED, DRAIN, DIFFUSION = 1.0, 3.0, 0.02


@functools.cache
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


WORKLOAD = Workload(
    name="brusselator",
    title="Brusselator on a line of n cells, squared residuals, value and gradient",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands),
        Contender("NumPy, by hand", idioms.numpy(by_hand, operands)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=lambda size: by_hand(*operands(size)),
    promises=idioms.ahead(("JAX", "NumPy, by hand", "torch eager"), SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-11,
)
