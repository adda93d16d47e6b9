"""numpy.linalg: products, and what the array API standard calls by names of linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, LinAlgError, ShapeError
from gradxform.numpy import creation, products
from gradxform.numpy.dispatch import refuse_out, traced
from gradxform.operands import lift
from gradxform.primitives.matrices import matrix_transpose as transposed


@traced(np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Any:
    """The product of matrices, of stacks of them that broadcast, and of vectors."""
    return products.matmul(lift("matmul", x1), x2)


@traced(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The sum of products along ``axis``, the first factor conjugated, the other axes broadcasting."""
    return products.vecdot(lift("vecdot", x1), x2, axis=axis)


@traced(np.linalg.tensordot)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """The sum over pairs of axes, or over the last ``axes`` of ``x1`` and the first of ``x2``."""
    return products.tensordot(lift("tensordot", x1), x2, axes)


@traced(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    """The products of each element of one vector with each of another."""
    x, y = lift("outer", x1), lift("outer", x2)
    if x.ndim != 1 or y.ndim != 1:
        raise ArgumentError(
            f"outer: Input arrays must be one-dimensional, but they are x1.ndim={x.ndim} and x2.ndim={y.ndim}{user_line()}")
    return products.outer(x, y)


@traced(np.linalg.cross)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The vector product of vectors of length 3 along ``axis``."""
    x, y = lift("cross", x1), lift("cross", x2)
    if x.shape[axis] != 3 or y.shape[axis] != 3:
        raise ShapeError(
            f"cross: Both input arrays must be (arrays of) 3-dimensional vectors, but they are {x.shape[axis]} and "
            f"{y.shape[axis]} dimensional instead{user_line()}")
    return products.cross(x, y, axis=axis)


@traced(np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """Matrices with their last two axes swapped."""
    values = lift("matrix_transpose", x)
    if values.ndim < 2:
        raise ShapeError(f"matrix_transpose: Input array must be at least 2-dimensional, but it is {values.ndim}{user_line()}")
    return lift("matrix_transpose", transposed(values))


@traced(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of matrices, which the last two axes hold."""
    return creation.diagonal(lift("diagonal", x), offset, -2, -1)


@traced(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the diagonals of matrices, which the last two axes hold."""
    return diagonal(lift("trace", x), offset=offset).sum(axis=-1, dtype=dtype)


@traced(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: None = None) -> Any:
    """The product of several matrices, in the order that takes the least work; the first and the last may be vectors."""
    refuse_out("multi_dot", out)
    values = [lift("multi_dot", x) for x in arrays]
    if len(values) < 2:
        raise ArgumentError(f"multi_dot: Expecting at least two arrays, got {len(values)}{user_line()}")
    first, last = values[0].ndim == 1, values[-1].ndim == 1
    if first:
        values[0] = values[0][None, :]
    if last:
        values[-1] = values[-1][:, None]
    for x in values:
        if x.ndim != 2:
            raise LinAlgError(f"multi_dot: {x.ndim}-dimensional array given. Array must be two-dimensional{user_line()}")
    for x, y in pairwise(values):
        if x.shape[1] != y.shape[0]:
            raise ShapeError(f"multi_dot: shapes {x.shape} and {y.shape} not aligned{user_line()}")
    result = _chained(values, _order(values), 0, len(values) - 1)
    return lift("multi_dot", result[(0 if first else slice(None), 0 if last else slice(None))])


def _order(values: Sequence[Any]) -> dict[tuple[int, int], int]:
    """Where to split each part of the chain: Cormen et al., Introduction to Algorithms, section 15.2."""
    extents = [values[0].shape[0], *(x.shape[1] for x in values)]
    count = len(values)
    price = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            price[i, j], split[i, j] = min(
                (price[i, k] + price[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1], k) for k in range(i, j))
    return split


def _chained(values: Sequence[Any], split: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return values[i]
    k = split[i, j]
    return _chained(values, split, i, k) @ _chained(values, split, k + 1, j)
