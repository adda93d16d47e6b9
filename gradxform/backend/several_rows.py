"""Loops take several rows at a time where what belongs to a column is most of what they load and store.

    for i: for j: t[j] += (x[i, j] - m[j])**2
    ->  for i by 4: for j: { t[j] += (x[i, j] - m[j])**2 ; t[j] += (x[i + 1, j] - m[j])**2 ; ... } ; and the rows that are left

    for i: for j: y[i, j] = x[i - 1, j] + x[i + 1, j] + x[i, j]
    ->  for i by 2: for j: { y[i, j] = ... ; y[i + 1, j] = ... } ; and the row that is left

An accumulator for each column lies in memory. It is loaded and stored once for all four, and so is what else is the same in all
rows. What a row reads of its neighbours is loaded once for two. The order in which a column is added up stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from gradxform.backend.blocks import loads_of
from gradxform.backend.carried import Shapes
from gradxform.backend.fission import instructions_of
from gradxform.backend.stream_text import cache_bytes, streamable
from gradxform.dtypes import int64
from gradxform.loopir.expression import ZERO, Apply, Symbol, axis, index_add, index_mul, index_range, integer, loads, symbols
from gradxform.loopir.loops import (
    Accumulate,
    For,
    Kernel,
    Let,
    Nest,
    Statement,
    Store,
    bodies,
    operands,
    with_bodies,
    with_nests,
)
from gradxform.loopir.rewriting import renamed

#: Rows that are taken together, and where they share what they read of their neighbours: with rows of some power of two of
#: bytes, more would find no room in the nearest cache.
ROWS, NEIGHBOURS = 4, 2
#: Of what such rows load and store, sharing spares an eighth at least.
LEAST_SHARE = 8
#: Instructions of an element up to which loads and stores are most of the work.
LIGHT = 24
#: Nests estimated to run for fewer nanoseconds stay as they are: more code takes the compiler its time.
LEAST_WORK = 20_000.0
#: There are as many rows at least, and columns.
LEAST_ROWS, LEAST_COLUMNS = 16, 32


def join_rows(kernel: Kernel) -> Kernel:
    """The kernel with such loops for several rows; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [_nest(nest, numbers) for nest in kernel.nests])


def _nest(nest: Nest, numbers: count[int]) -> Nest:
    if nest.work < LEAST_WORK:
        return nest
    # What is stored past the caches is stored by rows.
    body = _inside(nest.body, numbers, bool(streamable(nest.body)))
    return nest if body is nest.body else replace(nest, body=body)


def _inside(statements: tuple[Statement, ...], numbers: count[int], streams: bool) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        together = _together(statement, streams) if isinstance(statement, For) else 0
        if together and isinstance(statement, For):
            result += _joined(statement, together, next(numbers))
            changed = True
            continue
        new = with_bodies(statement, [_inside(body, numbers, streams) for body in bodies(statement)])
        changed = changed or new is not statement
        result.append(new)
    return tuple(result) if changed else statements


def _together(rows: For, streams: bool) -> int:
    """How many rows a loop takes together; 0 if it stays as it is."""
    if rows.ordered or rows.work or rows.symbol.extent < LEAST_ROWS:
        return 0
    inner = [statement for statement in rows.body if isinstance(statement, For)]
    if len(inner) < len(rows.body) or not all(_is_plain(columns, rows.symbol, streams) for columns in inner):
        return 0
    if len(inner) == 1 and _is_shared(inner[0], rows.symbol):
        return ROWS
    return NEIGHBOURS if _reads_neighbours(inner, rows.symbol) else 0


def _is_plain(columns: For, row: Symbol, streams: bool) -> bool:
    """Whether a loop over columns does little work, and writes nothing that it reads."""
    if columns.ordered or row in {*symbols(columns.begin), *symbols(columns.end)}:
        return False
    if not all(isinstance(s, (Let, Accumulate)) or (isinstance(s, Store) and not streams) for s in columns.body):
        return False
    return sum(map(instructions_of, columns.body)) <= LIGHT


def _is_shared(columns: For, row: Symbol) -> bool:
    """Whether most of the memory that a loop over columns touches in a row is that of columns."""
    if columns.symbol.extent < LEAST_COLUMNS:
        return False
    written = [s for s in columns.body if isinstance(s, (Store, Accumulate))]
    targets = {statement.buffer for statement in written}
    read = {(buffer, *index): (buffer, index) for statement in columns.body for buffer, index in loads_of(statement)}.values()
    if len(targets) < len(written) or any(buffer in targets for buffer, _ in read):
        return False
    for statement in written:
        along = {symbol for part in statement.index for symbol in symbols(part)}
        if columns.symbol not in statement.index or (row in along) is isinstance(statement, Accumulate):
            return False
    by_row = [(buffer, index) for buffer, index in read if any(row in symbols(part) for part in index)]
    sums = sum(isinstance(statement, Accumulate) for statement in written)
    own, spared = len(by_row) + len(written) - sums, len(read) - len(by_row) + 2 * sums
    # A processor fetches ahead along one row better than along four: rows from memory must be outweighed by more.
    far = sum(buffer.nbytes for buffer in {buffer for buffer, _ in by_row}) > cache_bytes() // 2
    return spared > 2 * own if far else spared >= own


def _reads_neighbours(inner: Sequence[For], row: Symbol) -> bool:
    """Whether rows, each of which stores what is its own, have loads in common with the next row."""
    stored = {s.buffer for columns in inner for s in columns.body if isinstance(s, Store)}
    own = spared = 0
    for columns in inner:
        lets = {s.symbol: s.value for s in columns.body if isinstance(s, Let)}
        shapes = Shapes(row, lets, stored)
        read: set[tuple[int, int | None]] = set()
        for statement in columns.body:
            if isinstance(statement, Accumulate):
                return False
            if isinstance(statement, Store) and not any(row in symbols(part) for part in statement.index):
                return False
            for load in (load for operand in operands(statement) for load in loads(operand)):
                shape = shapes.of(load)
                if shape is None:
                    return False
                read.add((shape.number, shape.offset))
        if columns.symbol.extent >= LEAST_COLUMNS:
            own += len(read) + sum(isinstance(statement, Store) for statement in columns.body)
            spared += sum(offset is not None and (number, offset - 1) in read for number, offset in read)
    return 0 < own * NEIGHBOURS <= LEAST_SHARE * spared


def _joined(rows: For, together: int, number: int) -> list[Statement]:
    length = index_add(rows.end, index_mul(rows.begin, -1))
    least = index_range(length)
    if least is None or least[0] < 0:
        length = Apply("maximum", (length, ZERO), int64)
    groups = Apply("floor_divide", (length, integer(together)), int64)
    group = axis(f"rows{number}", rows.symbol.extent // together)
    first = index_add(rows.begin, index_mul(group, together))
    inner: list[Statement] = []
    for columns in rows.body:
        assert isinstance(columns, For)
        if columns.symbol.extent < LEAST_COLUMNS:
            inner += [s for row in range(together)
                      for s in renamed((columns,), {rows.symbol: index_add(first, integer(row))}, f"row{row}")]
            continue
        body = [statement for row in range(together)
                for statement in renamed(columns.body, {rows.symbol: index_add(first, integer(row))}, f"row{row}")]
        inner.append(replace(columns, body=tuple(body)))
    whole = For(group, integer(0), groups, tuple(inner))
    return [whole, replace(rows, begin=index_add(rows.begin, index_mul(groups, together)))]
