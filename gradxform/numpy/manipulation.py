"""Shapes: reshaping, permuting axes, joining, splitting, repeating, flipping."""

from __future__ import annotations

import operator
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from gradxform import linear
from gradxform.core import Tracer, shape_of
from gradxform.core.source import user_line
from gradxform.core.tracing import concrete
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.indexing import get
from gradxform.numpy.dispatch import refuse_out, refuse_unless, traced
from gradxform.operands import (
    as_operand,
    broadcast_shapes,
    cast,
    lift,
    normalize_axes,
    normalize_axis,
    promote_operands,
    supported_dtype,
)
from gradxform.operands import broadcast_to as broadcast_operand
from gradxform.primitives import shape as primitives

_MISSING: Any = np._NoValue


def static_integers(name: str, value: Any) -> tuple[int, ...]:
    """One integer or a sequence of them, of known values, as a tuple."""
    if isinstance(value, Tracer):
        value = concrete(value, f"{name} (a shape or count)")
    try:
        if isinstance(value, (list, tuple)):
            return tuple(operator.index(part) for part in value)
        if isinstance(value, np.ndarray) and value.ndim:
            return tuple(operator.index(part) for part in value)
        return (operator.index(value),)
    except TypeError:
        raise ArgumentTypeError(f"{name}: expected integers, got {value!r}{user_line()}") from None


def static_extents(name: str, value: Any) -> tuple[int, ...]:
    """A shape: `static_integers` that are not negative."""
    shape = static_integers(name, value)
    if any(extent < 0 for extent in shape):
        raise ShapeError(f"{name}: negative dimensions are not allowed, got shape {shape}{user_line()}")
    return shape


def known_array(name: str, value: Any) -> Any:
    """An argument that must be known, for it decides a shape, as an ndarray."""
    operand = as_operand(name, value)
    return np.asarray(concrete(operand, name) if isinstance(operand, Tracer) else operand)


# ------------------------------------------------------------------------------------------------------ reshape


@traced(np.reshape)
def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """The elements of ``a`` in another shape, one extent of which may be -1; ``order`` is C or F."""
    refuse_unless("reshape", "order", order, "C", "A", "F")
    x = lift("reshape", a)
    target = static_integers("reshape", shape)
    missing = [position for position, n in enumerate(target) if n == -1]
    if missing:
        rest = prod(n for n in target if n != -1)
        if len(missing) > 1:
            raise ShapeError(f"reshape: can only specify one unknown dimension, got {target}{user_line()}")
        if rest and x.size % rest == 0:
            target = tuple(x.size // rest if n == -1 else n for n in target)
    if any(n < 0 for n in target) or prod(target) != x.size:
        raise ShapeError(f"cannot reshape array of size {x.size} into shape {target}{user_line()}")
    if order == "F":
        return _reversed_axes(primitives.reshape(_reversed_axes(x), target[::-1]))
    return lift("reshape", primitives.reshape(x, target))


def _reversed_axes(x: Any) -> Any:
    return linear.transpose(x, tuple(range(len(shape_of(x))))[::-1])


@traced(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """The elements of ``a`` in one axis."""
    return reshape(a, (-1,) if prod(shape_of(as_operand("ravel", a))) else (0,), "C" if order == "K" else order)


@traced(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """``a`` with axes of extent 1 inserted so that they are ``axis`` of the result."""
    x = lift("expand_dims", a)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    new = normalize_axes("expand_dims", axis, x.ndim + count)
    old = iter(x.shape)
    shape = tuple(1 if k in new else next(old) for k in range(x.ndim + count))
    return lift("expand_dims", primitives.reshape(x, shape))


@traced(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """``a`` without ``axis``, which must have extent 1; by default without all such axes."""
    x = lift("squeeze", a)
    axes = (tuple(k for k, n in enumerate(x.shape) if n == 1) if axis is None
            else normalize_axes("squeeze", axis, x.ndim))
    if any(x.shape[k] != 1 for k in axes):
        raise ShapeError(
            f"cannot select an axis to squeeze out which has size not equal to one: axis {axis} of shape {x.shape}"
            f"{user_line()}")
    return lift("squeeze", primitives.reshape(x, tuple(n for k, n in enumerate(x.shape) if k not in axes)))


def _at_least(rank: int, name: str, arrays: tuple[Any, ...]) -> Any:
    results = []
    for array in arrays:
        x = lift(name, array)
        missing = rank - x.ndim
        if missing > 0:
            # NumPy puts a vector's axis second and a matrix' axes first in three dimensions.
            shape = {0: (1,) * rank, 1: (1, *x.shape, *(1,) * (rank - 2)), 2: (*x.shape, 1)}[x.ndim]
            x = lift(name, primitives.reshape(x, shape))
        results.append(x)
    return results[0] if len(results) == 1 else tuple(results)


@traced(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """Each array with at least one axis."""
    return _at_least(1, "atleast_1d", arys)


@traced(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Each array with at least two axes, a vector becoming a row."""
    return _at_least(2, "atleast_2d", arys)


@traced(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Each array with at least three axes."""
    return _at_least(3, "atleast_3d", arys)


# ----------------------------------------------------------------------------------------------------- transpose


@traced(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    """``a`` with its axes permuted, by default reversed."""
    x = lift("transpose", a)
    if axes is None:
        return lift("transpose", _reversed_axes(x))
    order = normalize_axes("transpose", axes, x.ndim)
    if len(order) != x.ndim:
        raise ShapeError(f"transpose: axes {axes} don't match an array of rank {x.ndim}{user_line()}")
    return lift("transpose", linear.transpose(x, order))


permute_dims = transpose


@traced(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """``x`` with its last two axes exchanged."""
    operand = lift("matrix_transpose", x)
    if operand.ndim < 2:
        raise ShapeError(f"matrix_transpose: expected at least two axes, got shape {operand.shape}{user_line()}")
    return swapaxes(operand, -1, -2)


@traced(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """``a`` with two axes exchanged."""
    x = lift("swapaxes", a)
    first, second = (normalize_axis("swapaxes", k, x.ndim) for k in (axis1, axis2))
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return lift("swapaxes", linear.transpose(x, order))


@traced(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """``a`` with the axes ``source`` moved to ``destination``, the others in order."""
    x = lift("moveaxis", a)
    old, new = (normalize_axes("moveaxis", k, x.ndim) for k in (source, destination))
    if len(old) != len(new):
        raise ArgumentError(
            f"moveaxis: source {source} and destination {destination} must have the same number of axes{user_line()}")
    rest = iter([k for k in range(x.ndim) if k not in old])
    places = dict(zip(new, old, strict=True))
    return lift("moveaxis", linear.transpose(x, [places[k] if k in places else next(rest) for k in range(x.ndim)]))


@traced(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """``a`` with ``axis`` rolled back until it stands before ``start``."""
    x = lift("rollaxis", a)
    position = normalize_axis("rollaxis", axis, x.ndim)
    before = start + x.ndim if start < 0 else start
    if not 0 <= before <= x.ndim:
        normalize_axis("rollaxis", start, x.ndim)
    return lift("rollaxis", linear.move_axis(x, position, before - 1 if position < before else before))


# ----------------------------------------------------------------------------------------------------- broadcast


@traced(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """``array`` repeated to ``shape``."""
    return lift("broadcast_to", broadcast_operand("broadcast_to", lift("broadcast_to", array),
                                                  static_extents("broadcast_to", shape)))


@traced(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    """All arrays repeated to their common shape."""
    arrays = [lift("broadcast_arrays", x) for x in args]
    shape = broadcast_shapes("broadcast_arrays", *(x.shape for x in arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


# ------------------------------------------------------------------------------------------------------- joining


def _joined(name: str, arrays: Any, dtype: Any = None) -> list[Any]:
    if isinstance(arrays, (Tracer, np.ndarray)):
        arrays = list(lift(name, arrays))
    arrays = list(arrays)
    if not arrays:
        raise ArgumentError(f"{name}: need at least one array{user_line()}")
    operands = promote_operands(name, *arrays)
    if dtype is not None:
        operands = [cast(x, supported_dtype(name, dtype)) for x in operands]
    return [lift(name, x) for x in operands]


@traced(np.concatenate)
def concatenate(arrays: Any, /, axis: Any = 0, out: None = None, *, dtype: Any = None,
                casting: str = "same_kind") -> Any:
    """The arrays joined along ``axis``; flattened first if that is None."""
    refuse_out("concatenate", out)
    return _concatenated("concatenate", _joined("concatenate", arrays, dtype), axis)


def _concatenated(name: str, parts: list[Any], axis: Any) -> Any:
    if axis is None:
        parts, axis = [x.ravel() for x in parts], 0
    first = parts[0].shape
    if not first:
        raise ShapeError(f"{name}: zero-dimensional arrays cannot be concatenated{user_line()}")
    position = normalize_axis(name, axis, len(first))
    for x in parts[1:]:
        if x.ndim != len(first) or any(n != m for k, (n, m) in enumerate(zip(x.shape, first, strict=True))
                                       if k != position):
            listed = ", ".join(str(part.shape) for part in parts)
            raise ShapeError(
                f"{name}: all the input array dimensions except for the concatenation axis {position} must match "
                f"exactly, got shapes {listed}{user_line()}")
    return lift(name, primitives.concatenate(parts, position))


concat = concatenate


@traced(np.stack)
def stack(arrays: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays, all of one shape, joined along a new axis."""
    refuse_out("stack", out)
    parts = _joined("stack", arrays, dtype)
    if len({x.shape for x in parts}) != 1:
        listed = ", ".join(str(x.shape) for x in parts)
        raise ShapeError(f"stack: all input arrays must have the same shape, got {listed}{user_line()}")
    return _concatenated("stack", [expand_dims(x, axis) for x in parts],
                         normalize_axis("stack", axis, parts[0].ndim + 1))


@traced(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays joined along the first axis, vectors as rows."""
    return _concatenated("vstack", [atleast_2d(x) for x in _joined("vstack", tup, dtype)], 0)


@traced(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays joined along the second axis, vectors along the first."""
    parts = [atleast_1d(x) for x in _joined("hstack", tup, dtype)]
    return _concatenated("hstack", parts, 0 if parts[0].ndim == 1 else 1)


@traced(np.dstack)
def dstack(tup: Any) -> Any:
    """The arrays joined along the third axis."""
    return _concatenated("dstack", [atleast_3d(x) for x in _joined("dstack", tup)], 2)


@traced(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Vectors as columns and matrices, side by side."""
    parts = [x if x.ndim >= 2 else reshape(x, (x.size, 1)) for x in _joined("column_stack", tup)]
    return _concatenated("column_stack", parts, 1)


@traced(np.block)
def block(arrays: Any) -> Any:
    """An array from nested lists of blocks: the innermost lists join along the last axis."""
    def depth_of(part: Any) -> int:
        return 1 + depth_of(part[0]) if isinstance(part, list) else 0

    depth = depth_of(arrays)
    leaves: list[Any] = []

    def collect(part: Any) -> None:
        if isinstance(part, list):
            for inner in part:
                collect(inner)
        else:
            leaves.append(part)

    collect(arrays)
    operands = iter(_joined("block", leaves))
    lifted = list(operands)
    rank = max(depth, *(x.ndim for x in lifted))
    padded = iter([reshape(x, (1,) * (rank - x.ndim) + x.shape) for x in lifted])

    def joined(part: Any, level: int) -> Any:
        if not isinstance(part, list):
            return next(padded)
        return _concatenated("block", [joined(inner, level - 1) for inner in part], -level)

    return joined(arrays, depth)


@traced(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """``values`` behind ``arr`` along ``axis``; both flattened if that is None."""
    return concatenate([arr, values], axis)


# ----------------------------------------------------------------------------------------------------- splitting


def _split(name: str, ary: Any, indices_or_sections: Any, axis: int, even: bool) -> list[Any]:
    x = lift(name, ary)
    position = normalize_axis(name, axis, x.ndim)
    extent = x.shape[position]
    if np.ndim(indices_or_sections) == 0 and not isinstance(indices_or_sections, (list, tuple)):
        (count,) = static_integers(name, indices_or_sections)
        if count <= 0:
            raise ArgumentError(f"{name}: number sections must be larger than 0, got {count}{user_line()}")
        if even and extent % count:
            raise ArgumentError(
                f"{name}: array split does not result in an equal division: {extent} in {count}{user_line()}")
        each, extra = divmod(extent, count)
        bounds = [k * each + min(k, extra) for k in range(count + 1)]
    else:
        bounds = [0, *static_integers(name, indices_or_sections), extent]
    before = (slice(None),) * position
    return [get(x, (*before, slice(start, stop))) for start, stop in pairwise(bounds)]


@traced(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts of ``ary`` along ``axis``: so many equal ones, or cut at the given positions."""
    return _split("split", ary, indices_or_sections, axis, True)


@traced(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """``split`` into parts that may differ in length by one."""
    return _split("array_split", ary, indices_or_sections, axis, False)


@traced(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the second axis, of vectors along the first."""
    return _split("hsplit", ary, indices_or_sections, 1 if lift("hsplit", ary).ndim > 1 else 0, True)


@traced(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the first axis."""
    return _split("vsplit", with_rank("vsplit", ary, 2), indices_or_sections, 0, True)


@traced(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the third axis."""
    return _split("dsplit", with_rank("dsplit", ary, 3), indices_or_sections, 2, True)


def with_rank(name: str, ary: Any, rank: int) -> Any:
    x = lift(name, ary)
    if x.ndim < rank:
        raise ShapeError(f"{name} only works on arrays of {rank} or more dimensions, got shape {x.shape}{user_line()}")
    return x


@traced(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of ``x`` along ``axis``."""
    return tuple(moveaxis(x, axis, 0))
