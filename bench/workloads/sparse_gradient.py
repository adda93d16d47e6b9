"""Half the squared length of a sparse matrix times a vector, and its gradient in the entries and in the vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises
from bench.workload import Workload
from bench.workloads.sparse_product import PER_ROW, SIZES, multiply, operands


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX."""
    found = library.value_and_grad(objective(numpy), argnums=(0, 1))
    return lambda values, rows, columns, x: found(values, x, rows, columns)


def build_value(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the value alone."""
    loss = objective(numpy)
    return lambda values, rows, columns, x: loss(values, x, rows, columns)


def objective(numpy: Any) -> Callable[..., Any]:
    """Write the squared length."""

    def loss(values: Any, x: Any, rows: Any, columns: Any) -> Any:
        y = multiply(numpy, values, rows, columns, x)
        return 0.5 * (y * y).sum()

    return loss


def build_torch(torch: Any) -> Callable[..., Any]:
    """Ask PyTorch."""

    def call(values: Any, rows: Any, columns: Any, x: Any) -> Any:
        leaves = [values.detach().requires_grad_(), x.detach().requires_grad_()]
        y = torch.zeros_like(x).index_add(0, rows, leaves[0] * leaves[1][columns])
        value = 0.5 * (y * y).sum()
        return value.detach(), torch.autograd.grad(value, leaves)

    return call


def build_numba(numba: Any, njit: Any) -> Callable[..., Any]:
    """Write loops over the entries for Numba; several threads would add to the same rows and columns."""

    def call(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray) -> Any:
        y, slopes, bar = np.zeros_like(x), np.empty_like(values), np.zeros_like(x)
        total = 0.0
        for i in range(values.size):
            y[rows[i]] += values[i] * x[columns[i]]
        for i in range(y.size):
            total += y[i] * y[i]
        for i in range(values.size):
            slopes[i] = y[rows[i]] * x[columns[i]]
            bar[columns[i]] += y[rows[i]] * values[i]
        return 0.5 * total, (slopes, bar)

    return numba.njit(fastmath=True)(call)


def build_pytensor(pytensor: Any, tensor: Any) -> Callable[..., Any]:
    """Ask PyTensor."""

    def call(values: Any, rows: Any, columns: Any, x: Any) -> Any:
        y = tensor.inc_subtensor(tensor.zeros_like(x)[rows], values * x[columns])
        value = 0.5 * (y * y).sum()
        return value, *pytensor.grad(value, [values, x])

    return call


def by_hand(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray) -> Any:
    """Write value and gradient in NumPy."""
    y = np.bincount(rows, values * x[columns], minlength=x.size)
    spread = y[rows]
    return 0.5 * np.sum(y * y), (spread * x[columns], np.bincount(columns, spread * values, minlength=x.size))


LISTED = contenders(
    operands,
    both=build,
    torch=build_torch,
    numba=build_numba,
    pytensor=build_pytensor,
    by_hand=by_hand,
    value=build_value,
    expected_value=lambda size: by_hand(*operands(size))[0],
    loop=True,
)
WORKLOAD = Workload(
    name="sparse_gradient",
    title="squared length of a sparse matrix times vector, value and gradient in both",
    sizes=SIZES,
    growth=(1_000, 1_000_000),
    flops=lambda size: 8 * PER_ROW * size,
    contenders=LISTED,
    expected=functools.cache(lambda size: by_hand(*operands(size))),
    promises=promises(LISTED, SIZES),
    relative_tolerance=1e-9,
    absolute_tolerance=1e-11,
)
