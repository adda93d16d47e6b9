"""Slices at computed positions, and gather and scatter at index arrays."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gradxform.core import Tracer, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import holds_weak, int64
from gradxform.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from gradxform.indexing import wrap_negative
from gradxform.lax.staging import strong, valued
from gradxform.linear import add, inverse_permutation, transpose
from gradxform.operands import as_operand, broadcast_operands, broadcast_to, cast, normalize_axes, normalize_axis
from gradxform.primitives.arithmetic import clamp
from gradxform.primitives.indexing import gather as record_gather
from gradxform.primitives.indexing import scatter as record_scatter
from gradxform.primitives.shape import iota, reshape, slice_array

__all__ = [
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "gather",
    "scatter",
    "scatter_add",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
]


# --------------------------------------------------------------------------------------------------- dynamic slices


def _extents(name: str, value: Any, rank: int) -> tuple[int, ...]:
    try:
        sizes = tuple([index(n) for n in value])
    except TypeError:
        raise ArgumentTypeError(f"{name}: slice_sizes must be a sequence of ints, got {value!r}{user_line()}") from None
    if len(sizes) != rank:
        raise ShapeError(f"{name}: slice_sizes must have one size per axis: expected {rank}, got {sizes}{user_line()}")
    return sizes


def _check_window(name: str, shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    if any(not 0 <= size <= extent for size, extent in zip(sizes, shape, strict=True)):
        raise ShapeError(f"{name}: a window of shape {sizes} does not fit into an array of shape {shape}{user_line()}")


def _starts(name: str, value: Any, shape: tuple[int, ...], sizes: tuple[int, ...]) -> list[Any]:
    """One start per axis, so limited that the window lies inside: an int where it is known, else a traced int64."""
    parts: Sequence[Any]
    if isinstance(value, (tuple, list)):
        parts = value
    else:
        operand = as_operand(name, value)
        found = type_of(operand)
        if found.rank != 1:
            raise ShapeError(
                f"{name}: start_indices must be a sequence of integers, one per axis, got {found}{user_line()}")
        parts = ([reshape(slice_array(operand, (i,), (i + 1,), (1,)), ()) for i in range(found.shape[0])]
                 if isinstance(operand, Tracer) else list(operand))
    if len(parts) != len(shape):
        raise ShapeError(
            f"{name}: start_indices must have one index per axis: expected {len(shape)}, got {len(parts)}{user_line()}")
    return [_start(name, part, extent, size) for part, extent, size in zip(parts, shape, sizes, strict=True)]


def _start(name: str, value: Any, extent: int, size: int) -> Any:
    operand = as_operand(name, value)
    found = type_of(operand)
    if found.shape or found.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name}: a start index must be one integer, got {found}{user_line()}")
    if size == extent:
        return 0
    if not isinstance(operand, Tracer):
        position = int(operand)
        return min(max(position + extent if position < 0 else position, 0), extent - size)
    return clamp(np.int64(0), wrap_negative(operand, extent), np.int64(extent - size))


def _window(starts: Sequence[Any], shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[tuple[int, ...], list[Any]]:
    """The axes that the window does not take whole, and an index array for each: an affine function of positions."""
    axes = tuple(a for a, (n, size) in enumerate(zip(shape, sizes, strict=True)) if n != size)
    joint = tuple(sizes[a] for a in axes)
    return axes, [add(iota(joint, int64, k), cast(starts[a], int64)) for k, a in enumerate(axes)]


def _window_first(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The order of axes with the addressed ones in front."""
    return (*axes, *(a for a in range(rank) if a not in axes))


@valued
def dynamic_slice(operand: Any, start_indices: Any, slice_sizes: Sequence[int]) -> Any:
    """The window of ``operand`` that begins at ``start_indices``, which may be computed, and has shape ``slice_sizes``.

    Args:
        operand: an array.
        start_indices: one integer per axis, a sequence or an array. Negative ones count from the end; then the window
            is moved until it lies inside of the array, so no index is out of range.
        slice_sizes: the shape of the window, known integers.

    Raises:
        ShapeError: the window is larger than the array, or there are not as many indices or sizes as axes.

    >>> import numpy as np
    >>> dynamic_slice(np.arange(5.0), (3,), (2,)), dynamic_slice(np.arange(5.0), (9,), (2,))
    (array([3., 4.]), array([3., 4.]))
    """
    name = "dynamic_slice"
    x = as_operand(name, operand)
    shape = shape_of(x)
    sizes = _extents(name, slice_sizes, len(shape))
    _check_window(name, shape, sizes)
    starts = _starts(name, start_indices, shape, sizes)
    if not any(isinstance(start, Tracer) for start in starts):
        limits = tuple(start + size for start, size in zip(starts, sizes, strict=True))
        return strong(slice_array(x, tuple(starts), limits, (1,) * len(shape)))
    axes, indices = _window(starts, shape, sizes)
    result = record_gather(x, *indices, axes=axes, mode="inside")
    return transpose(result, inverse_permutation(_window_first(axes, len(shape))))


@valued
def dynamic_update_slice(operand: Any, update: Any, start_indices: Any) -> Any:
    """``operand`` with ``update`` in place of its window at ``start_indices``, which may be computed.

    Inside of loops compiled code stores into the array where its old value is not needed any more.

    Args:
        operand: an array.
        update: an array of as many axes, none longer than the operand's, of the operand's dtype.
        start_indices: as in `dynamic_slice`.

    Raises:
        ShapeError: ``update`` is larger than the array or has another number of axes.
        DTypeError: dtypes differ.

    >>> import numpy as np
    >>> dynamic_update_slice(np.zeros(4), np.array([1.0, 2.0]), (1,))
    array([0., 1., 2., 0.])
    """
    name = "dynamic_update_slice"
    x = as_operand(name, operand)
    values = _like(name, as_operand(name, update), x)
    shape, sizes = shape_of(x), shape_of(values)
    if len(sizes) != len(shape):
        raise ShapeError(
            f"{name}: the update must have as many axes as the array: expected {len(shape)}, got {type_of(values)}"
            f"{user_line()}")
    _check_window(name, shape, sizes)
    starts = _starts(name, start_indices, shape, sizes)
    axes, indices = _window(starts, shape, sizes)
    if not axes:
        return strong(values)
    moved = transpose(values, _window_first(axes, len(shape)))
    return record_scatter(x, moved, *indices, axes=axes, mode="inside", operation="set", unique=True)


def _like(name: str, values: Any, x: Any) -> Any:
    """``values`` in the dtype of the array that they go into; only Python scalars are converted."""
    found, target = type_of(values), type_of(x).dtype
    if found.dtype == target:
        return cast(values, target)
    fits = found.weak and holds_weak(target, found.dtype)
    if not fits:
        raise DTypeError(
            f"{name}: the values must have the dtype of the array, {target}, got {found}: cast them with .astype"
            f"{user_line()}")
    return cast(values, target)


@valued
def dynamic_slice_in_dim(operand: Any, start_index: Any, slice_size: int, axis: int = 0) -> Any:
    """`dynamic_slice` along one axis: ``slice_size`` elements from ``start_index`` on, the other axes whole.

    >>> import numpy as np
    >>> dynamic_slice_in_dim(np.arange(6.0).reshape(3, 2), 1, 2)
    array([[2., 3.],
           [4., 5.]])
    """
    x = as_operand("dynamic_slice_in_dim", operand)
    shape = shape_of(x)
    position = normalize_axis("dynamic_slice_in_dim", axis, len(shape))
    starts = [start_index if a == position else 0 for a in range(len(shape))]
    sizes = [slice_size if a == position else n for a, n in enumerate(shape)]
    return dynamic_slice(x, starts, sizes)


@valued
def dynamic_index_in_dim(operand: Any, index: Any, axis: int = 0, keepdims: bool = True) -> Any:
    """The element of one axis at ``index``, which may be computed and is limited to the axis.

    With ``keepdims`` the axis stays, with extent 1.

    >>> import numpy as np
    >>> dynamic_index_in_dim(np.arange(3.0), 2, keepdims=False)
    np.float64(2.0)
    """
    x = as_operand("dynamic_index_in_dim", operand)
    position = normalize_axis("dynamic_index_in_dim", axis, len(shape_of(x)))
    result = dynamic_slice_in_dim(x, index, 1, position)
    if keepdims:
        return result
    shape = shape_of(result)
    return reshape(result, (*shape[:position], *shape[position + 1:]))


@valued
def dynamic_update_slice_in_dim(operand: Any, update: Any, start_index: Any, axis: int) -> Any:
    """`dynamic_update_slice` along one axis: ``update`` begins at ``start_index`` of it, and at 0 of the others.

    >>> import numpy as np
    >>> dynamic_update_slice_in_dim(np.zeros(4), np.ones(2), 2, axis=0)
    array([0., 0., 1., 1.])
    """
    x = as_operand("dynamic_update_slice_in_dim", operand)
    rank = len(shape_of(x))
    position = normalize_axis("dynamic_update_slice_in_dim", axis, rank)
    return dynamic_update_slice(x, update, [start_index if a == position else 0 for a in range(rank)])


@valued
def dynamic_update_index_in_dim(operand: Any, update: Any, index: Any, axis: int) -> Any:
    """``operand`` with ``update`` as the element of one axis at ``index``; ``update`` has that axis, with extent 1, or not.

    >>> import numpy as np
    >>> dynamic_update_index_in_dim(np.zeros((2, 2)), np.array([1.0, 2.0]), 1, axis=0)
    array([[0., 0.],
           [1., 2.]])
    """
    name = "dynamic_update_index_in_dim"
    x, values = as_operand(name, operand), as_operand(name, update)
    rank, shape = len(shape_of(x)), shape_of(values)
    position = normalize_axis(name, axis, rank)
    if len(shape) != rank:
        values = reshape(_like(name, values, x), (*shape[:position], 1, *shape[position:]))
    elif shape[position] != 1:
        raise ShapeError(f"{name}: the update must have extent 1 along axis {position}, got {type_of(values)}{user_line()}")
    return dynamic_update_slice_in_dim(x, values, index, position)


# ----------------------------------------------------------------------------------------------- gather and scatter

#: What may be asked for, and what the primitives call it: negative indices count from the end in all of them.
MODES = {"check": "relative", "clip": "clip", "inside": "inside"}


def gather(operand: Any, indices: Any, axes: Sequence[int] | None = None, mode: str = "check") -> Any:
    """The elements of ``operand`` at ``indices``: ``operand[indices]``, along any axes.

    A plain form of JAX's function: the window is one element of each addressed axis and all of the others.

    Args:
        operand: an array.
        indices: one array of integers per addressed axis, a tuple, or a single array for one axis. They broadcast to a
            shape S. Negative ones count from the end.
        axes: the addressed axes, sorted; the first ones unless given.
        mode: what an index out of range does: 'check' raises IndexError, 'clip' takes the nearest element, 'inside'
            promises that there is none.

    Returns:
        An array of shape S, then the extents of the axes that are not addressed.

    >>> import numpy as np
    >>> gather(np.array([10.0, 20.0, 30.0]), np.array([2, 0, 2]))
    array([30., 10., 30.])
    """
    x, places, positions = _addressed("gather", operand, indices, axes, mode)
    return record_gather(x, *places, axes=positions, mode=MODES[mode])


def _addressed(
    name: str, operand: Any, indices: Any, axes: Sequence[int] | None, mode: str
) -> tuple[Any, list[Any], tuple[int, ...]]:
    """The array, an index array of one shape for each addressed axis, and these axes."""
    x = as_operand(name, operand)
    shape = shape_of(x)
    if mode not in MODES:
        raise ArgumentError(f"{name}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}{user_line()}")
    given = [as_operand(name, part) for part in (indices if isinstance(indices, tuple) else (indices,))]
    positions = normalize_axes(name, tuple(range(len(given))) if axes is None else tuple(axes), len(shape))
    if len(positions) != len(given) or not given or list(positions) != sorted(positions):
        raise ShapeError(
            f"{name}: axes must name one axis per index array, in order: got axes {positions} for {len(given)}{user_line()}")
    for part in given:
        if type_of(part).dtype.kind not in "iu":
            raise DTypeError(f"{name}: indices must be integers, got {type_of(part)}{user_line()}")
    if mode != "check":
        given = [wrap_negative(part, shape[a]) for part, a in zip(given, positions, strict=True)]
    joint = broadcast_operands(name, given)
    whole = max(map(shape_of, joint), key=len)
    return x, [broadcast_to(name, part, whole) for part in joint], positions


def _scatter(
    name: str, operation: str, operand: Any, indices: Any, updates: Any, axes: Sequence[int] | None, mode: str,
    unique_indices: bool,
) -> Any:
    x, places, positions = _addressed(name, operand, indices, axes, mode)
    shape = (*shape_of(places[0]), *(n for a, n in enumerate(shape_of(x)) if a not in positions))
    values = broadcast_to(name, _like(name, as_operand(name, updates), x), shape)
    return record_scatter(x, values, *places, axes=positions, mode=MODES[mode], operation=operation, unique=unique_indices)


def scatter(
    operand: Any, indices: Any, updates: Any, axes: Sequence[int] | None = None, mode: str = "check",
    unique_indices: bool = False,
) -> Any:
    """``operand`` with ``updates`` in place of its elements at ``indices``; where an index is repeated, the last stands.

    A plain form of JAX's function; also ``scatter_add``, ``scatter_mul``, ``scatter_min``, ``scatter_max``.

    Args:
        operand, indices, axes, mode: as in `gather`.
        updates: an array that broadcasts to what `gather` would give, of the dtype of ``operand``.
        unique_indices: promises that no position is repeated, which makes derivatives cheaper.

    >>> import numpy as np
    >>> scatter(np.zeros(4), np.array([2, 0]), np.array([1.0, 5.0]))
    array([5., 0., 1., 0.])
    """
    return _scatter("scatter", "set", operand, indices, updates, axes, mode, unique_indices)


def scatter_add(
    operand: Any, indices: Any, updates: Any, axes: Sequence[int] | None = None, mode: str = "check",
    unique_indices: bool = False,
) -> Any:
    """``operand`` with ``updates`` added at ``indices``, as in `scatter`; all updates of a repeated index count.

    >>> import numpy as np
    >>> scatter_add(np.zeros(3), np.array([1, 1]), np.array([1.0, 5.0]))
    array([0., 6., 0.])
    """
    return _scatter("scatter_add", "add", operand, indices, updates, axes, mode, unique_indices)


def scatter_mul(
    operand: Any, indices: Any, updates: Any, axes: Sequence[int] | None = None, mode: str = "check",
    unique_indices: bool = False,
) -> Any:
    """``operand`` multiplied by ``updates`` at ``indices``, as in `scatter`."""
    return _scatter("scatter_mul", "mul", operand, indices, updates, axes, mode, unique_indices)


def scatter_min(
    operand: Any, indices: Any, updates: Any, axes: Sequence[int] | None = None, mode: str = "check",
    unique_indices: bool = False,
) -> Any:
    """``operand`` with the minimum of itself and ``updates`` at ``indices``; ties share the derivative evenly."""
    return _scatter("scatter_min", "min", operand, indices, updates, axes, mode, unique_indices)


def scatter_max(
    operand: Any, indices: Any, updates: Any, axes: Sequence[int] | None = None, mode: str = "check",
    unique_indices: bool = False,
) -> Any:
    """``operand`` with the maximum of itself and ``updates`` at ``indices``; ties share the derivative evenly."""
    return _scatter("scatter_max", "max", operand, indices, updates, axes, mode, unique_indices)
