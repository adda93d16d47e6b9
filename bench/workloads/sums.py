"""Sums of squares over all elements, over rows and over columns of a matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_native
from bench.workload import Workload

COLUMNS = 1_024
SIZES = (64, 4_096)
AXES: dict[str, int | None] = {"all": None, "rows": 1, "columns": 0}


@functools.cache
def operands(rows: int) -> tuple[np.ndarray]:
    """Make the matrix."""
    return (np.random.default_rng(3).standard_normal((rows, COLUMNS)),)


def summed(axis: int | None) -> Callable[[Any], Any]:
    """Write the sum, for NumPy's arrays and for any that have its methods."""
    return lambda x: (x * x).sum(axis)


def with_torch(axis: int | None) -> Callable[[Any], Any]:
    """Write the sum for torch."""
    return lambda x: (x * x).sum() if axis is None else (x * x).sum(axis)


def shape(axis: int | None, rows: int) -> tuple[int, ...]:
    """Give the shape of the result."""
    return {None: (), 0: (COLUMNS,), 1: (rows,)}[axis]


def workload(name: str, axis: int | None) -> Workload:
    """Make the workload of one axis."""
    listed = contenders(
        operands,
        gradxform=lambda: summed(axis),
        jax=lambda: summed(axis),
        torch=lambda: with_torch(axis),
        torch_compiled=lambda: with_torch(axis),
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
        contenders=listed,
        expected=lambda rows: summed(axis)(*operands(rows)),
        promises=promises(listed, SIZES),
    )


WORKLOADS = tuple(workload(name, axis) for name, axis in AXES.items())
