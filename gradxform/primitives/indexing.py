"""gather and scatter: reading and updating elements at integer positions that are data.

Both address the ``axes`` of an array by as many index arrays of one common shape B + S, pairwise as NumPy's
advanced indexing does. The first ``batch_rank`` axes (shape B) of array and indices run in step, so a batch of
gathers is a gather. With R the shape of the axes that are neither in B nor addressed:

    gather :  x[B + rest], indices[B + S]                     ->  [B + S + R]
    scatter:  x[B + rest], updates[B + S + R], indices[B + S]  ->  [B + rest]

Indices are of any integer dtype. ``mode`` says what happens to one outside [0, extent): ``check`` raises
IndexRangeError, ``clip`` clamps it, ``inside`` promises that there is none. ``relative`` is NumPy's rule: the indices
-extent, ..., -1 of a signed dtype count from the end, and others outside raise IndexRangeError. It is part of the
operation so that loops read the user's own array: nothing is stored, and the rare negative index is taken care of apart.

Updates are applied in order of their position in S, and sums of very many in the order of their chunks, as reductions are;
``unique`` promises that no position is written twice, which makes derivatives cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Primitive, Undefined, bind, dtype_of, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, bool_, int64
from gradxform.errors import ArgumentError, DTypeError, IndexRangeError, NotDifferentiableError, ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import add, broadcast, check_axes, full, instantiate, move_axis, zeros
from gradxform.loopir.expression import INDEX_CHECKS, ZERO, Apply, Expression, Index, index_range, integer, parts
from gradxform.loopir.lowering import Map, Operand, Scatter
from gradxform.primitives.arithmetic import clamp, div, mul
from gradxform.primitives.logic import convert, equal, less, logical_and, not_equal, select
from gradxform.primitives.reductions import reduce_prod
from gradxform.primitives.shape import iota, reshape

MODES = ("check", "relative", "clip", "inside")
OPERATIONS = {"set": "set", "add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}

# ------------------------------------------------------------------------------------------------- shared shapes


def _remaining(rank: int, axes: tuple[int, ...], batch_rank: int) -> tuple[int, ...]:
    return tuple(a for a in range(batch_rank, rank) if a not in axes)


def _gathered_shape(
    name: str, x: ArrayType, indices: Sequence[ArrayType], axes: tuple[int, ...], batch_rank: int, mode: str
) -> tuple[int, ...]:
    check_axes(name, axes, x.rank)
    if not axes or len(indices) != len(axes) or axes[0] < batch_rank:
        raise ShapeError(
            f"{name}: {len(indices)} index arrays address axes {axes} behind {batch_rank} batch axes of {x}")
    if mode not in MODES:
        raise ArgumentError(f"{name}: mode {mode!r} is not one of {', '.join(MODES)}")
    shape = indices[0].shape
    for index in indices:
        if index.dtype.kind not in "iu" or index.shape != shape:
            listed = ", ".join(map(str, indices))
            raise ShapeError(f"{name}: index arrays must be of integers and of one shape, got {listed}")
    if shape[:batch_rank] != x.shape[:batch_rank]:
        raise ShapeError(f"{name}: batch axes of indices {indices[0]} and of {x} differ")
    if mode == "clip" and 0 not in shape and any(x.shape[a] == 0 for a in axes):
        raise ShapeError(f"{name}: cannot clip an index into an empty axis of {x}")
    return (*shape, *(x.shape[a] for a in _remaining(x.rank, axes, batch_rank)))


def _positions(
    x: Any, indices: Sequence[Any], axes: tuple[int, ...], batch_rank: int, mode: str
) -> tuple[Any, tuple[Any, ...]]:
    """A view of ``x`` with the addressed axes behind the batch axes, and full index arrays into those."""
    shape = np.shape(indices[0])
    found = []
    for a, index in zip(axes, indices, strict=True):
        extent = x.shape[a]
        signed = dtype_of(index).kind == "i"
        index = np.asarray(index).astype(np.int64)
        if mode == "relative" and signed:
            index = np.where(index < 0, index + extent, index)
        if mode == "clip":
            index = np.clip(index, 0, extent - 1)
        elif np.size(index) and (np.min(index) < 0 or np.max(index) >= extent):
            flat = np.ravel(index)
            wrong = int(flat[(flat < 0) | (flat >= extent)][0])
            # The extent was added to a negative index; the user wrote it without.
            wrong = wrong - extent if wrong < 0 else wrong
            raise IndexRangeError(
                f"index {wrong} is out of bounds for axis {a - batch_rank} with size {extent}{user_line()}")
        found.append(index)
    batch = [np.arange(n).reshape([-1 if d == a else 1 for d in range(len(shape))])
             for a, n in enumerate(shape[:batch_rank])]
    front = range(batch_rank, batch_rank + len(axes))
    return np.moveaxis(x, axes, front), (*batch, *found)


def _target(
    indices: Sequence[Operand], extents: tuple[int, ...], axes: tuple[int, ...], batch_rank: int, mode: str,
    point: Index,
) -> Index:
    """The index into the gathered or scattered array that belongs to a point of B + S + R."""
    index_rank = indices[0].type.rank if indices else batch_rank
    addressed = {a: operand(point[:index_rank]) for a, operand in zip(axes, indices, strict=True)}
    rest = iter(point[index_rank:])
    result: list[Expression] = []
    for a, extent in enumerate(extents):
        if a < batch_rank:
            result.append(point[a])
        elif a in addressed:
            result.append(_limited(addressed[a], a - batch_rank, extent, mode))
        else:
            result.append(next(rest))
    return tuple(result)


def _limited(index: Expression, axis: int, extent: int, mode: str) -> Expression:
    signed = index.dtype.kind == "i"
    bounds = index_range(index)
    if index.dtype != int64:
        bounds = _bounds_of(index.dtype) if bounds is None else bounds
        index = Apply("convert", (index,), int64)
    if mode == "inside" or (bounds is not None and bounds[0] >= 0 and bounds[1] < extent):
        return index
    if mode == "clip":
        return Apply("minimum", (Apply("maximum", (index, ZERO), int64), integer(extent - 1)), int64)
    counted = mode == "relative" and signed and (bounds is None or bounds[0] < 0)
    return Apply("relative_index" if counted else "checked_index", (index, integer(extent), integer(axis)), int64)


def _bounds_of(dtype: DType) -> tuple[int, int] | None:
    """The least and the largest number of an integer dtype, None if an int64 does not hold them."""
    limits = np.iinfo(dtype)
    return None if limits.bits == 64 else (int(limits.min), int(limits.max))


def _batched_indices(indices: Sequence[Any], batched: Sequence[bool], size: int) -> list[Any]:
    return [_with_lanes(index, flag, size) for index, flag in zip(indices, batched, strict=True)]


def _with_lanes(x: Any, batched: bool, size: int) -> Any:
    if batched:
        return x
    shape = shape_of(x)
    return broadcast(x, (size, *shape), tuple(range(1, len(shape) + 1)))


# ------------------------------------------------------------------------------------------------------- gather


def _gather_type(x: ArrayType, *indices: ArrayType, axes: tuple[int, ...], batch_rank: int, mode: str) -> ArrayType:
    return ArrayType(x.dtype, _gathered_shape("gather", x, indices, axes, batch_rank, mode))


def _gather_evaluate(x: Any, *indices: Any, axes: tuple[int, ...], batch_rank: int, mode: str) -> Any:
    view, positions = _positions(x, indices, axes, batch_rank, mode)
    return view[positions]


def _gather_jvp(primals: Any, tangents: Any, output: Any, **params: Any) -> Any:
    return None if tangents[0] is None else gather(tangents[0], *primals[1:], **params)


def _gather_transpose(ct: Any, operands: Any, *, axes: Any, batch_rank: int, mode: str) -> tuple[Any, ...]:
    x, *indices = operands
    pulled = scatter(zeros(x.type), ct, *indices, axes=axes, batch_rank=batch_rank, mode=mode, operation="add")
    return (pulled, *(None for _ in indices))


def _gather_batch(
    operands: Any, batched: Any, size: int, *, axes: tuple[int, ...], batch_rank: int, mode: str
) -> tuple[Any, bool]:
    x, *indices = operands
    lanes = _batched_indices(indices, batched[1:], size)
    if batched[0]:
        shifted = tuple(a + 1 for a in axes)
        return gather(x, *lanes, axes=shifted, batch_rank=batch_rank + 1, mode=mode), True
    # The lanes become one more axis of S: the array that all of them read is not repeated.
    moved = [move_axis(index, 0, batch_rank) for index in lanes]
    return move_axis(gather(x, *moved, axes=axes, batch_rank=batch_rank, mode=mode), batch_rank, 0), True


def _gather_lower(
    operands: Sequence[Operand], result: ArrayType, *, axes: tuple[int, ...], batch_rank: int, mode: str
) -> Map:
    x, *indices = operands

    def read(index: Index) -> Expression:
        target = _target(indices, x.type.shape, axes, batch_rank, mode, index)
        value = x(target)
        for check in target:
            # A constant is the same everywhere, but an index out of range is an error all the same.
            if isinstance(check, Apply) and check.operation in INDEX_CHECKS and not any(p is check for p in parts(value)):
                value = Apply("select", (Apply("greater_equal", (check, ZERO), bool_), value, value), value.dtype)
        return value

    return Map(read)


def gather(x: Any, *indices: Any, axes: tuple[int, ...], batch_rank: int = 0, mode: str = "check") -> Any:
    """The elements (or slices along the other axes) of ``x`` at ``indices``; linear in ``x``.

    Raises IndexRangeError for an index outside [0, extent) if ``mode`` is ``check``, and for one outside
    [-extent, extent) if it is ``relative``.
    """
    return bind(gather_p, x, *indices, axes=axes, batch_rank=batch_rank, mode=mode)


# ------------------------------------------------------------------------------------------------------ scatter


def _scatter_type(
    x: ArrayType, updates: ArrayType, *indices: ArrayType,
    axes: tuple[int, ...], batch_rank: int, mode: str, operation: str, unique: bool,
) -> ArrayType:
    expected = _gathered_shape("scatter", x, indices, axes, batch_rank, mode)
    if operation not in OPERATIONS:
        raise ArgumentError(f"scatter: operation {operation!r} is not one of {', '.join(OPERATIONS)}")
    if updates.dtype != x.dtype or (x.dtype == bool_ and operation != "set"):
        raise DTypeError(f"scatter: cannot {operation} updates {updates} into {x}")
    if updates.shape != expected:
        raise ShapeError(f"scatter: updates of {x} at these indices have shape {expected}, got {updates}")
    return ArrayType(x.dtype, x.shape)


def _scatter_evaluate(
    x: Any, updates: Any, *indices: Any,
    axes: tuple[int, ...], batch_rank: int, mode: str, operation: str, unique: bool,
) -> Any:
    result = np.array(x)
    view, positions = _positions(result, indices, axes, batch_rank, mode)
    shape = np.shape(indices[0])
    # Flat index arrays: NumPy may walk arrays of higher rank in the order of memory and not of position.
    flat = tuple(np.broadcast_to(p, shape).reshape(-1) for p in positions)
    rows = np.reshape(updates, (flat[0].size, *np.shape(updates)[len(shape):]))
    if operation == "set":
        view[flat] = rows
    else:
        ufunc = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[operation]
        ufunc.at(view, flat, rows)
    return result


def _scatter_jvp(primals: Any, tangents: Any, output: Any, *, operation: str, unique: bool, **params: Any) -> Any:
    x, updates, *indices = primals
    t, u = tangents[:2]
    if t is None and u is None:
        return None
    if operation in ("set", "add"):
        if operation == "add" and u is None:
            return t
        return scatter(instantiate(t, x), instantiate(u, updates), *indices,
                       operation=operation, unique=unique, **params)
    if operation == "mul":
        return _scatter_mul_jvp(x, updates, indices, t, u, unique, params)
    won = select(equal(x, output), _one(x), _one(x, 0))
    hits = select(equal(updates, gather(output, *indices, **params)), _one(x), _one(x, 0))
    count = scatter(won, hits, *indices, operation="add", **params)
    share = zeros(type_of(x).strong()) if t is None else mul(t, won)
    if u is not None:
        share = scatter(share, mul(u, hits), *indices, operation="add", **params)
    return div(share, count)


def _one(like: Any, value: int = 1) -> Any:
    return dtype_of(like).type(value)


def _scatter_mul_jvp(
    x: Any, updates: Any, indices: Sequence[Any], t: Any, u: Any, unique: bool, params: dict[str, Any]
) -> Any:
    result = None if t is None else scatter(t, updates, *indices, operation="mul", unique=unique, **params)
    if u is None:
        return result
    weight = gather(x, *indices, **params)
    if not unique:
        weight = mul(weight, _product_of_others(x, updates, indices, **params))
    base = zeros(type_of(x).strong()) if result is None else result
    return scatter(base, mul(u, weight), *indices, operation="add", unique=unique, **params)


def _product_of_others(
    x: Any, updates: Any, indices: Sequence[Any], *, axes: tuple[int, ...], batch_rank: int, mode: str
) -> Any:
    """For each update the product of the other updates of the same position.

    By comparing all pairs: dividing the whole product by the update would be wrong for zeros, and dividing what is
    left after setting zeros aside would have wrong second derivatives.
    """
    shape = shape_of(indices[0])
    batch, count = shape[:batch_rank], prod(shape[batch_rank:])
    rest = shape_of(updates)[len(shape):]
    pairs = (*batch, count, count)
    kept = tuple(range(batch_rank))
    row, column = (*kept, batch_rank), (*kept, batch_rank + 1)
    shadowed = not_equal(iota(pairs, int64, batch_rank), iota(pairs, int64, batch_rank + 1))
    for a, index in zip(axes, indices, strict=True):
        flat = reshape(_settled(index, shape_of(x)[a], mode), (*batch, count))
        shadowed = logical_and(shadowed, equal(broadcast(flat, pairs, row), broadcast(flat, pairs, column)))
    full_shape = (*pairs, *rest)
    mask = broadcast(shadowed, full_shape, tuple(range(len(pairs))))
    rest_axes = tuple(range(len(pairs), len(full_shape)))
    factors = broadcast(reshape(updates, (*batch, count, *rest)), full_shape, (*column, *rest_axes))
    products = reduce_prod(select(mask, factors, full(full_shape, 1, dtype_of(updates))), (batch_rank + 1,))
    return reshape(products, shape_of(updates))


def _settled(index: Any, extent: int, mode: str) -> Any:
    """An index array as int64, so that equal positions are equal numbers."""
    signed = dtype_of(index).kind == "i"
    if dtype_of(index) != int64:
        index = convert(index, int64)
    if mode == "relative" and signed:
        return select(less(index, np.int64(0)), add(index, np.int64(extent)), index)
    return clamp(np.int64(0), index, np.int64(extent - 1)) if mode == "clip" else index


def _scatter_transpose(
    ct: Any, operands: Any, *, operation: str, unique: bool, **params: Any
) -> tuple[Any, ...]:
    x, updates, *indices = operands
    to_x, to_updates = isinstance(x, Undefined), isinstance(updates, Undefined)
    pulled_x = pulled_updates = None
    if operation == "add":
        pulled_x = ct
        pulled_updates = gather(ct, *indices, **params) if to_updates else None
    elif operation == "set":
        if to_x:
            blank = zeros(_operand_type(updates).strong())
            pulled_x = scatter(ct, blank, *indices, operation="set", unique=unique, **params)
        if to_updates:
            pulled_updates = gather(ct, *indices, **params)
            if not unique:
                winners = _winners(_operand_type(x), indices, **params)
                shape = shape_of(pulled_updates)
                mask = broadcast(winners, shape, tuple(range(len(shape_of(winners)))))
                pulled_updates = select(mask, pulled_updates, zeros(type_of(pulled_updates)))
    elif operation == "mul" and to_x and not to_updates:
        pulled_x = scatter(ct, updates, *indices, operation="mul", unique=unique, **params)
    elif operation == "mul" and to_updates and not to_x and unique:
        pulled_updates = gather(mul(ct, x), *indices, **params)
    else:
        raise NotDifferentiableError(f"scatter with operation {operation!r} is not linear in these operands")
    return (pulled_x if to_x else None, pulled_updates, *(None for _ in indices))


def _operand_type(x: Any) -> ArrayType:
    """The type of an operand of a transpose rule, linear or known."""
    return x.type if isinstance(x, Undefined) else type_of(x)


def _winners(x: ArrayType, indices: Sequence[Any], *, axes: tuple[int, ...], batch_rank: int, mode: str) -> Any:
    """Which points of B + S are the last to write their position."""
    shape = shape_of(indices[0])
    batch, count = shape[:batch_rank], prod(shape[batch_rank:])
    order = reshape(iota((*batch, count), int64, batch_rank), shape)
    cells = full((*batch, *(x.shape[a] for a in axes)), -1, int64)
    front = tuple(range(batch_rank, batch_rank + len(axes)))
    last = scatter(cells, order, *indices, axes=front, batch_rank=batch_rank, mode=mode, operation="set")
    return equal(gather(last, *indices, axes=front, batch_rank=batch_rank, mode=mode), order)


def _scatter_batch(
    operands: Any, batched: Any, size: int, *, axes: tuple[int, ...], batch_rank: int, **params: Any
) -> tuple[Any, bool]:
    lanes = _batched_indices(operands, batched, size)
    return scatter(*lanes, axes=tuple(a + 1 for a in axes), batch_rank=batch_rank + 1, **params), True


def _scatter_lower(
    operands: Sequence[Operand], result: ArrayType,
    *, axes: tuple[int, ...], batch_rank: int, mode: str, operation: str, unique: bool,
) -> Scatter:
    x, updates, *indices = operands
    return Scatter(
        OPERATIONS[operation], x, updates.type.shape,
        lambda point: _target(indices, x.type.shape, axes, batch_rank, mode, point),
        updates,
    )


def scatter(
    x: Any, updates: Any, *indices: Any, axes: tuple[int, ...], batch_rank: int = 0, mode: str = "check",
    operation: str = "set", unique: bool = False,
) -> Any:
    """``x`` with ``updates`` set, added, multiplied, or their maximum or minimum taken, at ``indices``.

    Where positions repeat, ``set`` keeps the last update and only that one has a derivative; ``max`` and ``min``
    divide the derivative evenly among all that attain the result, the old element included.
    """
    # One position per lane cannot repeat.
    unique = unique or prod(shape_of(indices[0])[batch_rank:]) <= 1
    return bind(scatter_p, x, updates, *indices, axes=axes, batch_rank=batch_rank, mode=mode, operation=operation,
                unique=unique)


gather_p = Primitive(
    "gather",
    type=_gather_type,
    evaluate=_gather_evaluate,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
    lower=_gather_lower,
)

scatter_p = Primitive(
    "scatter",
    type=_scatter_type,
    evaluate=_scatter_evaluate,
    jvp=_scatter_jvp,
    transpose=_scatter_transpose,
    batch=_scatter_batch,
    lower=_scatter_lower,
)

PRIMITIVES = (gather_p, scatter_p)
