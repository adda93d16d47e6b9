"""Grids, ranges and joins written as indices: mgrid, ogrid, r_, c_, s_; the indices of parts of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import index_exp, s_

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.stepping import steppable
from gradxform.core import current_builder
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ShapeError
from gradxform.numpy.creation import arange, linspace, meshgrid, ones
from gradxform.numpy.dispatch import traced
from gradxform.numpy.indexing import diag_indices, tril_indices, triu_indices
from gradxform.numpy.manipulation import concatenate, reshape, stack, swapaxes, transpose
from gradxform.numpy.positions import nonzero
from gradxform.operands import as_operand, cast, lift, promoted_type

__all__ = ["c_", "diag_indices_from", "index_exp", "mask_indices", "mgrid", "ogrid", "r_", "s_", "tril_indices_from",
           "triu_indices_from"]


class Indexed:
    """An object that is called by indexing it: NumPy's own while nothing is recorded."""

    def __init__(self, reference: Any, staged: Callable[[Any], Any], sentence: str) -> None:
        self._reference = reference
        self._staged = staged
        self.__doc__ = sentence

    def __getitem__(self, key: Any) -> Any:
        if current_builder() is not None:
            return self._staged(key)
        result = self._reference[key]
        return tree.map_leaves(steppable, result) if jit_disabled() else result

    def __len__(self) -> int:
        return 0

    def __reduce__(self) -> str:
        return next(name for name in ("c_", "mgrid", "ogrid", "r_") if globals()[name] is self)


# -------------------------------------------------------------------------------------------------------- grids


def _range(name: str, part: Any) -> Any:
    """The numbers of a slice: start, start + step, ... below stop, or as many as an imaginary step says, to stop."""
    if not isinstance(part, slice):
        raise ArgumentError(f"{name}: expected slices such as 0:5 or -1:1:7j, got {part!r}{user_line()}")
    start = 0 if part.start is None else part.start
    if isinstance(part.step, (complex, np.complexfloating)):
        return linspace(start, part.stop, int(np.abs(part.step)))
    return arange(start, part.stop, 1 if part.step is None else part.step)


def _vectors(name: str, key: tuple[Any, ...]) -> list[Any]:
    vectors = [_range(name, part) for part in key]
    dtype = promoted_type(name, vectors)[0]
    return [lift(name, cast(x, dtype)) for x in vectors]


def _mgrid(key: Any) -> Any:
    if not isinstance(key, tuple):
        return _range("mgrid", key)
    return stack(meshgrid(*_vectors("mgrid", key), indexing="ij"), 0)


def _ogrid(key: Any) -> Any:
    if not isinstance(key, tuple):
        return _range("ogrid", key)
    return meshgrid(*_vectors("ogrid", key), indexing="ij", sparse=True)


mgrid = Indexed(np.mgrid, _mgrid, "The dense grid that slices span, one array per axis, as in ``mgrid[0:3, 0:1:5j]``.")
ogrid = Indexed(np.ogrid, _ogrid, "The open grid that slices span: arrays of extent 1 but along their own axis.")

# -------------------------------------------------------------------------------------------------------- joins


def _joined(name: str, key: Any, axis: int, least_rank: int, place: int) -> Any:
    """NumPy's ``AxisConcatenator``: ranges, numbers and arrays, brought to ``least_rank`` axes and joined along ``axis``."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if parts and isinstance(parts[0], str):
        axis, least_rank, place = _directive(name, parts.pop(0), (axis, least_rank, place))
    operands, values = [], []
    for part in parts:
        if isinstance(part, str):
            raise ArgumentError(f"{name}: special directives must be the first entry, got {part!r}{user_line()}")
        value = _range(name, part) if isinstance(part, slice) else as_operand(name, part)
        operands.append(value)
        values.append(_raised(lift(name, value), least_rank, place, isinstance(part, slice)))
    if not values:
        raise ArgumentError(f"{name}: nothing to join{user_line()}")
    dtype = promoted_type(name, operands)[0]
    return concatenate([lift(name, cast(x, dtype)) for x in values], axis)


def _directive(name: str, text: str, given: tuple[int, int, int]) -> tuple[int, int, int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(
            f"{name}: {text!r} is no directive of the form 'axis', 'axis,ndim' or 'axis,ndim,place'; 'r' and 'c' make "
            f"matrices, which are not supported{user_line()}") from None
    return (*numbers, *given[len(numbers):])  # type: ignore[return-value]


def _raised(x: Any, least_rank: int, place: int, ranged: bool) -> Any:
    """``x`` with axes of extent 1 in front up to ``least_rank``; ``place`` says where its own axes stand among them."""
    missing = least_rank - x.ndim
    if missing <= 0 and x.ndim:
        return x
    raised = reshape(x, (1,) * max(missing, 1 - x.ndim) + x.shape)
    if place == -1 or not x.ndim or missing <= 0:
        return raised
    if ranged:
        return swapaxes(raised, -1, place)
    first = place + missing + 1 if place < 0 else place
    order = list(range(least_rank))
    return transpose(raised, order[:first] + order[missing:] + order[first:missing])


r_ = Indexed(np.r_, lambda key: _joined("r_", key, 0, 1, -1),
             "Ranges, numbers and arrays joined along the first axis, as in ``r_[x, 0, 1:4]``.")
c_ = Indexed(np.c_, lambda key: _joined("c_", key, -1, 2, 0),
             "Vectors as columns, and matrices, joined along the last axis.")

# ----------------------------------------------------------------------------------------- indices of parts of matrices


def _matrix_shape(name: str, arr: Any) -> tuple[int, int]:
    x = lift(name, arr)
    if x.ndim != 2:
        raise ShapeError(f"{name}: input array must be 2-d, got shape {x.shape}{user_line()}")
    return x.shape[0], x.shape[1]


@traced(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    """The indices on and below diagonal ``k`` of a matrix like ``arr``."""
    rows, columns = _matrix_shape("tril_indices_from", arr)
    return tril_indices(rows, k, columns)


@traced(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    """The indices on and above diagonal ``k`` of a matrix like ``arr``."""
    rows, columns = _matrix_shape("triu_indices_from", arr)
    return triu_indices(rows, k, columns)


@traced(np.diag_indices_from)
def diag_indices_from(arr: Any) -> tuple[Any, ...]:
    """The indices of the main diagonal of an array like ``arr``, whose extents are equal."""
    x = lift("diag_indices_from", arr)
    if x.ndim < 2:
        raise ShapeError(f"diag_indices_from: input array must be at least 2-d, got shape {x.shape}{user_line()}")
    if len(set(x.shape)) != 1:
        raise ShapeError(f"diag_indices_from: all dimensions must be of equal length, got shape {x.shape}{user_line()}")
    return diag_indices(x.shape[0], x.ndim)


@traced(np.mask_indices)
def mask_indices(n: int, mask_func: Callable[..., Any], k: Any = 0) -> tuple[Any, ...]:
    """The indices of an n by n matrix at which ``mask_func(ones, k)`` is not zero, as with ``np.triu``."""
    return nonzero(mask_func(ones((n, n), int), k))
