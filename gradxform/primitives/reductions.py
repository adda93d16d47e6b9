"""Reductions: prod, max, min, and, or, argmax, argmin. (The sum belongs to the linear kernel.)

A reduction keeps the dtype of its operand; the accumulation types of NumPy are chosen above, by the array layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Primitive, Refuses, bind, dtype_of, shape_of
from gradxform.dtypes import bool_, int64
from gradxform.errors import AxisError, DTypeError, ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import add, broadcast, full, lower_reduction, reduce_sum, reduced_type, transpose, zeros
from gradxform.loopir.lowering import Expands, Operand, Reduction
from gradxform.primitives.arithmetic import div, mul
from gradxform.primitives.logic import convert, equal, logical_or, not_equal, select
from gradxform.primitives.shape import iota, reshape, slice_along

Axes = tuple[int, ...]


def kept_axes(rank: int, axes: Axes) -> Axes:
    """The axes of an operand of ``rank`` that a reduction over ``axes`` leaves."""
    return tuple(a for a in range(rank) if a not in axes)


def _spread(x: Any, shape: tuple[int, ...], axes: Axes) -> Any:
    """The result of a reduction over ``axes``, repeated along them."""
    return broadcast(x, shape, kept_axes(len(shape), axes))


def _batch(reduce: Callable[[Any, Axes], Any]) -> Callable[..., tuple[Any, bool]]:
    def rule(operands: Sequence[Any], batched: Sequence[bool], size: int, *, axes: Axes) -> tuple[Any, bool]:
        return reduce(operands[0], tuple(a + 1 for a in axes)), True

    return rule


# --------------------------------------------------------------------------------------------------------- prod


def _reduce_prod_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, axes: Axes) -> Any:
    """d(prod x) by a tree of products of halves.

    Each level carries (a, t) and joins halves by (a1 a2, t1 a2 + a1 t2). Nothing is divided, so zeros among the
    elements are exact, at every order; the work is linear in the number of elements.
    """
    (x,), (t,) = primals, tangents
    shape = shape_of(x)
    count = prod(shape[a] for a in axes)
    if t is None or count == 0:
        return None
    kept = kept_axes(len(shape), axes)
    flat_shape = (count, *(shape[a] for a in kept))
    values, derivatives = (reshape(transpose(part, (*axes, *kept)), flat_shape) for part in (x, t))

    def join(a1: Any, t1: Any, a2: Any, t2: Any) -> tuple[Any, Any]:
        return mul(a1, a2), add(mul(t1, a2), mul(a1, t2))

    odd: tuple[Any, Any] | None = None
    while count > 1:
        half = count // 2
        if count % 2:
            last = slice_along(values, 0, count - 1, count), slice_along(derivatives, 0, count - 1, count)
            odd = last if odd is None else join(*last, *odd)
        values, derivatives = join(
            slice_along(values, 0, 0, half), slice_along(derivatives, 0, 0, half),
            slice_along(values, 0, half, 2 * half), slice_along(derivatives, 0, half, 2 * half))
        count = half
    if odd is not None:
        values, derivatives = join(values, derivatives, *odd)
    return reshape(derivatives, flat_shape[1:])


def reduce_prod(x: Any, axes: Axes) -> Any:
    """The product over ``axes`` (sorted, not negative), in the dtype of ``x``; 1 if there are no elements.

    The derivative is exact also where elements are zero, to any order.
    """
    return bind(reduce_prod_p, x, axes=axes) if axes else x


# -------------------------------------------------------------------------------------------------- max and min


def _extremum_type(name: str, x: ArrayType, axes: Axes) -> ArrayType:
    result = reduced_type(name, x, axes)
    if x.size == 0 and result.size:
        raise ShapeError(
            f"{name}: zero-size array {x} reduced over axes {axes}: a {name[7:]} of no elements has no value")
    return result


def _extremum_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, axes: Axes) -> Any:
    """The mean of the tangents of the elements that attain the extremum; NaN where that is NaN (0 / 0)."""
    (x,), (t,) = primals, tangents
    if t is None:
        return None
    shape, dtype = shape_of(x), dtype_of(x)
    attained = equal(x, _spread(output, shape, axes))
    total = reduce_sum(select(attained, t, zeros(ArrayType(dtype, shape))), axes)
    return div(total, reduce_sum(convert(attained, dtype), axes))


def _lower_extremum(operation: str, for_bool: str) -> Callable[..., Reduction]:
    def lower(operands: Sequence[Operand], result: ArrayType, *, axes: Axes) -> Reduction:
        rule = lower_reduction(for_bool if result.dtype == bool_ else operation)
        return rule(operands, result, axes=axes)  # type: ignore[no-any-return]

    return lower


def reduce_max(x: Any, axes: Axes) -> Any:
    """The maximum over ``axes`` (sorted, not negative); NaN if any element is NaN.

    Raises ShapeError for a maximum of no elements. Derivative at ties: the mean of the tangents of all maximal
    elements.
    """
    return bind(reduce_max_p, x, axes=axes) if axes else x


def reduce_min(x: Any, axes: Axes) -> Any:
    """The minimum over ``axes`` (sorted, not negative); NaN if any element is NaN.

    Raises ShapeError for a minimum of no elements. Derivative at ties: the mean of the tangents of all minimal
    elements.
    """
    return bind(reduce_min_p, x, axes=axes) if axes else x


# --------------------------------------------------------------------------------------------------- and and or


def _logical_type(name: str) -> Callable[..., ArrayType]:
    def rule(x: ArrayType, *, axes: Axes) -> ArrayType:
        if x.dtype != bool_:
            raise DTypeError(f"{name}: expected booleans, got {x}: compare with zero first")
        return reduced_type(name, x, axes)

    return rule


def reduce_and(x: Any, axes: Axes) -> Any:
    """Whether all booleans along ``axes`` (sorted, not negative) are true; true if there are none."""
    return bind(reduce_and_p, x, axes=axes) if axes else x


def reduce_or(x: Any, axes: Axes) -> Any:
    """Whether any boolean along ``axes`` (sorted, not negative) is true; false if there are none."""
    return bind(reduce_or_p, x, axes=axes) if axes else x


# -------------------------------------------------------------------------------------------- argmax and argmin


def _argument_type(name: str) -> Callable[..., ArrayType]:
    def rule(x: ArrayType, *, axis: int) -> ArrayType:
        if not 0 <= axis < x.rank:
            raise AxisError(f"{name}: axis {axis} is out of range for an operand of rank {x.rank}")
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: an empty axis has no {name}: got {x}, axis {axis}")
        return ArrayType(int64, x.shape[:axis] + x.shape[axis + 1:])

    return rule


def _lower_argument(reduce: Callable[[Any, Axes], Any]) -> Callable[..., Expands]:
    """The least index among the elements that equal the extremum, or that are NaN if there are any."""

    def lower(operands: Sequence[Operand], result: ArrayType, *, axis: int) -> Expands:
        shape, dtype = operands[0].type.shape, operands[0].type.dtype

        def build(x: Any) -> Any:
            attained = equal(x, _spread(reduce(x, (axis,)), shape, (axis,)))
            if dtype.kind in "fc":
                # If one element is NaN so is the extremum, which then equals nothing.
                attained = logical_or(attained, not_equal(x, x))
            candidates = select(attained, iota(shape, int64, axis), full(shape, shape[axis], int64))
            return reduce_min(candidates, (axis,))

        return Expands(build)

    return lower


def _no_tangent(primals: Any, tangents: Any, output: Any, **params: Any) -> None:
    return None


def argmax(x: Any, axis: int) -> Any:
    """The index (int64) of the first maximum along ``axis``, of the first NaN if there is one. It has no derivative."""
    return bind(argmax_p, x, axis=axis)


def argmin(x: Any, axis: int) -> Any:
    """The index (int64) of the first minimum along ``axis``, of the first NaN if there is one. It has no derivative."""
    return bind(argmin_p, x, axis=axis)


reduce_prod_p = Primitive(
    "reduce_prod",
    type=lambda x, *, axes: reduced_type("reduce_prod", x, axes),
    evaluate=lambda x, *, axes: np.prod(x, axis=axes, dtype=x.dtype),
    jvp=_reduce_prod_jvp,
    transpose=Refuses("reduce_prod is not linear in its operand"),
    batch=_batch(reduce_prod),
    lower=_lower_extremum("mul", "logical_and"),
)

reduce_max_p = Primitive(
    "reduce_max",
    type=lambda x, *, axes: _extremum_type("reduce_max", x, axes),
    evaluate=lambda x, *, axes: np.max(x, axis=axes),
    jvp=_extremum_jvp,
    transpose=Refuses("reduce_max is not linear in its operand"),
    batch=_batch(reduce_max),
    lower=_lower_extremum("maximum", "logical_or"),
)

reduce_min_p = Primitive(
    "reduce_min",
    type=lambda x, *, axes: _extremum_type("reduce_min", x, axes),
    evaluate=lambda x, *, axes: np.min(x, axis=axes),
    jvp=_extremum_jvp,
    transpose=Refuses("reduce_min is not linear in its operand"),
    batch=_batch(reduce_min),
    lower=_lower_extremum("minimum", "logical_and"),
)

reduce_and_p = Primitive(
    "reduce_and",
    type=_logical_type("reduce_and"),
    evaluate=lambda x, *, axes: np.all(x, axis=axes),
    jvp=_no_tangent,
    transpose=Refuses("reduce_and is not linear in its operand"),
    batch=_batch(reduce_and),
    lower=lower_reduction("logical_and"),
)

reduce_or_p = Primitive(
    "reduce_or",
    type=_logical_type("reduce_or"),
    evaluate=lambda x, *, axes: np.any(x, axis=axes),
    jvp=_no_tangent,
    transpose=Refuses("reduce_or is not linear in its operand"),
    batch=_batch(reduce_or),
    lower=lower_reduction("logical_or"),
)

argmax_p = Primitive(
    "argmax",
    type=_argument_type("argmax"),
    evaluate=lambda x, *, axis: np.argmax(x, axis=axis).astype(int64),
    jvp=_no_tangent,
    transpose=Refuses("argmax is not linear in its operand"),
    batch=lambda operands, batched, size, *, axis: (argmax(operands[0], axis + 1), True),
    lower=_lower_argument(reduce_max),
)

argmin_p = Primitive(
    "argmin",
    type=_argument_type("argmin"),
    evaluate=lambda x, *, axis: np.argmin(x, axis=axis).astype(int64),
    jvp=_no_tangent,
    transpose=Refuses("argmin is not linear in its operand"),
    batch=lambda operands, batched, size, *, axis: (argmin(operands[0], axis + 1), True),
    lower=_lower_argument(reduce_min),
)

PRIMITIVES = (reduce_prod_p, reduce_max_p, reduce_min_p, reduce_and_p, reduce_or_p, argmax_p, argmin_p)
