"""Medians and quantiles, with all of NumPy's methods.

They are elements of the sorted rows, or lines between two of them, so derivatives are those of sorting. The definitions are
those of Hyndman and Fan, *Sample quantiles in statistical packages*, The American Statistician 50 (1996).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from gradxform.core import Tracer, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, float64, int64, is_float
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError
from gradxform.linear import transpose
from gradxform.numpy import ufuncs
from gradxform.numpy.dispatch import refuse_out, traced
from gradxform.numpy.indexing import take, take_along_axis, where
from gradxform.numpy.manipulation import moveaxis, stack
from gradxform.numpy.numerical import nanmean
from gradxform.numpy.reductions import all as all_of
from gradxform.numpy.reductions import any as any_of
from gradxform.numpy.reductions import argmax, argmin, cumsum, mean, sum
from gradxform.operands import as_operand, known_value, lift, normalize_axes
from gradxform.primitives import sorting
from gradxform.primitives.shape import reshape

_MISSING: Any = np._NoValue
#: Of rows of more elements, a few order statistics are found without sorting all of a row.
SHORT_ROW = 2048
FEW = 4
Axes = tuple[int, ...]


def _rows(name: str, x: Any, axis: Any) -> tuple[Any, Axes]:
    """``x`` with the axes that are reduced made one, the last, and these axes."""
    axes = normalize_axes(name, axis, x.ndim)
    kept = [k for k in range(x.ndim) if k not in axes]
    shape = tuple([x.shape[k] for k in kept])
    ordered = transpose(x, (*kept, *sorted(axes)))
    return lift(name, reshape(ordered, (*shape, prod(x.shape[k] for k in axes)))), axes


def _with_axes(result: Any, front: int, shape: tuple[int, ...], axes: Axes, keepdims: Any) -> Any:
    """The result, of which ``front`` axes come before those that are kept, with reduced axes as extents of 1 if wanted."""
    if keepdims is _MISSING or not keepdims:
        return result
    return result.reshape((*result.shape[:front], *(1 if k in axes else n for k, n in enumerate(shape))))


def _real(name: str, a: Any) -> Any:
    x = lift(name, a)
    if x.dtype.kind == "c":
        raise ArgumentTypeError(f"{name}: a must be an array of real numbers, got {x.type}{user_line()}")
    return x


# ---------------------------------------------------------------------------------------------------------- medians


def _middle(ordered: Any, low: Any, high: Any) -> Any:
    """The mean of two elements of each row; the element itself if they are one."""
    first, second = (take_along_axis(ordered, place, -1)[..., 0] for place in (low, high))
    if not is_float(first.dtype):
        first, second = first.astype(float64), second.astype(float64)
    return where(low[..., 0] == high[..., 0], first, (first + second) / 2)


@traced(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """The middle element over ``axis``, or the mean of the two in the middle; NaN if there is one, or no element.

    The derivative is that of the elements in the middle, at ties of the stable permutation.
    """
    refuse_out("median", out)
    x = _real("median", a)
    rows, axes = _rows("median", x, axis)
    count = rows.shape[-1]
    if not count:
        result = mean(rows, -1)
    else:
        places = tuple(builtins.sorted({(count - 1) // 2, count // 2}))
        if count > SHORT_ROW:
            middle, missing = lift("median", sorting.order_statistics(rows, places)[0]), _any_missing(rows)
        else:
            ordered = lift("median", sorting.sort([rows])[0])
            middle, missing = ordered[..., places[0]:places[-1] + 1], _any_missing(ordered[..., -1:])
        middle = middle if is_float(x.dtype) else middle.astype(float64)
        result = middle[..., 0] if count % 2 else (middle[..., 0] + middle[..., 1]) / 2
        if is_float(x.dtype):
            result = where(missing, result.dtype.type(np.nan), result)
    return _with_axes(result, 0, x.shape, axes, keepdims)


@traced(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = _MISSING) -> Any:
    """The median of what is not NaN; NaN if nothing is."""
    refuse_out("nanmedian", out)
    x = _real("nanmedian", a)
    if not is_float(x.dtype) or not x.size:
        return median(x, axis, keepdims=keepdims is not _MISSING and keepdims)
    rows, axes = _rows("nanmedian", x, axis)
    ordered = lift("nanmedian", sorting.sort([rows])[0])
    count = sum(~ufuncs.isnan(rows), -1, keepdims=True)
    # Of no elements it is the first one, a NaN.
    low = ufuncs.maximum(count - 1, 0) // 2
    result = _middle(ordered, low, ufuncs.minimum(count // 2, ufuncs.maximum(count - 1, 0)))
    return _with_axes(result, 0, x.shape, axes, keepdims)


# -------------------------------------------------------------------------------------------------------- quantiles

#: alpha and beta of the methods whose position in the sorted row is linear in q.
_LINES = {"interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0),
          "median_unbiased": (1 / 3.0, 1 / 3.0), "normal_unbiased": (3 / 8.0, 3 / 8.0)}


def _step(m: Any, position: Any, stays: Callable[[Any, Any], Any]) -> Any:
    """The whole position below, if it ``stays`` there, or above."""
    below = m.floor(position)
    return m.maximum(m.where(stays(position - below, position), below, below + 1), 0).astype(np.int64)


def _single(m: Any, method: str, n: Any, q: Any) -> Any:
    """The position of the quantile, of methods that give an element; None of the others."""
    if method == "inverted_cdf":
        return _step(m, n * q - 1, lambda part, _: part == 0)
    if method == "closest_observation":
        return _step(m, n * q - 1 - 0.5, lambda part, position: (part == 0) & (m.floor(position) % 2 == 1))
    rounding = {"lower": m.floor, "higher": m.ceil, "nearest": m.round}.get(method)
    return None if rounding is None else rounding((n - 1) * q).astype(np.int64)


def _between(m: Any, method: str, n: Any, q: Any) -> Any:
    """The position of the quantile between two elements, and the weight of the second one from its fraction."""
    if method in _LINES:
        alpha, beta = _LINES[method]
        return n * q + (alpha + q * (1 - alpha - beta)) - 1, lambda part, position: part
    if method == "averaged_inverted_cdf":
        return n * q - 1, lambda part, position: m.where(part == 0, 0.5, 1.0)
    if method == "midpoint":
        exact = (n - 1) * q
        return 0.5 * (m.floor(exact) + m.ceil(exact)), lambda part, position: m.where(position % 1 == 0, 0.0, 0.5)
    return (n - 1) * q, lambda part, position: part


METHODS = ("inverted_cdf", "averaged_inverted_cdf", "closest_observation", *_LINES, "linear", "lower", "higher",
           "midpoint", "nearest")


def _checked_q(name: str, q: Any, most: int) -> tuple[Any, Any, bool]:
    """q as an operand between 0 and 1, its value if that is known, and whether it is a Python scalar."""
    operand: Any = as_operand(name, q)
    staged = isinstance(operand, Tracer)
    weak = type(q) in (int, float) or (staged and operand.type.weak)
    value = known_value(operand) if staged else np.asarray(operand)
    if value is not None and not np.all((value >= 0) & (value <= most)):
        kind = "Quantiles" if most == 1 else "Percentiles"
        raise ArgumentError(f"{name}: {kind} must be in the range [0, {most}], got {value}{user_line()}")
    if most != 1:
        operand = operand / most if staged else np.true_divide(operand, most)
    elif not staged:
        operand = np.asarray(operand)
    if len(shape_of(operand)) > 2:
        raise ArgumentError(f"{name}: q must be a scalar or 1d, got shape {shape_of(operand)}{user_line()}")
    return operand, value, weak


def _quantile(
    name: str, a: Any, q: Any, axis: Any, method: str, keepdims: Any, weights: Any, most: int, skips_nan: bool
) -> Any:
    x = _real(name, a)
    position, _, weak = _checked_q(name, q, most)
    if skips_nan and not x.size:
        return nanmean(x, axis, keepdims=keepdims)
    if weights is not None:
        if method != "inverted_cdf":
            raise ArgumentError(f"{name}: Only method 'inverted_cdf' supports weights. Got: {method}.{user_line()}")
        return _weighted(name, x, position, axis, keepdims, weights, skips_nan)
    if method not in METHODS:
        raise ArgumentError(f"{name}: {method!r} is not a valid method. Use one of: {', '.join(METHODS)}{user_line()}")
    rows, axes = _rows(name, x, axis)
    count = rows.shape[-1]
    front = len(shape_of(position))
    _check_count(name, x, axis, count)
    if skips_nan and is_float(x.dtype):
        ordered = lift(name, sorting.sort([rows])[0])
        result = _of_counted(name, ordered, sum(~ufuncs.isnan(rows), -1), position, method, weak)
    else:
        result = _of_rows(name, rows, position, method, weak)
        if is_float(x.dtype):
            result = where(_any_missing(rows), result.dtype.type(np.nan), result)
    return _with_axes(result, front, x.shape, axes, keepdims)


def _check_count(name: str, x: Any, axis: Any, count: int) -> None:
    if not count:
        raise IndexRangeError(
            f"{name}: there is no quantile of no elements, got shape {x.shape} and axis {axis}{user_line()}")


def _namespace(q: Any) -> ModuleType | Any:
    """What computes with positions: NumPy at once, if q is known from the start."""
    if not isinstance(q, Tracer):
        return np
    from gradxform import numpy as face

    return face


def _any_missing(rows: Any) -> Any:
    return any_of(ufuncs.isnan(rows), -1)


def _picked(name: str, rows: Any, places: Sequence[Any]) -> list[Any]:
    """The elements of each sorted row at each of ``places``, arrays whose axes come first in the result."""
    shape = shape_of(places[0])
    known = not any(isinstance(place, Tracer) for place in places)
    if known and rows.shape[-1] > SHORT_ROW and prod(shape) <= FEW:
        # Of a long row only what lies near each place is sorted.
        found: list[list[Any]] = [[] for _ in places]
        for each in zip(*(np.ravel(place).tolist() for place in places), strict=True):
            wanted = tuple(builtins.sorted(set(each)))
            values = lift(name, sorting.order_statistics(rows, wanted)[0])
            for column, place in zip(found, each, strict=True):
                column.append(values[..., wanted.index(place)])
        return [stack(column).reshape((*shape, *rows.shape[:-1])) for column in found]
    ordered = lift(name, sorting.sort([rows])[0])
    front, kept = len(shape), rows.ndim - 1
    return [moveaxis(take(ordered, place, -1, mode="clip"), tuple(range(kept, kept + front)), tuple(range(front)))
            for place in places]


def _of_rows(name: str, rows: Any, q: Any, method: str, weak: bool) -> Any:
    """Quantiles of rows of one length."""
    m, count = _namespace(q), rows.shape[-1]
    place = _single(m, method, count, q)
    if place is None and method == "linear" and q.dtype.kind in "iu":
        place = (count - 1) * q
    if place is not None:
        return _picked(name, rows, [place])[0]
    virtual, weight = _between(m, method, count, q)
    below = m.floor(virtual)
    # As NumPy: what lies beyond the ends is the end, but the weight is found with -1 for the last position.
    beyond = virtual >= count - 1
    below = m.where(beyond, -1.0, m.where(virtual < 0, 0.0, below))
    above = m.where(beyond, -1.0, m.where(virtual < 0, 0.0, m.floor(virtual) + 1))
    gamma = weight(virtual - below, virtual).astype(virtual.dtype)
    first, second = _picked(name, rows, [m.where(place < 0, count - 1, place).astype(np.int64) for place in (below, above)])
    return _line(first, second, gamma, rows.ndim - 1, weak)


def _of_counted(name: str, ordered: Any, counts: Any, q: Any, method: str, weak: bool) -> Any:
    """Quantiles of the first ``counts`` elements of sorted rows; NaN where there are none."""
    from gradxform import numpy as m

    front = shape_of(q)
    n = counts[..., None]
    flat = lift(name, q).reshape((-1,))
    place = _single(m, method, n, flat)
    if place is None and method == "linear" and flat.dtype.kind in "iu":
        place = (n - 1) * flat

    def picked(place: Any) -> Any:
        # Positions that NumPy would count from the end; rows without numbers begin with NaN.
        limited = ufuncs.maximum(ufuncs.minimum(place, n - 1), 0)
        found = moveaxis(take_along_axis(ordered, limited, -1), -1, 0)
        return found.reshape((*front, *ordered.shape[:-1]))

    if place is not None:
        return picked(place)
    virtual, weight = _between(m, method, n, flat)
    beyond = virtual >= n - 1
    below = m.where(beyond, -1.0, m.where(virtual < 0, 0.0, m.floor(virtual)))
    above = m.where(beyond, -1.0, m.where(virtual < 0, 0.0, m.floor(virtual) + 1))
    gamma = moveaxis(weight(virtual - below, virtual), -1, 0).reshape((*front, *ordered.shape[:-1]))
    first, second = (picked(m.where(place < 0, n - 1, place).astype(int64)) for place in (below, above))
    if weak:
        gamma = gamma.astype(ordered.dtype if is_float(ordered.dtype) else float64)
    return _line(first, second, gamma, 0, False)


def _line(first: Any, second: Any, gamma: Any, kept: int, weak: bool) -> Any:
    """Between ``first`` and ``second``, computed from the end that is nearer."""
    if first.dtype == bool_:
        raise DTypeError(
            f"quantile: booleans have no quantiles between two of them: cast them with .astype first{user_line()}")
    at_once = not isinstance(gamma, Tracer)
    gamma = float(gamma) if weak and at_once else gamma.reshape((*shape_of(gamma), *(1,) * kept))
    rise = second - first
    return where(gamma >= 0.5, second - rise * (1 - gamma), first + rise * gamma)


def _weighted(name: str, x: Any, q: Any, axis: Any, keepdims: Any, weights: Any, skips_nan: bool) -> Any:
    """The first element at which the sum of weights reaches the part q of all."""
    w = lift(name, weights)
    axes = normalize_axes(name, axis, x.ndim)
    if w.shape != x.shape:
        if axis is None:
            raise ArgumentTypeError(f"{name}: Axis must be specified when shapes of a and weights differ.{user_line()}")
        if w.shape != tuple([x.shape[k] for k in axes]):
            raise ArgumentError(
                f"{name}: Shape of weights must be consistent with shape of a along specified axis.{user_line()}")
        order = sorted(range(len(axes)), key=axes.__getitem__)
        w = w.transpose(order).reshape(tuple([n if k in axes else 1 for k, n in enumerate(x.shape)]))
        w = w + np.zeros(x.shape, w.dtype)
    known = known_value(w)
    if known is not None:
        if np.any(known < 0):
            raise ArgumentError(f"{name}: Weights must be non-negative.{user_line()}")
        total = np.sum(known, axis=axes)
        if not np.all(np.isfinite(total) & (total != 0)):
            raise ArgumentError(f"{name}: Weights included NaN, inf or were all zero.{user_line()}")
    rows, _ = _rows(name, x, axes)
    weight_rows, _ = _rows(name, w, axes)
    _check_count(name, x, axis, rows.shape[-1])
    if skips_nan and is_float(x.dtype):
        weight_rows = where(ufuncs.isnan(rows), 0, weight_rows)
    ordered, order = (lift(name, part) for part in sorting.sort_with_positions(rows))
    sums = cumsum(take_along_axis(weight_rows, order, -1), -1, dtype=float64)
    sums = sums / sums[..., -1:]
    undefined = ufuncs.isnan(sums[..., -1])
    front = shape_of(q)
    flat = lift(name, q).reshape((-1,))
    if flat.dtype.kind == "f":
        sums = sums.astype(flat.dtype)
    sums = sums[..., None, :]
    # Weights of zero in front reach no part, not even q = 0.
    place = sum((sums < flat[:, None]) | (sums == 0), -1)
    place = ufuncs.minimum(place, rows.shape[-1] - 1)
    result = moveaxis(take_along_axis(ordered, place, -1), -1, 0).reshape((*front, *ordered.shape[:-1]))
    if is_float(x.dtype):
        # Not known: weights that add up to nothing, or to NaN.
        result = where(undefined, result.dtype.type(np.nan), result)
        if not skips_nan:
            result = where(ufuncs.isnan(ordered[..., -1]), ordered[..., -1], result)
    return _with_axes(result, len(front), x.shape, axes, keepdims)


@traced(np.quantile)
def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
             keepdims: Any = False, *, weights: Any = None) -> Any:
    """The value below which the part ``q`` of the elements over ``axis`` lies; NaN if one is.

    All of NumPy's methods; ``weights`` with inverted_cdf. Derivatives: in ``a`` that of sorting, in ``q`` the slope
    between neighbours. A ``q`` outside of [0, 1] raises if it is known; else it counts as the nearer end.
    """
    refuse_out("quantile", out)
    return _quantile("quantile", a, q, axis, method, keepdims, weights, 1, False)


@traced(np.percentile)
def percentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
               keepdims: Any = False, *, weights: Any = None) -> Any:
    """The ``quantile`` of q / 100."""
    refuse_out("percentile", out)
    return _quantile("percentile", a, q, axis, method, keepdims, weights, 100, False)


@traced(np.nanquantile)
def nanquantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
                keepdims: Any = _MISSING, *, weights: Any = None) -> Any:
    """The ``quantile`` of what is not NaN; NaN if nothing is."""
    refuse_out("nanquantile", out)
    return _quantile("nanquantile", a, q, axis, method, keepdims, weights, 1, True)


@traced(np.nanpercentile)
def nanpercentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
                  method: str = "linear", keepdims: Any = _MISSING, *, weights: Any = None) -> Any:
    """The ``quantile`` of q / 100 of what is not NaN; NaN if nothing is."""
    refuse_out("nanpercentile", out)
    return _quantile("nanpercentile", a, q, axis, method, keepdims, weights, 100, True)


# ------------------------------------------------------------------------------------------------ positions of extrema


def _nan_position(name: str, find: Callable[..., Any], worst: float, a: Any, axis: Any, keepdims: Any) -> Any:
    x = lift(name, a)
    if not x.ndim and axis in (0, -1):
        axis = None
    if not is_float(x.dtype):
        return find(x, axis, keepdims=keepdims)
    missing = ufuncs.isnan(x)
    nothing = all_of(missing, axis, None, keepdims)
    known = known_value(nothing)
    if known is not None and x.size and np.any(known):
        raise ArgumentError(f"{name}: All-NaN slice encountered{user_line()}")
    return where(nothing, -1, find(where(missing, x.dtype.type(worst), x), axis, keepdims=keepdims))


@traced(np.nanargmax)
def nanargmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _MISSING) -> Any:
    """The position of the first maximum of what is not NaN; if nothing is, an error, or -1 where values are not known."""
    refuse_out("nanargmax", out)
    return _nan_position("nanargmax", argmax, -np.inf, a, axis, keepdims)


@traced(np.nanargmin)
def nanargmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _MISSING) -> Any:
    """The position of the first minimum of what is not NaN; if nothing is, an error, or -1 where values are not known."""
    refuse_out("nanargmin", out)
    return _nan_position("nanargmin", argmin, np.inf, a, axis, keepdims)
