"""sort: the rows of one or more arrays, ordered by the first of them; order_statistics: a few elements of sorted rows.

It always runs along the last axis, which is where a row lies in one piece; other axes are moved there. It is stable:
what compares equal keeps its order. Zeros of both signs are equal, and so are all NaN, which come last, as in NumPy.

Tangents are carried along: the derivative is that of the permutation that was found, also where keys are equal. So the
derivative of a sort of ties is one element of the generalised Jacobian, the one of the stable permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, Refuses, bind_all, shape_of
from gradxform.dtypes import int64
from gradxform.errors import ArgumentError, CompileError, ShapeError
from gradxform.ir import ArrayType
from gradxform.linear import align
from gradxform.loopir.lowering import Native, Operand
from gradxform.loopir.routine import Routine
from gradxform.primitives.indexing import gather

#: What comes of the positions that elements had before: nothing, one more result, or the only one.
POSITIONS = ("no", "also", "only")


def _type(*operands: ArrayType, num_keys: int, positions: str) -> tuple[ArrayType, ...]:
    if not operands or not operands[0].rank or any(x.shape != operands[0].shape for x in operands):
        listed = ", ".join(map(str, operands))
        raise ShapeError(f"sort: operands must be of one shape and of rank 1 or more, got {listed or 'none'}")
    if not 1 <= num_keys <= len(operands):
        raise ArgumentError(f"sort: num_keys is between 1 and the number of operands, {len(operands)}, got {num_keys}")
    if positions not in POSITIONS:
        raise ArgumentError(f"sort: positions is one of {', '.join(POSITIONS)}, got {positions!r}")
    return _chosen([x.strong() for x in operands], ArrayType(int64, operands[0].shape), positions)


def _chosen(values: Sequence[Any], order: Any, positions: str) -> tuple[Any, ...]:
    return (*(() if positions == "only" else values), *(() if positions == "no" else (order,)))


def _evaluate(*operands: Any, num_keys: int, positions: str) -> tuple[Any, ...]:
    if len(operands) == 1 and positions == "no":
        return (np.sort(operands[0], axis=-1, kind="stable"),)
    # lexsort takes the first key last.
    order = np.lexsort(operands[:num_keys][::-1], axis=-1)
    values = [] if positions == "only" else [np.take_along_axis(x, order, -1) for x in operands]
    return _chosen(values, order.astype(int64, copy=False), positions)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, num_keys: int, positions: str
) -> tuple[Sequence[Any], Sequence[Any]]:
    *outputs, order = _sorted(primals, num_keys, "also")
    moved = [None if t is None else permuted(t, order) for t in tangents]
    return _chosen(outputs, order, positions), _chosen(moved, None, positions)


def _batch(
    operands: Sequence[Any], batched: Sequence[bool], size: int, *, num_keys: int, positions: str
) -> tuple[Sequence[Any], Sequence[bool]]:
    lane = next(shape_of(x)[1:] for x, flag in zip(operands, batched, strict=True) if flag)
    lanes = [align(x, flag, (size, *lane)) for x, flag in zip(operands, batched, strict=True)]
    results = _sorted(lanes, num_keys, positions)
    return results, [True] * len(results)


def _lower(operands: Sequence[Operand], results: Sequence[ArrayType], *, num_keys: int, positions: str) -> Native:
    *batch, count = results[0].shape
    if count >= 1 << 32:
        raise CompileError(f"sort: compiled code sorts rows of less than 2**32 elements, got {results[0]}")
    names = [x.type.dtype.name for x in operands]
    alone = len(operands) == 1 and positions == "no"
    # Images and their copy, or images, items and their copy, orders before and after; in whole blocks of 128.
    arrays = 2 if alone else 5
    work = count * (5.0 if alone else 8.0 * num_keys + 2.0 * len(operands))
    return Native(
        Routine("sort.rows", (count, num_keys, positions, *names),
                lambda *rows: _evaluate(*rows, num_keys=num_keys, positions=positions),
                workspace=8 * arrays * (count + 128), work=work),
        tuple(batch))


def permuted(x: Any, order: Any) -> Any:
    """The rows of ``x``, each in the order of the positions in the same row of ``order``."""
    rank = len(shape_of(x))
    return gather(x, order, axes=(rank - 1,), batch_rank=rank - 1, mode="inside")


def _sorted(operands: Sequence[Any], num_keys: int, positions: str) -> list[Any]:
    return bind_all(sort_p, operands, {"num_keys": num_keys, "positions": positions})


def sort(operands: Sequence[Any], num_keys: int = 1) -> list[Any]:
    """The rows of ``operands`` in the order of the first ``num_keys`` of them, the first one first.

    Operands are of one shape; a row is what lies along the last axis. Stable, NaN last; at ties the derivative is that of
    the stable permutation.
    """
    return _sorted(operands, num_keys, "no")


def argsort(*keys: Any) -> Any:
    """The positions (int64) that bring each row of ``keys`` into order, the first key first; it has no derivative."""
    return _sorted(keys, len(keys), "only")[0]


def sort_with_positions(x: Any) -> tuple[Any, Any]:
    """The rows of ``x`` in order, and the positions (int64) where their elements were."""
    values, order = _sorted([x], 1, "also")
    return values, order


sort_p = Primitive(
    "sort",
    type=_type,
    evaluate=_evaluate,
    jvp=_jvp,
    transpose=Refuses("sort is not linear in its keys, so it has no transpose"),
    batch=_batch,
    lower=_lower,
    multiple=True,
)

# -------------------------------------------------------------------------------------------------- order statistics


def _statistics_type(x: ArrayType, *, places: tuple[int, ...]) -> tuple[ArrayType, ArrayType]:
    if not x.rank:
        raise ShapeError(f"order_statistics: expected an array of rank 1 or more, got {x}")
    extent = x.shape[-1]
    if not places or list(places) != sorted(places) or not 0 <= places[0] <= places[-1] < extent:
        raise ArgumentError(f"order_statistics: places {places} are no rising indices into rows of {extent} elements")
    shape = (*x.shape[:-1], len(places))
    return ArrayType(x.dtype, shape), ArrayType(int64, shape)


def _statistics_evaluate(x: Any, *, places: tuple[int, ...]) -> tuple[Any, Any]:
    order = np.argsort(x, axis=-1, kind="stable")[..., list(places)].astype(int64, copy=False)
    return np.take_along_axis(x, order, -1), order


def _statistics_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, places: tuple[int, ...]
) -> tuple[Sequence[Any], Sequence[Any]]:
    values, order = order_statistics(primals[0], places)
    return (values, order), (None if tangents[0] is None else permuted(tangents[0], order), None)


def _statistics_lower(operands: Sequence[Operand], results: Sequence[ArrayType], *, places: tuple[int, ...]) -> Native:
    x = operands[0].type
    *batch, count = x.shape
    if count >= 1 << 32:
        raise CompileError(f"order_statistics: compiled code takes rows of less than 2**32 elements, got {x}")
    return Native(
        Routine("sort.places", (count, x.dtype.name, *places), lambda row: _statistics_evaluate(row, places=places),
                workspace=8 * 6 * (count + 128), work=4.0 * count),
        tuple(batch))


def order_statistics(x: Any, places: tuple[int, ...]) -> tuple[Any, Any]:
    """The elements at ``places`` (rising) of each sorted row of ``x``, and their positions (int64) in the row.

    As those of `sort`, with its derivative, but long rows are not sorted.
    """
    values, order = bind_all(order_statistics_p, [x], {"places": places})
    return values, order


order_statistics_p = Primitive(
    "order_statistics",
    type=_statistics_type,
    evaluate=_statistics_evaluate,
    jvp=_statistics_jvp,
    transpose=Refuses("order_statistics is not linear in its operand, so it has no transpose"),
    batch=lambda operands, batched, size, *, places: (order_statistics(operands[0], places), [True, True]),
    lower=_statistics_lower,
    multiple=True,
)

PRIMITIVES = (sort_p, order_statistics_p)
