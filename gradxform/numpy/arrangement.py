"""Repeating, reversing, rolling, padding, deleting and inserting elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform import linear
from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, IndexRangeError, ShapeError
from gradxform.indexing import get
from gradxform.numpy.dispatch import refuse_unless, traced
from gradxform.numpy.manipulation import (
    concatenate,
    known_array,
    moveaxis,
    reshape,
    static_integers,
    swapaxes,
    with_rank,
)
from gradxform.operands import as_operand, cast, lift, normalize_axes, normalize_axis
from gradxform.operands import broadcast_to as broadcast_operand
from gradxform.primitives import shape as primitives

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


@traced(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Each element so many times in a row along ``axis`` (flattened if None); ``repeats`` must be known."""
    x = lift("repeat", a)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis("repeat", axis, x.ndim)
    counts = known_array("repeat (its repeats)", repeats)
    if counts.ndim == 0:
        each = int(counts)
        shape = (*x.shape[: position + 1], each, *x.shape[position + 1:])
        spread = linear.broadcast(x, shape, tuple(k if k <= position else k + 1 for k in range(x.ndim)))
        target = tuple(n * each if k == position else n for k, n in enumerate(x.shape))
        return lift("repeat", primitives.reshape(spread, target))
    try:
        chosen = np.repeat(np.arange(x.shape[position]), counts)
    except ValueError as error:
        raise ShapeError(f"repeat: {error}{user_line()}") from None
    return get(x, (*(slice(None),) * position, chosen))


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
    """``a`` shifted along ``axis``, what falls off coming in at the other end; ``shift`` must be known."""
    x = lift("roll", a)
    shifts = tuple(int(s) for s in np.atleast_1d(known_array("roll (its shift)", shift)))
    if axis is None:
        return reshape(roll(x.ravel(), int(np.sum(shifts)), 0), x.shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    for by, along in np.broadcast(shifts, axes):
        position = normalize_axis("roll", int(along), x.ndim)
        offset = int(by) % x.shape[position] if x.shape[position] else 0
        if offset:
            before = (slice(None),) * position
            parts = [get(x, (*before, cut)) for cut in (slice(-offset, None), slice(None, -offset))]
            x = concatenate(parts, position)
    return x


# ----------------------------------------------------------------------------------------------------- padding


def _widths(name: str, pad_width: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * rank
        for axis, pair in pad_width.items():
            low, high = np.broadcast_to(known_array(name, pair), (2,))
            widths[normalize_axis(name, axis, rank)] = (int(low), int(high))
        return widths
    known = np.broadcast_to(known_array(name, pad_width), (rank, 2))
    if known.size and (known.dtype.kind not in "iu" or known.min() < 0):
        raise ArgumentError(
            f"{name}: index can't contain negative values, and must be integers, got {pad_width!r}{user_line()}")
    return [(int(low), int(high)) for low, high in known]


def _reflected_positions(extent: int, low: int, high: int, mode: str) -> Any:
    """Which element each place of a padded axis repeats."""
    positions = np.arange(-low, extent + high)
    if mode == "edge":
        return np.clip(positions, 0, extent - 1)
    if mode == "wrap":
        return positions % extent
    if mode == "symmetric":
        folded = positions % (2 * extent)
        return np.where(folded < extent, folded, 2 * extent - 1 - folded)
    period = max(2 * extent - 2, 1)
    folded = positions % period
    return np.where(folded < extent, folded, period - folded)


@traced(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0, **kwargs: Any) -> Any:
    """``array`` with a border: constant, or repeating its elements by mode edge, reflect, symmetric or wrap."""
    refuse_unless("pad", "mode", mode, "constant", "edge", "reflect", "symmetric", "wrap", "empty")
    x = lift("pad", array)
    widths = _widths("pad", pad_width, x.ndim)
    if mode in ("constant", "empty"):
        values = as_operand("pad", constant_values if mode == "constant" else 0)
        if shape_of(values) == ():
            lows, highs = (tuple(pair[side] for pair in widths) for side in (0, 1))
            return lift("pad", primitives.pad(x, cast(values, x.dtype), lows, highs, (0,) * x.ndim))
        pairs = broadcast_operand("pad", cast(values, x.dtype), (x.ndim, 2))
        for axis, (before, after) in enumerate(widths):
            parts = [x]
            for side, count in ((0, before), (1, after)):
                edge = tuple(count if k == axis else n for k, n in enumerate(x.shape))
                border = linear.broadcast(get(pairs, (axis, side)), edge, ())
                parts = [border, *parts] if side == 0 else [*parts, border]
            x = concatenate(parts, axis)
        return x
    for axis, (low, high) in enumerate(widths):
        if low or high:
            if not x.shape[axis]:
                raise ArgumentError(
                    f"pad: can't extend empty axis {axis} using modes other than 'constant' or 'empty'{user_line()}")
            chosen = _reflected_positions(x.shape[axis], low, high, mode)
            x = get(x, (*(slice(None),) * axis, chosen))
    return x


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
    """``arr`` with ``values`` before the position ``obj``, a known integer, along ``axis``."""
    x = lift("insert", arr)
    if axis is None:
        x, axis = x.ravel(), 0
    position = normalize_axis("insert", axis, x.ndim)
    (at,) = static_integers("insert (one position)", obj)
    extent = x.shape[position]
    if not -extent <= at <= extent:
        raise IndexRangeError(
            f"index {at} is out of bounds for axis {position} with size {extent}{user_line()}")
    before = (slice(None),) * position
    new = lift("insert", cast(as_operand("insert", values), x.dtype))
    if new.ndim:
        new = moveaxis(reshape(new, (1,) * (x.ndim - new.ndim) + new.shape), 0, position)
    count = new.shape[position] if new.ndim else 1
    block = broadcast_operand("insert", new, tuple(count if k == position else n for k, n in enumerate(x.shape)))
    at = at + extent if at < 0 else at
    return concatenate([get(x, (*before, slice(None, at))), block, get(x, (*before, slice(at, None)))], position)
