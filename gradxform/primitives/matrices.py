"""What the rules of linear algebra are written with: products, transposes, triangles, diagonals of stacks of matrices.

A matrix is what the last two axes hold; all others count the matrices of a stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import int64, is_complex, is_differentiable
from gradxform.errors import DTypeError, LinAlgError, ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import align, broadcast, reduce_sum, select, transpose
from gradxform.primitives.complex import conj, from_real, real
from gradxform.primitives.contraction import dot_general
from gradxform.primitives.logic import equal, greater, greater_equal
from gradxform.primitives.shape import iota, reshape, slice_array

# ------------------------------------------------------------------------------------------------ checks of types


def check_inexact(name: str, *operands: ArrayType) -> None:
    """Raises DTypeError unless the operands are floats or complex numbers."""
    for x in operands:
        if not is_differentiable(x.dtype):
            raise DTypeError(f"{name}: expected a float or complex matrix, got {x}: cast with .astype{user_line()}")


def check_matrix(name: str, x: ArrayType, square: bool = False) -> None:
    """Raises LinAlgError, as NumPy does, unless the last two axes hold matrices, square ones if asked for."""
    check_inexact(name, x)
    if x.rank < 2:
        raise LinAlgError(f"{name}: {x.rank}-dimensional array given. Array must be at least two-dimensional{user_line()}")
    if square and x.shape[-1] != x.shape[-2]:
        raise LinAlgError(
            f"{name}: Last 2 dimensions of the array must be square: expected (..., n, n), got {x.shape}{user_line()}")


def check_stack(name: str, x: ArrayType, y: ArrayType) -> None:
    """Raises ShapeError unless two operands are stacks of the same shape."""
    if x.shape[:-2] != y.shape[:-2] or x.dtype != y.dtype:
        raise ShapeError(f"{name}: expected stacks of one shape and dtype, got {x} and {y}{user_line()}")


# -------------------------------------------------------------------------------------------------------- matrices


def matmul(x: Any, y: Any) -> Any:
    """The product of stacks of matrices of the same shape of stack."""
    rank = len(shape_of(x))
    lanes = tuple(range(rank - 2))
    return dot_general(x, y, ((rank - 1,), (rank - 2,)), (lanes, lanes))


def matrix_transpose(x: Any) -> Any:
    rank = len(shape_of(x))
    return transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def conjugate(x: Any) -> Any:
    """The conjugate; a real ``x`` as it is."""
    return conj(x) if is_complex(dtype_of(x)) else x


def real_part(x: Any) -> Any:
    """The real part; a real ``x`` as it is."""
    return real(x) if is_complex(dtype_of(x)) else x


def like(x: Any, dtype: Any) -> Any:
    """The real ``x`` as complex numbers if ``dtype`` is complex."""
    return from_real(x) if is_complex(dtype) and not is_complex(dtype_of(x)) else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose."""
    return conjugate(matrix_transpose(x))


def _positions(shape: tuple[int, ...]) -> tuple[Any, Any]:
    return iota(shape, int64, len(shape) - 2), iota(shape, int64, len(shape) - 1)


def _masked(x: Any, relation: Callable[[Any, Any], Any]) -> Any:
    rows, columns = _positions(shape_of(x))
    return select(relation(rows, columns), x, dtype_of(x).type(0))


def lower_triangle(x: Any, strict: bool = False) -> Any:
    """``x`` with zeros above the diagonal; ``strict``: also on it."""
    return _masked(x, greater if strict else greater_equal)


def upper_triangle(x: Any, strict: bool = False) -> Any:
    """``x`` with zeros below the diagonal; ``strict``: also on it."""
    return _masked(x, lambda rows, columns: (greater if strict else greater_equal)(columns, rows))


def on_diagonal(shape: tuple[int, ...]) -> Any:
    """Where a stack of matrices has its diagonals."""
    return equal(*_positions(shape))


def diagonal(x: Any) -> Any:
    """The diagonals of matrices."""
    *stack, rows, columns = shape_of(x)
    n = min(rows, columns)
    flat = reshape(x, (*stack, rows * columns))
    limit = (n - 1) * (columns + 1) + 1 if n else 0
    return slice_array(flat, (0,) * (len(stack) + 1), (*stack, limit), (*(1,) * len(stack), max(columns + 1, 1)))


def diagonal_matrix(x: Any) -> Any:
    """Matrices with the given diagonals, and zeros elsewhere."""
    wide = as_rows(x, shape_of(x)[-1])
    return select(on_diagonal(shape_of(wide)), wide, dtype_of(x).type(0))


def as_rows(x: Any, count: int) -> Any:
    """``x`` (..., n) repeated as ``count`` rows, (..., count, n)."""
    *stack, n = shape_of(x)
    return broadcast(x, (*stack, count, n), (*range(len(stack)), len(stack) + 1))


def as_columns(x: Any, count: int) -> Any:
    """``x`` (..., n) repeated as ``count`` columns, (..., n, count)."""
    return broadcast(x, (*shape_of(x), count), tuple(range(len(shape_of(x)))))


def identity(x: Any) -> Any:
    """Identity matrices of the shape of ``x``."""
    shape, dtype = shape_of(x), dtype_of(x)
    one = dtype.type(1)
    return select(on_diagonal(shape), broadcast(one, shape, ()), dtype.type(0))


def trace_of_product(x: Any, y: Any) -> Any:
    """The trace of x y for stacks of matrices, in time in proportion to their size."""
    rank = len(shape_of(x))
    lanes = tuple(range(rank - 2))
    return dot_general(x, y, ((rank - 2, rank - 1), (rank - 1, rank - 2)), (lanes, lanes))


def trace(x: Any) -> Any:
    """The sums of diagonals."""
    found = diagonal(x)
    return reduce_sum(found, (len(shape_of(found)) - 1,))


# ----------------------------------------------------------------------------------------------- rules in common


def in_lanes(operands: Sequence[Any], batched: Sequence[bool], size: int) -> list[Any]:
    """Operands with a batch axis each: those that have none are repeated."""
    return [align(x, flag, (size, *shape_of(x)[1 if flag else 0:])) if flag else
            broadcast(x, (size, *shape_of(x)), tuple(range(1, len(shape_of(x)) + 1)))
            for x, flag in zip(operands, batched, strict=True)]


def evaluate_stack(
    reference: Callable[..., Sequence[Any]], operands: Sequence[Any], core_ranks: Sequence[int], results: Sequence[ArrayType],
    checked: bool, vectorised: bool = True,
) -> tuple[Any, ...]:
    """``reference`` of stacks of matrices; one by one if it takes no stacks, or fails and NaN are wanted.

    ``core_ranks`` are the ranks of one element of each operand. ``results`` are the types of the results.
    """
    stack = operands[0].shape[:operands[0].ndim - core_ranks[0]]
    if vectorised or not stack:
        try:
            return tuple([np.asarray(x, t.dtype) for x, t in zip(reference(*operands), results, strict=True)])
        except np.linalg.LinAlgError:
            if checked:
                raise
    found = [np.full(t.shape, np.nan if t.dtype.kind in "fc" else 0, t.dtype) for t in results]
    for place in np.ndindex(stack):
        try:
            values = reference(*[x[place] for x in operands])
        except np.linalg.LinAlgError:
            if checked:
                raise
            continue
        for target, value in zip(found, values, strict=True):
            target[place] = value
    return tuple(found)
