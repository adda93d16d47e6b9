"""Sorting and order: NumPy's results; derivatives follow the stable permutation that was found.

Where elements are equal, any permutation of them would be an order; the derivative is that of the stable one. Selection
(``partition``) is a full sort, so what NumPy leaves unordered is in order here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, int64
from gradxform.errors import ArgumentError, ShapeError
from gradxform.linear import full, move_axis
from gradxform.numpy.dispatch import refuse_unless, traced
from gradxform.numpy.manipulation import static_integers
from gradxform.operands import as_operand, broadcast_operands, lift, normalize_axis, promote_operands
from gradxform.primitives import logic, sorting
from gradxform.primitives.shape import reshape

_MISSING: Any = np._NoValue
_KINDS = (None, "quicksort", "heapsort", "mergesort", "stable", "q", "h", "m", "s")


def keys_of(x: Any) -> list[Any]:
    """The arrays by which ``x`` is ordered, the first one first: itself, unless it is complex."""
    if dtype_of(x).kind != "c":
        return [x]
    from gradxform.primitives.complex import imag, real

    parts = [real(x), imag(x)]
    # NumPy's order: numbers, then those with a NaN as imaginary part, as real part, as both.
    first, second = (logic.convert(logic.isnan(part), int64) for part in parts)
    return [first + first + second, *parts]


def order_along(x: Any, axis: int) -> Any:
    """The positions that bring ``x`` into order along ``axis``, which comes last in the result."""
    last = len(shape_of(x)) - 1
    return sorting.argsort(*[move_axis(key, axis, last) for key in keys_of(x)])


def sorted_along(x: Any, axis: int) -> Any:
    """``x`` in order along ``axis``, which comes last in the result."""
    moved = move_axis(x, axis, len(shape_of(x)) - 1)
    if dtype_of(x).kind == "c":
        return sorting.permuted(moved, order_along(x, axis))
    return sorting.sort([moved])[0]


def _along(name: str, a: Any, axis: Any, apply: Callable[[Any, int], Any]) -> Any:
    x = lift(name, a)
    if axis is None:
        x, axis = lift(name, reshape(x, (x.size,))), -1
    position = normalize_axis(name, axis, x.ndim)
    return lift(name, move_axis(apply(x, position), x.ndim - 1, position))


def _check_kind(name: str, kind: Any, order: Any, stable: Any = None) -> None:
    refuse_unless(name, "order", order, None)
    if kind is not None and stable is not None:
        raise ArgumentError(f"{name}: `kind` and `stable` parameters can't be provided at the same time{user_line()}")
    if kind is not None and str(kind).lower() not in _KINDS:
        raise ArgumentError(f"{name}: kind={kind!r} is none of {', '.join(map(str, _KINDS[1:5]))}{user_line()}")


@traced(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """``a`` in increasing order along ``axis`` (flattened if None), NaN last; always stable.

    The derivative follows the permutation, at ties the stable one.

    >>> import gradxform as gx
    >>> gx.grad(lambda x: sort(x)[0])(np.array([3.0, 1.0, 2.0]))
    array([0., 1., 0.])
    """
    _check_kind("sort", kind, order, stable)
    return _along("sort", a, axis, sorted_along)


@traced(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """The positions that bring ``a`` into increasing order along ``axis`` (flattened if None), NaN last; always stable."""
    _check_kind("argsort", kind, order, stable)
    if not shape_of(as_operand("argsort", a)) and axis in (0, -1):
        axis = None
    return _along("argsort", a, axis, order_along)


def _check_kth(name: str, kth: Any, kind: Any, order: Any, extent: int) -> None:
    refuse_unless(name, "order", order, None)
    refuse_unless(name, "kind", kind, "introselect")
    for position in static_integers(name, kth):
        if extent and not -extent <= position < extent:
            raise ArgumentError(f"{name}: kth(={position}) out of bounds ({extent}){user_line()}")


@traced(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """``a`` with the elements ``kth`` where a sort along ``axis`` puts them, smaller ones in front; here all are sorted."""

    def apply(x: Any, position: int) -> Any:
        _check_kth("partition", kth, kind, order, shape_of(x)[position])
        return sorted_along(x, position)

    return _along("partition", a, axis, apply)


@traced(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """The positions that partition ``a`` along ``axis``; here those that sort it."""

    def apply(x: Any, position: int) -> Any:
        _check_kth("argpartition", kth, kind, order, shape_of(x)[position])
        return order_along(x, position)

    return _along("argpartition", a, axis, apply)


@traced(np.lexsort)
def lexsort(keys: Any, axis: Any = -1) -> Any:
    """The positions that bring several keys into order along ``axis``, the last key first; stable."""
    if not isinstance(keys, (tuple, list)):
        keys = list(lift("lexsort", keys))
    if not keys:
        raise ArgumentError(f"lexsort: need sequence of keys with len > 0 in lexsort{user_line()}")
    operands = [as_operand("lexsort", key) for key in keys]
    if len({shape_of(x) for x in operands}) > 1:
        raise ShapeError(f"lexsort: all keys need to be the same shape, got {[shape_of(x) for x in operands]}{user_line()}")
    shape = shape_of(operands[0])
    if not shape:
        return lift("lexsort", full((), 0, int64))
    position = normalize_axis("lexsort", axis, len(shape))
    last = len(shape) - 1
    rows = [move_axis(part, position, last) for x in reversed(operands) for part in keys_of(lift("lexsort", x))]
    return lift("lexsort", move_axis(sorting.argsort(*rows), last, position))


@traced(np.sort_complex)
def sort_complex(a: Any) -> Any:
    """``a`` as complex numbers, ordered by the real part, then by the imaginary part."""
    from gradxform.dtypes import complex64, complex128

    x = lift("sort_complex", a)
    if x.dtype.kind != "c":
        narrow = x.dtype.name in ("int8", "int16", "uint8", "uint16")
        x = x.astype(complex64 if narrow else complex128)
    return sort(x)


@traced(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The number of the bin of each of ``x`` between the ``bins``, which rise or fall; the derivative is zero.

    Where the values of ``bins`` are not known, the first and the last one tell which.
    """
    from gradxform.numpy.indexing import searchsorted, where
    from gradxform.operands import known_value

    values, edges = (lift("digitize", part) for part in promote_operands("digitize", x, bins))
    if edges.ndim != 1:
        raise ShapeError(f"digitize: bins must be a vector, got shape {edges.shape}{user_line()}")
    side = "left" if right else "right"
    known = known_value(edges)
    if known is not None:
        steps = np.diff(known)
        if (steps >= 0).all():
            return searchsorted(edges, values, side)
        if not (steps <= 0).all():
            raise ArgumentError(f"digitize: bins must be monotonically increasing or decreasing{user_line()}")
        return edges.size - searchsorted(edges[::-1], values, side)
    if edges.size < 2:
        return searchsorted(edges, values, side)
    return where(edges[-1] >= edges[0], searchsorted(edges, values, side),
                 edges.size - searchsorted(edges[::-1], values, side))


@traced(np.isin)
def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None) -> Any:
    """Whether each of ``element`` is among ``test_elements``; the derivative is zero."""
    refuse_unless("isin", "kind", kind, None, "sort", "table")
    x, table = (lift("isin", part) for part in promote_operands("isin", element, test_elements))
    found = contained(x, lift("isin", reshape(table, (table.size,))))
    return ~found if invert else found


def contained(x: Any, table: Any) -> Any:
    """Whether each element of ``x`` equals one of the vector ``table``, of the same dtype."""
    from gradxform.numpy.indexing import searchsorted
    from gradxform.primitives.indexing import gather

    if not table.size:
        return lift("isin", full(x.shape, False, bool_))
    if dtype_of(x).kind == "c":
        return lift("isin", logic.equal(*broadcast_operands("isin", [x[..., None], table]))).any(-1)
    ordered = lift("isin", sorting.sort([table])[0])
    place = searchsorted(ordered, x)
    return lift("isin", logic.equal(gather(ordered, place, axes=(0,), mode="clip"), x))
