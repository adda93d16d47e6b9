"""Loops that store a row of elements in each iteration, each element by a store of its own: rows are turned from columns.

Vectors hold one element of several rows, and those lie far apart in memory: storing them one by one takes longer than to
compute them, and LLVM would rather not use vectors at all. Here the loop stores each element into a block on the stack, column
by column, and squares of the block are turned in registers into rows:

    for i in begin .. end: { out[i, 0] = a ; out[i, 1] = b ; ... }
    ->  for s in begin .. end by 32: { for i in s .. s + 32: { block[0, i - s] = a ; block[1, i - s] = b ; ... }
                                       turn(out + s, block) }
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from gradxform.backend.block_text import in_blocks
from gradxform.backend.instructions import memory_type
from gradxform.backend.stream_text import streamable
from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.loopir.expression import Constant, Expression, Symbol, loads, symbols
from gradxform.loopir.loops import Accumulate, Buffer, For, Let, Store, operands

if TYPE_CHECKING:
    from gradxform.backend.nest_text import NestWriter

#: Rows and columns of the squares that are turned: a vector of the widest has so many elements of 8 bytes.
SQUARE = 8
#: Bytes of the blocks of a loop, which stay in the nearest cache beside what it reads.
BLOCK_BYTES = 16 * 1024
#: Bytes of a column, two vectors: a processor computes the next block while memory takes the rows of this one.
COLUMN_BYTES = 128


def _turned(bits: int) -> str:
    """Eight vectors ``%a0`` to ``%a7``, the rows of a square, become its columns ``%d0`` to ``%d7``."""
    vector = f"<{SQUARE} x i{bits}>"
    lines = []
    for step, before, after in ((1, "a", "b"), (2, "b", "c"), (4, "c", "d")):
        for row in range(SQUARE):
            lower, upper = row & ~step, row | step
            # Of each pair of neighbours, or of runs of two or four, one comes from the one row and one from the other.
            mask = [(p + step if row & step else p) if not p & step else SQUARE + (p if row & step else p - step)
                    for p in range(SQUARE)]
            lines.append(f"  %{after}{row} = shufflevector {vector} %{before}{lower}, {vector} %{before}{upper}, "
                         f"<{SQUARE} x i32> <{', '.join(f'i32 {m}' for m in mask)}>")
    return "\n".join(lines)


def turn_text(bits: int) -> str:
    """Turns columns of ``%lanes`` elements, of which the first ``%count`` are used, into rows that begin ``%row`` apart.

    There are eight columns or more. The last square of a row begins where it ends with the last column.
    """
    vector, word = f"<{SQUARE} x i{bits}>", bits // 8
    pointers = "ptr noalias captures(none) %to, ptr noalias readonly captures(none) %from"

    def moved(name: str, base: str, index: str) -> str:
        return f"  {name} = getelementptr i{bits}, ptr {base}, i64 {index}"

    read = [line for j in range(SQUARE) for line in (
        f"  %j{j} = add i64 %k, {j}", f"  %j{j}.lanes = mul i64 %j{j}, %lanes", f"  %j{j}.from = add i64 %j{j}.lanes, %i",
        moved(f"%j{j}.at", "%from", f"%j{j}.from"), f"  %a{j} = load {vector}, ptr %j{j}.at, align {word}")]
    write = [line for j in range(SQUARE) for line in (
        f"  %l{j} = add i64 %i, {j}", f"  %l{j}.row = mul i64 %l{j}, %row", f"  %l{j}.to = add i64 %l{j}.row, %k",
        moved(f"%l{j}.at", "%to", f"%l{j}.to"), f"  store {vector} %d{j}, ptr %l{j}.at, align {word}")]
    return "\n".join([f"""define void @gx.memory.turn{bits}({pointers},
    i64 %count, i64 %columns, i64 %lanes, i64 %row) noinline nounwind {{
start:
  %whole = and i64 %count, -{SQUARE}
  %last = sub i64 %columns, {SQUARE}
  br label %rows
rows:
  %i = phi i64 [0, %start], [%i.next, %rows.end]
  %rows.more = icmp ult i64 %i, %whole
  br i1 %rows.more, label %square, label %left
square:
  %k = phi i64 [0, %rows], [%k.next, %square]""", *read, _turned(bits), *write, f"""  %k.on = add i64 %k, {SQUARE}
  %k.over = icmp ugt i64 %k.on, %last
  %k.next = select i1 %k.over, i64 %last, i64 %k.on
  %k.more = icmp ult i64 %k, %last
  br i1 %k.more, label %square, label %rows.end
rows.end:
  %i.next = add i64 %i, {SQUARE}
  br label %rows
left:
  %m = phi i64 [%whole, %rows], [%m.next, %left.end]
  %left.more = icmp ult i64 %m, %count
  br i1 %left.more, label %one, label %done
one:
  %n = phi i64 [0, %left], [%n.next, %one]
  %n.lanes = mul i64 %n, %lanes
  %n.from = add i64 %n.lanes, %m
{moved('%n.at', '%from', '%n.from')}
  %n.value = load i{bits}, ptr %n.at, align {word}
  %m.row = mul i64 %m, %row
  %n.to = add i64 %m.row, %n
{moved('%n.there', '%to', '%n.to')}
  store i{bits} %n.value, ptr %n.there, align {word}
  %n.next = add i64 %n, 1
  %n.more = icmp ult i64 %n.next, %columns
  br i1 %n.more, label %one, label %left.end
left.end:
  %m.next = add i64 %m, 1
  br label %left
done:
  ret void
}}"""])


@data_class(frozen=True, slots=True, eq=False)
class Rows:
    """Stores of a loop, ``store`` one of them, to ``columns`` elements of a buffer's rows, which lie ``row`` apart; constants
    put the first of them at ``first``.
    """

    store: Store
    first: int
    columns: int
    row: int

    @property
    def start(self) -> tuple[Expression, ...]:
        """The index of a row's first element: constants give way to those of ``first``."""
        index: list[Expression] = []
        left = self.first
        for part, stride in zip(self.store.index, self.store.buffer.strides, strict=True):
            if isinstance(part, Constant):
                index.append(Constant(int64.type(left // stride), int64))
                left %= stride
            else:
                index.append(part)
        return tuple(index)


def place(store: Store) -> int:
    """Where constants among its indices put a store within its row, in elements."""
    return sum(int(part.value) * stride for part, stride in zip(store.index, store.buffer.strides, strict=True)
               if isinstance(part, Constant))


def rows_of(writer: NestWriter, loop: For) -> dict[Buffer, Rows]:
    """The buffers to whose rows a loop stores all elements one by one, and nothing else."""
    if writer.diverted or loop.ordered or loop.work or loop.symbol.extent < 2 * SQUARE:
        return {}
    if not all(isinstance(s, (Let, Store, Accumulate)) for s in loop.body):
        return {}
    stores: dict[Buffer, list[Store]] = {}
    for statement in loop.body:
        if isinstance(statement, Store):
            stores.setdefault(statement.buffer, []).append(statement)
    others = {s.buffer for s in loop.body if isinstance(s, Accumulate)}
    others.update(load.buffer for s in loop.body for operand in operands(s) for load in loads(operand))
    fixed = writer.symbols.keys() - {loop.symbol, *(s.symbol for s in loop.body if isinstance(s, Let))}
    found = {buffer: rows for buffer, group in stores.items() if buffer not in others
             if (rows := _rows(group, loop.symbol, fixed)) is not None}
    bytes_per_lane = sum(rows.columns * buffer.dtype.itemsize for buffer, rows in found.items())
    return found if bytes_per_lane * SQUARE <= BLOCK_BYTES else {}


def _rows(stores: Sequence[Store], symbol: Symbol, fixed: Set[Symbol]) -> Rows | None:
    """Rows along ``symbol``; in their indices other symbols must be ``fixed``."""
    buffer, index = stores[0].buffer, stores[0].index
    if len(stores) <= SQUARE or buffer.dtype.itemsize not in (4, 8):
        return None
    row = sum(stride for part, stride in zip(index, buffer.strides, strict=True) if part is symbol)
    for store in stores:
        for part, other in zip(store.index, index, strict=True):
            same = isinstance(part, Constant) and isinstance(other, Constant)
            if not same and (part is not other or not (part is symbol or _is_fixed(part, fixed))):
                return None
    places = sorted(place(store) for store in stores)
    if row < len(stores) or places != list(range(places[0], places[0] + len(stores))):
        return None
    return Rows(stores[0], places[0], len(stores), row)


def _is_fixed(part: Expression, fixed: Set[Symbol]) -> bool:
    return all(s in fixed for s in symbols(part)) and not loads(part)


def write_turned(writer: NestWriter, loop: For, found: dict[Buffer, Rows]) -> None:
    """The loop in blocks, each followed by turning what it has stored."""
    size = sum(rows.columns * buffer.dtype.itemsize for buffer, rows in found.items())
    lanes = COLUMN_BYTES // min(buffer.dtype.itemsize for buffer in found)
    while lanes > SQUARE and lanes * size > BLOCK_BYTES:
        lanes //= 2
    for bits in {8 * buffer.dtype.itemsize: None for buffer in found}:
        writer.take(f"declare void @gx.memory.turn{bits}(ptr, ptr, i64, i64, i64, i64)")
    past: dict[Buffer, str] = {}
    with in_blocks(writer, loop, lanes, "turn") as part:
        for buffer, rows in found.items():
            block = f"%{writer.block('block')}"
            room = f"alloca [{lanes * rows.columns} x {memory_type(buffer.dtype)}], align 64"
            writer.entry_lines.append(f"{block} = {room}")
            writer.diverted[buffer] = (block, loop.symbol, part.start, lanes, rows.first)
            # Whole rows that are too many for the caches go past them, from a block of rows. They come in bursts, and nothing
            # else is done meanwhile: so they go past also if it is only together with what is read that they are too many.
            if buffer in streamable(writer.nest.body, beside=True) and rows.columns == rows.row:
                writer.stream_past()
                past[buffer] = f"%{writer.block('rows')}"
                writer.entry_lines.append(f"{past[buffer]} = {room}")
        writer.loop(part.inner)
        count = writer.temporary(f"sub nsw i64 {part.stop}, {part.start}")
        writer.symbols[loop.symbol] = part.start
        for buffer, rows in found.items():
            block = writer.diverted.pop(buffer)[0]
            address = writer.address(buffer, rows.start, {})
            target = past.get(buffer, address)
            writer.append(f"call void @gx.memory.turn{8 * buffer.dtype.itemsize}(ptr {target}, ptr {block}, i64 {count}, "
                          f"i64 {rows.columns}, i64 {lanes}, i64 {rows.row})")
            if buffer in past:
                words = writer.temporary(f"mul nsw i64 {count}, {rows.columns * buffer.dtype.itemsize // 4}")
                writer.append(f"call void @gx.memory.stream(ptr {address}, ptr {target}, i64 {words})")


def columns_place(store: Store, lanes: int, first: int) -> int:
    """Where in a block the column of a store begins."""
    return (place(store) - first) * lanes
