"""Repeating, reversing and rolling elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform import linear
from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.errors import ShapeError
from gradxform.indexing import get
from gradxform.numpy.dispatch import traced
from gradxform.numpy.manipulation import concatenate, known_array, reshape, static_integers, swapaxes, with_rank
from gradxform.operands import lift, normalize_axes, normalize_axis
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
