"""The loop IR: what the backend emits as LLVM text.

    Kernel    ::= buffers  Nest*
    Nest      ::= parallel over chunks | serial   { Statement* }      one native function each
    Statement ::= Let symbol = Expression
                | Store buffer[Index] = Expression
                | Accumulate buffer[Index] operation= Expression
                | For symbol in begin .. end { Statement* }
                | Multiply                                            a matrix product by BLAS
              | Part { Statement* }                                 a function of its own
    Buffer    ::= input | output | arena | local                     C-contiguous; a local one belongs to one nest

Loads are expressions whose buffer is a Buffer. Everything is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal

from gradxform.dtypes import DType
from gradxform.loopir.expression import Expression, Index, Symbol

Space = Literal["input", "output", "arena", "local"]


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Contiguous memory of ``shape``. ``number`` is the position among the kernel's inputs or outputs."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Let:
    symbol: Symbol
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    buffer: Buffer
    index: Index
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Accumulate:
    """``operation`` may also be ``set``. Floating sums may be reassociated, within one nest's fixed order."""

    buffer: Buffer
    index: Index
    operation: str
    value: Expression


@dataclass(frozen=True, slots=True, eq=False)
class For:
    """``ordered`` loops must run in increasing order with no reassociation across iterations."""

    symbol: Symbol
    begin: Expression
    end: Expression
    body: tuple[Statement, ...]
    ordered: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A matrix within a buffer: element (i, j) of batch b lies at offset + b*batch_stride + i*row + j*column."""

    buffer: Buffer
    offset: int
    batch_stride: int
    row_stride: int
    column_stride: int


@dataclass(frozen=True, slots=True, eq=False)
class Multiply:
    """result[b] = left[b] @ right[b] for each b in range(batch); (rows, inner) times (inner, columns)."""

    result: Matrix
    left: Matrix
    right: Matrix
    batch: int
    rows: int
    inner: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Statements that are compiled as a function of their own; symbols bound inside are not seen outside."""

    body: tuple[Statement, ...]


Statement = Let | Store | Accumulate | For | Multiply | Part


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
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
