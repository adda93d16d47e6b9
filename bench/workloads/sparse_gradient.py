"""Half the squared length of a sparse matrix times a vector, and its gradient in the entries and in the vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import idioms
from bench.workload import Contender, Workload
from bench.workloads.sparse_product import SIZES, multiply, operands


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""

    def loss(values: Any, x: Any, rows: Any, columns: Any) -> Any:
        y = multiply(numpy, values, rows, columns, x)
        return 0.5 * (y * y).sum()

    found = library.value_and_grad(loss, argnums=(0, 1))
    return lambda values, rows, columns, x: found(values, x, rows, columns)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch."""

    def call(values: Any, rows: Any, columns: Any, x: Any) -> Any:
        leaves = [values.detach().requires_grad_(), x.detach().requires_grad_()]
        y = torch.zeros_like(x).index_add(0, rows, leaves[0] * leaves[1][columns])
        value = 0.5 * (y * y).sum()
        return value.detach(), torch.autograd.grad(value, leaves)

    return call


def by_hand(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray) -> Any:
    """Write value and gradient in NumPy."""
    y = np.bincount(rows, values * x[columns], minlength=x.size)
    spread = y[rows]
    return 0.5 * np.sum(y * y), (spread * x[columns], np.bincount(columns, spread * values, minlength=x.size))


WORKLOAD = Workload(
    name="sparse_gradient",
    title="squared length of a sparse matrix times vector, value and gradient in both",
    sizes=SIZES,
    contenders=(
        *idioms.both(build, operands, folding=True),
        Contender("NumPy, by hand", idioms.numpy(by_hand, operands)),
        Contender("torch eager", idioms.torch(build_torch, operands), ("torch",)),
    ),
    expected=functools.cache(lambda size: by_hand(*operands(size))),
    promises=idioms.ahead(("JAX", "NumPy, by hand", "torch eager"), SIZES),
    relative_tolerance=1e-9,
    absolute_tolerance=1e-11,
)
