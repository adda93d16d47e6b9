"""associative_scan and reduce: combining many elements with an associative function, in logarithmic depth."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform import primitives, tree
from gradxform.api.tracing import as_values, name_of, types_of
from gradxform.api.vectorization import vmap
from gradxform.core import shape_of, type_of
from gradxform.core.source import user_line
from gradxform.errors import ShapeError, TreeError
from gradxform.lax.staging import as_type, check_function, leaf_names, merged, operand_leaves, staged, strong
from gradxform.linear import add, broadcast, reduce_sum, transpose
from gradxform.operands import normalize_axes, normalize_axis
from gradxform.primitives.shape import concatenate, reshape, reverse, slice_along

__all__ = ["associative_scan", "reduce"]


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All partial combinations along an axis: the elements 0, 0..1, 0..2, and so on, combined by ``fn``.

        associative_scan : ((a, a) -> a) -> [a] -> [a]

    ``fn`` must be associative. It is applied to whole slices, in about 2 log2(n) steps, n applications per element in
    all, where `scan` needs n steps one after the other (Blelloch, "Prefix Sums and Their Applications", 1990).

    Args:
        fn: a function of two pytrees like ``elems``, with any extent along ``axis``; it combines them element by element
            and gives one like them. The earlier elements come first.
        elems: a pytree of arrays of one extent along ``axis``.
        reverse: combine from the end: n-1, n-1..n-2, and so on, the later elements first.
        axis: the axis to combine along.

    Raises:
        ShapeError: extents along ``axis`` differ.
        TreeError: ``fn`` gives another structure, dtype or shape.

    >>> import numpy as np
    >>> associative_scan(np.multiply, np.array([1.0, 2.0, 3.0, 4.0]))
    array([ 1.,  2.,  6., 24.])
    """
    purpose = f"associative_scan of {name_of(fn)}"
    check_function("associative_scan", "fn", fn)
    leaves, treedef = operand_leaves(purpose, "elems", elems)
    if not leaves:
        return elems
    axes = [normalize_axis(purpose, axis, len(shape_of(x))) for x in leaves]
    extents = [shape_of(x)[a] for x, a in zip(leaves, axes, strict=True)]
    if len(set(extents)) > 1:
        names = leaf_names("elems", treedef)
        listed = ", ".join(f"{name} has {extent}" for name, extent in zip(names, extents, strict=True))
        raise ShapeError(f"{purpose}: the leaves of elems must have one extent along axis {axis}: {listed}{user_line()}")

    def part(xs: Sequence[Any], start: int, stop: int, step: int = 1) -> list[Any]:
        # The last element that is read ends the slice.
        count = len(range(start, stop, step))
        stop = start + (count - 1) * step + 1 if count else start
        return [slice_along(x, a, start, stop, step if count > 1 else 1) for x, a in zip(xs, axes, strict=True)]

    def combine(left: list[Any], right: list[Any]) -> list[Any]:
        result = fn(tree.unflatten(treedef, left), tree.unflatten(treedef, right))
        return _combined(purpose, result, treedef, left)

    def scanned(xs: list[Any]) -> list[Any]:
        extent = shape_of(xs[0])[axes[0]]
        if extent < 2:
            return xs
        pairs = extent // 2 * 2
        odd = scanned(combine(part(xs, 0, pairs, 2), part(xs, 1, pairs, 2)))
        count = (extent + 1) // 2 - 1
        even = part(xs, 0, 1)
        if count:
            later = combine(part(odd, 0, count), part(xs, 2, extent, 2))
            even = [concatenate([x, y], a) for x, y, a in zip(even, later, axes, strict=True)]
        return [_interleave(x, y, a) for x, y, a in zip(even, odd, axes, strict=True)]

    def record(operands: list[Any]) -> Any:
        flip = [reverse_along(x, a) if reverse else x for x, a in zip(operands, axes, strict=True)]
        results = scanned(flip)
        return tree.unflatten(treedef, [
            strong(reverse_along(x, a) if reverse else x) for x, a in zip(results, axes, strict=True)])

    return staged(purpose, record, leaves)


def reverse_along(x: Any, axis: int) -> Any:
    """``x`` with one axis read from its end."""
    return reverse(x, (axis,))


def _combined(purpose: str, result: Any, treedef: tree.TreeDef, like: Sequence[Any]) -> list[Any]:
    """The leaves of what a function gave, which must be like its arguments; what is weak takes their dtypes."""
    leaves, found_tree = tree.flatten(result)
    if found_tree != treedef:
        raise TreeError(
            f"{purpose}: the function must give the structure of its arguments: expected {treedef}, got {found_tree}"
            f"{user_line()}")
    values = as_values(leaves, f"{purpose}: the result")
    names = leaf_names("result", treedef)
    finished = []
    for name, value, wanted in zip(names, values, types_of(like), strict=True):
        found = type_of(value)
        agreed = merged(wanted.strong(), found)
        if agreed is None:
            raise TreeError(
                f"{purpose}: the function must keep dtypes and shapes: its arguments have {wanted} where {name} is "
                f"{found}{user_line()}")
        finished.append(as_type(value, agreed))
    return finished


def _interleave(even: Any, odd: Any, axis: int) -> Any:
    """even[0], odd[0], even[1], ...; ``even`` has as many elements as ``odd`` or one more."""
    shape = shape_of(odd)
    count = shape[axis]
    apart = (*shape[:axis], count, 1, *shape[axis + 1:])
    together = (*shape[:axis], 2 * count, *shape[axis + 1:])
    front = slice_along(even, axis, 0, count)
    result = reshape(concatenate([reshape(front, apart), reshape(odd, apart)], axis + 1), together)
    if shape_of(even)[axis] == count:
        return result
    return concatenate([result, slice_along(even, axis, count, count + 1)], axis)


# ---------------------------------------------------------------------------------------------------------- reduce


def _reduction(reduce_axes: Callable[..., Any], combine: Callable[..., Any]) -> Callable[[Any, Any, tuple[int, ...]], Any]:
    return lambda x, init, axes: combine(reduce_axes(x, axes), init)


@functools.cache
def _known_reductions() -> dict[Any, Callable[[Any, Any, tuple[int, ...]], Any]]:
    """The functions of two numbers whose reduction is a primitive."""
    import gradxform.numpy as face

    families: list[tuple[Callable[..., Any], Callable[..., Any], list[Any]]] = [
        (reduce_sum, add, [np.add, face.add, operator.add]),
        (primitives.reduce_prod, primitives.mul, [np.multiply, face.multiply, operator.mul]),
        (primitives.reduce_max, primitives.maximum, [np.maximum, face.maximum]),
        (primitives.reduce_min, primitives.minimum, [np.minimum, face.minimum]),
        (primitives.reduce_and, primitives.logical_and, [np.logical_and, face.logical_and]),
        (primitives.reduce_or, primitives.logical_or, [np.logical_or, face.logical_or]),
    ]
    return {function: _reduction(reduce_axes, combine) for reduce_axes, combine, functions in families
            for function in functions}


def reduce(
    operands: Any, init_values: Any, computation: Callable[[Any, Any], Any], dimensions: Sequence[int]
) -> Any:
    """The elements along ``dimensions`` combined into one by ``computation``, beginning with ``init_values``.

        reduce : [a] -> a -> ((a, a) -> a) -> a

    ``computation`` must be associative, and combining with ``init_values`` change nothing: the order in which elements are
    combined is not specified. Where it is ``np.add``, ``multiply``, ``maximum``, ``minimum``, ``logical_and`` or
    ``logical_or`` (of NumPy or of `gradxform.numpy`), this is that reduction; others are applied in about log2(n) steps
    to halves of the array.

    Args:
        operands: a pytree of arrays of one shape.
        init_values: a pytree of numbers of the same structure and dtypes.
        computation: a function of two pytrees of numbers of that structure, which gives a third.
        dimensions: the axes to reduce.

    Raises:
        TreeError: structures differ, or ``computation`` changes a dtype.
        ShapeError: shapes differ.
        AxisError: no such axis.

    >>> import numpy as np
    >>> reduce(np.array([[1.0, 2.0], [3.0, 4.0]]), 0.0, np.add, (1,))
    array([3., 7.])
    """
    purpose = f"reduce by {name_of(computation)}"
    check_function("reduce", "computation", computation)
    leaves, treedef = operand_leaves(purpose, "operands", operands)
    starts, start_tree = operand_leaves(purpose, "init_values", init_values)
    if start_tree != treedef:
        raise TreeError(
            f"{purpose}: init_values must have the structure of operands: expected {treedef}, got {start_tree}{user_line()}")
    if not leaves:
        return operands
    shape = shape_of(leaves[0])
    if any(shape_of(x) != shape for x in leaves):
        listed = ", ".join(str(type_of(x)) for x in leaves)
        raise ShapeError(f"{purpose}: operands must have one shape, got {listed}{user_line()}")
    names = leaf_names("init_values", treedef)
    inits = []
    for name, x, init in zip(names, leaves, starts, strict=True):
        agreed = merged(type_of(x).with_shape(()), type_of(init))
        if agreed is None:
            raise TreeError(
                f"{purpose}: {name} must be a number of the dtype of its operand, {type_of(x).dtype}, got {type_of(init)}"
                f"{user_line()}")
        inits.append(as_type(init, agreed))
    axes = tuple(sorted(normalize_axes(purpose, tuple(dimensions), len(shape))))
    known = _known_reductions().get(computation) if treedef.is_leaf() and _hashable(computation) else None
    if known is not None and not (leaves and _needs_booleans(computation, leaves[0])):
        chosen = known
        return staged(purpose, lambda values: strong(chosen(values[0], values[1], axes)), [leaves[0], inits[0]])
    lanes = vmap(computation)

    def record(values: list[Any]) -> Any:
        count = len(leaves)
        return _halved(purpose, lanes, treedef, values[:count], values[count:], axes)

    return staged(purpose, record, [*leaves, *inits])


def _hashable(function: Any) -> bool:
    try:
        hash(function)
    except TypeError:
        return False
    return True


def _needs_booleans(computation: Any, x: Any) -> bool:
    """Whether NumPy's function gives booleans of numbers that are none."""
    return name_of(computation).startswith("logical") and type_of(x).dtype.kind != "b"


def _halved(
    purpose: str, lanes: Callable[..., Any], treedef: tree.TreeDef, xs: Sequence[Any], inits: Sequence[Any],
    axes: tuple[int, ...],
) -> Any:
    shape = shape_of(xs[0])
    kept = tuple(a for a in range(len(shape)) if a not in axes)
    rest = tuple(shape[a] for a in kept)
    width = int(np.prod(rest, dtype=np.int64))
    count = int(np.prod([shape[a] for a in axes], dtype=np.int64))
    rows = [reshape(transpose(x, (*axes, *kept)), (count, width)) for x in xs]

    def combine(left: list[Any], right: list[Any]) -> list[Any]:
        """Two stacks of rows, combined number by number."""
        size = shape_of(left[0])
        if not size[0] * size[1]:
            return left
        flat = [[reshape(x, (size[0] * size[1],)) for x in part] for part in (left, right)]
        result = lanes(*(tree.unflatten(treedef, part) for part in flat))
        return [reshape(x, size) for x in _combined(purpose, result, treedef, flat[0])]

    while count > 1:
        half = count // 2
        front, back = ([slice_along(x, 0, low, low + half) for x in rows] for low in (0, half))
        joined = combine(front, back)
        if count % 2:
            joined = [concatenate([x, slice_along(y, 0, count - 1, count)], 0)
                      for x, y in zip(joined, rows, strict=True)]
        rows, count = joined, half + count % 2
    starts = [broadcast(init, (1, width), ()) for init in inits]
    finished = combine(starts, rows) if count else starts
    return tree.unflatten(treedef, [strong(reshape(x, rest)) for x in finished])
