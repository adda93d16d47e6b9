"""The loop IR: what the backend emits as LLVM text.

    Kernel    ::= buffers  Nest*
    Nest      ::= parallel over chunks | serial   { Statement* }      one native function each
    Statement ::= Let symbol = Expression
                | Store buffer[Index] = Expression
                | Accumulate buffer[Index] operation= Expression
                | For symbol in begin .. end { Statement* }
                | While { Statement* } condition { Statement* }
                | If condition { Statement* } { Statement* }
                | Reserve tape[position]                              room for an element of a tape
                | Multiply                                            a matrix product, in blocks that fit the caches
                | Contract                                            a small matrix product in registers
                | Call                                                a call into Python
                | Native                                              a native routine, once per element of a batch
                | Part { Statement* }                                 a function of its own
                | Fork symbol in 0 .. chunks { Statement* }           chunks that may run in parallel, within a serial nest
    Buffer    ::= input | output | arena | local | tape              C-contiguous; a local one belongs to one nest

Loads are expressions whose buffer is a Buffer. Everything is frozen. Passes over statements need not name them all:
`bodies` and `operands` say what a statement holds, `with_bodies` and `with_operands` put other things in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from math import prod
from typing import Any, Literal

from gradxform.data_class import data_class
from gradxform.dtypes import DType, uint8
from gradxform.ir import Callback, Var
from gradxform.loopir.expression import Expression, Index, Symbol
from gradxform.loopir.routine import Routine

Space = Literal["input", "output", "arena", "local", "tape"]

#: How often a loop is taken to run whose number of iterations is not known.
TYPICAL_ITERATIONS = 100


@data_class(frozen=True, slots=True, eq=False)
class Buffer:
    """Contiguous memory of ``shape``. ``number`` is the position among the kernel's inputs or outputs.

    A tape grows while the kernel runs; its leading extent is -1.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    space: Space
    number: int = -1

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides in elements."""
        strides, step = [], 1
        for extent in reversed(self.shape):
            strides.append(step)
            step *= extent
        return tuple(reversed(strides))


#: What matrix products and native routines need while they run, one after the other; its size is that of the largest.
WORKSPACE = Buffer("workspace", uint8, (), "arena")


@data_class(frozen=True, slots=True, eq=False)
class Let:
    symbol: Symbol
    value: Expression


@data_class(frozen=True, slots=True, eq=False)
class Store:
    buffer: Buffer
    index: Index
    value: Expression


@data_class(frozen=True, slots=True, eq=False)
class Accumulate:
    """``operation`` may also be ``set``. Floating sums may be reassociated, within one nest's fixed order."""

    buffer: Buffer
    index: Index
    operation: str
    value: Expression


@data_class(frozen=True, slots=True, eq=False)
class For:
    """``ordered`` loops must run in increasing order with no reassociation across iterations.

    ``work`` is set on long ones: the estimate of one iteration in nanoseconds, see While.
    """

    symbol: Symbol
    begin: Expression
    end: Expression
    body: tuple[Statement, ...]
    ordered: bool = False
    work: float = 0.0


@data_class(frozen=True, slots=True, eq=False)
class Matrix:
    """A matrix within a buffer: element (i, j) of batch b lies at offset + b*batch_stride + i*row + j*column."""

    buffer: Buffer
    offset: Expression
    batch_stride: int
    row_stride: int
    column_stride: int


@data_class(frozen=True, slots=True, eq=False)
class Multiply:
    """result[b] = left[b] @ right[b] for each b in range(batch); (rows, inner) times (inner, columns)."""

    result: Matrix
    left: Matrix
    right: Matrix
    batch: int
    rows: int
    inner: int
    columns: int


@data_class(frozen=True, slots=True, eq=False)
class Contract:
    """result = left @ right, or result += left @ right unless ``fresh``: computed in place, in tiles that fit registers.

    The extents are those of a block: (rows, inner) times (inner, columns). The order of summation is that of the tiles,
    which extents and strides decide.
    """

    result: Matrix
    left: Matrix
    right: Matrix
    rows: Expression
    inner: Expression
    columns: Expression
    fresh: bool


@data_class(frozen=True, slots=True, eq=False)
class Part:
    """Statements that are compiled as a function of their own; symbols bound inside are not seen outside."""

    body: tuple[Statement, ...]


@data_class(frozen=True, slots=True, eq=False)
class Fork:
    """``body`` for each value of ``symbol`` below ``chunks``, in parallel, and then on: as a nest with chunks, in a serial one.

    Each chunk has ``locals`` of its own. What runs in order within a chunk must not end the kernel.
    """

    symbol: Symbol
    chunks: int
    body: tuple[Statement, ...]
    locals: tuple[Buffer, ...] = ()


@data_class(frozen=True, slots=True, eq=False)
class While:
    """Runs ``head`` and then, as long as ``condition`` holds, ``body`` and ``head`` again.

    The condition and the body see what the head binds. ``work`` is the estimate of one iteration in nanoseconds: it says
    how often to look whether the user wants to interrupt.
    """

    head: tuple[Statement, ...]
    condition: Expression
    body: tuple[Statement, ...]
    work: float = 0.0


@data_class(frozen=True, slots=True, eq=False)
class If:
    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@data_class(frozen=True, slots=True, eq=False)
class Reserve:
    """Makes room in ``buffer``, a tape, for the element at ``position``; those before it keep their values."""

    buffer: Buffer
    position: Expression


@data_class(frozen=True, slots=True, eq=False)
class Region:
    """A contiguous array of ``shape`` within a buffer; its first element is number ``offset``."""

    buffer: Buffer
    offset: Expression
    shape: tuple[int, ...]


@data_class(frozen=True, slots=True, eq=False)
class Call:
    """Calls Python with the arrays in ``arguments``; what it returns goes to ``results``. It may raise: the kernel ends."""

    callback: Callback
    arguments: tuple[Region, ...]
    results: tuple[Region, ...]


@data_class(frozen=True, slots=True, eq=False)
class Native:
    """Runs a routine on each element of the ``batch`` extents of all regions, in ``chunks`` that may run in parallel.

    Where it fails the results are what the routine leaves there, and the kernel fails when it has come to its end.
    """

    routine: Routine
    batch: tuple[int, ...]
    chunks: int
    arguments: tuple[Region, ...]
    results: tuple[Region, ...]

    @property
    def workspace(self) -> int:
        """Bytes that all chunks need; each has whole cache lines."""
        return -(-self.routine.workspace // 64) * 64 * self.chunks


Statement = Let | Store | Accumulate | For | While | If | Reserve | Multiply | Contract | Call | Native | Part | Fork


def bodies(statement: Statement) -> tuple[tuple[Statement, ...], ...]:
    """The sequences of statements that a statement holds, in the order in which they run."""
    found = _BODIES.get(type(statement))
    return () if found is None else found(statement)


_BODIES: dict[type, Callable[[Any], tuple[tuple[Statement, ...], ...]]] = {
    For: lambda loop: (loop.body,), Part: lambda part: (part.body,), Fork: lambda fork: (fork.body,),
    While: lambda loop: (loop.head, loop.body), If: lambda choice: (choice.then, choice.otherwise),
}


def with_bodies(statement: Statement, inner: Sequence[tuple[Statement, ...]]) -> Statement:
    """``statement`` with other statements inside; the same object if they are the same objects."""
    # Statements are equal only to themselves.
    if tuple(inner) == bodies(statement):
        return statement
    if isinstance(statement, (For, Part, Fork)):
        return replace(statement, body=inner[0])
    if isinstance(statement, While):
        return replace(statement, head=inner[0], body=inner[1])
    assert isinstance(statement, If)
    return replace(statement, then=inner[0], otherwise=inner[1])


def operands(statement: Statement) -> tuple[Expression, ...]:
    """The expressions of a statement itself, not of those inside it."""
    if isinstance(statement, Let):
        return (statement.value,)
    if isinstance(statement, (Store, Accumulate)):
        return *statement.index, statement.value
    if isinstance(statement, For):
        return statement.begin, statement.end
    if isinstance(statement, (While, If)):
        return (statement.condition,)
    if isinstance(statement, Reserve):
        return (statement.position,)
    if isinstance(statement, Multiply):
        return tuple([matrix.offset for matrix in (statement.left, statement.right, statement.result)])
    if isinstance(statement, Contract):
        offsets = [matrix.offset for matrix in (statement.left, statement.right, statement.result)]
        return *offsets, statement.rows, statement.inner, statement.columns
    if isinstance(statement, (Call, Native)):
        return tuple([region.offset for region in (*statement.arguments, *statement.results)])
    return ()


def with_operands(statement: Statement, rewrite: Callable[[Expression], Expression]) -> Statement:
    """``statement`` with its own expressions rewritten."""
    if isinstance(statement, Let):
        return replace(statement, value=rewrite(statement.value))
    if isinstance(statement, (Store, Accumulate)):
        return replace(statement, index=tuple(map(rewrite, statement.index)), value=rewrite(statement.value))
    if isinstance(statement, For):
        return replace(statement, begin=rewrite(statement.begin), end=rewrite(statement.end))
    if isinstance(statement, (While, If)):
        return replace(statement, condition=rewrite(statement.condition))
    if isinstance(statement, Reserve):
        return replace(statement, position=rewrite(statement.position))
    if isinstance(statement, (Multiply, Contract)):
        left, right, result = (replace(matrix, offset=rewrite(matrix.offset))
                               for matrix in (statement.left, statement.right, statement.result))
        if isinstance(statement, Contract):
            rows, inner, columns = map(rewrite, (statement.rows, statement.inner, statement.columns))
            return replace(statement, left=left, right=right, result=result, rows=rows, inner=inner, columns=columns)
        return replace(statement, left=left, right=right, result=result)
    if isinstance(statement, (Call, Native)):
        arguments, results = (tuple([replace(region, offset=rewrite(region.offset)) for region in regions])
                              for regions in (statement.arguments, statement.results))
        return replace(statement, arguments=arguments, results=results)
    return statement


def written(statement: Statement) -> tuple[Buffer, ...]:
    """The buffers that a statement itself writes to."""
    if isinstance(statement, (Store, Accumulate)):
        return (statement.buffer,)
    if isinstance(statement, Call):
        return tuple([region.buffer for region in statement.results])
    if isinstance(statement, Native):
        used = (WORKSPACE,) if statement.workspace else ()
        return *(region.buffer for region in statement.results), *used
    if isinstance(statement, Multiply):
        return statement.result.buffer, WORKSPACE
    return (statement.result.buffer,) if isinstance(statement, Contract) else ()


@data_class(frozen=True, slots=True, eq=False)
class Likeness:
    """A nest is nest number ``nest`` of the kernel, an earlier one, with ``buffers`` in the place of that one's."""

    nest: int
    buffers: dict[Buffer, Buffer]


@data_class(frozen=True, slots=True, eq=False)
class Nest:
    """One native function. With ``chunks`` > 0 its body runs once per value of ``chunk``, in parallel.

    ``repeatable``: running it again on the same inputs gives the same result (it accumulates only into what it
    initialises itself), so it may be run with fast and, on demand, again with careful elementary functions.
    """

    body: tuple[Statement, ...]
    locals: tuple[Buffer, ...] = ()
    chunk: Symbol | None = None
    chunks: int = 0
    repeatable: bool = True
    work: float = 0.0  # estimated nanoseconds on one core
    values: tuple[Var, ...] = ()  # the variables that it computes: the program's, copies of these, and auxiliary ones
    like: Likeness | None = None


@data_class(frozen=True, slots=True, eq=False)
class Kernel:
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    temporaries: tuple[Buffer, ...]
    nests: tuple[Nest, ...]
    offsets: dict[str, int] = field(default_factory=dict)  # of the temporaries in the arena, in bytes
    arena_bytes: int = 0

    @property
    def work(self) -> float:
        return sum(nest.work for nest in self.nests)

    def __str__(self) -> str:
        from gradxform.loopir.printer import print_kernel

        return print_kernel(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from gradxform.ir.highlighting import notebook_html

        return notebook_html(str(self))


def with_nests(kernel: Kernel, nests: Sequence[Nest]) -> Kernel:
    """``kernel`` with other nests; the same object if they are the same objects."""
    # Nests are equal only to themselves.
    return kernel if tuple(nests) == kernel.nests else replace(kernel, nests=tuple(nests))
