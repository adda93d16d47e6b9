"""Histograms: counts, or sums of weights, per bin. They have a derivative in the weights, none in the data.

The number of bins must be known; the edges may depend on data that are not.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, float64, int64, uint8
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.linear import full
from gradxform.numpy.calculus import diff
from gradxform.numpy.creation import linspace
from gradxform.numpy.dispatch import traced
from gradxform.numpy.indexing import searchsorted, where
from gradxform.numpy.manipulation import known_array, static_extents, static_integers
from gradxform.numpy.reductions import max, min, sum
from gradxform.numpy.sized import evaluated
from gradxform.operands import cast, known_value, lift, promote_operands, promoted_type
from gradxform.primitives import arithmetic
from gradxform.primitives.indexing import gather, scatter

Known = Any


def _known(x: Any) -> Any:
    """The value of an operand if it is known, else None."""
    found = lift("histogram", x)
    return known_value(found) if hasattr(found, "builder") else found


def _outer_edges(name: str, x: Any, limits: Any) -> tuple[Any, Any]:
    """The first and the last edge."""
    if limits is not None:
        first, last = limits
    elif not x.size:
        first, last = 0, 1
    else:
        first, last = min(x), max(x)
    values = _known(first), _known(last)
    if all(value is not None for value in values):
        low, high = values
        if limits is not None and low > high:
            raise ArgumentError(f"{name}: max must be larger than min in range parameter.{user_line()}")
        if not (np.isfinite(low) and np.isfinite(high)):
            kind = "autodetected" if limits is None else "supplied"
            raise ArgumentError(f"{name}: {kind} range of [{low}, {high}] is not finite{user_line()}")
        return (first - 0.5, last + 0.5) if low == high else (first, last)
    same = lift(name, first) == last
    return where(same, first - 0.5, first), where(same, last + 0.5, last)


def _equal_bins(name: str, bins: Any) -> int | None:
    """The number of bins of equal width, None if there are edges."""
    if isinstance(bins, (str, list, tuple)) or np.ndim(bins):
        return None
    try:
        count = operator.index(bins)
    except TypeError:
        raise ArgumentTypeError(
            f"{name}: `bins` must be an integer, a string, or an array, got {bins!r}{user_line()}") from None
    if count < 1:
        raise ArgumentError(f"{name}: `bins` must be positive, when an integer, got {count}{user_line()}")
    return count


def _edges(name: str, x: Any, bins: Any, limits: Any, weights: Any, of_data: bool = True) -> tuple[Any, tuple[Any, Any] | None]:
    """The edges, and the outer ones if bins are of equal width."""
    if isinstance(bins, str):
        if weights is not None:
            raise ArgumentTypeError(
                f"{name}: Automated estimation of the number of bins is not supported for weighted data{user_line()}")
        bins = np.histogram_bin_edges(known_array(f"{name} (to choose bins)", x), bins, limits).size - 1
    count = _equal_bins(name, bins)
    if count is None:
        edges = lift(name, bins)
        if edges.ndim != 1:
            raise ArgumentError(f"{name}: `bins` must be 1d, when an array, got shape {edges.shape}{user_line()}")
        known = known_value(edges)
        if known is not None and np.any(known[:-1] > known[1:]):
            raise ArgumentError(f"{name}: `bins` must increase monotonically, when an array{user_line()}")
        return edges, None
    first, last = _outer_edges(name, x, limits)
    dtype = promoted_type(name, [first, last, *([x] if of_data else [])])[0]
    edges = linspace(first, last, count + 1, dtype=dtype if dtype.kind == "f" else float64)
    known = known_value(lift(name, edges))
    if known is not None and np.any(known[:-1] >= known[1:]):
        raise ArgumentError(
            f"{name}: Too many bins for data range. Cannot create {count} finite-sized bins.{user_line()}")
    return lift(name, edges), (first, last)


def _ravelled(name: str, a: Any, weights: Any) -> tuple[Any, Any]:
    x = lift(name, a)
    if x.dtype == bool_:
        x = x.astype(uint8)
    w = None if weights is None else lift(name, weights)
    if w is not None and w.shape != x.shape:
        raise ArgumentError(f"{name}: weights should have the same shape as a, got {w.shape} and {x.shape}{user_line()}")
    return x.ravel(), None if w is None else w.ravel()


def _bin_of(x: Any, edges: Any, outer: tuple[Any, Any] | None) -> Any:
    """The bin of each of ``x``, which lies between the outer edges; some bin for others."""
    count = edges.size - 1
    if outer is None:
        bin_of = searchsorted(edges, x, "right") - 1
        return arithmetic.clamp(np.int64(0), bin_of, np.int64(count - 1))
    first, last = (lift("histogram", cast(lift("histogram", edge), edges.dtype)) for edge in outer)
    values = x.astype(edges.dtype)
    guess = (values - first) / (last - first) * count
    inside = where((guess >= 0) & (guess <= count), guess, 0)
    bin_of = arithmetic.clamp(np.int64(0), inside.astype(int64), np.int64(count - 1))
    # The quotient may be off by one rounding.
    bin_of = bin_of - (values < gather(edges, bin_of, axes=(0,), mode="inside"))
    bin_of = arithmetic.maximum(bin_of, np.int64(0))
    after = (values >= gather(edges, bin_of + 1, axes=(0,), mode="inside")) & (bin_of != count - 1)
    return bin_of + after


def _counted(x: Any, keep: Any, bin_of: Any, weights: Any, count: int) -> Any:
    """The sums of weights per bin, of what is kept."""
    if weights is None:
        given: Any = keep.astype(int64)
    else:
        wide = weights.astype(float64) if weights.dtype.kind in "fb" else weights
        given = where(keep, wide, 0).astype(wide.dtype)
    blank = full((count,), 0, dtype_of(given))
    total = lift("histogram", scatter(blank, given, bin_of, axes=(0,), mode="inside", operation="add"))
    return total if weights is None else total.astype(weights.dtype)


def _plain_bincount(x: Any, /, weights: Any = None, minlength: Any = 0, *, length: Any = None) -> Any:
    if length is None:
        return np.bincount(x, weights, minlength)
    return evaluated(_bincount, (x, weights, minlength), {"length": length})


def _bincount(x: Any, /, weights: Any = None, minlength: Any = 0, *, length: Any = None) -> Any:
    """How often each number occurs, or the sum of its weights; ``length`` numbers, or, if that is None, all that occur.

    Of numbers that are not known ``minlength`` are counted, and one beyond them raises IndexRangeError; with ``length`` they
    are left out. The derivative is that of the weights.
    """
    index = lift("bincount", x)
    if index.ndim != 1:
        raise ArgumentError(f"bincount: expected a vector, got shape {index.shape}{user_line()}")
    if index.dtype.kind not in "iub" and index.size:
        raise ArgumentTypeError(
            f"bincount: Cannot cast array data from {index.dtype!r} to dtype('int64') according to the rule 'safe'"
            f"{user_line()}")
    w = None if weights is None else lift("bincount", weights)
    if w is not None and w.shape != index.shape:
        raise ArgumentError(
            f"bincount: The weights and list don't have the same length: {w.shape} and {index.shape}{user_line()}")
    (least,) = static_integers("bincount", minlength)
    if least < 0:
        raise ArgumentError(f"bincount: 'minlength' must not be negative, got {least}{user_line()}")
    known = known_value(index)
    if known is not None and known.size and known.min() < 0:
        raise ArgumentError(f"bincount: 'list' argument must have no negative elements{user_line()}")
    index = index.astype(int64)
    ones = lift("bincount", full(index.shape, 1, int64)) if w is None else w.astype(float64)
    if length is not None:
        (least,) = static_extents("bincount", length)
        # What is left out goes to one more place behind the others.
        place = where((index >= 0) & (index < least), index, least)
        return _summed(ones, place, least + 1, "inside")[:least]
    if known is not None and known.size:
        least = builtins.max(least, int(known.max()) + 1)
    return _summed(ones, index, least, "check")


def _summed(values: Any, place: Any, count: int, mode: str) -> Any:
    blank = full((count,), 0, dtype_of(values))
    return lift("bincount", scatter(blank, values, place, axes=(0,), mode=mode, operation="add"))


_bincount.__name__ = "bincount"
bincount = traced(_plain_bincount, np.bincount)(_bincount)


@traced(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """The edges of the bins that ``histogram`` takes; to choose their number by a rule, values must be known."""
    x, w = _ravelled("histogram_bin_edges", a, weights)
    return _edges("histogram_bin_edges", x, bins, range, w)[0]


@traced(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> tuple[Any, Any]:
    """How many elements, or what sum of ``weights``, lie in each bin, and the edges; only weights have a derivative.

    ``bins`` is a known number or the edges, the last of which belongs to its bin.
    """
    x, w = _ravelled("histogram", a, weights)
    edges, outer = _edges("histogram", x, bins, range, w)
    keep = (x >= edges[0]) & (x <= edges[-1])
    counts = _counted(x, keep, _bin_of(x, edges, outer), w, edges.size - 1)
    if density:
        return counts / diff(edges).astype(float64) / sum(counts), edges
    return counts, edges


@traced(np.histogramdd)
def histogramdd(sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """The counts, or sums of ``weights``, of points in boxes, and the edges along each axis."""
    return _histogramdd("histogramdd", sample, bins, range, density, weights)


@traced(np.histogram2d)
def histogram2d(x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """The counts, or sums of ``weights``, of points (x, y) in rectangles, and the edges along both axes."""
    columns = [lift("histogram2d", part) for part in (x, y)]
    if columns[0].shape != columns[1].shape or columns[0].ndim != 1:
        raise ArgumentError(
            f"histogram2d: x and y must have the same length, got shapes {columns[0].shape} and {columns[1].shape}"
            f"{user_line()}")
    listed = isinstance(bins, (list, tuple))
    if (len(bins) not in (1, 2)) if listed else (np.ndim(bins) == 1 and np.shape(bins)[0] not in (1, 2)):
        bins = [bins, bins]
    counts, edges = _histogramdd("histogram2d", columns, bins, range, density, weights)
    return counts, edges[0], edges[1]


def _histogramdd(name: str, sample: Any, bins: Any, limits: Any, density: Any, weights: Any) -> tuple[Any, Any]:
    columns = _columns(name, sample)
    rank = len(columns)
    alone = not isinstance(bins, (tuple, list)) and np.ndim(bins) == 0
    each: Sequence[Any] = [bins] * rank if alone else list(bins)
    if len(each) != rank:
        raise ArgumentError(
            f"{name}: The dimension of bins must be equal to the dimension of the sample x.{user_line()}")
    ranges = [None] * rank if limits is None else list(limits)
    if len(ranges) != rank:
        raise ArgumentError(f"{name}: range argument must have one entry per dimension{user_line()}")
    edges, places = [], []
    keep: Any = True
    for column, count, interval in zip(columns, each, ranges, strict=True):
        found = _edges(name, column, count, interval, None, False)[0]
        edges.append(found)
        keep = keep & (column >= found[0]) & (column <= found[-1])
        places.append(_bin_of(column, found, None))
    shape = tuple([found.size - 1 for found in edges])
    flat: Any = 0
    for place, extent in zip(places, shape, strict=True):
        flat = flat * extent + place
    w = None if weights is None else lift(name, weights).astype(float64)
    counts = _counted(columns[0], keep, flat, w, prod(shape)).reshape(shape).astype(float64)
    if density:
        total = sum(counts)
        for axis, found in enumerate(edges):
            counts = counts / diff(found).reshape(tuple([-1 if a == axis else 1 for a in np.arange(rank)]))
        counts = counts / total
    return counts, tuple(edges) if name == "histogramdd" else edges


def _columns(name: str, sample: Any) -> list[Any]:
    if isinstance(sample, (tuple, list)):
        return [lift(name, part).ravel() for part in promote_operands(name, *sample)]
    points = lift(name, sample)
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim != 2:
        raise ShapeError(f"{name}: expected points in rows, got shape {points.shape}{user_line()}")
    return [points[:, k] for k in np.arange(points.shape[1])]
