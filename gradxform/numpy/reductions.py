"""Reductions and running reductions along axes, with NumPy's dtypes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod as product_of
from typing import Any

import numpy as np

from gradxform import operators
from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, bool_, float64, int64, is_complex, is_differentiable, uint8, uint64
from gradxform.errors import ArgumentError, ShapeError
from gradxform.linear import broadcast, full, reduce_sum, transpose
from gradxform.numpy.dispatch import refuse_out, traced
from gradxform.numpy.ufuncs import truth
from gradxform.operands import (
    as_operand,
    broadcast_operands,
    broadcast_shapes,
    broadcast_to,
    cast,
    lift,
    normalize_axes,
    normalize_axis,
    promote_operands,
    supported_dtype,
)
from gradxform.primitives import arithmetic, complex_numbers, cumulative, logic, reductions
from gradxform.primitives.shape import concatenate, reshape

_MISSING: Any = np._NoValue  # the default by which NumPy tells "not given" from None
Axes = tuple[int, ...]


# ------------------------------------------------------------------------------------------------------- helpers


def _restored(result: Any, shape: tuple[int, ...], axes: Axes, keepdims: Any) -> Any:
    """The result with reduced axes kept as axes of extent 1, if that is wanted."""
    if keepdims is _MISSING or not keepdims:
        return lift("reduction", result)
    return lift("reduction", reshape(result, tuple(1 if a in axes else n for a, n in enumerate(shape))))


def _reduced(name: str, axis: Any, rank: int) -> Axes:
    """The axes of a reduction. As NumPy's ufuncs do, one takes 0 and -1 for axes of a number."""
    return () if not rank and isinstance(axis, int) and axis in (0, -1) else normalize_axes(name, axis, rank)


def _summed_dtype(dtype: DType) -> DType:
    """NumPy adds narrow integers in the widest integer of their sign."""
    if dtype.kind in "bi":
        return int64
    return uint64 if dtype.kind == "u" else dtype


def _masked(name: str, x: Any, where: Any, neutral: Any) -> Any:
    if where is True or where is _MISSING:
        return x
    mask = truth(name, where)
    shape = broadcast_shapes(name, shape_of(x), shape_of(mask))
    if shape != shape_of(x):
        raise ShapeError(
            f"{name}: where of shape {shape_of(mask)} does not fit an array of shape {shape_of(x)}{user_line()}")
    return logic.select(broadcast_to(name, mask, shape), x, dtype_of(x).type(neutral))


def _count(name: str, shape: tuple[int, ...], axes: Axes, where: Any) -> Any:
    """How many elements are reduced: a number, or an array if ``where`` chooses."""
    if where is True or where is _MISSING:
        return product_of(shape[a] for a in axes)
    mask = broadcast_to(name, truth(name, where), shape)
    return reduce_sum(cast(mask, int64), tuple(sorted(axes)))


def _starting(combine: Callable[[Any, Any], Any], result: Any, initial: Any) -> Any:
    if initial is _MISSING or initial is None:
        return result
    return combine(*broadcast_operands("initial", [result, cast(as_operand("initial", initial), dtype_of(result))]))


def _folded(
    name: str, fold: Callable[[Any, Axes], Any], combine: Callable[[Any, Any], Any], neutral: int,
    a: Any, axis: Any, dtype: Any, keepdims: Any, initial: Any, where: Any,
) -> Any:
    x = as_operand(name, a)
    target = _summed_dtype(dtype_of(x)) if dtype is None else supported_dtype(name, dtype)
    x = cast(x, target)
    axes = _reduced(name, axis, len(shape_of(x)))
    result = fold(_masked(name, x, where, neutral), tuple(sorted(axes)))
    return _restored(_starting(combine, result, initial), shape_of(x), axes, keepdims)


# --------------------------------------------------------------------------------------------- sums and products


@traced(np.sum)
def sum(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = _MISSING,
        initial: Any = _MISSING, where: Any = _MISSING) -> Any:
    """The sum over ``axis``, 0 over nothing; narrow integers are added in int64 or uint64."""
    refuse_out("sum", out)
    return _folded("sum", _sum, operators.add, 0, a, axis, dtype, keepdims, initial, where)


def _sum(x: Any, axes: Axes) -> Any:
    return reductions.reduce_or(x, axes) if dtype_of(x) == bool_ else reduce_sum(x, axes)


@traced(np.prod)
def prod(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = _MISSING,
         initial: Any = _MISSING, where: Any = _MISSING) -> Any:
    """The product over ``axis``, 1 over nothing; its derivative is exact where factors are zero."""
    refuse_out("prod", out)
    return _folded("prod", _prod, operators.multiply, 1, a, axis, dtype, keepdims, initial, where)


def _prod(x: Any, axes: Axes) -> Any:
    return reductions.reduce_and(x, axes) if dtype_of(x) == bool_ else reductions.reduce_prod(x, axes)


def _mean(name: str, a: Any, axis: Any, dtype: Any, where: Any) -> tuple[Any, Any, Axes]:
    x = as_operand(name, a)
    found = dtype_of(x)
    target = (found if is_differentiable(found) else float64) if dtype is None else supported_dtype(name, dtype)
    x = cast(x, target)
    axes = normalize_axes(name, axis, len(shape_of(x)))
    total = reduce_sum(_masked(name, x, where, 0), tuple(sorted(axes)))
    count = cast(_count(name, shape_of(x), axes, where), target)
    if not is_differentiable(target):  # the mean of integers, towards zero
        return x, cast(operators.divide(total, count), target), axes
    return x, arithmetic.div(total, count), axes


@traced(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = _MISSING, *,
         where: Any = _MISSING) -> Any:
    """The arithmetic mean over ``axis``, NaN over nothing; integers are averaged as float64."""
    refuse_out("mean", out)
    x, result, axes = _mean("mean", a, axis, dtype, where)
    return _restored(result, shape_of(x), axes, keepdims)


@traced(np.var)
def var(a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = _MISSING, *,
        where: Any = _MISSING, mean: Any = _MISSING, correction: Any = _MISSING) -> Any:
    """The variance over ``axis``: the mean squared (magnitude of the) deviation, with n - ``ddof`` in the denominator."""
    refuse_out("var", out)
    return _variance("var", a, axis, dtype, ddof, keepdims, where, mean, correction)


@traced(np.std)
def std(a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = _MISSING, *,
        where: Any = _MISSING, mean: Any = _MISSING, correction: Any = _MISSING) -> Any:
    """The square root of ``var``; at variance 0 its derivative is not defined, and comes out as NaN."""
    refuse_out("std", out)
    return lift("std", arithmetic.sqrt(_variance("std", a, axis, dtype, ddof, keepdims, where, mean, correction)))


def _variance(name: str, a: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any, where: Any, mean: Any,
              correction: Any) -> Any:
    if correction is not _MISSING:
        if ddof != 0:
            raise ArgumentError(f"{name}: ddof and correction can't be provided simultaneously{user_line()}")
        ddof = correction
    x, centre, axes = _mean(name, a, axis, dtype, where)
    shape = shape_of(x)
    kept = tuple(k for k in range(len(shape)) if k not in axes)
    if mean is _MISSING:
        centre = broadcast(centre, shape, kept)
    else:
        centre = broadcast_to(name, cast(as_operand(name, mean), dtype_of(x)), shape)
    deviations = arithmetic.sub(x, centre)
    squares = (complex_numbers.real(arithmetic.mul(deviations, complex_numbers.conj(deviations)))
               if is_complex(dtype_of(x)) else arithmetic.square(deviations))
    total = reduce_sum(_masked(name, squares, where, 0), tuple(sorted(axes)))
    count = _count(name, shape, axes, where)
    divisor: Any
    if isinstance(count, int):
        divisor = count - ddof if count - ddof > 0 else 0
    else:
        divisor = operators.subtract(count, ddof)
        divisor = arithmetic.maximum(divisor, dtype_of(divisor).type(0))
    return _restored(arithmetic.div(total, cast(divisor, dtype_of(total))), shape, axes, keepdims)


@traced(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = _MISSING) -> Any:
    """The mean over ``axis`` weighted by ``weights``; with ``returned`` also the sum of the weights."""
    if weights is None:
        x, result, axes = _mean("average", a, axis, None, True)
        result = _restored(result, shape_of(x), axes, keepdims)
        total = lift("average", full(result.shape, product_of(shape_of(x)[k] for k in axes), result.dtype))
        return (result, total) if returned else result
    # Integers are averaged in float64, whatever the weights are.
    wide = [] if is_differentiable(dtype_of(as_operand("average", a))) else [np.float64(0)]
    x, w, *_ = promote_operands("average", a, weights, *wide)
    axes = normalize_axes("average", axis, len(shape_of(x)))
    if shape_of(w) != shape_of(x):
        if shape_of(w) != tuple(shape_of(x)[k] for k in axes):
            raise ShapeError(
                f"average: weights of shape {shape_of(w)} do not fit axis {axis} of an array of shape {shape_of(x)}"
                f"{user_line()}")
        w = broadcast(move_axes_sorted(w, axes), shape_of(x), tuple(sorted(axes)))
    ordered = tuple(sorted(axes))
    total = reduce_sum(w, ordered)
    result = arithmetic.div(reduce_sum(arithmetic.mul(x, w), ordered), total)
    result, total = (_restored(part, shape_of(x), axes, keepdims) for part in (result, total))
    return (result, total) if returned else result


def move_axes_sorted(w: Any, axes: Axes) -> Any:
    """``w``, whose axes belong to ``axes`` in that order, with its axes in increasing order of those."""
    return transpose(w, tuple(sorted(range(len(axes)), key=axes.__getitem__)))


# ------------------------------------------------------------------------------------------------------ extrema


def _extremum(
    name: str, fold: Callable[[Any, Axes], Any], combine: Callable[[Any, Any], Any], a: Any, axis: Any, keepdims: Any,
    initial: Any, where: Any,
) -> Any:
    x = as_operand(name, a)
    shape = shape_of(x)
    axes = _reduced(name, axis, len(shape))
    given = initial is not _MISSING and initial is not None
    if not given and product_of(shape[k] for k in axes) == 0:
        if product_of(n for k, n in enumerate(shape) if k not in axes) == 0:
            return _restored(full(tuple(n for k, n in enumerate(shape) if k not in axes), 0, dtype_of(x)), shape, axes,
                             keepdims)
        raise ShapeError(f"zero-size array to reduction operation {name} which has no identity{user_line()}")
    if where is not True and where is not _MISSING:
        if not given:
            raise ArgumentError(
                f"reduction operation '{name}' does not have an identity, so to use a where mask one has to specify "
                f"'initial'{user_line()}")
        neutral = cast(as_operand(name, initial), dtype_of(x))
        mask = broadcast_to(name, truth(name, where), shape)
        x = logic.select(*broadcast_operands(name, [mask, x, neutral]))
    if product_of(shape[k] for k in axes) == 0:
        kept = tuple(n for k, n in enumerate(shape) if k not in axes)
        result = broadcast_to(name, cast(as_operand(name, initial), dtype_of(x)), kept)
    else:
        result = _starting(combine, fold(x, tuple(sorted(axes))), initial)
    return _restored(result, shape, axes, keepdims)


@traced(np.max, np.amax)
def max(a: Any, axis: Any = None, out: None = None, keepdims: Any = _MISSING, initial: Any = _MISSING,
        where: Any = _MISSING) -> Any:
    """The maximum over ``axis``, NaN if there is one; ties share the derivative evenly."""
    refuse_out("max", out)
    return _extremum("maximum", reductions.reduce_max, arithmetic.maximum, a, axis, keepdims, initial, where)


@traced(np.min, np.amin)
def min(a: Any, axis: Any = None, out: None = None, keepdims: Any = _MISSING, initial: Any = _MISSING,
        where: Any = _MISSING) -> Any:
    """The minimum over ``axis``, NaN if there is one; ties share the derivative evenly."""
    refuse_out("min", out)
    return _extremum("minimum", reductions.reduce_min, arithmetic.minimum, a, axis, keepdims, initial, where)


amax, amin = max, min


@traced(np.ptp)
def ptp(a: Any, axis: Any = None, out: None = None, keepdims: Any = _MISSING) -> Any:
    """Maximum minus minimum over ``axis``."""
    refuse_out("ptp", out)
    return operators.subtract(max(a, axis, None, keepdims), min(a, axis, None, keepdims))


def _position(name: str, find: Callable[[Any, int], Any], a: Any, axis: Any, keepdims: Any) -> Any:
    x = as_operand(name, a)
    shape = shape_of(x)
    if axis is None or (not shape and axis in (0, -1)):
        axes: Axes = tuple(range(len(shape)))
        x, position = reshape(x, (product_of(shape),)), 0
    else:
        position = normalize_axis(name, axis, len(shape))
        axes = (position,)
    if shape_of(x)[position] == 0:
        raise ShapeError(f"attempt to get {name} of an empty sequence{user_line()}")
    return _restored(find(x, position), shape, axes, keepdims)


@traced(np.argmax)
def argmax(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = _MISSING) -> Any:
    """The position of the first maximum, or of the first NaN."""
    refuse_out("argmax", out)
    return _position("argmax", reductions.argmax, a, axis, keepdims)


@traced(np.argmin)
def argmin(a: Any, axis: Any = None, out: None = None, *, keepdims: Any = _MISSING) -> Any:
    """The position of the first minimum, or of the first NaN."""
    refuse_out("argmin", out)
    return _position("argmin", reductions.argmin, a, axis, keepdims)


# -------------------------------------------------------------------------------------------------------- truth


def _logical(name: str, fold: Callable[[Any, Axes], Any], neutral: bool, a: Any, axis: Any, keepdims: Any,
             where: Any) -> Any:
    x = truth(name, a)
    axes = _reduced(name, axis, len(shape_of(x)))
    return _restored(fold(_masked(name, x, where, neutral), tuple(sorted(axes))), shape_of(x), axes, keepdims)


@traced(np.all)
def all(a: Any, axis: Any = None, out: None = None, keepdims: Any = _MISSING, *, where: Any = _MISSING) -> Any:
    """Whether no element over ``axis`` is zero."""
    refuse_out("all", out)
    return _logical("all", reductions.reduce_and, True, a, axis, keepdims, where)


@traced(np.any)
def any(a: Any, axis: Any = None, out: None = None, keepdims: Any = _MISSING, *, where: Any = _MISSING) -> Any:
    """Whether some element over ``axis`` is not zero."""
    refuse_out("any", out)
    return _logical("any", reductions.reduce_or, False, a, axis, keepdims, where)


@traced(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """How many elements over ``axis`` are not zero."""
    return sum(truth("count_nonzero", a), axis=axis, keepdims=keepdims)


# ------------------------------------------------------------------------------------------- running reductions


def _running(name: str, scan: Callable[[Any, int], Any], a: Any, axis: Any, dtype: Any) -> Any:
    x = as_operand(name, a)
    x = cast(x, _summed_dtype(dtype_of(x)) if dtype is None else supported_dtype(name, dtype))
    if dtype_of(x) == bool_:
        # Sums of truth values are ors, products are ands.
        latched = cumulative.cummax if scan is cumulative.cumsum else cumulative.cummin
        return cast(_along(name, latched, cast(x, uint8), axis), bool_)
    return _along(name, scan, x, axis)


def _along(name: str, scan: Callable[[Any, int], Any], x: Any, axis: Any) -> Any:
    shape = shape_of(x)
    if axis is None or not shape:
        if axis is not None:
            normalize_axis(name, axis, 1)
        return lift(name, scan(reshape(x, (product_of(shape),)), 0))
    return lift(name, scan(x, normalize_axis(name, axis, len(shape))))


@traced(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running sum along ``axis``, or of the flattened array."""
    refuse_out("cumsum", out)
    return _running("cumsum", cumulative.cumsum, a, axis, dtype)


@traced(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The running product along ``axis``, or of the flattened array; its derivative is exact at zeros."""
    refuse_out("cumprod", out)
    return _running("cumprod", cumulative.cumprod, a, axis, dtype)


def _with_initial(name: str, scanned: Callable[..., Any], neutral: int, x: Any, axis: Any, dtype: Any,
                  include_initial: bool) -> Any:
    operand = as_operand(name, x)
    operand = operand if shape_of(operand) else reshape(operand, (1,))
    rank = len(shape_of(operand))
    if axis is None and rank != 1:
        raise ArgumentError(f"{name}: for arrays of rank {rank} an axis must be given{user_line()}")
    position = normalize_axis(name, 0 if axis is None else axis, rank)
    result = scanned(operand, position, dtype)
    if not include_initial:
        return result
    edge = tuple(1 if a == position else n for a, n in enumerate(result.shape))
    return concatenate([full(edge, neutral, result.dtype), result], position)


@traced(np.cumulative_sum)
def cumulative_sum(x: Any, /, *, axis: Any = None, dtype: Any = None, out: None = None,
                   include_initial: bool = False) -> Any:
    """The running sum along ``axis``; ``include_initial`` puts a 0 before it."""
    return _with_initial("cumulative_sum", cumsum, 0, x, axis, dtype, include_initial)


@traced(np.cumulative_prod)
def cumulative_prod(x: Any, /, *, axis: Any = None, dtype: Any = None, out: None = None,
                    include_initial: bool = False) -> Any:
    """The running product along ``axis``; ``include_initial`` puts a 1 before it."""
    return _with_initial("cumulative_prod", cumprod, 1, x, axis, dtype, include_initial)


def accumulate_extremum(name: str, a: Any, axis: Any) -> Any:
    """``np.maximum.accumulate`` and ``np.minimum.accumulate``."""
    scan = cumulative.cummax if name == "maximum" else cumulative.cummin
    return _along(f"{name}.accumulate", scan, as_operand(name, a), axis)

