"""The form in which a primitive says how its result is computed, element by element.

A lowering rule has the signature ``lower(operands, result_type, **params) -> Lowered``. Each operand is callable:
``operand(index)`` is the Expression of its element at ``index``, a tuple with one int64 Expression per axis. So an
index map is the composition of Python functions, and views (reshape, transpose, slice, broadcast) cost nothing:

    transpose:  View(lambda index: x(permuted(index)))
    sin:        Map(lambda index: Apply("sin", (x(index),), dtype))
    reduce_sum: Reduction("add", extents, lambda index, reduced: x(merged(index, reduced)))

``Expands`` rewrites the equation with other primitives before scheduling; use it where the result is a composition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gradxform.data_class import data_class
from gradxform.ir import ArrayType, Callback, Program
from gradxform.loopir.expression import Apply, Expression, Index
from gradxform.loopir.routine import Routine


class Operand(Protocol):
    """An operand of an equation being lowered."""

    @property
    def type(self) -> ArrayType: ...

    def __call__(self, index: Index) -> Expression: ...


@data_class(frozen=True, slots=True, eq=False)
class View:
    """An element of an operand under another index; never stored for its own sake."""

    read: Callable[[Index], Expression]


@data_class(frozen=True, slots=True, eq=False)
class Map:
    """Computed from operand elements at ``index``; the scheduler decides whether it is stored.

    An index out of range is recorded by an ``Apply("checked_index", (index, extent, axis))`` within the expression, or by
    a ``relative_index``, for which negative ones count from the end.
    """

    read: Callable[[Index], Expression]


@data_class(frozen=True, slots=True, eq=False)
class Reduction:
    """``operation`` (add, mul, maximum, minimum, logical_or, logical_and) over extra axes of the given extents."""

    operation: str
    extents: tuple[int, ...]
    read: Callable[[Index, Index], Expression]


@data_class(frozen=True, slots=True, eq=False)
class Cumulative:
    """The running ``operation`` along ``axis`` of ``read``."""

    operation: str
    axis: int
    read: Callable[[Index], Expression]


@data_class(frozen=True, slots=True, eq=False)
class Scatter:
    """``result = base``, then for each point of ``extents``, in order: ``result[target] operation= update``.

    ``operation`` is set, add, mul, maximum or minimum. ``target(point)`` gives the index into the result; parts that may
    be out of range must have been wrapped in ``checked_index`` or ``relative_index``.
    """

    operation: str
    base: Callable[[Index], Expression]
    extents: tuple[int, ...]
    target: Callable[[Index], Index]
    update: Callable[[Index], Expression]


@data_class(frozen=True, slots=True, eq=False)
class Contraction:
    """sum over ``contracting`` axis pairs of lhs * rhs; result axes are batch, free of lhs, free of rhs.

    ``lhs`` and ``rhs`` are operand positions. The scheduler chooses loops or a product of its own.
    """

    lhs_contracting: tuple[int, ...]
    rhs_contracting: tuple[int, ...]
    lhs_batch: tuple[int, ...]
    rhs_batch: tuple[int, ...]


@data_class(frozen=True, slots=True, eq=False)
class Expands:
    """The equation is replaced by what ``build(*operands)`` records with other primitives."""

    build: Callable[..., Any]


@data_class(frozen=True, slots=True, eq=False)
class Repeat:
    """A scan: ``body`` takes constants, carries and elements of xs, and gives carries and elements of ys.

    ``length`` is -1 if the first operand is the number of iterations; xs and ys are then tapes.
    """

    body: Program
    constants: int
    carries: int
    length: int
    reverse: bool


@data_class(frozen=True, slots=True, eq=False)
class While:
    """``body`` runs as long as ``condition`` holds.

    ``condition`` takes its own constants and the carries, ``body`` its own constants and the carries. If ``recorded``,
    further outputs of the body are elements of tapes, and the results are carries, number of iterations, tapes.
    """

    condition: Program
    body: Program
    condition_constants: int
    body_constants: int
    recorded: bool


@data_class(frozen=True, slots=True, eq=False)
class Branch:
    """The first operand, limited to range(len(branches)), chooses the program that is run on the others."""

    branches: tuple[Program, ...]


@data_class(frozen=True, slots=True, eq=False)
class Call:
    """A call into Python with the operands; ``effect``: it stays, once, and in order with the others that have one."""

    callback: Callback
    effect: bool


@data_class(frozen=True, slots=True, eq=False)
class Native:
    """A native routine, once per element of the ``batch`` extents with which the shapes of all operands and results begin.

    Operands and results lie in memory as wholes. The rule of a primitive with ``multiple`` results gives one of these
    for all of them. ``effect``: it is run for its failure, not for results.
    """

    routine: Routine
    batch: tuple[int, ...] = ()
    effect: bool = False


Lowered = (View | Map | Reduction | Cumulative | Scatter | Contraction | Expands | Repeat | While | Branch | Call
           | Native)


def elementwise(operation: str) -> Callable[..., Map]:
    """The lowering rule of an elementwise primitive: rank-0 operands are read at the empty index.

    Parameters of the equation are ignored; use a rule of its own where they matter.
    """

    def lower(operands: Sequence[Operand], result_type: ArrayType, **params: Any) -> Map:
        def read(index: Index) -> Expression:
            arguments = tuple([operand(index if operand.type.shape else ()) for operand in operands])
            return Apply(operation, arguments, result_type.dtype)

        return Map(read)

    return lower
