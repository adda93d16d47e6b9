"""Sums of squares over all elements, over rows and over columns of a matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, threads, with_native
from bench.workload import Workload

COLUMNS = 1_024
SIZES = (64, 4_096)
AXES: dict[str, int | None] = {"all": None, "rows": 1, "columns": 0}


@functools.lru_cache(maxsize=1)
def operands(rows: int) -> tuple[np.ndarray]:
    """Make the matrix."""
    return (np.random.default_rng(3).standard_normal((rows, COLUMNS)),)


def summed(axis: int | None) -> Callable[[Any], Any]:
    """Write the sum, for NumPy's arrays and for any that have its methods."""
    return lambda x: (x * x).sum(axis)


def with_both(axis: int | None, library: Any, numpy: Any) -> Callable[[Any], Any]:
    """Ask gradxform and JAX."""
    return summed(axis)


def with_torch(axis: int | None, torch: Any) -> Callable[[Any], Any]:
    """Ask torch, whose sums over everything have no axis."""
    return lambda x: (x * x).sum() if axis is None else (x * x).sum(axis)


def with_pytensor(axis: int | None, pytensor: Any, tensor: Any) -> Callable[[Any], Any]:
    """Ask PyTensor."""
    return summed(axis)


def with_numba(axis: int | None, numba: Any, njit: Any) -> Callable[[Any], Any]:
    """Write loops for Numba; sums down the columns are kept by each thread for its share of the rows."""
    shares = threads()

    def everything(x: np.ndarray) -> float:
        total = 0.0
        for row in numba.prange(x.shape[0]):
            for column in range(x.shape[1]):
                total += x[row, column] * x[row, column]
        return total

    def rows(x: np.ndarray) -> np.ndarray:
        totals = np.empty(x.shape[0])
        for row in numba.prange(x.shape[0]):
            total = 0.0
            for column in range(x.shape[1]):
                total += x[row, column] * x[row, column]
            totals[row] = total
        return totals

    def columns(x: np.ndarray) -> np.ndarray:
        totals = np.zeros((shares, x.shape[1]))
        for share in numba.prange(shares):
            own = totals[share]
            for row in range(share * x.shape[0] // shares, (share + 1) * x.shape[0] // shares):
                for column in range(x.shape[1]):
                    own[column] += x[row, column] * x[row, column]
        return totals.sum(axis=0)

    return njit({None: everything, 1: rows, 0: columns}[axis])


def shape(axis: int | None, rows: int) -> tuple[int, ...]:
    """Give the shape of the result."""
    return {None: (), 0: (COLUMNS,), 1: (rows,)}[axis]


def workload(name: str, axis: int | None) -> Workload:
    """Make the workload of one axis."""
    listed = contenders(
        operands,
        both=functools.partial(with_both, axis),
        torch=functools.partial(with_torch, axis),
        torch_compiled=functools.partial(with_torch, axis),
        numba=functools.partial(with_numba, axis),
        pytensor=functools.partial(with_pytensor, axis),
        numpy=summed(axis),
        native=with_native(
            "sums",
            f"sum_{name}",
            operands,
            lambda rows: (rows, COLUMNS),
            lambda rows: (shape(axis, rows),),
            elementary=False,
        ),
    )
    return Workload(
        name=f"sums.{name}",
        title=f"sum of squares over {name} of a matrix of {COLUMNS:,} columns",
        sizes=SIZES,
        growth=(8, 512),
        fused=True,
        flops=lambda rows: 2 * rows * COLUMNS,
        contenders=listed,
        expected=lambda rows: summed(axis)(*operands(rows)),
        promises=promises(listed, SIZES),
    )


WORKLOADS = tuple(workload(name, axis) for name, axis in AXES.items())
