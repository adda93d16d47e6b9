"""JAX's sort and top_k."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from gradxform.core import shape_of, type_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.lax.staging import strong
from gradxform.linear import move_axis
from gradxform.numpy.sorting import keys_of
from gradxform.operands import as_operand, lift, normalize_axis
from gradxform.primitives import arithmetic, sorting
from gradxform.primitives.shape import reverse, slice_along


def _rows(name: str, value: Any, dimension: Any) -> tuple[Any, int]:
    """An operand with the axis that is sorted last, and where that was."""
    operand = lift(name, as_operand(name, value))
    position = normalize_axis(name, dimension, len(shape_of(operand)))
    return move_axis(operand, position, len(shape_of(operand)) - 1), position


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """The array, or several of one shape, in the order of the first ``num_keys`` of them along ``dimension``.

    Always stable; NaN comes last, and zeros of both signs are equal. Several arrays come back as a tuple. Derivatives follow
    the permutation, at ties the stable one.

    >>> import numpy as np
    >>> sort((np.array([2, 1, 2]), np.array([0.5, 1.5, -0.5])), num_keys=2)
    (array([1, 2, 2]), array([ 1.5, -0.5,  0.5]))
    """
    several = isinstance(operand, (tuple, list))
    given: Sequence[Any] = operand if several else [operand]
    if not 1 <= num_keys <= len(given):
        raise ArgumentError(
            f"sort: num_keys must be between 1 and the number of operands, {len(given)}, got {num_keys}{user_line()}")
    moved = [_rows("sort", x, dimension) for x in given]
    rows = [x for x, _ in moved]
    if len({shape_of(x) for x in rows}) > 1:
        raise ShapeError(f"sort: operands must have one shape, got {[shape_of(x) for x in given]}{user_line()}")
    keys = [part for x in rows[:num_keys] for part in keys_of(x)]
    if len(keys) > num_keys:
        order = sorting.argsort(*keys)
        found = [sorting.permuted(x, order) for x in rows]
    else:
        found = sorting.sort(rows, num_keys)
    position, last = moved[0][1], len(shape_of(rows[0])) - 1
    results = tuple([strong(move_axis(x, last, position)) for x in found])
    return results if several else results[0]


def top_k(operand: Any, k: int, axis: int = -1) -> tuple[Any, Any]:
    """The ``k`` largest elements along ``axis``, the largest first, and their positions (int64).

    Of equal ones the first comes first; NaN counts as the largest. The derivative is that of the elements that are taken.

    >>> import numpy as np
    >>> top_k(np.array([0.5, 3.0, 1.0, 3.0]), 3)
    (array([3., 3., 1.]), array([1, 3, 2]))
    """
    try:
        count = index(k)
    except TypeError:
        raise ArgumentTypeError(f"top_k: k must be an int that is known, got {k!r}{user_line()}") from None
    rows, position = _rows("top_k", operand, axis)
    last = len(shape_of(rows)) - 1
    extent = shape_of(rows)[last]
    if not 0 <= count <= extent:
        raise ArgumentError(f"top_k: k must be between 0 and the extent {extent} of axis {axis}, got {count}{user_line()}")
    # The end of a stable sort, backwards: of equal elements that of the reversed row is the first one.
    turned = reverse(rows, (last,))
    if type_of(rows).dtype.kind == "c":
        raise ArgumentTypeError(f"top_k: complex numbers have no largest, got {type_of(rows)}{user_line()}")
    values, order = sorting.sort_with_positions(turned)
    found, places = (reverse(slice_along(x, last, extent - count, extent), (last,)) for x in (values, order))
    places = arithmetic.sub(type_of(places).dtype.type(extent - 1), places)
    return strong(move_axis(found, last, position)), strong(move_axis(places, last, position))
