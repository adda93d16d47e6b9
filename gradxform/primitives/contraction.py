"""dot_general: the product of two arrays summed over pairs of axes, with batch axes. All dots stand on it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradxform.core import Primitive, Undefined, bind, shape_of, type_of
from gradxform.dtypes import bool_, check_same
from gradxform.errors import AxisError, ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import add, inverse_permutation, move_axis, transpose
from gradxform.loopir.expression import Apply, Expression, Index
from gradxform.loopir.lowering import Contraction, Map, Operand

Axes = tuple[int, ...]
Pairs = tuple[Axes, Axes]


def _free(rank: int, *used: Axes) -> Axes:
    return tuple(a for a in range(rank) if not any(a in axes for axes in used))


def _type(x: ArrayType, y: ArrayType, *, batch: Pairs, contracting: Pairs) -> ArrayType:
    dtype = check_same("dot_general", (x.dtype, y.dtype))
    for operand, axes in zip((x, y), zip(batch, contracting, strict=True), strict=True):
        used = axes[0] + axes[1]
        if len(set(used)) != len(used) or any(not 0 <= a < operand.rank for a in used):
            raise AxisError(f"dot_general: batch axes {axes[0]} and contracting axes {axes[1]} do not fit {operand}")
    for left, right in (batch, contracting):
        if [x.shape[a] for a in left] != [y.shape[a] for a in right]:
            raise ShapeError(f"dot_general: axes {left} of {x} and {right} of {y} must have equal extents")
    return ArrayType(dtype, (
        *(x.shape[a] for a in batch[0]),
        *(x.shape[a] for a in _free(x.rank, batch[0], contracting[0])),
        *(y.shape[a] for a in _free(y.rank, batch[1], contracting[1]))))


def _evaluate(x: Any, y: Any, *, batch: Pairs, contracting: Pairs) -> Any:
    """As a stack of matrix products: (batch, free, contracting) @ (batch, contracting, free)."""
    x_free, y_free = _free(x.ndim, batch[0], contracting[0]), _free(y.ndim, batch[1], contracting[1])

    def extents(array: Any, axes: Axes) -> list[int]:
        return [array.shape[a] for a in axes]

    shared = extents(x, batch[0])
    summed = prod(extents(x, contracting[0]))
    left = np.transpose(x, (*batch[0], *x_free, *contracting[0])).reshape(*shared, prod(extents(x, x_free)), summed)
    right = np.transpose(y, (*batch[1], *contracting[1], *y_free)).reshape(*shared, summed, prod(extents(y, y_free)))
    return np.matmul(left, right).reshape((*shared, *extents(x, x_free), *extents(y, y_free)))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, batch: Pairs, contracting: Pairs) -> Any:
    (x, y), (t, u) = primals, tangents
    terms = []
    if t is not None:
        terms.append(dot_general(t, y, contracting, batch))
    if u is not None:
        terms.append(dot_general(x, u, contracting, batch))
    return add(*terms) if len(terms) == 2 else terms[0] if terms else None


def _cotangent(ct: Any, other: Any, rank: int, side: int, batch: Pairs, contracting: Pairs) -> Any:
    """The cotangent of the operand on ``side`` (0 left, 1 right) of the given rank."""
    mine, theirs = side, 1 - side
    batch_count = len(batch[0])
    my_free = _free(rank, batch[mine], contracting[mine])
    their_free = _free(len(shape_of(other)), batch[theirs], contracting[theirs])
    # In ct: batch, free axes of the left operand, free axes of the right one.
    first = batch_count + (len(my_free) if side == 0 else 0)
    ct_axes = tuple(range(first, first + len(their_free)))
    ct_batch = tuple(range(batch_count))
    partner = dict(zip(contracting[theirs], contracting[mine], strict=True))
    summed = tuple([partner[a] for a in sorted(contracting[theirs])])
    if sorted(axes := (*batch[mine], *summed, *my_free)) == list(axes):
        # The weights' cotangent x.T @ ct comes out as it is wanted.
        return dot_general(other, ct, (their_free, ct_axes), (batch[theirs], ct_batch))
    # In found: batch, my free axes, their contracting axes in their order.
    found = dot_general(ct, other, (ct_axes, their_free), (ct_batch, batch[theirs]))
    return transpose(found, inverse_permutation((*batch[mine], *my_free, *summed)))


def _transpose(ct: Any, operands: Sequence[Any], *, batch: Pairs, contracting: Pairs) -> tuple[Any, Any]:
    x, y = operands
    if isinstance(x, Undefined):
        return _cotangent(ct, y, x.type.rank, 0, batch, contracting), None
    return None, _cotangent(ct, x, y.type.rank, 1, batch, contracting)


def _batch(operands: Any, batched: Any, size: int, *, batch: Pairs, contracting: Pairs) -> tuple[Any, bool]:
    def shifted(pairs: Pairs) -> Pairs:
        left, right = (tuple(a + flag for a in axes) for axes, flag in zip(pairs, batched, strict=True))
        return left, right

    x, y = operands
    inner, outer = shifted(contracting), shifted(batch)
    if all(batched):
        return dot_general(x, y, inner, ((0, *outer[0]), (0, *outer[1]))), True
    # The lanes are the first free axis of the one operand that has them.
    result = dot_general(x, y, inner, outer)
    position = len(batch[0])
    if batched[1]:
        position += type_of(x).rank - len(batch[0]) - len(contracting[0])
    return move_axis(result, position, 0), True


def _lower(operands: Sequence[Operand], result: ArrayType, *, batch: Pairs, contracting: Pairs) -> Contraction | Map:
    if contracting[0]:
        return Contraction(contracting[0], contracting[1], batch[0], batch[1])
    x, y = operands
    operation = "logical_and" if result.dtype == bool_ else "mul"
    layouts = [(*axes, *_free(operand.type.rank, axes)) for operand, axes in zip(operands, batch, strict=True)]
    shared, x_rank = len(batch[0]), x.type.rank

    def read(index: Index) -> Expression:
        given = index[:x_rank], (*index[:shared], *index[x_rank:])
        left, right = (operand(tuple([where[position] for position in inverse_permutation(layout)]))
                       for operand, layout, where in zip((x, y), layouts, given, strict=True))
        return Apply(operation, (left, right), result.dtype)

    return Map(read)


def dot_general(x: Any, y: Any, contracting: Pairs, batch: Pairs = ((), ())) -> Any:
    """The sum over ``contracting`` axis pairs of x * y, for each index of the ``batch`` axis pairs.

    Each pair of tuples holds axes of ``x`` and, in the same order, of ``y``. The result's axes are the batch axes, the
    free axes of ``x``, the free axes of ``y``. Sums are in the operands' dtype (booleans: any of all).
    """
    return bind(dot_general_p, x, y, batch=batch, contracting=contracting)


dot_general_p = Primitive(
    "dot_general",
    type=_type,
    evaluate=_evaluate,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lower=_lower,
)

PRIMITIVES = (dot_general_p,)
