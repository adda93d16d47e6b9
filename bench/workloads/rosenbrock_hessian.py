"""Rosenbrock's function: the whole Hessian as a dense array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_numpy
from bench.peers import hessian_of_casadi
from bench.workload import Contender, Workload
from bench.workloads.rosenbrock import operands, valley, valley_in_casadi

SIZES = (10, 100, 1_000)


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.hessian(valley)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, whose vectorised function is its fastest."""
    return lambda x: torch.autograd.functional.hessian(valley, x, vectorize=True)


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch's function transforms, which its compiler sees through."""
    return torch.func.hessian(valley)


def by_hand(x: np.ndarray) -> np.ndarray:
    """Fill in the three diagonals, written on paper."""
    hessian = np.zeros((x.size, x.size))
    diagonal = np.einsum("ii->i", hessian)
    diagonal[1:] = 200.0
    diagonal[:-1] += 1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0
    above, below = np.einsum("ii->i", hessian[:-1, 1:]), np.einsum("ii->i", hessian[1:, :-1])
    above[:] = below[:] = -400.0 * x[:-1]
    return hessian


LISTED = (
    *contenders(operands, both=build, torch=build_torch, torch_compiled=build_torch_compiled),
    Contender("CasADi", hessian_of_casadi(valley_in_casadi, operands), ("casadi",)),
    # It fills three diagonals, since it was told where the zeros are.
    Contender("NumPy, by hand", with_numpy(by_hand, operands), yardstick=True),
)
WORKLOAD = Workload(
    name="rosenbrock_hessian",
    title="Rosenbrock's function, dense Hessian",
    sizes=SIZES,
    growth=(2_048,),
    contenders=LISTED,
    expected=lambda size: by_hand(*operands(size)),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-9,
)
