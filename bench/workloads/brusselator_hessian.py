"""The Brusselator on a line: the whole Hessian of the squared residuals as a dense array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.peers import hessian_of_casadi
from bench.workload import Contender, Workload
from bench.workloads.brusselator import InTorch, distance, distance_in_casadi, operands
from bench.workloads.brusselator_product import directional

SIZES = (8, 64, 256)


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.hessian(distance(numpy))


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, whose vectorised function is its fastest."""
    objective = distance(InTorch(torch))
    return lambda x: torch.autograd.functional.hessian(objective, x, vectorize=True)


def build_torch_compiled(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch's function transforms, which its compiler sees through."""
    return torch.func.hessian(distance(InTorch(torch)))


def by_columns(size: int) -> np.ndarray:
    """Stack the products with all unit vectors."""
    (state,) = operands(size)
    return np.stack([directional(state, unit) for unit in np.eye(state.size)])


LISTED = (
    *contenders(operands, both=build, torch=build_torch, torch_compiled=build_torch_compiled),
    Contender("CasADi", hessian_of_casadi(distance_in_casadi, operands), ("casadi",)),
)
WORKLOAD = Workload(
    name="brusselator_hessian",
    title="Brusselator on a line of n cells, squared residuals, dense Hessian of 2n x 2n",
    sizes=SIZES,
    growth=(1_024,),
    contenders=LISTED,
    expected=by_columns,
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-11,
)
