"""Windows that slide along axes, and their transpose, which adds windows back to where they overlap.

Convolutions, pooling, moving averages and numerical stencils read an array through windows. ``windows`` is a view: an
element of the result is one of the operand, so nothing is copied unless a product wants it packed. ``overlap_add``
computes each element as the sum over the windows that hold it, so that its loop writes every element once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind
from gradxform.errors import ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import check_axes, linear_jvp
from gradxform.loopir.expression import (
    ZERO,
    Expression,
    Index,
    compare,
    conjunction,
    constant,
    guard,
    index_add,
    index_divmod,
    index_mul,
    integer,
)
from gradxform.loopir.lowering import Operand, Reduction, View

Integers = tuple[int, ...]


def positions(extent: int, size: int, stride: int, dilation: int) -> int:
    """How many windows of ``size`` elements, ``dilation`` apart, fit into ``extent`` in steps of ``stride``."""
    return max((extent - ((size - 1) * dilation + 1)) // stride + 1, 0)


def _windows_type(
    x: ArrayType, *, axes: Integers, dilations: Integers, sizes: Integers, strides: Integers
) -> ArrayType:
    check_axes("windows", axes, x.rank)
    if not len(axes) == len(sizes) == len(strides) == len(dilations) or any(n < 1 for n in (*sizes, *strides, *dilations)):
        raise ShapeError(
            f"windows: sizes {sizes}, strides {strides} and dilations {dilations} need one entry >= 1 for each of axes {axes}")
    shape = list(x.shape)
    for a, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        shape[a] = positions(shape[a], size, stride, dilation)
    return ArrayType(x.dtype, (*shape, *sizes))


def _windows_evaluate(x: Any, *, axes: Integers, dilations: Integers, sizes: Integers, strides: Integers) -> Any:
    shape, steps = list(x.shape), list(x.strides)
    for a, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        shape[a] = positions(shape[a], size, stride, dilation)
        steps[a] *= stride
    inner = [x.strides[a] * dilation for a, dilation in zip(axes, dilations, strict=True)]
    if not prod(shape):
        return np.zeros((*shape, *sizes), x.dtype)
    return np.lib.stride_tricks.as_strided(x, (*shape, *sizes), (*steps, *inner), writeable=False).copy()


def _windows_lower(
    operands: Sequence[Operand], result: ArrayType, *, axes: Integers, dilations: Integers, sizes: Integers, strides: Integers
) -> View:
    (x,) = operands
    rank = x.type.rank

    def read(index: Index) -> Expression:
        source = list(index[:rank])
        for a, within, stride, dilation in zip(axes, index[rank:], strides, dilations, strict=True):
            source[a] = index_add(index_mul(source[a], stride), index_mul(within, dilation))
        return x(tuple(source))

    return View(read)


def windows(x: Any, axes: Integers, sizes: Integers, strides: Integers, dilations: Integers) -> Any:
    """The windows of ``x`` along ``axes`` (sorted, not negative), without padding.

    Each of ``axes`` numbers the windows; axes of the extents ``sizes`` are appended: result[.., i, .., j] is
    x[.., i * stride + j * dilation, ..].
    """
    return bind(windows_p, x, axes=axes, sizes=sizes, strides=strides, dilations=dilations) if axes else x


def _overlap_add_type(
    x: ArrayType, *, axes: Integers, dilations: Integers, extents: Integers, sizes: Integers, strides: Integers
) -> ArrayType:
    shape = list(x.shape[:x.rank - len(axes)])
    for a, extent in zip(axes, extents, strict=True):
        shape[a] = extent
    result = ArrayType(x.dtype, tuple(shape))
    expected = _windows_type(result, axes=axes, dilations=dilations, sizes=sizes, strides=strides)
    if expected.shape != x.shape:
        raise ShapeError(f"overlap_add: expected the windows {expected} of {result}, got {x}")
    return result


def _overlap_add_evaluate(
    x: Any, *, axes: Integers, dilations: Integers, extents: Integers, sizes: Integers, strides: Integers
) -> Any:
    rank = x.ndim - len(axes)
    shape = list(x.shape[:rank])
    for a, extent in zip(axes, extents, strict=True):
        shape[a] = extent
    result = np.zeros(shape, x.dtype)
    for within in np.ndindex(*sizes):
        target = [slice(None)] * rank
        for a, j, stride, dilation in zip(axes, within, strides, dilations, strict=True):
            target[a] = slice(j * dilation, j * dilation + stride * x.shape[a], stride)
        result[tuple(target)] += x[(..., *within)]
    return result


def _overlap_add_lower(
    operands: Sequence[Operand], result: ArrayType, *, axes: Integers, dilations: Integers, extents: Integers, sizes: Integers,
    strides: Integers
) -> Reduction:
    (x,) = operands

    def read(index: Index, reduced: Index) -> Expression:
        source = list(index)
        conditions: list[Expression] = []
        for a, j, size, stride, dilation in zip(axes, reduced, sizes, strides, dilations, strict=True):
            # Shifted by a multiple of the stride so that the dividend is never negative.
            periods = -(-(size - 1) * dilation // stride)
            start = index_add(index_add(index[a], index_mul(j, -dilation)), integer(periods * stride))
            quotient, remainder = index_divmod(start, stride)
            number = index_add(quotient, integer(-periods))
            conditions += [compare("equal", remainder, ZERO), compare("greater_equal", number, ZERO),
                           compare("less", number, integer(x.type.shape[a]))]
            source[a] = number
        return guard(conjunction(conditions), x((*source, *reduced)), constant(0, result.dtype))

    return Reduction("add", sizes, read)


def overlap_add(x: Any, axes: Integers, extents: Integers, sizes: Integers, strides: Integers, dilations: Integers) -> Any:
    """The transpose of `windows`: an array with ``extents`` along ``axes``, each element the sum of its copies in ``x``."""
    return bind(overlap_add_p, x, axes=axes, extents=extents, sizes=sizes, strides=strides, dilations=dilations)


def _shifted(axes: Integers) -> Integers:
    return tuple([a + 1 for a in axes])


windows_p = Primitive(
    "windows",
    type=_windows_type,
    evaluate=_windows_evaluate,
    jvp=linear_jvp(windows),
    transpose=lambda ct, operands, *, axes, sizes, strides, dilations: (overlap_add(
        ct, axes, tuple([operands[0].type.shape[a] for a in axes]), sizes, strides, dilations),),
    batch=lambda operands, batched, size, *, axes, sizes, strides, dilations: (windows(
        operands[0], _shifted(axes), sizes, strides, dilations), True),
    lower=_windows_lower,
)

overlap_add_p = Primitive(
    "overlap_add",
    type=_overlap_add_type,
    evaluate=_overlap_add_evaluate,
    jvp=linear_jvp(overlap_add),
    transpose=lambda ct, operands, *, axes, extents, sizes, strides, dilations: (windows(
        ct, axes, sizes, strides, dilations),),
    batch=lambda operands, batched, size, *, axes, extents, sizes, strides, dilations: (overlap_add(
        operands[0], _shifted(axes), extents, sizes, strides, dilations), True),
    lower=_overlap_add_lower,
)

PRIMITIVES = (windows_p, overlap_add_p)
