"""The Brusselator on a line: the whole Hessian of the squared residuals as a dense array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload
from bench.workloads.brusselator import InTorch, distance, operands
from bench.workloads.brusselator_product import directional

SIZES = (8, 64, 256)


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    return library.hessian(distance(numpy))


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch, whose vectorised function is its fastest."""
    objective = distance(InTorch(torch))
    return lambda x: torch.autograd.functional.hessian(objective, x, vectorize=True)


def by_columns(size: int) -> np.ndarray:
    """Stack the products with all unit vectors."""
    (state,) = operands(size)
    return np.stack([directional(state, unit) for unit in np.eye(state.size)])


WORKLOAD = Workload(
    name="brusselator_hessian",
    title="Brusselator on a line of n cells, squared residuals, dense Hessian of 2n x 2n",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=by_columns,
    promises=idioms.ahead(("JAX", "torch eager"), SIZES),
    relative_tolerance=1e-10,
    absolute_tolerance=1e-11,
)
