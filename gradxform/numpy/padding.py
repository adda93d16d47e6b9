"""pad: borders of constants, of repeated and of reflected elements, ramps, and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform import linear
from gradxform.core import shape_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError
from gradxform.indexing import get
from gradxform.numpy.creation import linspace
from gradxform.numpy.dispatch import traced
from gradxform.numpy.manipulation import concatenate, known_array
from gradxform.numpy.reductions import max, mean, min
from gradxform.numpy.ufuncs import rint
from gradxform.operands import as_operand, broadcast_to, cast, lift, normalize_axis
from gradxform.primitives import shape as primitives

#: The parameters that each mode takes beside the widths, with their defaults.
_PARAMETERS: dict[str, dict[str, Any]] = {
    "constant": {"constant_values": 0}, "empty": {}, "edge": {}, "wrap": {}, "linear_ramp": {"end_values": 0},
    "maximum": {"stat_length": None}, "minimum": {"stat_length": None}, "mean": {"stat_length": None},
    "median": {"stat_length": None}, "reflect": {"reflect_type": "even"}, "symmetric": {"reflect_type": "even"},
}


@traced(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """``array`` with a border of so many elements before and behind each axis, made as ``mode`` says.

    Modes are constant (``constant_values``), linear_ramp (towards ``end_values``), edge, wrap, reflect and symmetric
    (``reflect_type`` even or odd), maximum, minimum, mean and median (of ``stat_length`` elements), and empty, which is
    zeros. A function as ``mode`` is called as NumPy calls it, ``mode(vector, (low, high), axis, kwargs)``, with each vector
    along each axis of the array with its border of zeros, and writes into it.

    >>> pad(np.array([1.0, 2.0, 4.0]), (2, 1), "reflect", reflect_type="odd")
    array([-2.,  0.,  1.,  2.,  4.,  6.])
    """
    if callable(mode):
        return _by_function(lift("pad", array), mode, pad_width, kwargs)
    if mode not in _PARAMETERS:
        raise ArgumentError(f"pad: mode {mode!r} is not supported, expected one of {', '.join(_PARAMETERS)}{user_line()}")
    parameters = {**_PARAMETERS[mode], **kwargs}
    if len(parameters) != len(_PARAMETERS[mode]):
        unknown = sorted(set(kwargs) - set(_PARAMETERS[mode]))
        raise ArgumentError(f"pad: unsupported keyword arguments for mode {mode!r}: {', '.join(unknown)}{user_line()}")
    x = lift("pad", array)
    widths = _widths("pad", pad_width, x.ndim)
    if mode in ("constant", "empty"):
        return _constant(x, widths, parameters.get("constant_values", 0))
    if mode not in ("linear_ramp",) and any(not n and (low or high) for n, (low, high) in zip(x.shape, widths, strict=True)):
        raise ArgumentError(
            f"pad: can't extend an empty axis of shape {x.shape} using modes other than 'constant' or 'empty'{user_line()}")
    if mode in ("reflect", "symmetric", "edge", "wrap"):
        kind = parameters.get("reflect_type", "even")
        if kind not in ("even", "odd"):
            raise ArgumentError(f"pad: reflect_type is 'even' or 'odd', got {kind!r}{user_line()}")
        for axis, (low, high) in enumerate(widths):
            if low or high:
                x = (_oddly_reflected if kind == "odd" else _repeated)(x, axis, low, high, mode)
        return x
    if mode == "linear_ramp":
        ends = _pairs(x, parameters["end_values"])
        for axis, pair in enumerate(widths):
            x = _joined(x, axis, *(_ramp(x, axis, side, count, get(ends, (axis, side))) for side, count in enumerate(pair)))
        return x
    lengths = _lengths(parameters["stat_length"], x.shape)
    for axis, (pair, counted) in enumerate(zip(widths, lengths, strict=True)):
        x = _joined(x, axis, *(_summary(x, axis, side, count, counted[side], mode) for side, count in enumerate(pair)))
    return x


def _by_function(x: Any, function: Any, pad_width: Any, options: dict[str, Any]) -> Any:
    """A border of zeros, into which ``function`` writes, vector by vector: these are views."""
    widths = _widths("pad", pad_width, x.ndim)
    padded = _constant(x, widths, 0)
    for axis, pair in enumerate(widths):
        for place in np.ndindex(*padded.shape[:axis], *padded.shape[axis + 1:]):
            function(padded[(*place[:axis], slice(None), *place[axis:])], pair, axis, options)
    return padded


def _widths(name: str, pad_width: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * rank
        for axis, pair in pad_width.items():
            low, high = np.broadcast_to(known_array(name, pair), (2,))
            widths[normalize_axis(name, axis, rank)] = (int(low), int(high))
        return widths
    try:
        known = np.broadcast_to(known_array(name, pad_width), (rank, 2))
    except ValueError as error:
        raise ArgumentError(f"{name}: pad_width {pad_width!r} does not fit {rank} axes: {error}{user_line()}") from None
    if known.size and (known.dtype.kind not in "iu" or known.min() < 0):
        raise ArgumentError(
            f"{name}: index can't contain negative values, and must be integers, got {pad_width!r}{user_line()}")
    return [(int(low), int(high)) for low, high in known]


def _pairs(x: Any, values: Any) -> Any:
    """One number for the beginning and one for the end of each axis, in the dtype of ``x``."""
    return broadcast_to("pad", cast(as_operand("pad", values), x.dtype), (x.ndim, 2))


def _joined(x: Any, axis: int, before: Any, behind: Any) -> Any:
    parts = [part for part in (before, x, behind) if part is not None]
    return concatenate(parts, axis) if len(parts) > 1 else x


def _cut(x: Any, axis: int, part: slice) -> Any:
    return get(x, (*(slice(None),) * axis, part))


def _with_extent(x: Any, axis: int, count: int) -> tuple[int, ...]:
    return tuple(count if k == axis else n for k, n in enumerate(x.shape))


# ----------------------------------------------------------------------------------------------------- constants


def _constant(x: Any, widths: list[tuple[int, int]], constant: Any) -> Any:
    values = as_operand("pad", constant)
    if shape_of(values) == ():
        lows, highs = (tuple(pair[side] for pair in widths) for side in (0, 1))
        return lift("pad", primitives.pad(x, cast(values, x.dtype), lows, highs, (0,) * x.ndim))
    pairs = _pairs(x, values)
    for axis, counts in enumerate(widths):
        borders = (linear.broadcast(get(pairs, (axis, side)), _with_extent(x, axis, count), ()) if count else None
                   for side, count in enumerate(counts))
        x = _joined(x, axis, *borders)
    return x


# ---------------------------------------------------------------------------------------------- repeated elements


def _repeated(x: Any, axis: int, low: int, high: int, mode: str) -> Any:
    return _cut_at(x, axis, _positions(x.shape[axis], low, high, mode))


def _cut_at(x: Any, axis: int, positions: Any) -> Any:
    return get(x, (*(slice(None),) * axis, positions))


def _positions(extent: int, low: int, high: int, mode: str) -> Any:
    """Which element each place of a padded axis repeats."""
    places = np.arange(-low, extent + high)
    if mode == "edge":
        return np.clip(places, 0, extent - 1)
    if mode == "wrap":
        return places % extent
    if mode == "symmetric":
        folded = places % (2 * extent)
        return np.where(folded < extent, folded, 2 * extent - 1 - folded)
    period = np.maximum(2 * extent - 2, 1)
    folded = places % period
    return np.where(folded < extent, folded, period - folded)


def _oddly_reflected(x: Any, axis: int, low: int, high: int, mode: str) -> Any:
    """The continuation that is point-symmetric about each end.

    Every reflection subtracts an element from twice an end, two of them add twice the difference of the ends: so each
    element of the border is an element or minus one, plus multiples of the two ends.
    """
    extent = x.shape[axis]
    if extent == 1 and mode == "reflect":
        return _repeated(x, axis, low, high, "edge")
    period = 2 * extent if mode == "symmetric" else 2 * extent - 2
    turns, folded = np.divmod(np.arange(-low, extent + high), period)
    mirrored = folded >= extent
    positions = np.where(mirrored, period - (mode == "symmetric") - folded, folded)
    shape = tuple(-1 if k == axis else 1 for k in range(x.ndim))

    def weight(values: Any) -> Any:
        return values.astype(x.dtype).reshape(shape)

    first, last = _cut(x, axis, slice(0, 1)), _cut(x, axis, slice(-1, None))
    inside = _cut_at(x, axis, positions) * weight(np.where(mirrored, -1, 1))
    result = inside + weight(2 * turns + 2 * mirrored) * last - weight(2 * turns) * first
    # What was there stays as it was, bit for bit, also where it is infinite.
    return concatenate([_cut(result, axis, slice(0, low)), x, _cut(result, axis, slice(low + extent, None))], axis)


# --------------------------------------------------------------------------------------------- ramps and statistics


def _ramp(x: Any, axis: int, side: int, count: int, end: Any) -> Any:
    if not count:
        return None
    edge = _cut(x, axis, slice(-1, None) if side else slice(0, 1)).squeeze(axis)
    ramp = linspace(broadcast_to("pad", end, edge.shape), edge, count, endpoint=False, dtype=x.dtype, axis=axis)
    return _cut(ramp, axis, slice(None, None, -1)) if side else ramp


def _lengths(stat_length: Any, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    if stat_length is None:
        return [(n, n) for n in shape]
    pairs = _widths("pad (stat_length)", stat_length, len(shape))
    return [(int(np.minimum(low, n)), int(np.minimum(high, n))) for (low, high), n in zip(pairs, shape, strict=True)]


def _median(x: Any, axis: int, keepdims: bool) -> Any:
    import gradxform.numpy as face  # where it is found when called; it may stand on this module

    return face.median(x, axis=axis, keepdims=keepdims)


_STATISTICS: dict[str, Callable[..., Any]] = {"maximum": max, "minimum": min, "mean": mean, "median": _median}


def _summary(x: Any, axis: int, side: int, count: int, counted: int, mode: str) -> Any:
    if not count:
        return None
    if not counted and mode in ("maximum", "minimum"):
        raise ArgumentError(f"pad: stat_length of 0 yields no value for padding{user_line()}")
    extent = x.shape[axis]
    chosen = _cut(x, axis, slice(extent - counted, extent) if side else slice(0, counted))
    value = _STATISTICS[mode](chosen, axis=axis, keepdims=True)
    if x.dtype.kind in "iu" and value.dtype.kind == "f":
        value = rint(value)
    return lift("pad", broadcast_to("pad", cast(value, x.dtype), _with_extent(x, axis, count)))
