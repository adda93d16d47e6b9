"""Differences, derivatives and integrals of sampled functions, and interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, complex128, float64, is_complex
from gradxform.errors import ArgumentError, ShapeError
from gradxform.indexing import get
from gradxform.linear import full
from gradxform.numpy.dispatch import as_inexact, refuse_unless, traced
from gradxform.numpy.indexing import searchsorted, where
from gradxform.numpy.manipulation import concatenate, moveaxis, ravel, reshape, static_integers
from gradxform.numpy.reductions import cumsum, sum
from gradxform.numpy.ufuncs import absolute, isnan
from gradxform.operands import (
    as_operand,
    broadcast_to,
    cast,
    lift,
    normalize_axes,
    normalize_axis,
    promoted_type,
)
from gradxform.primitives import arithmetic, logic
from gradxform.primitives.sorting import argsort

_MISSING: Any = np._NoValue  # the default by which NumPy tells "not given" from None


def _slices(x: Any, axis: int) -> tuple[Any, Any]:
    before = (slice(None),) * axis
    return get(x, (*before, slice(1, None))), get(x, (*before, slice(None, -1)))


@traced(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = _MISSING, append: Any = _MISSING) -> Any:
    """The ``n``-th differences of neighbours along ``axis``."""
    (order,) = static_integers("diff", n)
    if order < 0:
        raise ArgumentError(f"diff: order must be non-negative but got {order}{user_line()}")
    x = lift("diff", a)
    if x.ndim == 0:
        raise ShapeError(f"diff requires input that is at least one dimensional{user_line()}")
    if order == 0:
        return x
    position = normalize_axis("diff", axis, x.ndim)
    parts = []
    for part in (prepend, x, append):
        if part is not _MISSING:
            edge = lift("diff", part)
            parts.append(edge if edge.ndim else lift("diff", full(
                tuple(1 if k == position else m for k, m in enumerate(x.shape)), 1, edge.dtype)) * edge)
    x = concatenate(parts, position) if len(parts) > 1 else x
    for _ in range(order):
        later, earlier = _slices(x, position)
        x = later != earlier if x.dtype == bool_ else later - earlier
    return x


@traced(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours in the flattened array, with numbers put before and behind."""
    middle = diff(ravel(ary))
    edges = [None if part is None else ravel(part).astype(middle.dtype) for part in (to_begin, to_end)]
    return concatenate([part for part in (edges[0], middle, edges[1]) if part is not None])


@traced(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided ones of ``edge_order`` 1 or 2 at the edges, per axis.

    Spacings are numbers or vectors of coordinates, one for all axes or one for each.

    >>> gradient(np.array([0.0, 1.0, 4.0, 9.0]), edge_order=2)
    array([0., 2., 4., 6.])
    """
    refuse_unless("gradient", "edge_order", edge_order, 1, 2)
    x = lift("gradient", as_inexact("gradient", f))
    axes = normalize_axes("gradient", axis, x.ndim)
    given = varargs or (1.0,)
    spacings = list(given) if len(given) > 1 else [given[0]] * len(axes)
    if len(spacings) != len(axes):
        raise ArgumentError(
            f"gradient: invalid number of arguments: {len(varargs)} spacings, {len(axes)} axes{user_line()}")
    results = [_gradient_along(x, position, spacing, edge_order) for position, spacing in zip(axes, spacings, strict=True)]
    return results[0] if len(axes) == 1 else tuple(results)


def _gradient_along(x: Any, axis: int, spacing: Any, order: int) -> Any:
    if x.shape[axis] < order + 1:
        raise ShapeError(
            f"gradient: at least {order + 1} elements (edge_order + 1) are needed along axis {axis}, got shape {x.shape}"
            f"{user_line()}")
    lines = moveaxis(x, axis, -1)
    step = lift("gradient", spacing)
    rises = diff(lines)
    if step.ndim == 0:
        inner = (lines[..., 2:] - lines[..., :-2]) / (2.0 * step)
        slopes = rises / step
        left = right = lift("gradient", broadcast_to("gradient", step, (lines.shape[-1] - 2,)))
    else:
        if step.shape != lines.shape[-1:]:
            raise ShapeError(
                f"gradient: when 1d, distances must match the length of the corresponding dimension, got {step.shape} for "
                f"axis {axis} of {x.shape}{user_line()}")
        steps = diff(step)
        left, right = steps[:-1], steps[1:]
        # The parabola through three points, DLMF 3.4.
        both = left + right
        inner = (lines[..., :-2] * (-right / (left * both)) + lines[..., 1:-1] * ((right - left) / (left * right))
                 + lines[..., 2:] * (left / (right * both)))
        slopes = rises / steps
    first, last = slopes[..., :1], slopes[..., -1:]
    if order == 2:
        # The slope of that parabola at its ends; seen from the last point, steps are negative.
        first = _end_slope(lines[..., :3], left[0], right[0])[..., None]
        last = _end_slope(lines[..., :-4:-1], -right[-1], -left[-1])[..., None]
    return moveaxis(concatenate([first, inner, last], -1), -1, axis)


def _end_slope(points: Any, near: Any, far: Any) -> Any:
    """The slope at the first of three points with steps ``near`` and ``far`` between them."""
    both = near + far
    return (points[..., 0] * (-(2.0 * near + far) / (near * both)) + points[..., 1] * (both / (near * far))
            - points[..., 2] * (near / (far * both)))


@traced(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral by the trapezoidal rule along ``axis``, at points ``x`` or with spacing ``dx``."""
    values = lift("trapezoid", y)
    position = normalize_axis("trapezoid", axis, values.ndim)
    widths: Any = dx
    if x is not None:
        points = lift("trapezoid", x)
        widths = diff(points) if points.ndim == 1 else diff(points, axis=position)
        if points.ndim == 1:
            widths = reshape(widths, tuple(widths.size if k == position else 1 for k in range(values.ndim)))
    later, earlier = _slices(values, position)
    return sum(widths * (later + earlier) / 2.0, position)


@traced(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Linear interpolation in the table (xp, fp); at a table point the derivative in x is that of the right segment.

    With a ``period`` the table is repeated, ``left`` and ``right`` mean nothing, and ``xp`` need not be in order.
    """
    table = as_operand("interp", fp)
    kinds = float64, float64, complex128 if is_complex(dtype_of(table)) else float64
    at, points, values = (lift("interp", cast(as_operand("interp", part), kind))
                          for part, kind in zip((x, xp, table), kinds, strict=True))
    if points.ndim != 1 or points.shape != values.shape or not points.size:
        raise ShapeError(
            f"interp: xp and fp must be vectors of one length, got {points.shape} and {values.shape}{user_line()}")
    if period is not None:
        at, points, values = _one_period(at, points, values, absolute(lift("interp", period)))
        left = right = None
    last = points.size - 1
    low, high = (values[0] if left is None else left), (values[last] if right is None else right)
    if last == 0:
        inner = values[0] + at * 0.0
    else:
        segment = arithmetic.clamp(np.int64(0), searchsorted(points, at, "right") - 1, np.int64(last - 1))
        start, base = points[segment], values[segment]
        slope = (values[segment + 1] - base) / (points[segment + 1] - start)
        inner = where(at == points[last], values[last] + slope * (at - points[last]), base + slope * (at - start))
    return where(at < points[0], low, where(at > points[last], high, where(isnan(at), at, inner)))


def _one_period(x: Any, points: Any, values: Any, period: Any) -> tuple[Any, Any, Any]:
    """The table in increasing order within a period, with its last point before and its first one behind it."""
    points = points % period
    order = argsort(logic.stop_gradient(points))
    points, values = points[order], values[order]
    return (x % period, concatenate([points[-1:] - period, points, points[:1] + period]),
            concatenate([values[-1:], values, values[:1]]))


@traced(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2.0 * np.pi) -> Any:
    """Angles with whole ``period`` added so that neighbours along ``axis`` differ by at most half of it.

    What is added does not depend on the angles as long as no step passes half a period, so the derivative is the identity.

    >>> unwrap(np.array([0.0, 3.0, 2.0]), period=4.0)
    array([ 0., -1., -2.])
    """
    x = lift("unwrap", p)
    position = normalize_axis("unwrap", axis, x.ndim)
    rises = diff(x, axis=position)
    dtype = promoted_type("unwrap", [rises, as_operand("unwrap", period)])[0]
    whole = dtype.kind in "iu"
    half = period // 2 if whole else period / 2
    wrapped = (rises + half) % period - half
    if not whole or period % 2 == 0:
        # A jump of exactly half a period keeps its sign.
        wrapped = where((wrapped == -half) & (rises > 0), half, wrapped)
    correction = where(absolute(rises) < (period / 2 if discont is None else discont), 0, wrapped - rises)
    first, rest = (get(x, (*(slice(None),) * position, cut)) for cut in (slice(0, 1), slice(1, None)))
    return concatenate([first.astype(dtype), (rest + cumsum(correction, position)).astype(dtype)], position)
