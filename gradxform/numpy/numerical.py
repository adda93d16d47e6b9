"""Numerical functions composed of others: differences, integrals, interpolation, polynomials, statistics, tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, float64, int64
from gradxform.errors import ArgumentError, ShapeError
from gradxform.indexing import get
from gradxform.linear import full
from gradxform.numpy.dispatch import as_inexact, refuse_out, refuse_unless, traced
from gradxform.numpy.indexing import searchsorted, where
from gradxform.numpy.manipulation import concatenate, known_array, moveaxis, ravel, reshape, static_integers
from gradxform.numpy.reductions import all as all_of
from gradxform.numpy.reductions import cumprod, cumsum, max, mean, min, sum, var
from gradxform.numpy.reductions import prod as product
from gradxform.numpy.ufuncs import absolute, isfinite, isnan, sin, sqrt
from gradxform.operands import as_operand, cast, known_value, lift, normalize_axes, normalize_axis, promote_operands
from gradxform.primitives import arithmetic
from gradxform.primitives.indexing import scatter

_MISSING: Any = np._NoValue

# ------------------------------------------------------------------------------------------------------ rounding


@traced(np.round, np.around)
def round(a: Any, decimals: int = 0, out: None = None) -> Any:
    """``a`` rounded to so many decimals, halves to the even digit; the derivative is zero."""
    refuse_out("round", out)
    x = lift("round", a)
    (digits,) = static_integers("round", decimals)
    if x.dtype.kind != "f":
        if digits < 0:
            raise ArgumentError(f"round: negative decimals of integers are not supported on traced arrays{user_line()}")
        return x
    if digits == 0:
        return lift("round", arithmetic.rint(x))
    scale = x.dtype.type(10.0 ** abs(digits))
    up, down = (arithmetic.mul, arithmetic.div) if digits > 0 else (arithmetic.div, arithmetic.mul)
    return lift("round", down(arithmetic.rint(up(x, scale)), scale))


around = round


@traced(np.fix)
def fix(x: Any, out: None = None) -> Any:
    """The integer part of ``x``; the derivative is zero."""
    refuse_out("fix", out)
    operand = lift("fix", x)
    return operand if operand.dtype.kind != "f" else lift("fix", arithmetic.trunc(operand))


@traced(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN and the infinities replaced by numbers, by default 0 and the largest ones; their derivative is zero."""
    operand = lift("nan_to_num", x)
    if operand.dtype.kind != "f":
        return operand
    limits = np.finfo(operand.dtype)
    high, low = (limits.max if posinf is None else posinf), (limits.min if neginf is None else neginf)
    infinite = where(operand > 0, high, low)
    return where(isnan(operand), nan, where(isfinite(operand), operand, infinite)).astype(operand.dtype)


@traced(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0; derivatives are accurate near 0 too."""
    y = as_inexact("sinc", x) * np.pi
    small = absolute(y) < 1.0
    # The derivatives of the quotient cancel badly near 0; the series below 1 needs y**20 / 21! < 2e-20 for its end.
    square = y * y
    series: Any = 1.0
    for k in range(9, 0, -1):
        series = 1.0 - square / (2 * k * (2 * k + 1)) * series
    return where(small, series, sin(y) / where(small, 1.0, y))


@traced(np.isposinf)
def isposinf(x: Any, out: None = None) -> Any:
    """Whether ``x`` is +inf."""
    refuse_out("isposinf", out)
    return lift("isposinf", x) == np.inf


@traced(np.isneginf)
def isneginf(x: Any, out: None = None) -> Any:
    """Whether ``x`` is -inf."""
    refuse_out("isneginf", out)
    return lift("isneginf", x) == -np.inf


@traced(np.isclose)
def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    """Whether ``a`` and ``b`` differ by at most atol + rtol * abs(b)."""
    x, y = lift("isclose", a), lift("isclose", b)
    near = absolute(x - y) <= atol + rtol * absolute(y)
    result = (near & isfinite(y)) | (x == y)
    return result | (isnan(x) & isnan(y)) if equal_nan else result


@traced(np.allclose)
def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    """Whether all elements of ``a`` and ``b`` are close; a traced boolean."""
    return all_of(isclose(a, b, rtol, atol, equal_nan))


@traced(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether shapes and elements are equal; a traced boolean if the shapes are."""
    x, y = lift("array_equal", a1), lift("array_equal", a2)
    if x.shape != y.shape:
        return False
    same = x == y
    return all_of(same | (isnan(x) & isnan(y)) if equal_nan else same)


# --------------------------------------------------------------------------------------------- ignoring NaN


def _without_nan(name: str, a: Any, neutral: Any) -> tuple[Any, Any]:
    x = lift(name, a)
    if x.dtype.kind != "f":
        return x, isnan(x)
    return where(isnan(x), x.dtype.type(neutral), x), isnan(x)


@traced(np.nansum)
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = _MISSING,
           initial: Any = _MISSING, where: Any = _MISSING) -> Any:
    """The sum of what is not NaN."""
    refuse_out("nansum", out)
    return sum(_without_nan("nansum", a, 0)[0], axis, dtype, None, keepdims, initial, where)


@traced(np.nanprod)
def nanprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = _MISSING,
            initial: Any = _MISSING, where: Any = _MISSING) -> Any:
    """The product of what is not NaN."""
    refuse_out("nanprod", out)
    return product(_without_nan("nanprod", a, 1)[0], axis, dtype, None, keepdims, initial, where)


@traced(np.nancumsum)
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running sum, NaN counting as 0."""
    refuse_out("nancumsum", out)
    return cumsum(_without_nan("nancumsum", a, 0)[0], axis, dtype)


@traced(np.nancumprod)
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running product, NaN counting as 1."""
    refuse_out("nancumprod", out)
    return cumprod(_without_nan("nancumprod", a, 1)[0], axis, dtype)


@traced(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = _MISSING, *,
            where: Any = _MISSING) -> Any:
    """The mean of what is not NaN."""
    refuse_out("nanmean", out)
    return mean(a, axis, dtype, None, keepdims, where=_present("nanmean", a, where))


def _present(name: str, a: Any, where: Any) -> Any:
    present = ~isnan(lift(name, a))
    return present if where is _MISSING or where is True else present & where


@traced(np.nanvar)
def nanvar(a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = _MISSING, *,
           where: Any = _MISSING, mean: Any = _MISSING, correction: Any = _MISSING) -> Any:
    """The variance of what is not NaN."""
    refuse_out("nanvar", out)
    return var(_without_nan("nanvar", a, 0)[0], axis, dtype, None, ddof, keepdims, where=_present("nanvar", a, where),
               mean=mean, correction=correction)


@traced(np.nanstd)
def nanstd(a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = _MISSING, *,
           where: Any = _MISSING, mean: Any = _MISSING, correction: Any = _MISSING) -> Any:
    """The standard deviation of what is not NaN."""
    refuse_out("nanstd", out)
    return sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))


def _nan_extremum(
    name: str, reduce: Any, worst: float, a: Any, axis: Any, keepdims: Any, initial: Any, condition: Any
) -> Any:
    x, missing = _without_nan(name, a, worst)
    result = reduce(x, axis, None, keepdims, initial, condition)
    if x.dtype.kind != "f":
        return result
    if condition is not _MISSING:
        missing = missing | ~lift(name, condition)
    nothing = all_of(missing, axis, None, keepdims)
    return where(nothing, np.nan if initial is _MISSING else initial, result)


@traced(np.nanmax)
def nanmax(a: Any, axis: Any = None, out: None = None, keepdims: Any = _MISSING, initial: Any = _MISSING,
           where: Any = _MISSING) -> Any:
    """The maximum of what is not NaN; NaN if nothing is."""
    refuse_out("nanmax", out)
    return _nan_extremum("nanmax", max, -np.inf, a, axis, keepdims, initial, where)


@traced(np.nanmin)
def nanmin(a: Any, axis: Any = None, out: None = None, keepdims: Any = _MISSING, initial: Any = _MISSING,
           where: Any = _MISSING) -> Any:
    """The minimum of what is not NaN; NaN if nothing is."""
    refuse_out("nanmin", out)
    return _nan_extremum("nanmin", min, np.inf, a, axis, keepdims, initial, where)


# ------------------------------------------------------------------------------------ differences and integrals


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
    """Central differences inside and one-sided ones at the edges, per axis; spacings are numbers or coordinates."""
    refuse_unless("gradient", "edge_order", edge_order, 1)
    x = as_inexact("gradient", f)
    axes = normalize_axes("gradient", axis, x.ndim)
    given = varargs or (1.0,)
    spacings = list(given) if len(given) > 1 else [given[0]] * len(axes)
    if len(spacings) != len(axes):
        raise ArgumentError(
            f"gradient: invalid number of arguments: {len(varargs)} spacings, {len(axes)} axes{user_line()}")
    results = [_gradient_along(x, position, spacing) for position, spacing in zip(axes, spacings, strict=True)]
    return results[0] if len(axes) == 1 else tuple(results)


def _gradient_along(x: Any, axis: int, spacing: Any) -> Any:
    if x.shape[axis] < 2:
        raise ShapeError(
            f"gradient: at least 2 elements are needed along axis {axis}, got shape {x.shape}{user_line()}")
    lines = moveaxis(x, axis, -1)
    step = lift("gradient", spacing)
    rises = diff(lines)
    if step.ndim == 0:
        inner = (lines[..., 2:] - lines[..., :-2]) / (2.0 * step)
        slopes = rises / step
    else:
        steps = diff(step)
        left, right = steps[:-1], steps[1:]
        # The parabola through three points, DLMF 3.4.
        both = left + right
        inner = (lines[..., :-2] * (-right / (left * both)) + lines[..., 1:-1] * ((right - left) / (left * right))
                 + lines[..., 2:] * (left / (right * both)))
        slopes = rises / steps
    return moveaxis(concatenate([slopes[..., :1], inner, slopes[..., -1:]], -1), -1, axis)


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
    """Linear interpolation in the table (xp, fp); at a table point the derivative in x is that of the right segment."""
    refuse_unless("interp", "period", period, None)
    at, points, values = (lift("interp", cast(as_operand("interp", part), float64)) for part in (x, xp, fp))
    if points.ndim != 1 or points.shape != values.shape or not points.size:
        raise ShapeError(
            f"interp: xp and fp must be vectors of one length, got {points.shape} and {values.shape}{user_line()}")
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


# --------------------------------------------------------------------------------------- polynomials and signals


@traced(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients ``p``, the highest first, at ``x``, by Horner's rule."""
    coefficients, at = (lift("polyval", part) for part in promote_operands("polyval", p, x))
    result = at * 0
    for coefficient in coefficients:
        result = result * at + coefficient
    return result


@traced(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    """The coefficients of the ``m``-th derivative of a polynomial."""
    x = lift("polyder", p)
    for _ in range(*static_integers("polyder", m)):
        degree = x.size - 1
        x = x[:-1] * np.arange(degree, 0, -1) if degree > 0 else x[:0]
    return x


@traced(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The coefficients of the ``m``-th integral of a polynomial, with integration constants 0."""
    refuse_unless("polyint", "k", k, None)
    x = as_inexact("polyint", p)
    for _ in range(*static_integers("polyint", m)):
        x = concatenate([x / np.arange(x.size, 0, -1), full((1,), 0, x.dtype)])
    return x


@traced(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The discrete convolution of two vectors; ``mode`` is full, same or valid."""
    refuse_unless("convolve", "mode", mode, "full", "same", "valid")
    x, y = (lift("convolve", part) for part in promote_operands("convolve", a, v))
    if x.ndim > 1 or y.ndim > 1 or not x.size or not y.size:
        raise ShapeError(
            f"convolve: expected two vectors that are not empty, got shapes {x.shape} and {y.shape}{user_line()}")
    x, y = (ravel(part) for part in ((x, y) if x.size >= y.size else (y, x)))
    short = y.size
    # "same" keeps the middle of "full": NumPy drops (short - 1) // 2 elements in front of it.
    middle = (short - 1 - (short - 1) // 2, (short - 1) // 2)
    padding = {"full": (short - 1, short - 1), "same": middle, "valid": (0, 0)}[mode]
    padded = concatenate([full((padding[0],), 0, x.dtype), x, full((padding[1],), 0, x.dtype)])
    count = padded.size - short + 1
    windows = np.arange(count)[:, None] + np.arange(short)[::-1]
    return padded[windows] @ y


@traced(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """The cross-correlation of two vectors: sums of a[n + k] * v[n]."""
    x, y = lift("correlate", a), lift("correlate", v)
    if x.size < y.size:
        return convolve(y, x[::-1], mode)[::-1]
    return convolve(x, y[::-1], mode)


@traced(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number occurs, or the sum of its weights; the length is ``minlength`` if values are not known.

    Under ``jit`` a number beyond ``minlength`` raises IndexRangeError.
    """
    index = lift("bincount", x)
    (length,) = static_integers("bincount", minlength)
    if known_value(index) is not None:
        values = known_array("bincount", index)
        length = int(np.maximum(length, values.max() + 1 if values.size else 0))
    ones = full(index.shape, 1, int64) if weights is None else cast(as_operand("bincount", weights), float64)
    blank = full((length,), 0, dtype_of(ones))
    return lift("bincount", scatter(blank, ones, cast(index, int64), axes=(0,), operation="add"))


# ---------------------------------------------------------------------------------------------------- statistics


@traced(np.cov)
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
        aweights: Any = None, *, dtype: Any = None) -> Any:
    """The covariance matrix of variables in rows (or columns, if not ``rowvar``)."""
    refuse_unless("cov", "fweights", fweights, None)
    refuse_unless("cov", "aweights", aweights, None)
    blocks = [_observations("cov", part, rowvar) for part in (m, y) if part is not None]
    x = concatenate(blocks, 0) if len(blocks) > 1 else blocks[0]
    x = x if dtype is None else x.astype(dtype)
    divisor = x.shape[1] - (ddof if ddof is not None else 0 if bias else 1)
    deviations = x - mean(x, 1, keepdims=True)
    return ((deviations @ deviations.T) / float(divisor if divisor > 0 else 0)).squeeze()


def _observations(name: str, part: Any, rowvar: bool) -> Any:
    x = as_inexact(name, part)
    if x.ndim > 2:
        raise ShapeError(f"{name}: expected at most two axes, got shape {x.shape}{user_line()}")
    if x.ndim < 2:
        return reshape(x, (1, x.size))
    return x if rowvar or x.shape[0] == 1 else x.T


@traced(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The correlation matrix of variables in rows (or columns, if not ``rowvar``)."""
    covariance = cov(x, y, rowvar, dtype=dtype)
    if covariance.ndim == 0:
        return covariance / covariance
    deviations = sqrt(covariance.diagonal())
    limited = covariance / deviations[:, None] / deviations[None, :]
    return arithmetic.clamp(limited.dtype.type(-1), limited, limited.dtype.type(1))
