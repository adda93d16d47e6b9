"""numpy.linalg: norms and condition numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import is_complex
from gradxform.errors import ArgumentError, LinAlgError, ShapeError
from gradxform.linear import move_axis
from gradxform.numpy.dispatch import traced
from gradxform.numpy.indexing import where
from gradxform.numpy.linalg.operands import as_arrays, as_matrix
from gradxform.operands import lift, normalize_axes
from gradxform.primitives import linalg_solve, linalg_spectral


def _root_of_squares(x: Any, axis: Any, keepdims: bool) -> Any:
    """The square root of the sum of squares; where that is zero the derivative is zero."""
    squares = x.real ** 2 + x.imag ** 2 if is_complex(dtype_of(x)) else x * x
    return _safe_power(squares.sum(axis=axis, keepdims=keepdims), 0.5)


def _safe_power(x: Any, exponent: float) -> Any:
    """A power of sums that are not negative, with the derivative 0 at 0, where it has none."""
    zero = x == 0
    inside = where(zero, 1, x)
    root = np.sqrt(inside) if exponent == 0.5 else inside ** exponent
    return lift("norm", where(zero, 0 if exponent > 0 else np.inf, root))


def _largest(x: Any, axis: Any, keepdims: bool = False) -> Any:
    """The largest of numbers that are not negative: 0 of none."""
    return x.max(axis=axis, keepdims=keepdims) if x.size else x.sum(axis=axis, keepdims=keepdims)


def _vector_norm(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    options: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    if order is None or order == 2:
        return _root_of_squares(x, axis, keepdims)
    if isinstance(order, str):
        raise ArgumentError(f"norm: Invalid norm order '{order}' for vectors{user_line()}")
    if order == np.inf:
        return _largest(abs(x), **options)
    if order == -np.inf:
        return abs(x).min(**options)
    if order == 0:
        return (x != 0).astype(abs(x).dtype).sum(**options)
    if order == 1:
        return abs(x).sum(**options)
    return _safe_power((abs(x) ** order).sum(**options), 1 / order)


def _matrix_norm(x: Any, order: Any, rows: int, columns: int, keepdims: bool) -> Any:
    if order in (None, "fro", "f"):
        return _root_of_squares(x, (rows, columns), keepdims)
    if order in ("nuc", 2, -2):
        moved = lift("norm", move_axis(move_axis(x, rows, x.ndim - 1), columns - (columns > rows), x.ndim - 1))
        values = lift("norm", linalg_spectral.svd(moved, vectors=False)[0])
        found = values.sum(axis=-1) if order == "nuc" else _largest(values, -1) if order == 2 else values.min(axis=-1)
        if keepdims:
            first, second = sorted((rows, columns))
            found = np.expand_dims(np.expand_dims(found, first), second)
        return found
    sums = {1: rows, -1: rows, np.inf: columns, -np.inf: columns}
    if order not in sums:
        raise ArgumentError(f"norm: Invalid norm order {order!r} for matrices{user_line()}")
    summed = abs(x).sum(axis=sums[order], keepdims=True)
    both = (rows, columns)
    return _largest(summed, both, keepdims) if order > 0 else summed.min(axis=both, keepdims=keepdims)


@traced(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors or matrices, of all orders that NumPy has; where it is 0 the derivative is 0.

    >>> import gradxform as gx
    >>> gx.grad(gx.numpy.linalg.norm)(np.array([3.0, 4.0])), gx.grad(gx.numpy.linalg.norm)(np.zeros(2))
    (array([0.6, 0.8]), array([0., 0.]))
    """
    (values,) = as_arrays("norm", x)
    if axis is None:
        if ord is None or (values.ndim == 1 and ord == 2) or (values.ndim == 2 and ord in ("f", "fro")):
            found = _root_of_squares(values.ravel(), None, False)
            return found.reshape((1,) * values.ndim) if keepdims else found
        axes = tuple(range(values.ndim))
    else:
        axes = normalize_axes("norm", tuple(axis) if isinstance(axis, (list, tuple)) else axis, values.ndim)
    if len(axes) == 1:
        return _vector_norm(values, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(values, ord, *axes, keepdims)
    raise ShapeError(f"norm: Improper number of dimensions to norm: expected 1 or 2 axes, got {len(axes)}{user_line()}")


@traced(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of vectors along ``axis``, or of all elements."""
    (values,) = as_arrays("vector_norm", x)
    axes = normalize_axes("vector_norm", tuple(axis) if isinstance(axis, list) else axis, values.ndim)
    kept = [n for k, n in enumerate(values.shape) if k not in axes]
    order = (*(k for k in range(values.ndim) if k not in axes), *axes)
    flat = values.transpose(order).reshape((*kept, -1)) if values.size else values.transpose(order).reshape(
        (*kept, int(np.prod([values.shape[k] for k in axes]))))
    found = _vector_norm(flat, ord, flat.ndim - 1, False)
    return found.reshape([1 if k in axes else n for k, n in enumerate(values.shape)]) if keepdims else found


@traced(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of matrices, which the last two axes hold."""
    values = as_matrix("matrix_norm", x)
    return _matrix_norm(values, ord, values.ndim - 2, values.ndim - 1, keepdims)


@traced(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition numbers of matrices; infinite for singular ones."""
    values = as_matrix("cond", x)
    if 0 in values.shape[-2:] or (values.size == 0 and p not in (None, 2, -2) and values.shape[-1] == 0):
        raise LinAlgError(f"cond: cond is not defined on empty arrays{user_line()}")
    if p in (None, 2, -2):
        s = lift("cond", linalg_spectral.svd(values, vectors=False)[0])
        found = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    else:
        values = as_matrix("cond", values, square=True)
        inverse = lift("cond", linalg_solve.inverse(values, checked=False))
        axes = (values.ndim - 2, values.ndim - 1)
        found = _matrix_norm(values, p, *axes, False) * _matrix_norm(inverse, p, *axes, False)
    missing = np.isnan(found) & ~np.isnan(values).any(axis=(-2, -1))
    return lift("cond", where(missing, np.inf, found))
