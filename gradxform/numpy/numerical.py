"""Numerical functions composed of others: rounding, tests, what ignores NaN, signals, statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.dtypes import is_complex, is_differentiable
from gradxform.errors import ArgumentError, ShapeError
from gradxform.linear import full
from gradxform.numpy.dispatch import as_inexact, refuse_out, refuse_unless, traced
from gradxform.numpy.indexing import where
from gradxform.numpy.manipulation import concatenate, ravel, static_integers
from gradxform.numpy.reductions import all as all_of
from gradxform.numpy.reductions import cumprod, cumsum, max, mean, min, sum, var
from gradxform.numpy.reductions import prod as product
from gradxform.numpy.ufuncs import absolute, conjugate, isfinite, isnan, sin, sqrt
from gradxform.operands import lift, promote_operands
from gradxform.primitives import arithmetic, complex_numbers

_MISSING: Any = np._NoValue

# ------------------------------------------------------------------------------------------------------ rounding


def _of_parts(name: str, x: Any, apply: Callable[[Any], Any]) -> Any:
    """``apply`` to the real and to the imaginary part of a complex ``x``."""
    return lift(name, complex_numbers.complex(apply(x.real), apply(x.imag)))


@traced(np.round, np.around)
def round(a: Any, decimals: int = 0, out: None = None) -> Any:
    """``a`` rounded to so many decimals, halves to the even digit; the derivative is zero."""
    refuse_out("round", out)
    x = lift("round", a)
    (digits,) = static_integers("round", decimals)
    if is_complex(x.dtype):
        return _of_parts("round", x, lambda part: round(part, digits))
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
    return lift("fix", arithmetic.trunc(operand)) if is_differentiable(operand.dtype) else operand


@traced(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN and the infinities replaced by numbers, by default 0 and the largest ones; their derivative is zero."""
    operand = lift("nan_to_num", x)
    if is_complex(operand.dtype):
        return _of_parts("nan_to_num", operand, lambda part: nan_to_num(part, copy, nan, posinf, neginf))
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


@traced(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether shapes broadcast and elements are equal; a traced boolean if the shapes do."""
    x, y = lift("array_equiv", a1), lift("array_equiv", a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return all_of(x == y)


# --------------------------------------------------------------------------------------------- ignoring NaN


def _without_nan(name: str, a: Any, neutral: Any) -> tuple[Any, Any]:
    x = lift(name, a)
    if not is_differentiable(x.dtype):
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
    if not is_differentiable(x.dtype):
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


# ------------------------------------------------------------------------------------------------------- signals


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
    """The cross-correlation of two vectors: sums of a[n + k] * conj(v[n])."""
    x, y = lift("correlate", a), lift("correlate", conjugate(v))
    if x.size < y.size:
        return convolve(y, x[::-1], mode)[::-1]
    return convolve(x, y[::-1], mode)
