"""Arrays as sets. The shape of a result depends on values, so these must be known, or ``size=`` must be given, as in JAX.

A result has at most ``size`` elements then, and is filled up with ``fill_value`` (or with the first element). Elements are
picked from the operands, and their derivatives with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.dtypes import bool_, int64
from gradxform.errors import ConcretizationError
from gradxform.linear import full
from gradxform.numpy.dispatch import traced
from gradxform.numpy.indexing import searchsorted, take, where
from gradxform.numpy.manipulation import concatenate, known_array, moveaxis
from gradxform.numpy.sized import (
    filled,
    is_known,
    picked,
    positions_of_true,
    refuse_fill_value,
    static_size,
    traced_with_size,
)
from gradxform.numpy.sorting import contained, keys_of
from gradxform.numpy.ufuncs import isnan, logical_and, logical_not
from gradxform.operands import lift, normalize_axis, promote_operands
from gradxform.primitives import cumulative, sorting
from gradxform.primitives.indexing import scatter
from gradxform.primitives.shape import reshape


def _needs_size(name: str) -> ConcretizationError:
    return ConcretizationError(
        f"{name}: the length of the result depends on values that are not known here: give size=, the greatest number of "
        f"elements, as in {name}(x, size=n){user_line()}")


def _vector(name: str, x: Any) -> Any:
    return lift(name, reshape(x, (x.size,)))


def _differ(x: Any, y: Any, equal_nan: bool) -> Any:
    differ = x != y
    if not equal_nan or x.dtype.kind not in "fc":
        return differ
    return differ & ~(isnan(x) & isnan(y))


def _firsts(keys: Sequence[Any], equal_nan: bool) -> Any:
    """Of rows that are in order by ``keys``, which elements are the first of their kind."""
    (length,) = keys[0].shape
    start = lift("unique", full((min(length, 1),), True, bool_))
    changes = None
    for key in keys:
        step = _differ(key[1:], key[:-1], equal_nan)
        changes = step if changes is None else changes | step
    return concatenate([start, changes]) if length else start


class _Ordered:
    """The elements of a vector (or its slices) in order."""

    def __init__(self, x: Any, equal_nan: bool) -> None:
        self.x = x
        flat = x.reshape((x.shape[0], prod(x.shape[1:])))
        columns = [x] if x.ndim == 1 else [flat[:, k] for k in range(flat.shape[1])]
        keys = [part for column in columns for part in keys_of(column)]
        self.order = lift("unique", sorting.argsort(*keys))
        self.values = take(x, self.order, 0)
        self.first = _firsts([take(column, self.order, 0) for column in columns], equal_nan)


@traced_with_size(np.unique)
def unique(ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
           axis: Any = None, *, equal_nan: bool = True, sorted: bool = True, size: Any = None, fill_value: Any = None) -> Any:
    """The elements of ``ar`` (or its slices along ``axis``), each once, in order.

    With ``return_index``, ``return_inverse``, ``return_counts`` also where each is first, where to find it again, how often
    it occurs. Values must be known, or ``size`` is how many there are at most; what is missing is ``fill_value``, or else
    the first element, with a count of 0. The derivative is that of the element that is taken.

    >>> import gradxform as gx
    >>> gx.jit(lambda x: unique(x, size=4, fill_value=0))(np.array([3, 1, 3, 1, 2]))
    array([1, 2, 3, 0])
    """
    refuse_fill_value("unique", size, fill_value)
    x = lift("unique", ar)
    source = _vector("unique", x) if axis is None else moveaxis(x, normalize_axis("unique", axis, x.ndim), 0)
    if size is None:
        if not is_known(x):
            raise _needs_size("unique")
        search: Any = np.unique  # typed by overloads for constant flags
        found = search(known_array("unique", source), True, return_inverse, return_counts,
                       axis=None if axis is None else 0, equal_nan=equal_nan)
        index = found[1]
        values = take(source, index, 0)
        rest = list(found[2:])
        if return_inverse:
            rest[0] = rest[0].reshape(x.shape) if axis is None else rest[0].reshape(-1)
        extra = [*([index] if return_index else []), *rest]
        parts = [lift("unique", part) for part in extra]
    else:
        values, parts = _unique_of_size(source, x.shape if axis is None else None, static_size("unique", size), fill_value,
                                        (return_index, return_inverse, return_counts), equal_nan)
    if axis is not None:
        values = moveaxis(values, 0, normalize_axis("unique", axis, x.ndim))
    return (values, *parts) if parts else values


def _unique_of_size(
    x: Any, shape: Any, size: int, fill_value: Any, wanted: tuple[bool, bool, bool], equal_nan: bool
) -> tuple[Any, list[Any]]:
    if not x.shape[0]:
        blank = full((size, *x.shape[1:]), 0 if fill_value is None else fill_value, x.dtype)
        empty = [full((size,), 0, int64), full((0,) if shape is None else shape, 0, int64), full((size,), 0, int64)]
        return lift("unique", blank), [lift("unique", part) for part, flag in zip(empty, wanted, strict=True) if flag]
    ordered = _Ordered(x, equal_nan)
    length = x.shape[0]
    places, count = positions_of_true(ordered.first, size)
    values = filled(picked(ordered.values, places), count, fill_value)
    parts = []
    if wanted[0]:
        parts.append(picked(ordered.order, places))
    if wanted[1]:
        numbers = cumulative.cumsum(ordered.first.astype(int64), 0) - 1
        inverse = scatter(full((length,), 0, int64), numbers, ordered.order, axes=(0,), mode="inside", unique=True)
        parts.append(lift("unique", inverse) if shape is None else lift("unique", reshape(inverse, shape)))
    if wanted[2]:
        ends, _ = positions_of_true(ordered.first, size + 1)
        ends = lift("unique", ends)
        bounds = where(lift("unique", np.arange(size + 1)) < count, ends, length)
        parts.append(bounds[1:] - bounds[:-1])
    return values, parts


def _named(function: Any, values: Sequence[Any]) -> Any:
    """The named tuple that NumPy's function gives."""
    return type(function(np.zeros(1)))(*values)


@traced(np.unique_all)
def unique_all(x: Any) -> Any:
    """Elements, first positions, inverse and counts of ``unique``; each NaN is an element."""
    return _named(np.unique_all, unique(x, True, True, True, equal_nan=False))


@traced(np.unique_counts)
def unique_counts(x: Any) -> Any:
    """Elements and counts of ``unique``; each NaN is an element."""
    return _named(np.unique_counts, unique(x, return_counts=True, equal_nan=False))


@traced(np.unique_inverse)
def unique_inverse(x: Any) -> Any:
    """Elements and inverse of ``unique``; each NaN is an element."""
    return _named(np.unique_inverse, unique(x, return_inverse=True, equal_nan=False))


@traced(np.unique_values)
def unique_values(x: Any) -> Any:
    """The elements of ``unique``; each NaN is an element."""
    return unique(x, equal_nan=False)


# ------------------------------------------------------------------------------------------------- of two arrays


def _both(name: str, ar1: Any, ar2: Any) -> tuple[Any, Any]:
    first, second = (_vector(name, lift(name, part)) for part in promote_operands(name, ar1, ar2))
    return first, second


def _chosen(ordered: _Ordered, mask: Any, size: int, fill_value: Any) -> tuple[Any, Any]:
    """The elements for which ``mask`` holds, and their places among the ordered ones."""
    places, count = positions_of_true(mask, size)
    return filled(picked(ordered.values, places), count, fill_value), lift("set", places)


@traced_with_size(np.intersect1d)
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False, *, size: Any = None,
                fill_value: Any = None) -> Any:
    """The elements of both arrays, each once, in order; with ``return_indices`` also where they are first."""
    refuse_fill_value("intersect1d", size, fill_value)
    x, y = _both("intersect1d", ar1, ar2)
    if size is None:
        if not is_known(x, y):
            raise _needs_size("intersect1d")
        _, i, j = np.intersect1d(known_array("intersect1d", x), known_array("intersect1d", y), assume_unique, True)
        values = take(x, i, 0)
        return (values, lift("intersect1d", i), lift("intersect1d", j)) if return_indices else values
    one, other = _Ordered(x, False), _Ordered(y, False)
    values, places = _chosen(one, one.first & contained(one.values, y), static_size("intersect1d", size), fill_value)
    if not return_indices:
        return values
    found = searchsorted(other.values, picked(one.values, places))
    return values, picked(one.order, places), picked(other.order, found)


@traced_with_size(np.union1d)
def union1d(ar1: Any, ar2: Any, *, size: Any = None, fill_value: Any = None) -> Any:
    """The elements of either array, each once, in order."""
    refuse_fill_value("union1d", size, fill_value)
    x, y = _both("union1d", ar1, ar2)
    if size is None and not is_known(x, y):
        raise _needs_size("union1d")
    return unique(concatenate([x, y]), size=size, fill_value=fill_value)


@traced_with_size(np.setdiff1d)
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False, *, size: Any = None, fill_value: Any = None) -> Any:
    """The elements of ``ar1`` that are not in ``ar2``, each once, in order (as they stand if ``assume_unique``)."""
    refuse_fill_value("setdiff1d", size, fill_value)
    x, y = lift("setdiff1d", ar1), lift("setdiff1d", ar2)
    x, other = _vector("setdiff1d", x), _vector("setdiff1d", y)
    if size is None:
        if not is_known(x, other):
            raise _needs_size("setdiff1d")
        values, excluded = known_array("setdiff1d", x), known_array("setdiff1d", other)
        index = np.arange(values.size) if assume_unique else np.unique(values, return_index=True)[1]
        return take(x, index[np.isin(values[index], excluded, invert=True)], 0)
    wide, table = promote_operands("setdiff1d", x, other)
    if assume_unique:
        places, count = positions_of_true(logical_not(contained(lift("set", wide), lift("set", table))),
                                          static_size("setdiff1d", size))
        return filled(picked(x, places), count, fill_value)
    ordered = _Ordered(x, True)
    among = contained(lift("set", promote_operands("setdiff1d", ordered.values, other)[0]), lift("set", table))
    return _chosen(ordered, logical_and(ordered.first, ~among), static_size("setdiff1d", size), fill_value)[0]


@traced_with_size(np.setxor1d)
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False, *, size: Any = None, fill_value: Any = None) -> Any:
    """The elements of one array that are not in the other, each once, in order."""
    refuse_fill_value("setxor1d", size, fill_value)
    x, y = _both("setxor1d", ar1, ar2)
    together = concatenate([x, y])
    if size is None:
        if not is_known(x, y):
            raise _needs_size("setxor1d")
        one, other = known_array("setxor1d", x), known_array("setxor1d", y)
        parts = [np.arange(part.size) if assume_unique else np.unique(part, return_index=True)[1] for part in (one, other)]
        index = np.concatenate([parts[0], parts[1] + one.size])
        values = np.concatenate([one, other])[index]
        index = index[np.argsort(values, kind="mergesort")]
        values = np.concatenate([one, other])[index]
        edges = np.concatenate([[True], values[1:] != values[:-1], [True]]) if values.size else np.zeros(1, bool)
        return take(together, index[edges[1:] & edges[:-1]], 0)
    ordered = _Ordered(together, False)
    apart = contained(ordered.values, x) != contained(ordered.values, y)
    missing = isnan(ordered.values) if x.dtype.kind in "fc" else apart
    return _chosen(ordered, ordered.first & (apart | missing), static_size("setxor1d", size), fill_value)[0]
