"""Repeating, reversing, rolling, deleting and inserting elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform import linear
from gradxform.core import Tracer, dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, int64
from gradxform.errors import ArgumentError, ArgumentTypeError, IndexRangeError, ShapeError
from gradxform.indexing import get
from gradxform.numpy.dispatch import STAGED, face_of, traced
from gradxform.numpy.indexing import searchsorted
from gradxform.numpy.manipulation import (
    concatenate,
    known_array,
    moveaxis,
    reshape,
    static_extents,
    static_integers,
    swapaxes,
    with_rank,
)
from gradxform.operands import as_operand, cast, known_value, lift, normalize_axes, normalize_axis
from gradxform.operands import broadcast_to as broadcast_operand
from gradxform.primitives import shape as primitives
from gradxform.primitives.indexing import gather

# ----------------------------------------------------------------------------------------------------- repeating


@traced(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """``A`` repeated so many times along each axis."""
    x = lift("tile", A)
    counts = static_integers("tile", reps)
    rank = max(x.ndim, len(counts))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.ndim) + x.shape
    spread = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    repeated = linear.broadcast(reshape(x, shape), spread, tuple(range(1, 2 * rank, 2)))
    return lift("tile", primitives.reshape(repeated, tuple(c * n for c, n in zip(counts, shape, strict=True))))


def _plain_repeat(a: Any, repeats: Any, axis: Any = None, *, total_repeat_length: int | None = None) -> Any:
    if total_repeat_length is None:
        return np.repeat(a, repeats, axis)
    x = np.asarray(a)
    x, axis = (x.ravel(), 0) if axis is None else (x, axis)
    counts = np.broadcast_to(repeats, (x.shape[axis],))
    places = np.searchsorted(np.cumsum(counts), np.arange(total_repeat_length), "right")
    return np.take(x, np.minimum(places, x.shape[axis] - 1), axis)


def repeat(a: Any, repeats: Any, axis: Any = None, *, total_repeat_length: int | None = None) -> Any:
    """Each element so many times in a row along ``axis`` (flattened if None).

    ``repeats`` must be known, for they decide the length, unless that is given as ``total_repeat_length``: what is beyond
    it is cut off, and what is missing is filled up with the last element.

    >>> repeat(np.array([5.0, 7.0]), np.array([1, 3]), total_repeat_length=3)
    array([5., 7., 7.])
    """
    x = lift("repeat", a)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis("repeat", axis, x.ndim)
    if total_repeat_length is not None:
        (total,) = static_extents("repeat", total_repeat_length)
        counts = broadcast_operand("repeat", cast(as_operand("repeat", repeats), int64), (x.shape[position],))
        ends = lift("repeat", counts).cumsum()
        places = searchsorted(ends, lift("repeat", primitives.iota((total,), int64, 0)), "right")
        return lift("repeat", moveaxis(gather(x, places, axes=(position,), mode="clip"), 0, position))
    known = known_array("repeat (its repeats; or give total_repeat_length)", repeats)
    if known.ndim == 0 or known.size == 1:
        each = int(known.reshape(()))
        if each < 0:
            raise ArgumentError(f"repeat: repeats may not contain negative values, got {each}{user_line()}")
        shape = (*x.shape[: position + 1], each, *x.shape[position + 1:])
        spread = linear.broadcast(x, shape, tuple(k if k <= position else k + 1 for k in range(x.ndim)))
        target = tuple(n * each if k == position else n for k, n in enumerate(x.shape))
        return lift("repeat", primitives.reshape(spread, target))
    try:
        chosen = np.repeat(np.arange(x.shape[position]), known)
    except ValueError as error:
        raise ShapeError(f"repeat: {error}{user_line()}") from None
    return get(x, (*(slice(None),) * position, chosen))


STAGED[np.repeat] = repeat
repeat = face_of(lambda: _plain_repeat, repeat)


@traced(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """The flattened ``a`` repeated as often as ``new_shape`` takes."""
    x = lift("resize", a).ravel()
    target = static_integers("resize", new_shape)
    size = prod(target)
    if x.size == 0:
        return lift("resize", linear.full(target, 0, dtype_of(x)))
    copies = -(-size // x.size)
    return reshape(get(tile(x, copies), slice(0, size)), target)


# ------------------------------------------------------------------------------------------------------ flipping


@traced(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """``m`` in reversed order along ``axis``, by default along all."""
    x = lift("flip", m)
    axes = tuple(sorted(normalize_axes("flip", axis, x.ndim)))
    return lift("flip", primitives.reverse(x, axes)) if axes else x


@traced(np.fliplr)
def fliplr(m: Any) -> Any:
    """``m`` reversed along the second axis."""
    return flip(with_rank("fliplr", m, 2), 1)


@traced(np.flipud)
def flipud(m: Any) -> Any:
    """``m`` reversed along the first axis."""
    return flip(with_rank("flipud", m, 1), 0)


@traced(np.rot90)
def rot90(m: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """``m`` turned ``k`` times by 90 degrees in the plane of ``axes``, from the first towards the second."""
    x = lift("rot90", m)
    first, second = normalize_axes("rot90", tuple(axes), x.ndim)
    turns = k % 4
    if turns == 0:
        return x
    if turns == 2:
        return flip(x, (first, second))
    return swapaxes(flip(x, second), first, second) if turns == 1 else flip(swapaxes(x, first, second), second)


@traced(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """``a`` shifted along ``axis``, what falls off coming in at the other end."""
    x = lift("roll", a)
    shifts = as_operand("roll", shift)
    if isinstance(shifts, Tracer) and known_value(shifts) is None:
        return _rolled_by_traced(x, shifts, axis)
    known = tuple(int(s) for s in np.atleast_1d(known_array("roll", shifts)))
    if axis is None:
        return reshape(roll(x.ravel(), int(np.sum(known)), 0), x.shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    for by, along in np.broadcast(known, axes):
        position = normalize_axis("roll", int(along), x.ndim)
        offset = int(by) % x.shape[position] if x.shape[position] else 0
        if offset:
            before = (slice(None),) * position
            parts = [get(x, (*before, cut)) for cut in (slice(-offset, None), slice(None, -offset))]
            x = concatenate(parts, position)
    return x


def _rolled_by_traced(x: Any, shifts: Any, axis: Any) -> Any:
    if dtype_of(shifts).kind not in "iu":
        raise ArgumentTypeError(f"roll: shifts are integers, got {dtype_of(shifts)}{user_line()}")
    by = lift("roll", cast(shifts, int64))
    if axis is None:
        return reshape(_rolled_by_traced(x.ravel(), by.sum(), 0), x.shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    count = max(len(axes), by.size)
    if by.ndim > 1 or by.size not in (1, count) or len(axes) not in (1, count):
        raise ShapeError(f"roll: shift of shape {by.shape} and axis {axis} should be scalars or 1D sequences{user_line()}")
    steps = [by.ravel()[k if by.size > 1 else 0] for k in range(count)]
    for step, along in zip(steps, axes * (count // len(axes)), strict=True):
        position = normalize_axis("roll", along, x.ndim)
        extent = x.shape[position]
        if extent:
            places = (lift("roll", primitives.iota((extent,), int64, 0)) - step) % extent
            x = lift("roll", moveaxis(gather(x, places, axes=(position,), mode="inside"), 0, position))
    return x


# ----------------------------------------------------------------------------------------- deleting and inserting


@traced(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """``arr`` without the positions ``obj`` (an integer, slice, or known array) along ``axis``."""
    x = lift("delete", arr)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis("delete", axis, x.ndim)
    which = obj if isinstance(obj, slice) else known_array("delete (its positions)", obj)
    try:
        kept = np.delete(np.arange(x.shape[position]), which)
    except IndexError as error:
        raise IndexRangeError(f"delete: {error}{user_line()}") from None
    return get(x, (*(slice(None),) * position, kept))


@traced(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """``arr`` with ``values`` before the positions ``obj`` (integers, a slice or a mask, all known) along ``axis``."""
    x = lift("insert", arr)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis("insert", axis, x.ndim)
    extent = x.shape[position]
    if isinstance(obj, slice):
        places = np.arange(*obj.indices(extent))
    else:
        places = known_array("insert (its positions)", obj)
        places = np.flatnonzero(places) if places.dtype == bool_ else places.astype(np.int64)
    wrong = (places < -extent) | (places > extent)
    if wrong.any():
        raise IndexRangeError(
            f"index {int(places[wrong].flat[0])} is out of bounds for axis {position} with size {extent}{user_line()}")
    new = lift("insert", cast(as_operand("insert", values), x.dtype))
    new = reshape(new, (1,) * (x.ndim - new.ndim) + new.shape)
    if places.ndim == 0:
        # NumPy gives the single position the axes of the values as they are: the first of them is the one inserted along.
        new = moveaxis(new, 0, position)
    count = new.shape[position] if places.size == 1 else places.size
    block = lift("insert", broadcast_operand(
        "insert", new, tuple(count if k == position else n for k, n in enumerate(x.shape))))
    flat = np.where(places < 0, places + extent, places).ravel()
    # Each new element stands before the old one of its position, several of one position in their order.
    order = np.argsort(np.concatenate([np.repeat(flat, count if places.size == 1 else 1), np.arange(extent)]),
                       kind="stable")
    return get(concatenate([block, x], position), (*(slice(None),) * position, order))
