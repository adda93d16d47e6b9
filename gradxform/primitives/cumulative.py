"""Running sums, products, maxima and minima along an axis.

The derivative of cumsum is itself. Those of the others are computed by an associative scan over tuples that carry the
tangent along: no division, no differences of sums, so zeros and ties are exact, at every order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, Refuses, bind, dtype_of, shape_of
from gradxform.dtypes import bool_
from gradxform.errors import AxisError
from gradxform.ir import ArrayType
from gradxform.linear import add, full, linear_jvp
from gradxform.loopir.lowering import Cumulative, Expands, Operand
from gradxform.primitives.arithmetic import div, mul
from gradxform.primitives.logic import equal, less, select
from gradxform.primitives.shape import concatenate, pad, reshape, slice_along
from gradxform.primitives.shape import reverse as reverse_axes

Parts = tuple[Any, ...]


def _interleave(even: Any, odd: Any, axis: int) -> Any:
    """even[0], odd[0], even[1], ... along ``axis``; ``even`` has as many elements as ``odd``, or one more."""
    shape = shape_of(even)
    evens, odds = shape[axis], shape_of(odd)[axis]
    if evens > odds:
        counts = tuple(int(a == axis) for a in range(len(shape)))
        odd = pad(odd, dtype_of(odd).type(0), (0,) * len(shape), counts, (0,) * len(shape))
    pair = (*shape[: axis + 1], 1, *shape[axis + 1:])
    paired = concatenate([reshape(even, pair), reshape(odd, pair)], axis + 1)
    flat = reshape(paired, (*shape[:axis], 2 * evens, *shape[axis + 1:]))
    return slice_along(flat, axis, 0, evens + odds)


def associative_scan(combine: Callable[[Parts, Parts], Parts], parts: Parts, axis: int) -> Parts:
    """All prefix combinations along ``axis`` of arrays of one shape.

    ``combine(earlier, later)`` is elementwise and associative. The work is linear in the extent and the recursion
    logarithmic: pairs are combined, their scan gives every odd prefix, and one more step every even one.
    """
    extent = shape_of(parts[0])[axis]
    if extent < 2:
        return parts

    def taken(start: int, limit: int, stride: int, of: Parts = parts) -> Parts:
        return tuple(slice_along(x, axis, start, limit, stride) for x in of)

    half = extent // 2
    odd = associative_scan(combine, combine(taken(0, 2 * half, 2), taken(1, extent, 2)), axis)
    if extent == 2:
        even = taken(0, 1, 1)
    else:
        rest = combine(taken(0, (extent - 1) // 2, 1, odd), taken(2, extent, 2))
        even = tuple(concatenate([first, x], axis) for first, x in zip(taken(0, 1, 1), rest, strict=True))
    return tuple(_interleave(e, o, axis) for e, o in zip(even, odd, strict=True))


def _type(name: str) -> Callable[..., ArrayType]:
    def rule(x: ArrayType, *, axis: int, reverse: bool) -> ArrayType:
        if not 0 <= axis < x.rank:
            raise AxisError(f"{name}: axis {axis} is out of range for an operand of rank {x.rank}")
        return x.strong()

    return rule


def _evaluate(accumulate: Callable[..., Any]) -> Callable[..., Any]:
    def rule(x: Any, *, axis: int, reverse: bool) -> Any:
        flip = np.flip if reverse else lambda array, axis: array
        return flip(accumulate(flip(x, axis), axis=axis, dtype=x.dtype), axis)

    return rule


def _batch(apply: Callable[[Any, int, bool], Any]) -> Callable[..., tuple[Any, bool]]:
    return lambda operands, batched, size, *, axis, reverse: (apply(operands[0], axis + 1, reverse), True)


def _lower(apply: Callable[[Any, int, bool], Any], operation: str, for_bool: str) -> Callable[..., Any]:
    def lower(operands: Sequence[Operand], result: ArrayType, *, axis: int, reverse: bool) -> Cumulative | Expands:
        if reverse:
            return Expands(lambda x: reverse_axes(apply(reverse_axes(x, (axis,)), axis, False), (axis,)))
        return Cumulative(for_bool if result.dtype == bool_ else operation, axis, operands[0])

    return lower


def _scan(combine: Callable[[Parts, Parts], Parts], parts: Parts, axis: int, reverse: bool) -> Parts:
    if reverse:
        parts = tuple(reverse_axes(x, (axis,)) for x in parts)
    scanned = associative_scan(combine, parts, axis)
    return tuple(reverse_axes(x, (axis,)) for x in scanned) if reverse else scanned


def _cumprod_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, axis: int, reverse: bool) -> Any:
    if tangents[0] is None:
        return None

    def combine(earlier: Parts, later: Parts) -> Parts:
        (a1, t1), (a2, t2) = earlier, later
        return mul(a1, a2), add(mul(t1, a2), mul(a1, t2))

    return _scan(combine, (primals[0], tangents[0]), axis, reverse)[1]


def _extremum_jvp(keeps_earlier: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Carries (extremum, sum of the tangents that attain it, their number)."""

    def combine(earlier: Parts, later: Parts) -> Parts:
        (a1, *sums1), (a2, *sums2) = earlier, later
        keep, tie = keeps_earlier(a1, a2), equal(a1, a2)
        chosen = [select(keep, s1, select(tie, add(s1, s2), s2)) for s1, s2 in zip(sums1, sums2, strict=True)]
        return select(keep, a1, a2), *chosen

    def rule(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, axis: int, reverse: bool) -> Any:
        (x,), (t,) = primals, tangents
        if t is None:
            return None
        shape, dtype = shape_of(x), dtype_of(x)
        _, total, count = _scan(combine, (x, t, full(shape, 1, dtype)), axis, reverse)
        # From the first NaN on the result is NaN, and so is its derivative.
        return div(total, select(equal(output, output), count, full(shape, np.nan, dtype)))

    return rule


def cumsum(x: Any, axis: int, reverse: bool = False) -> Any:
    """The running sum along ``axis`` in the dtype of ``x``, from the end if ``reverse``."""
    return bind(cumsum_p, x, axis=axis, reverse=reverse)


def cumprod(x: Any, axis: int, reverse: bool = False) -> Any:
    """The running product along ``axis`` in the dtype of ``x``, from the end if ``reverse``.

    The derivative is exact also where elements are zero, to any order.
    """
    return bind(cumprod_p, x, axis=axis, reverse=reverse)


def cummax(x: Any, axis: int, reverse: bool = False) -> Any:
    """The running maximum along ``axis``, from the end if ``reverse``; NaN from the first NaN on.

    Derivative at ties: the mean of the tangents of the elements so far that attain the maximum.
    """
    return bind(cummax_p, x, axis=axis, reverse=reverse)


def cummin(x: Any, axis: int, reverse: bool = False) -> Any:
    """The running minimum along ``axis``, from the end if ``reverse``; NaN from the first NaN on.

    Derivative at ties: the mean of the tangents of the elements so far that attain the minimum.
    """
    return bind(cummin_p, x, axis=axis, reverse=reverse)


cumsum_p = Primitive(
    "cumsum",
    type=_type("cumsum"),
    evaluate=_evaluate(np.add.accumulate),
    jvp=linear_jvp(cumsum),
    transpose=lambda ct, operands, *, axis, reverse: (cumsum(ct, axis, not reverse),),
    batch=_batch(cumsum),
    lower=_lower(cumsum, "add", "logical_or"),
)

cumprod_p = Primitive(
    "cumprod",
    type=_type("cumprod"),
    evaluate=_evaluate(np.multiply.accumulate),
    jvp=_cumprod_jvp,
    transpose=Refuses("cumprod is not linear in its operand"),
    batch=_batch(cumprod),
    lower=_lower(cumprod, "mul", "logical_and"),
)

cummax_p = Primitive(
    "cummax",
    type=_type("cummax"),
    evaluate=_evaluate(np.maximum.accumulate),
    jvp=_extremum_jvp(lambda earlier, later: less(later, earlier)),
    transpose=Refuses("cummax is not linear in its operand"),
    batch=_batch(cummax),
    lower=_lower(cummax, "maximum", "logical_or"),
)

cummin_p = Primitive(
    "cummin",
    type=_type("cummin"),
    evaluate=_evaluate(np.minimum.accumulate),
    jvp=_extremum_jvp(less),
    transpose=Refuses("cummin is not linear in its operand"),
    batch=_batch(cummin),
    lower=_lower(cummin, "minimum", "logical_and"),
)

PRIMITIVES = (cumsum_p, cumprod_p, cummax_p, cummin_p)
