"""Loops take several rows at a time where what belongs to a column is most of what they load and store.

    for i: for j: t[j] += (x[i, j] - m[j])**2
    ->  for i by 4: for j: { t[j] += (x[i, j] - m[j])**2 ; t[j] += (x[i + 1, j] - m[j])**2 ; ... } ; and the rows that are left

An accumulator for each column lies in memory. It is loaded and stored once for all four, and so is what else is the same in all
rows. The order in which a column is added up stays.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from gradxform.backend.blocks import loads_of
from gradxform.backend.fission import instructions_of
from gradxform.backend.stream_text import cache_bytes, streamable
from gradxform.dtypes import int64
from gradxform.loopir.expression import Apply, axis, index_add, index_mul, integer, symbols
from gradxform.loopir.loops import Accumulate, For, Kernel, Let, Nest, Statement, Store, bodies, with_bodies
from gradxform.loopir.rewriting import renamed

#: Rows that are taken together.
ROWS = 4
#: Instructions of an element up to which loads and stores are most of the work.
LIGHT = 24
#: Nests estimated to run for fewer nanoseconds stay as they are: more code takes the compiler its time.
LEAST_WORK = 20_000.0
#: There are as many rows at least, and columns.
LEAST_ROWS, LEAST_COLUMNS = 16, 32


def join_rows(kernel: Kernel) -> Kernel:
    """The kernel with such loops for several rows; the same object if there are none."""
    numbers = count()
    nests = tuple([_nest(nest, numbers) for nest in kernel.nests])
    return kernel if all(a is b for a, b in zip(nests, kernel.nests, strict=True)) else replace(kernel, nests=nests)


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
        if isinstance(statement, For) and _is_shared(statement, streams):
            result += _joined(statement, next(numbers))
            changed = True
            continue
        new = with_bodies(statement, [_inside(body, numbers, streams) for body in bodies(statement)])
        changed = changed or new is not statement
        result.append(new)
    return tuple(result) if changed else statements


def _is_shared(rows: For, streams: bool) -> bool:
    """Whether a loop is one over rows and one over columns with little work, most of whose memory is that of columns."""
    if rows.ordered or rows.work or rows.symbol.extent < LEAST_ROWS or len(rows.body) != 1:
        return False
    (columns,) = rows.body
    if not isinstance(columns, For) or columns.ordered or columns.symbol.extent < LEAST_COLUMNS:
        return False
    if rows.symbol in {*symbols(columns.begin), *symbols(columns.end)}:
        return False
    if not all(isinstance(s, (Let, Accumulate)) or (isinstance(s, Store) and not streams) for s in columns.body):
        return False
    if sum(map(instructions_of, columns.body)) > LIGHT:
        return False
    written = [s for s in columns.body if isinstance(s, (Store, Accumulate))]
    targets = {statement.buffer for statement in written}
    read = {(buffer, *index): (buffer, index) for statement in columns.body for buffer, index in loads_of(statement)}.values()
    if len(targets) < len(written) or any(buffer in targets for buffer, _ in read):
        return False
    for statement in written:
        along = {symbol for part in statement.index for symbol in symbols(part)}
        if columns.symbol not in statement.index or (rows.symbol in along) is isinstance(statement, Accumulate):
            return False
    by_row = [(buffer, index) for buffer, index in read if any(rows.symbol in symbols(part) for part in index)]
    sums = sum(isinstance(statement, Accumulate) for statement in written)
    own, spared = len(by_row) + len(written) - sums, len(read) - len(by_row) + 2 * sums
    # A processor fetches ahead along one row better than along four: rows from memory must be outweighed by more.
    far = sum(buffer.nbytes for buffer in {buffer for buffer, _ in by_row}) > cache_bytes() // 2
    return spared > 2 * own if far else spared >= own


def _joined(rows: For, number: int) -> list[Statement]:
    (columns,) = rows.body
    assert isinstance(columns, For)
    groups = Apply("floor_divide", (index_add(rows.end, index_mul(rows.begin, -1)), integer(ROWS)), int64)
    group = axis(f"rows{number}", rows.symbol.extent // ROWS)
    first = index_add(rows.begin, index_mul(group, ROWS))
    body = [statement for row in range(ROWS)
            for statement in renamed(columns.body, {rows.symbol: index_add(first, integer(row))}, f"row{row}")]
    together = For(group, integer(0), groups, (replace(columns, body=tuple(body)),))
    return [together, replace(rows, begin=index_add(rows.begin, index_mul(groups, ROWS)))]
