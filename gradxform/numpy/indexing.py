"""Choosing and looking up elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform import operators
from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, int64, is_differentiable
from gradxform.errors import ArgumentError, IndexRangeError, ShapeError
from gradxform.indexing import get
from gradxform.linear import full, move_axis, transpose
from gradxform.numpy.creation import arange
from gradxform.numpy.dispatch import refuse_out, refuse_unless, traced
from gradxform.numpy.manipulation import known_array, reshape, static_integers
from gradxform.numpy.positions import flatnonzero, nonzero
from gradxform.numpy.sized import filled, picked, positions_of_true, refuse_fill_value, static_size, traced_with_size
from gradxform.numpy.ufuncs import truth
from gradxform.operands import (
    as_operand,
    broadcast_operands,
    broadcast_shapes,
    broadcast_to,
    cast,
    lift,
    normalize_axis,
    promote_operands,
)
from gradxform.primitives import arithmetic, logic
from gradxform.primitives.indexing import gather
from gradxform.primitives.shape import concatenate, iota


@traced(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """``x`` where ``condition`` holds, else ``y``; without those, ``nonzero(condition)``.

    The one not chosen gets derivative zero, also where its own derivative is infinite.
    """
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ArgumentError(f"where: either both or neither of x and y should be given{user_line()}")
    operands = [truth("where", condition), *promote_operands("where", x, y)]
    chosen, first, second = broadcast_operands("where", operands)
    return lift("where", logic.select(chosen, first, second))


@traced(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """For each element the choice whose condition is the first to hold, else ``default``."""
    if len(condlist) != len(choicelist):
        raise ArgumentError(
            f"select: list of cases must be same length as list of conditions, got {len(choicelist)} and "
            f"{len(condlist)}{user_line()}")
    if not condlist:
        raise ArgumentError(f"select: an empty condition list is not possible{user_line()}")
    *choices, result = promote_operands("select", *choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        if dtype_of(as_operand("select", condition)) != bool_:
            raise ArgumentError(f"select: conditions should be boolean arrays{user_line()}")
        result = where(condition, choice, result)
    return result


@traced(np.choose)
def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    """For each element the one of ``choices`` that ``a`` numbers."""
    refuse_out("choose", out)
    refuse_unless("choose", "mode", mode, "raise", "clip", "wrap")
    options = promote_operands("choose", *choices)
    index = cast(as_operand("choose", a), int64)
    shape = broadcast_shapes("choose", shape_of(index), *map(shape_of, options))
    table = [reshape(broadcast_to("choose", x, shape), (1, *shape)) for x in options]
    count = len(options)
    position = broadcast_to("choose", index, shape)
    if mode == "wrap":
        position = operators.remainder(position, count)
    grid = [iota(shape, int64, k) for k in range(len(shape))]
    return lift("choose", gather(concatenate(table, 0), position, *grid, axes=tuple(range(len(shape) + 1)),
                                 mode={"raise": "check", "clip": "clip", "wrap": "inside"}[mode]))


@traced(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: None = None, mode: str = "raise") -> Any:
    """The elements of ``a`` at ``indices`` along ``axis`` (flattened if None).

    ``mode`` raise gives IndexRangeError for a position out of range, also in compiled code; clip and wrap mend it.
    """
    refuse_out("take", out)
    refuse_unless("take", "mode", mode, "raise", "clip", "wrap")
    x = lift("take", a)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis("take", axis, x.ndim)
    index = as_operand("take", indices)
    if shape_of(index) == (0,):
        index = np.zeros(0, np.int64)
    if dtype_of(index).kind not in "biu":
        raise IndexRangeError(f"take: indices must be integers, got dtype {dtype_of(index)}{user_line()}")
    if mode == "raise" and dtype_of(index) != bool_:
        return get(x, (*(slice(None),) * position, index))
    index = cast(index, int64)
    extent = x.shape[position]
    if mode == "wrap":
        index = operators.remainder(index, extent)
    result = gather(x, index, axes=(position,), mode="inside" if mode == "wrap" else "clip")
    rank = len(shape_of(index))
    order = (*range(rank, rank + position), *range(rank), *range(rank + position, len(shape_of(result))))
    return lift("take", transpose(result, order))


def _along_axis(name: str, arr: Any, indices: Any, axis: Any) -> tuple[Any, Any, int, tuple[int, ...]]:
    x, index = lift(name, arr), as_operand(name, indices)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis(name, axis, x.ndim)
    if len(shape_of(index)) != x.ndim or dtype_of(index).kind not in "iu":
        raise IndexRangeError(
            f"{name}: indices must be integers and of the rank of the array, got shapes {shape_of(index)} and {x.shape}"
            f"{user_line()}")
    shape = broadcast_shapes(name, *(tuple(1 if k == position else n for k, n in enumerate(s))
                                     for s in (x.shape, shape_of(index))))
    full_shape = tuple(shape_of(index)[position] if k == position else n for k, n in enumerate(shape))
    # A known index stays known, and is checked here and now.
    repeated = np.broadcast_to(index, full_shape) if isinstance(index, np.ndarray) else (
        broadcast_to(name, index, full_shape))
    return x, repeated, position, full_shape


@traced(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    """For each line along ``axis`` the elements at the positions in the same line of ``indices``."""
    x, index, position, shape = _along_axis("take_along_axis", arr, indices, axis)
    static = isinstance(index, np.ndarray)
    grid = [index if k == position else (iota(shape, int64, k) if x.shape[k] != 1 else full(shape, 0, int64))
            for k in range(x.ndim)]
    if static:
        _check_known(index, x.shape[position], position)
    if static:
        grid[position] = np.where(index < 0, index + x.shape[position], index).astype(np.int64)
    return lift("take_along_axis", gather(x, *grid, axes=tuple(range(x.ndim)), mode="inside" if static else "relative"))


def _check_known(index: Any, extent: int, axis: int) -> None:
    """Raises IndexRangeError if a known index is out of range."""
    wrong = (index < -extent) | (index >= extent)
    if wrong.any():
        raise IndexRangeError(
            f"index {int(index[wrong].flat[0])} is out of bounds for axis {axis} with size {extent}{user_line()}")


@traced_with_size(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: None = None, *, size: Any = None, fill_value: Any = None) -> Any:
    """The slices of ``a`` along ``axis`` for which ``condition`` holds; that must be known, or ``size`` is their number.

    Missing ones are ``fill_value``, by default 0.
    """
    refuse_out("compress", out)
    refuse_fill_value("compress", size, fill_value)
    if size is None:
        return take(a, np.flatnonzero(known_array("compress (its condition)", condition)), axis)
    x = lift("compress", a)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis("compress", axis, x.ndim)
    chosen = truth("compress", condition)
    if len(shape_of(chosen)) != 1 or shape_of(chosen)[0] > x.shape[position]:
        raise ShapeError(
            f"compress: a condition of shape {shape_of(chosen)} does not fit axis {position} of an array of shape {x.shape}"
            f"{user_line()}")
    places, count = positions_of_true(chosen, static_size("compress", size))
    moved = lift("compress", move_axis(x, position, 0))
    found = filled(picked(moved, places), count, 0 if fill_value is None else fill_value)
    return lift("compress", move_axis(found, 0, position))


@traced_with_size(np.extract)
def extract(condition: Any, arr: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The elements of ``arr`` for which ``condition`` holds; that must be known, or ``size`` is their number.

    Missing ones are ``fill_value``, by default 0.
    """
    mask = lift("extract", condition)
    return compress(mask.ravel(), lift("extract", arr).ravel(), 0, size=size, fill_value=fill_value)


def _constants(name: str, found: Any) -> Any:
    return tuple(lift(name, part) for part in found)


@traced(np.ix_)
def ix_(*args: Any) -> tuple[Any, ...]:
    """Index arrays of an open mesh, one per vector; boolean ones must be known."""
    results = []
    for position, value in enumerate(args):
        x = lift("ix_", value)
        if x.ndim != 1:
            raise ShapeError(f"ix_: Cross index must be 1 dimensional, got shape {x.shape}{user_line()}")
        if x.dtype == bool_:
            x = flatnonzero(x)
        elif not x.size:
            x = x.astype(int64)
        results.append(reshape(x, (1,) * position + x.shape + (1,) * (len(args) - position - 1)))
    return tuple(results)


@traced(np.diag_indices)
def diag_indices(n: int, ndim: int = 2) -> tuple[Any, ...]:
    """The indices of a main diagonal."""
    return (arange(n),) * ndim


@traced(np.tril_indices)
def tril_indices(n: int, k: int = 0, m: Any = None) -> Any:
    """The indices on and below diagonal ``k``."""
    return _constants("tril_indices", np.tril_indices(static_integers("tril_indices", n)[0], k, m))


@traced(np.triu_indices)
def triu_indices(n: int, k: int = 0, m: Any = None) -> Any:
    """The indices on and above diagonal ``k``."""
    return _constants("triu_indices", np.triu_indices(static_integers("triu_indices", n)[0], k, m))


@traced(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    """The index of each position in a flattened array of ``shape``; positions are not checked."""
    refuse_unless("unravel_index", "order", order, "C", "F")
    rest = cast(as_operand("unravel_index", indices), int64)
    extents = static_integers("unravel_index", shape)
    found = []
    for extent in extents if order == "F" else reversed(extents):
        found.append(lift("unravel_index", operators.remainder(rest, extent)))
        rest = operators.floor_divide(rest, extent)
    return tuple(found if order == "F" else reversed(found))


@traced(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    """The position in a flattened array of shape ``dims``; ``mode`` clip and wrap mend indices, raise does not check them."""
    refuse_unless("ravel_multi_index", "order", order, "C", "F")
    extents = static_integers("ravel_multi_index", dims)
    modes = mode if isinstance(mode, tuple) else (mode,) * len(extents)
    parts = list(zip(multi_index, extents, modes, strict=True))
    result: Any = 0
    for index, extent, one in parts if order == "C" else reversed(parts):
        refuse_unless("ravel_multi_index", "mode", one, "raise", "clip", "wrap")
        position = cast(as_operand("ravel_multi_index", index), int64)
        if one == "wrap":
            position = operators.remainder(position, extent)
        elif one == "clip":
            position = arithmetic.clamp(np.int64(0), position, np.int64(extent - 1))
        result = operators.add(operators.multiply(result, extent), position)
    return lift("ravel_multi_index", result)


@traced(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where each of ``v`` would be inserted into the sorted vector ``a``, by bisection; the derivative is zero."""
    refuse_unless("searchsorted", "side", side, "left", "right")
    table, values = (lift("searchsorted", x) for x in promote_operands("searchsorted", a, v))
    if sorter is not None:
        table = take(table, sorter)
    if table.ndim != 1:
        raise ShapeError(f"searchsorted: expected a vector, got shape {table.shape}{user_line()}")
    found = full(values.shape, 0, int64)
    step = 1 << table.size.bit_length() >> 1
    while step:
        further = operators.add(found, step)
        probe = gather(table, operators.subtract(further, 1), axes=(0,), mode="clip")
        behind = logic.logical_and(_sorts_before(probe, values, side), operators.less_equal(further, table.size))
        found = logic.select(behind, further, found)
        step >>= 1
    return lift("searchsorted", found)


def _sorts_before(x: Any, y: Any, side: str) -> Any:
    """Whether ``x`` stands before an inserted ``y``; NaN sorts last."""
    before = logic.less(x, y) if side == "left" else logic.less_equal(x, y)
    if not is_differentiable(dtype_of(x)):
        return before
    after_all = logic.isnan(y)
    return logic.logical_or(before, after_all if side == "right" else
                            logic.logical_and(logic.logical_not(logic.isnan(x)), after_all))


@traced(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: None = None, *, min: Any = None, max: Any = None,
         **kwargs: Any) -> Any:
    """``a`` limited to [a_min, a_max]; at a bound the derivative is shared evenly between it and ``a``."""
    refuse_out("clip", out)
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    dtype = dtype_of(as_operand("clip", a))
    if dtype.kind in "iu":
        # A Python integer beyond the dtype is no bound.
        limits_of = np.iinfo(dtype)
        low = None if type(low) is int and low <= limits_of.min else low
        high = None if type(high) is int and high >= limits_of.max else high
    bounds = [bound for bound in (low, high) if bound is not None]
    x, *limits = broadcast_operands("clip", promote_operands("clip", a, *bounds))
    if low is not None and high is not None:
        return lift("clip", arithmetic.clamp(limits[0], x, limits[1]))
    if low is not None:
        return lift("clip", arithmetic.maximum(x, limits[0]))
    return lift("clip", arithmetic.minimum(x, limits[0]) if high is not None else x)

