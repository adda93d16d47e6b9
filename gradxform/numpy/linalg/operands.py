"""What the functions of linear algebra do with their arguments: dtypes, shapes, stacks that broadcast."""

from __future__ import annotations

from typing import Any

from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, float64, is_differentiable
from gradxform.errors import LinAlgError, ShapeError
from gradxform.operands import broadcast_shapes, broadcast_to, cast, lift, promote_operands, promoted_type


def inexact_dtype(dtype: DType) -> DType:
    """The dtype of a decomposition: integers and booleans become float64, as in numpy.linalg."""
    return dtype if is_differentiable(dtype) else float64


def as_matrix(name: str, value: Any, square: bool = False) -> Any:
    """A traced stack of matrices in a float or complex dtype. LinAlgError as NumPy's for other ranks and shapes."""
    return as_matrices(name, value, square=square)[0]


def as_matrices(name: str, *values: Any, square: bool = False) -> list[Any]:
    """Stacks of matrices in the float or complex dtype of what they promote to; ``square``: the first of them must be."""
    found = as_arrays(name, *promote_operands(name, *values))
    for x in found:
        if x.ndim < 2:
            raise LinAlgError(
                f"{name}: {x.ndim}-dimensional array given. Array must be at least two-dimensional{user_line()}")
    if square and found[0].shape[-1] != found[0].shape[-2]:
        raise LinAlgError(
            f"{name}: Last 2 dimensions of the array must be square: expected (..., n, n), got {found[0].shape}{user_line()}")
    return found


def as_arrays(name: str, *values: Any) -> list[Any]:
    """Traced arrays in one float or complex dtype, as numpy.linalg finds it: an array of integers counts as float64."""
    arrays = [lift(name, value) for value in values]
    kept = [x if is_differentiable(dtype_of(x)) else cast(x, float64) for x in arrays]
    dtype = promoted_type(name, kept)[0]
    return [lift(name, cast(x, dtype)) for x in kept]


def in_one_stack(name: str, *values: Any) -> list[Any]:
    """Matrices with their stacks broadcast to one shape."""
    shape = broadcast_shapes(name, *[shape_of(x)[:-2] for x in values])
    return [lift(name, broadcast_to(name, x, (*shape, *shape_of(x)[-2:]))) for x in values]


def right_hand_side(name: str, a: Any, b: Any, rows: int) -> tuple[Any, bool]:
    """``b`` as a stack of matrices, and whether it is a vector; it must have ``rows`` rows."""
    vector = b.ndim == 1
    if b.ndim < 1 or b.shape[0 if vector else -2] != rows:
        raise ShapeError(
            f"{name}: a matrix of shape {shape_of(a)} and a right-hand side of shape {shape_of(b)} do not fit: expected "
            f"{rows} rows (a vector, if it has one axis){user_line()}")
    return (b[:, None] if vector else b), vector


__all__ = ["as_arrays", "as_matrices", "as_matrix", "dtype_of", "in_one_stack", "inexact_dtype", "right_hand_side"]
