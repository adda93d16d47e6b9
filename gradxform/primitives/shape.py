"""Shape primitives: reshape, slice, reverse, concatenate, pad, and the arrays that are index patterns.

All are linear and move elements without arithmetic. Slicing and padding are each other's transposes, which is why
``pad`` can dilate: the transpose of a slice with strides puts its elements back in between zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Primitive, Refuses, Undefined, bind, dtype_of, shape_of, type_of
from gradxform.core.tracing import python_literal
from gradxform.dtypes import DType, check_same, int64, is_differentiable, python_scalar_dtype
from gradxform.errors import AxisError, DTypeError, ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import broadcast, check_axes, full, instantiate, linear_jvp, reduce_sum, zeros
from gradxform.loopir.axes import axis_groups
from gradxform.loopir.expression import (
    ZERO,
    Apply,
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
from gradxform.loopir.lowering import Map, Operand, View
from gradxform.primitives.logic import select

# ------------------------------------------------------------------------------------------------------ reshape


def _reshape_type(x: ArrayType, *, shape: tuple[int, ...]) -> ArrayType:
    if any(n < 0 for n in shape) or x.size != prod(shape):
        raise ShapeError(f"reshape: an array {x} of {x.size} elements cannot take shape {shape}")
    return ArrayType(x.dtype, shape)


def _reshape_lower(operands: Sequence[Operand], result: ArrayType, *, shape: tuple[int, ...]) -> View:
    (x,) = operands
    extents = x.type.shape
    # An empty array has no elements to be read: any index will do, and factor groups do not exist.
    groups = axis_groups(extents, shape) if result.size else []

    def read(index: Index) -> Expression:
        found: list[Expression] = [ZERO] * len(extents)
        for olds, news in groups:
            flat: Expression = ZERO
            for a in news:
                flat = index_add(index_mul(flat, shape[a]), index[a])
            for a in reversed(olds[1:]):
                flat, found[a] = index_divmod(flat, extents[a])
            found[olds[0]] = flat
        return x(tuple(found))

    return View(read)


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """The elements of ``x``, in row-major order, in another shape of the same size."""
    return x if shape_of(x) == shape else bind(reshape_p, x, shape=shape)


# -------------------------------------------------------------------------------------------------------- slice


def _slice_type(
    x: ArrayType, *, start: tuple[int, ...], limit: tuple[int, ...], strides: tuple[int, ...]
) -> ArrayType:
    if not x.rank == len(start) == len(limit) == len(strides):
        raise ShapeError(f"slice: start {start}, limit {limit} and strides {strides} need one entry per axis of {x}")
    for n, first, last, step in zip(x.shape, start, limit, strides, strict=True):
        if not 0 <= first <= last <= n or step < 1:
            raise ShapeError(
                f"slice: start {start}, limit {limit}, strides {strides} do not fit an operand {x}: "
                "expected 0 <= start <= limit <= extent and strides >= 1")
    return ArrayType(x.dtype, tuple(
        (last - first + step - 1) // step for first, last, step in zip(start, limit, strides, strict=True)))


def _slice_evaluate(x: Any, *, start: Any, limit: Any, strides: Any) -> Any:
    return x[tuple(slice(*bounds) for bounds in zip(start, limit, strides, strict=True))]


def _slice_transpose(ct: Any, operands: Sequence[Any], *, start: Any, limit: Any, strides: Any) -> tuple[Any]:
    whole = operands[0].type
    kept = shape_of(ct)
    covered = [step * (m - 1) + 1 if m else 0 for step, m in zip(strides, kept, strict=True)]
    high = tuple(n - first - m for n, first, m in zip(whole.shape, start, covered, strict=True))
    return (pad(ct, whole.dtype.type(0), start, high, tuple(step - 1 for step in strides)),)


def _slice_batch(operands: Any, batched: Any, size: int, *, start: Any, limit: Any, strides: Any) -> tuple[Any, bool]:
    return slice_array(operands[0], (0, *start), (size, *limit), (1, *strides)), True


def _slice_lower(operands: Sequence[Operand], result: ArrayType, *, start: Any, limit: Any, strides: Any) -> View:
    (x,) = operands

    def read(index: Index) -> Expression:
        return x(tuple([index_add(index_mul(i, step), integer(first))
                        for i, first, step in zip(index, start, strides, strict=True)]))

    return View(read)


def slice_array(x: Any, start: tuple[int, ...], limit: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """``x[start[0]:limit[0]:strides[0], ...]`` with 0 <= start <= limit <= extent and positive strides."""
    shape = shape_of(x)
    if limit == shape and not any(start) and all(step == 1 for step in strides):
        return x
    return bind(slice_p, x, start=start, limit=limit, strides=strides)


def slice_along(x: Any, axis: int, start: int, limit: int, stride: int = 1) -> Any:
    """``x`` sliced along one axis."""
    shape = shape_of(x)
    starts, limits, strides = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis], limits[axis], strides[axis] = start, limit, stride
    return slice_array(x, tuple(starts), tuple(limits), tuple(strides))


# ------------------------------------------------------------------------------------------------------ reverse


def _reverse_type(x: ArrayType, *, axes: tuple[int, ...]) -> ArrayType:
    check_axes("reverse", axes, x.rank)
    return x.strong()


def _reverse_lower(operands: Sequence[Operand], result: ArrayType, *, axes: tuple[int, ...]) -> View:
    (x,) = operands
    extents = x.type.shape

    def read(index: Index) -> Expression:
        return x(tuple([index_add(index_mul(i, -1), integer(extents[a] - 1)) if a in axes else i
                        for a, i in enumerate(index)]))

    return View(read)


def reverse(x: Any, axes: tuple[int, ...]) -> Any:
    """``x`` with the order of elements reversed along ``axes`` (sorted, not negative)."""
    return bind(reverse_p, x, axes=axes) if axes else x


# -------------------------------------------------------------------------------------------------- concatenate


def _concatenate_type(*operands: ArrayType, axis: int) -> ArrayType:
    if not operands:
        raise ShapeError("concatenate: need at least one array")
    first = operands[0]
    if not 0 <= axis < first.rank:
        raise AxisError(f"concatenate: axis {axis} is out of range for operands of rank {first.rank}")
    rest = first.shape[:axis] + first.shape[axis + 1:]
    for operand in operands:
        if operand.rank != first.rank or operand.shape[:axis] + operand.shape[axis + 1:] != rest:
            listed = ", ".join(map(str, operands))
            raise ShapeError(f"concatenate: shapes must agree in all axes but axis {axis}, got {listed}")
    dtype = check_same("concatenate", [operand.dtype for operand in operands])
    total = sum(operand.shape[axis] for operand in operands)
    return ArrayType(dtype, (*first.shape[:axis], total, *first.shape[axis + 1:]))


def _concatenate_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, axis: int) -> Any:
    if all(t is None for t in tangents):
        return None
    return concatenate([instantiate(t, x) for t, x in zip(tangents, primals, strict=True)], axis)


def _concatenate_transpose(ct: Any, operands: Sequence[Any], *, axis: int) -> tuple[Any, ...]:
    results = []
    offset = 0
    for x in operands:
        linear = isinstance(x, Undefined)
        extent = (x.type if linear else type_of(x)).shape[axis]
        results.append(slice_along(ct, axis, offset, offset + extent) if linear else None)
        offset += extent
    return tuple(results)


def _concatenate_batch(operands: Any, batched: Any, size: int, *, axis: int) -> tuple[Any, bool]:
    moved = []
    for x, flag in zip(operands, batched, strict=True):
        shape = shape_of(x)
        moved.append(x if flag else broadcast(x, (size, *shape), tuple(range(1, len(shape) + 1))))
    return concatenate(moved, axis + 1), True


def _concatenate_lower(operands: Sequence[Operand], result: ArrayType, *, axis: int) -> Map:
    parts: list[tuple[Operand, int]] = []
    offset = 0
    for x in operands:
        if x.type.shape[axis]:
            parts.append((x, offset))
        offset += x.type.shape[axis]
    parts = parts or [(operands[0], 0)]

    def choose(index: Index, low: int, high: int) -> Expression:
        # Bisection: the depth of the expression stays logarithmic in the number of operands.
        if high - low == 1:
            x, begin = parts[low]
            return x((*index[:axis], index_add(index[axis], integer(-begin)), *index[axis + 1:]))
        middle = (low + high) // 2
        condition = compare("less", index[axis], integer(parts[middle][1]))
        return guard(condition, choose(index, low, middle), choose(index, middle, high))

    return Map(lambda index: choose(index, 0, len(parts)))


def concatenate(arrays: Sequence[Any], axis: int) -> Any:
    """The arrays one after another along ``axis``; their other extents agree."""
    return arrays[0] if len(arrays) == 1 else bind(concatenate_p, *arrays, axis=axis)


# ---------------------------------------------------------------------------------------------------------- pad


def _pad_type(
    x: ArrayType, value: ArrayType, *, high: tuple[int, ...], interior: tuple[int, ...], low: tuple[int, ...]
) -> ArrayType:
    if value.shape != ():
        raise ShapeError(f"pad: the padding value must have rank 0, got {value}")
    dtype = check_same("pad", (x.dtype, value.dtype))
    if not x.rank == len(low) == len(high) == len(interior) or any(n < 0 for n in (*low, *high, *interior)):
        raise ShapeError(
            f"pad: low {low}, high {high} and interior {interior} need one entry >= 0 per axis of {x}")
    return ArrayType(dtype, tuple(
        before + after + (n + (n - 1) * gap if n else 0)
        for n, before, after, gap in zip(x.shape, low, high, interior, strict=True)))


def _source_slices(shape: Any, low: Any, interior: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """start, limit and strides of the elements of the operand within the result of a pad."""
    limit = tuple(before + ((n - 1) * (gap + 1) + 1 if n else 0)
                  for n, before, gap in zip(shape, low, interior, strict=True))
    return low, limit, tuple(gap + 1 for gap in interior)


def _pad_evaluate(x: Any, value: Any, *, high: Any, interior: Any, low: Any) -> Any:
    padded = _pad_type(type_of(x), type_of(value), high=high, interior=interior, low=low)
    result = np.full(padded.shape, value, dtype=padded.dtype)
    bounds = _source_slices(np.shape(x), low, interior)
    result[tuple(slice(*b) for b in zip(*bounds, strict=True))] = x
    return result


def _pad_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, high: Any, interior: Any, low: Any
) -> Any:
    x, (t, u) = primals[0], tangents
    if t is None and u is None:
        return None
    return pad(instantiate(t, x), dtype_of(x).type(0) if u is None else u, low, high, interior)


def _padding_mask(shape: tuple[int, ...], low: Any, high: Any, interior: Any) -> Any:
    """True where the result of a pad holds the padding value."""
    return pad(full(shape, False, np.dtype(np.bool_)), np.True_, low, high, interior)


def _pad_transpose(ct: Any, operands: Sequence[Any], *, high: Any, interior: Any, low: Any) -> tuple[Any, Any]:
    x, value = operands
    shape = x.type.shape if isinstance(x, Undefined) else shape_of(x)
    for_x = slice_array(ct, *_source_slices(shape, low, interior)) if isinstance(x, Undefined) else None
    if not isinstance(value, Undefined):
        return for_x, None
    # Subtracting the operand's share from the whole sum would cancel; the padding is selected instead.
    padding = select(_padding_mask(shape, low, high, interior), ct, zeros(type_of(ct)))
    return for_x, reduce_sum(padding, tuple(range(len(shape))))


def _pad_batch(operands: Any, batched: Any, size: int, *, high: Any, interior: Any, low: Any) -> tuple[Any, bool]:
    x, value = operands
    shape = shape_of(x)
    wide = ((0, *low), (0, *high), (0, *interior))
    if not batched[1]:
        return pad(x, value, *wide), True
    padded = pad(x, dtype_of(x).type(0), *(wide if batched[0] else (low, high, interior)))
    lane_shape = shape_of(padded)[1 if batched[0] else 0:]
    inner = tuple(range(1, len(lane_shape) + 1))
    if not batched[0]:
        padded = broadcast(padded, (size, *lane_shape), inner)
    mask = broadcast(_padding_mask(shape[1:] if batched[0] else shape, low, high, interior), (size, *lane_shape), inner)
    return select(mask, broadcast(value, (size, *lane_shape), (0,)), padded), True


def _pad_lower(operands: Sequence[Operand], result: ArrayType, *, high: Any, interior: Any, low: Any) -> Map:
    x, value = operands
    extents = x.type.shape

    def read(index: Index) -> Expression:
        conditions: list[Expression] = []
        source: list[Expression] = []
        for i, n, before, gap in zip(index, extents, low, interior, strict=True):
            step = gap + 1
            # Shifted by a multiple of the step so that the dividend is never negative.
            periods = -(-before // step)
            quotient, remainder = index_divmod(index_add(i, integer(periods * step - before)), step)
            position = index_add(quotient, integer(-periods))
            conditions += [compare("greater_equal", position, ZERO), compare("less", position, integer(n)),
                           compare("equal", remainder, ZERO)]
            source.append(position)
        return guard(conjunction(conditions), x(tuple(source)), value(()))

    return Map(read)


def pad(x: Any, value: Any, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...]) -> Any:
    """``x`` with ``value`` (rank 0) before, after and between its elements along each axis; counts are not negative.

    ``interior[a]`` values stand between any two neighbours along axis a; an empty axis has no neighbours.
    """
    if not any(low) and not any(high) and all(gap == 0 or n < 2 for gap, n in zip(interior, shape_of(x), strict=True)):
        return x
    if python_scalar_dtype(value) is not None:
        value = python_literal(value, dtype_of(x))
    return bind(pad_p, x, value, low=low, high=high, interior=interior)


# --------------------------------------------------------------------------------------------------------- iota


def _iota_type(*, axis: int, dtype: DType, shape: tuple[int, ...]) -> ArrayType:
    if not 0 <= axis < len(shape):
        raise AxisError(f"iota: axis {axis} is out of range for shape {shape}")
    if dtype.kind not in "iuf":
        raise DTypeError(f"iota: counts in integers or floats, not in {dtype}")
    return ArrayType(dtype, shape)


def _iota_evaluate(*, axis: int, dtype: DType, shape: tuple[int, ...]) -> Any:
    line = np.arange(shape[axis]).astype(dtype)
    return np.broadcast_to(line.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)


def _iota_lower(operands: Sequence[Operand], result: ArrayType, *, axis: int, dtype: DType, shape: Any) -> View:
    def read(index: Index) -> Expression:
        return index[axis] if dtype == int64 else Apply("convert", (index[axis],), dtype)

    return View(read)


def iota(shape: tuple[int, ...], dtype: DType, axis: int) -> Any:
    """An array whose elements are their own index along ``axis``."""
    return bind(iota_p, axis=axis, dtype=dtype, shape=shape)


# ------------------------------------------------------------------------------------------------- unit vectors


def _unit_vectors_type(*, dtype: DType, size: int) -> ArrayType:
    if not is_differentiable(dtype):
        raise DTypeError(f"unit_vectors: a basis of tangents is of a float or complex dtype, not of {dtype}")
    return ArrayType(dtype, (size, size))


def _unit_vectors_lower(operands: Sequence[Operand], result: ArrayType, *, dtype: DType, size: int) -> Map:
    one, zero = constant(1, dtype), constant(0, dtype)
    return Map(lambda index: Apply("select", (compare("equal", index[0], index[1]), one, zero), dtype))


def unit_vectors(size: int, dtype: DType) -> Any:
    """The identity matrix as the basis of a Jacobian: row i is the unit vector i.

    Its zeros mean that there is no derivative: the optimiser drops what is multiplied by them, infinities and NaN too.
    """
    return bind(unit_vectors_p, dtype=dtype, size=size)


reshape_p = Primitive(
    "reshape",
    type=_reshape_type,
    evaluate=lambda x, *, shape: np.reshape(x, shape),
    jvp=linear_jvp(reshape),
    transpose=lambda ct, operands, *, shape: (reshape(ct, operands[0].type.shape),),
    batch=lambda operands, batched, size, *, shape: (reshape(operands[0], (size, *shape)), True),
    lower=_reshape_lower,
)

slice_p = Primitive(
    "slice",
    type=_slice_type,
    evaluate=_slice_evaluate,
    jvp=linear_jvp(slice_array),
    transpose=_slice_transpose,
    batch=_slice_batch,
    lower=_slice_lower,
)

reverse_p = Primitive(
    "reverse",
    type=_reverse_type,
    evaluate=lambda x, *, axes: np.flip(x, axes),
    jvp=linear_jvp(reverse),
    transpose=lambda ct, operands, *, axes: (reverse(ct, axes),),
    batch=lambda operands, batched, size, *, axes: (reverse(operands[0], tuple(a + 1 for a in axes)), True),
    lower=_reverse_lower,
)

concatenate_p = Primitive(
    "concatenate",
    type=_concatenate_type,
    evaluate=lambda *operands, axis: np.concatenate(operands, axis=axis),
    jvp=_concatenate_jvp,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
    lower=_concatenate_lower,
)

pad_p = Primitive(
    "pad",
    type=_pad_type,
    evaluate=_pad_evaluate,
    jvp=_pad_jvp,
    transpose=_pad_transpose,
    batch=_pad_batch,
    lower=_pad_lower,
)

iota_p = Primitive(
    "iota",
    type=_iota_type,
    evaluate=_iota_evaluate,
    jvp=lambda primals, tangents, output, **params: None,
    transpose=Refuses("iota has no operands"),
    batch=Refuses("iota has no operands"),
    lower=_iota_lower,
)

unit_vectors_p = Primitive(
    "unit_vectors",
    type=_unit_vectors_type,
    evaluate=lambda *, dtype, size: np.eye(size, dtype=dtype),
    jvp=lambda primals, tangents, output, **params: None,
    transpose=Refuses("unit_vectors has no operands"),
    batch=Refuses("unit_vectors has no operands"),
    lower=_unit_vectors_lower,
)

PRIMITIVES = (reshape_p, slice_p, reverse_p, concatenate_p, pad_p, iota_p, unit_vectors_p)
