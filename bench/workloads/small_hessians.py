"""Hessians of a function of 6 variables, at n points by vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_gradxform, with_jax
from bench.workload import Contender, Workload
from bench.workloads.small_jacobians import SIZES, VARIABLES, casadi_at_points, operands


def energy(numpy: Any) -> Callable[[Any], Any]:
    """Write a function whose second derivatives are all but a few of them not zero, and not constant."""

    def value(x: Any) -> Any:
        a, b, c, d, e, f = x[0], x[1], x[2], x[3], x[4], x[5]
        square = numpy.sum(x * x)
        return numpy.sin(a * b) * numpy.exp(-c * c) + d * numpy.log1p(e * e) + numpy.tanh(f * d) + numpy.exp(-square / 4)

    return value


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.vmap(library.hessian(energy(numpy)))


def build_forward(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for forward over forward, which is faster in both at many points."""
    return library.vmap(library.jacfwd(library.jacfwd(energy(numpy))))


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch for reverse over reverse, which is its fastest."""
    return torch.func.vmap(torch.func.jacrev(torch.func.jacrev(energy(torch))))


class InCasadi:
    """The functions of NumPy that the energy uses, with CasADi's columns."""

    def __init__(self, casadi: Any) -> None:
        self.sin, self.exp, self.log1p, self.tanh, self.sum = casadi.sin, casadi.exp, casadi.log1p, casadi.tanh, casadi.sum1


def hessian_in_casadi(casadi: Any, x: Any) -> Any:
    """Write the Hessian at one point."""
    return casadi.hessian(energy(InCasadi(casadi))(x), x)[0]


def gradient(x: np.ndarray) -> np.ndarray:
    """Write the gradient from the derivative on paper, variables along the first axis."""
    a, b, c, d, e, f = x
    bell, wave, slope = np.exp(-c * c), np.sin(a * b), np.cos(a * b)
    bent = 1 - np.tanh(f * d) ** 2
    rows = np.stack(
        [
            b * slope * bell,
            a * slope * bell,
            -2 * c * wave * bell,
            np.log1p(e * e) + f * bent,
            2 * d * e / (1 + e * e),
            d * bent,
        ]
    )
    return rows - x / 2 * np.exp(-(x * x).sum(axis=0) / 4)


@functools.cache
def expected(size: int) -> np.ndarray:
    """Take complex steps in the gradient, all points at a time."""
    (points,) = operands(size)
    columns = [gradient((points + 1e-30j * unit).T).imag.T / 1e-30 for unit in np.eye(VARIABLES)]
    return np.ascontiguousarray(np.stack(columns, axis=-1))


LISTED = (
    *contenders(operands, both=build, torch=build_torch),
    *casadi_at_points(hessian_in_casadi),
    Contender("gradxform, forward twice", with_gradxform(build_forward, operands), ("gradxform",)),
    Contender("JAX, forward twice", with_jax(build_forward, operands), ("jax",)),
)
WORKLOAD = Workload(
    name="small_hessians",
    title="6x6 Hessians of a function of 6 variables, at n points",
    sizes=SIZES,
    growth=(1_000,),
    contenders=LISTED,
    expected=expected,
    promises=(
        *promises(LISTED, SIZES[:-1]),
        *promises(LISTED, SIZES[-1:], jax=8),
    ),
    relative_tolerance=1e-10,
)
