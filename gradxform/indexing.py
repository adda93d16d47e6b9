"""NumPy's indexing read into a plan, and the plan carried out as slices, gather and scatter.

Integers, slices, ``...`` and ``None`` are static; integer arrays and traced integers become index arrays of a gather;
boolean masks need known values, for they decide the shape of the result.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Tracer, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.core.tracing import concrete
from gradxform.data_class import data_class
from gradxform.dtypes import bool_, int64
from gradxform.errors import IndexRangeError, ShapeError
from gradxform.linear import add, broadcast, full, transpose
from gradxform.operands import as_operand, broadcast_shapes, broadcast_to, cast
from gradxform.primitives.arithmetic import mul
from gradxform.primitives.indexing import gather, scatter
from gradxform.primitives.logic import less, select
from gradxform.primitives.shape import iota, reshape, reverse, slice_array

_INVALID = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) "
    "and integer or boolean arrays are valid indices"
)


@data_class(frozen=True, slots=True)
class Slice:
    """A source axis read at start, start + step, ...; ``dropped`` if the user gave an integer."""

    start: int
    count: int
    step: int
    dropped: bool = False

    def is_full(self, extent: int) -> bool:
        return (self.start, self.count, self.step, self.dropped) == (0, extent, 1, False)


@data_class(frozen=True, slots=True, eq=False)
class Plan:
    """A read index.

    ``slices`` holds a Slice per source axis, None for those that ``arrays`` address. All arrays have the shape
    ``array_shape``, whose axes come behind the first ``position`` of the kept source axes. ``result_shape`` has the
    new axes too.
    """

    source_shape: tuple[int, ...]
    slices: tuple[Slice | None, ...]
    arrays: tuple[tuple[int, Any], ...]
    array_shape: tuple[int, ...]
    position: int
    result_shape: tuple[int, ...]
    unique: bool
    mode: str

    def kept(self) -> tuple[tuple[int, Slice], ...]:
        """The source axes that are axes of the result."""
        return tuple((a, s) for a, s in enumerate(self.slices) if s is not None and not s.dropped)


# ---------------------------------------------------------------------------------------------------- reading it


def plan_index(shape: tuple[int, ...], index: Any) -> Plan:
    """Read ``index`` for an array of ``shape``. Raises IndexRangeError (an IndexError) as NumPy does."""
    parts = _expand(shape, [_classify(part) for part in (index if isinstance(index, tuple) else (index,))])
    has_arrays = any(isinstance(p, np.ndarray) or (isinstance(p, Tracer) and p.type.shape) for p in parts)
    slices: list[Slice | None] = []
    arrays: list[tuple[int | None, Any]] = []
    # Per result axis group: an extent, or None where the axes of the index arrays would stand.
    groups: list[int | None] = []
    runs = 0
    previous_advanced = False
    for part in parts:
        axis = len(slices)
        advanced = isinstance(part, (np.ndarray, Tracer)) or (has_arrays and isinstance(part, int))
        if advanced and not previous_advanced:
            runs += 1
            groups.append(None)
        previous_advanced = advanced
        if part is None:
            groups.append(1)
        elif isinstance(part, slice):
            found = _read_slice(part, shape[axis])
            slices.append(found)
            groups.append(found.count)
        elif isinstance(part, int):
            slices.append(Slice(_static_position(part, axis, shape[axis]), 1, 1, dropped=True))
        elif isinstance(part, np.ndarray) and part.dtype == bool_:
            _check_mask(part, axis, shape)
            positions = part.nonzero() if part.ndim else (np.zeros(int(part), np.int64),)
            for offset, found_positions in enumerate(positions):
                arrays.append((axis + offset if part.ndim else None, found_positions))
                slices.extend([None] * bool(part.ndim))
        elif part is not Ellipsis:
            arrays.append((axis, _read_array(part, axis, shape[axis])))
            slices.append(None)
    array_shape = _joint_shape([shape_of(array) for _, array in arrays])
    before = groups[: groups.index(None)] if runs == 1 else []
    position = _kept_before(parts, has_arrays) if runs == 1 else 0
    after = [n for n in groups[len(before):] if n is not None]
    result_shape = (*before, *array_shape, *after)
    static = all(isinstance(array, np.ndarray) for _, array in arrays)
    addressed = tuple((axis, _repeat(array, array_shape)) for axis, array in arrays if axis is not None)
    return Plan(
        shape, tuple(slices), addressed, array_shape, position, tuple(n for n in result_shape if n is not None),
        prod(array_shape) <= 1 or (static and _all_distinct(shape, addressed)),
        "inside" if static else "relative",
    )


def _classify(part: Any) -> Any:
    """An index as None, Ellipsis, slice, int, integer or boolean ndarray, or an integer tracer."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if isinstance(part, (bool, np.bool_)):
        return np.asarray(part)
    if isinstance(part, (int, np.integer)):
        return int(part)
    if not isinstance(part, (Tracer, np.ndarray, list, tuple, np.generic)) and hasattr(part, "__index__"):
        return operator.index(part)
    if isinstance(part, (list, tuple)) and len(part) == 0:
        return np.zeros(0, np.int64)
    if isinstance(part, (str, bytes)) or not (
        isinstance(part, (Tracer, np.ndarray, list, tuple)) or hasattr(part, "__array__")
    ):
        raise IndexRangeError(f"{_INVALID}, got {part!r}{user_line()}")
    array = as_operand("indexing", part)
    found = type_of(array)
    if found.dtype == bool_:
        return np.asarray(concrete(array, "indexing with a boolean mask")) if isinstance(array, Tracer) else array
    if found.dtype.kind not in "iu":
        raise IndexRangeError(f"{_INVALID}, got an array of type {found}{user_line()}")
    if isinstance(array, Tracer):
        return array
    return int(array) if array.ndim == 0 else array


def _consumed(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool_ else 1


def _expand(shape: tuple[int, ...], parts: list[Any]) -> list[Any]:
    """The parts with the ellipsis (or the missing end) written out; an empty ellipsis stays, for it separates."""
    ellipses = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(ellipses) > 1:
        raise IndexRangeError(f"an index can only have a single ellipsis ('...'){user_line()}")
    consumed = sum(map(_consumed, parts))
    if consumed > len(shape):
        raise IndexRangeError(
            f"too many indices for array: array is {len(shape)}-dimensional, but {consumed} were indexed{user_line()}")
    fill: list[Any] = [slice(None)] * (len(shape) - consumed)
    if not ellipses:
        return [*parts, *fill]
    at = ellipses[0]
    return [*parts[:at], *(fill or [Ellipsis]), *parts[at + 1:]]


def _kept_before(parts: Sequence[Any], has_arrays: bool) -> int:
    kept = 0
    for part in parts:
        if isinstance(part, (np.ndarray, Tracer)) or (has_arrays and isinstance(part, int)):
            return kept
        kept += isinstance(part, slice)
    return kept


def _read_slice(part: slice, extent: int) -> Slice:
    start, stop, step = part.indices(extent)
    return Slice(start, len(range(start, stop, step)), step)


def _static_position(position: int, axis: int, extent: int) -> int:
    if not -extent <= position < extent:
        raise IndexRangeError(f"index {position} is out of bounds for axis {axis} with size {extent}{user_line()}")
    return position % extent


def _check_mask(mask: Any, axis: int, shape: tuple[int, ...]) -> None:
    for offset, extent in enumerate(mask.shape):
        if extent not in (0, shape[axis + offset]):  # an empty mask selects nothing, whatever it is held against
            raise IndexRangeError(
                f"boolean index did not match indexed array along axis {axis + offset}; size of axis is "
                f"{shape[axis + offset]} but size of corresponding boolean axis is {extent}{user_line()}")


def _read_array(array: Any, axis: int, extent: int) -> Any:
    """An integer array as int64, negative positions wrapped, checked here; what is traced as it is."""
    if isinstance(array, Tracer):
        return array
    wrong = (array < -extent) | (array >= extent)
    if wrong.any():
        _static_position(int(array[wrong].flat[0]), axis, extent)
    positions = array.astype(np.int64)
    return np.where(positions < 0, positions + extent, positions)


def wrap_negative(index: Any, extent: int) -> Any:
    """A traced integer index as int64, positions -extent..-1 counted from the end."""
    signed = type_of(index).dtype.kind == "i"
    position = cast(index, int64)
    return select(less(position, np.int64(0)), add(position, np.int64(extent)), position) if signed else position


def _joint_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return broadcast_shapes("indexing", *shapes)
    except ShapeError:
        listed = " ".join(str(shape).replace(" ", "") for shape in shapes)
        raise IndexRangeError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {listed}{user_line()}") from None


def _repeat(array: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(np.broadcast_to(array, shape))
    return broadcast_to("indexing", array, shape)


def _all_distinct(shape: tuple[int, ...], arrays: Sequence[tuple[int, Any]]) -> bool:
    if not arrays:
        return True
    flat = np.ravel_multi_index([array.reshape(-1) for _, array in arrays], [shape[axis] for axis, _ in arrays])
    return bool(np.unique(flat).size == flat.size)


# ------------------------------------------------------------------------------------------------ carrying it out


def get(x: Any, index: Any) -> Any:
    """``x[index]``."""
    plan = plan_index(shape_of(x), index)
    result = _sliced(x, plan)
    kept = tuple(n.count if n is not None else extent
                 for n, extent in zip(plan.slices, plan.source_shape, strict=True) if n is None or not n.dropped)
    if plan.arrays:
        axes = _axes_without_dropped(plan)
        result = reshape(result, kept)
        result = gather(result, *(array for _, array in plan.arrays), axes=axes, mode=plan.mode)
        result = transpose(result, _place(len(plan.array_shape), plan.position, len(shape_of(result))))
    elif plan.array_shape:  # scalar booleans only
        rank = len(plan.array_shape)
        result = broadcast(reshape(result, kept), (*plan.array_shape, *kept), tuple(range(rank, rank + len(kept))))
        result = transpose(result, _place(rank, plan.position, len(shape_of(result))))
    return reshape(result, plan.result_shape)


def _sliced(x: Any, plan: Plan) -> Any:
    start, limit, strides, reversed_axes = [], [], [], []
    for axis, (found, extent) in enumerate(zip(plan.slices, plan.source_shape, strict=True)):
        if found is None or found.count == 0:
            bounds = (0, extent if found is None else 0, 1)
        elif found.step > 0:
            bounds = (found.start, found.start + (found.count - 1) * found.step + 1, found.step)
        else:
            last = found.start + (found.count - 1) * found.step
            bounds = (last, found.start + 1, -found.step)
            if found.count > 1:
                reversed_axes.append(axis)
        # A step that is longer than what is left is no stride, and a stride of 1 is read more simply.
        stride = 1 if bounds[1] - bounds[0] <= 1 else bounds[2]
        start.append(bounds[0])
        limit.append(bounds[1])
        strides.append(stride)
    if any(start) or tuple(limit) != plan.source_shape or any(s != 1 for s in strides):
        x = slice_array(x, tuple(start), tuple(limit), tuple(strides))
    return reverse(x, tuple(reversed_axes)) if reversed_axes else x


def _axes_without_dropped(plan: Plan) -> tuple[int, ...]:
    addressed = dict(plan.arrays)
    remaining = [a for a, s in enumerate(plan.slices) if s is None or not s.dropped]
    return tuple(position for position, a in enumerate(remaining) if a in addressed)


def _place(count: int, position: int, rank: int) -> tuple[int, ...]:
    """The permutation that brings the first ``count`` axes behind the ``position`` axes that follow them."""
    rest = range(count, rank)
    return (*rest[:position], *range(count), *rest[position:])


def update(name: str, x: Any, index: Any, values: Any, operation: str) -> Any:
    """``x`` with ``x[index] operation= values``; values broadcast as in an assignment, in the dtype of ``x``."""
    plan = plan_index(shape_of(x), index)
    values = broadcast_to(name, _without_leading_ones(values, len(plan.result_shape)), plan.result_shape)
    array_shape = plan.array_shape
    if array_shape and not plan.arrays:  # scalar booleans, which choose everything or nothing
        if 0 in array_shape:
            return x
        array_shape = ()
    indices, axes, permutation = _scatter_indices(plan, array_shape)
    kept = [s.count for _, s in plan.kept()]
    layout = (*kept[: plan.position], *array_shape, *kept[plan.position:])
    values = transpose(reshape(values, layout), permutation)
    if not axes:  # every axis is taken whole: one position, of no axes, added in front
        result = scatter(reshape(x, (1, *plan.source_shape)), values, np.int64(0), axes=(0,), mode="inside",
                         operation=operation, unique=True)
        return reshape(result, plan.source_shape)
    return scatter(x, values, *indices, axes=axes, mode=plan.mode, operation=operation, unique=plan.unique)


def _without_leading_ones(values: Any, rank: int) -> Any:
    shape = shape_of(values)
    extra = len(shape) - rank
    return reshape(values, shape[extra:]) if extra > 0 and all(n == 1 for n in shape[:extra]) else values


def _scatter_indices(plan: Plan, array_shape: tuple[int, ...]) -> tuple[list[Any], tuple[int, ...], tuple[int, ...]]:
    """Index arrays for every axis that is not taken whole, their axes, and the order of the update's axes."""
    kept = plan.kept()
    partial = [k for k, (a, s) in enumerate(kept) if not s.is_full(plan.source_shape[a])]
    whole = [k for k, (a, s) in enumerate(kept) if s.is_full(plan.source_shape[a])]
    rank = len(array_shape)
    joint = (*array_shape, *(kept[k][1].count for k in partial))
    arrays = dict(plan.arrays)
    place = {kept[k][0]: rank + number for number, k in enumerate(partial)}
    indices: list[Any] = []
    axes: list[int] = []
    for axis, found in enumerate(plan.slices):
        if found is None:
            indices.append(broadcast(arrays[axis], joint, tuple(range(rank))))
        elif found.dropped:
            indices.append(full(joint, found.start, int64))
        elif axis in place:
            ordinal = iota(joint, int64, place[axis])
            scaled = ordinal if found.step == 1 else mul(ordinal, np.int64(found.step))
            indices.append(add(scaled, np.int64(found.start)) if found.start else scaled)
        else:
            continue
        axes.append(axis)

    def behind(k: int) -> int:
        return k if k < plan.position else k + rank

    order = (*range(plan.position, plan.position + rank), *map(behind, partial), *map(behind, whole))
    return indices, tuple(axes), order

