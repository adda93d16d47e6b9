"""The Brusselator in the plane: 50 explicit steps on n x n cells, the last state's energy, and its gradient.

The gradient is in the first state and in the three constants of the reaction. The plane is periodic.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import Workload

SIZES = (16, 64, 256)
STEPS, PERIOD = 50, 0.01


@functools.lru_cache(maxsize=1)
def operands(size: int) -> tuple[np.ndarray, ...]:
    """Make both substances and the constants."""
    random = np.random.default_rng(6)
    return 1 + 0.1 * random.random((size, size)), 3 + 0.1 * random.random((size, size)), np.array([1.0, 3.0, 0.5])


def around(numpy: Any, x: Any) -> Any:
    """Write the discrete Laplacian."""
    return numpy.roll(x, 1, 0) + numpy.roll(x, -1, 0) + numpy.roll(x, 1, 1) + numpy.roll(x, -1, 1) - 4 * x


def advance(numpy: Any, u: Any, v: Any, constants: Any) -> tuple[Any, Any]:
    """Write one step."""
    feed, drain, diffusion = constants[0], constants[1], constants[2]
    reaction = u * u * v
    rate_u = feed + reaction - (drain + 1) * u + diffusion * around(numpy, u)
    rate_v = drain * u - reaction + diffusion * around(numpy, v)
    return u + PERIOD * rate_u, v + PERIOD * rate_v


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for value and gradient."""
    return library.value_and_grad(build_value(library, numpy), argnums=(0, 1, 2))


def build_value(library: Any, numpy: Any) -> Callable[..., Any]:
    """Write the energy after a scan."""

    def energy(u: Any, v: Any, constants: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            u, v = carry
            return advance(numpy, u, v, constants), None

        (u, v), _ = library.lax.scan(step, (u, v), None, length=STEPS)
        return 0.5 * ((u * u).sum() + (v * v).sum())

    return energy


class InTorch:
    """The one function of NumPy that a step uses, with PyTorch's tensors."""

    def __init__(self, torch: Any) -> None:
        self.roll = torch.roll


def build_torch(torch: Any) -> Callable[..., Any]:
    """Write the steps as a loop in Python."""

    def call(*arguments: Any) -> Any:
        leaves = [argument.detach().requires_grad_() for argument in arguments]
        u, v, constants = leaves
        for _ in range(STEPS):
            u, v = advance(InTorch(torch), u, v, constants)
        value = 0.5 * ((u * u).sum() + (v * v).sum())
        return value.detach(), torch.autograd.grad(value, leaves)

    return call


@functools.cache
def expected(size: int) -> tuple[np.floating[Any], tuple[np.ndarray, ...]]:
    """Go through the steps and back by hand."""
    u, v, constants = operands(size)
    _, drain, diffusion = constants
    kept = []
    for _ in range(STEPS):
        kept.append((u, v))
        u, v = advance(np, u, v, constants)
    value = 0.5 * (np.sum(u * u) + np.sum(v * v))
    bar_u, bar_v, slope = u, v, np.zeros(3)
    for u, v in reversed(kept):
        rate_u, rate_v = PERIOD * bar_u, PERIOD * bar_v
        slope += [
            np.sum(rate_u),
            np.sum(u * (rate_v - rate_u)),
            np.sum(around(np, u) * rate_u) + np.sum(around(np, v) * rate_v),
        ]
        reaction = rate_u - rate_v
        bar_u = bar_u + 2 * u * v * reaction - (drain + 1) * rate_u + drain * rate_v + diffusion * around(np, rate_u)
        bar_v = bar_v + u * u * reaction + diffusion * around(np, rate_v)
    return value, (bar_u, bar_v, slope)


LISTED = contenders(
    operands,
    both=build,
    torch=build_torch,
    value=build_value,
    expected_value=lambda size: expected(size)[0],
    loop=True,
)
WORKLOAD = Workload(
    name="brusselator_steps",
    title="Brusselator on n x n cells, 50 explicit steps, value and gradient",
    sizes=SIZES,
    growth=(8, 512),
    flops=lambda size: STEPS * 60 * size**2,
    contenders=LISTED,
    expected=expected,
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-9,
)
