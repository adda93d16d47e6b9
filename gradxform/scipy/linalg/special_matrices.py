"""scipy.linalg: matrices made of vectors and of other matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.errors import ShapeError
from gradxform.operands import lift, promote_operands
from gradxform.primitives.matrices import conjugate
from gradxform.scipy.linalg.calls import traced


def _vectors(name: str, *values: Any) -> list[Any]:
    found = [lift(name, x) for x in promote_operands(name, *values)]
    return [x.reshape((1,)) if x.ndim == 0 else x for x in found]


@traced
def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix with constant diagonals, first column ``c`` and first row ``r`` (the conjugate of ``c`` if not given)."""
    column = lift("toeplitz", c)
    column, row = _vectors("toeplitz", column, lift("toeplitz", conjugate(column)) if r is None else r)
    m, n = column.shape[-1], row.shape[-1]
    entries = np.concatenate([column[..., ::-1], row[..., 1:]], axis=-1)
    return entries[..., np.arange(m - 1, -1, -1)[:, None] + np.arange(n)]


@traced
def hankel(c: Any, r: Any = None) -> Any:
    """The matrix with constant antidiagonals, first column ``c`` and last row ``r`` (zeros if not given)."""
    column = lift("hankel", c)
    column, row = _vectors("hankel", column, np.zeros(column.shape, column.dtype) if r is None else r)
    m, n = column.shape[-1], row.shape[-1]
    entries = np.concatenate([column, row[..., 1:]], axis=-1)
    return entries[..., np.arange(m)[:, None] + np.arange(n)]


@traced
def circulant(c: Any) -> Any:
    """The matrix whose columns are ``c``, each turned one further than the one before."""
    (column,) = _vectors("circulant", c)
    n = column.shape[-1]
    return column[..., (np.arange(n)[:, None] - np.arange(n)) % n]


@traced
def block_diag(*arrs: Any) -> Any:
    """The matrix with the given matrices on its diagonal, and zeros elsewhere."""
    if not arrs:
        return lift("block_diag", np.zeros((1, 0)))
    blocks = [np.atleast_2d(lift("block_diag", x)) for x in promote_operands("block_diag", *arrs)]
    rank = max(x.ndim for x in blocks)
    if any(x.ndim != rank for x in blocks):
        raise ShapeError(f"block_diag: expected matrices, or stacks of one shape, got {[x.shape for x in blocks]}{user_line()}")
    width = sum(x.shape[-1] for x in blocks)
    rows, before = [], 0
    for x in blocks:
        sides = ((0, 0),) * (x.ndim - 1)
        rows.append(np.pad(x, (*sides, (before, width - before - x.shape[-1]))))
        before += x.shape[-1]
    return np.concatenate(rows, axis=-2)


@traced
def khatri_rao(a: Any, b: Any) -> Any:
    """The Kronecker products of the columns of two matrices."""
    x, y = (lift("khatri_rao", z) for z in promote_operands("khatri_rao", a, b))
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"khatri_rao: expected matrices with as many columns, got shapes {x.shape} and {y.shape}{user_line()}")
    found = x[..., :, None, :] * y[..., None, :, :]
    return found.reshape((*found.shape[:-3], x.shape[-2] * y.shape[-2], x.shape[-1]))
