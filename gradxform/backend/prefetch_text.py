"""What a loop looks up in a large array is asked for some iterations ahead.

    for i: s += v[i] * x[c[i]]    ->    for i: { prefetch x[c[min(i + 64, n - 1)]] ; s += v[i] * x[c[i]] }

Of rows that are looked up for a loop over their elements the first lines are asked for, some rows ahead:

    for i: { k = w[i] ; for j: s += x[k, j] }    ->    for i: { prefetch x[w[i + 8], :] ; k = w[i] ; for j: s += x[k, j] }

A processor fetches ahead what lies in order, which looked-up elements do not; it waits for those that are not in its second
cache, as far as it cannot look ahead itself. An index that is out of range does no harm here: nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from gradxform.backend.instructions import memory_type
from gradxform.backend.interleave import in_full
from gradxform.loopir.expression import INDEX_CHECKS, ZERO, Apply, Expression, Load, Symbol, known, loads, parts, symbols
from gradxform.loopir.loops import Accumulate, For, Let, bodies, operands
from gradxform.loopir.printer import expression_text

if TYPE_CHECKING:
    from gradxform.backend.nest_text import NestWriter

#: Arrays of at least so many bytes, beside what else is read, do not stay in the second cache.
LARGE_BYTES = 1 << 19
#: So many iterations ahead. Loops of fewer than four times as many look ahead in the loop around them.
AHEAD = 64
#: A line of a cache, and so many of a row at most: then the processor has seen that they lie in order.
LINE_BYTES = 64
ROW_LINES = 8
#: What may be computed from integers without harm, whatever they are.
WHOLE = ("add", "sub", "mul", "convert")


def write_prefetches(writer: NestWriter, loop: For) -> None:
    """At the beginning of the body of ``loop``, the innermost of ``writer.loops``."""
    depth, ahead = len(writer.loops) - 1, AHEAD
    lets = {statement.symbol: statement.value for statement in loop.body if isinstance(statement, Let)}
    if any(isinstance(inner, For) for statement in loop.body for inner in (statement, *chain(*bodies(statement)))):
        lines = {load: _lines(load) for load in _rows(loop, lets)}
        ahead = max(1, AHEAD // max(lines.values(), default=1))
        lines = {load: min(count, ROW_LINES) for load, count in lines.items()}
    else:
        lines = dict.fromkeys(_lookups(loop, lets), 1)
        begin, end = known(loop.begin), known(loop.end)
        if begin is not None and end is not None and end - begin < 4 * AHEAD:
            depth, ahead = depth - 1, -(-AHEAD // max(end - begin, 1))
    if depth < 0:
        return
    symbol, limit = writer.loops[depth]
    found: dict[str, Load] = {}
    for load in lines:
        used = {inner for part in load.index for inner in symbols(part)}
        if symbol in used and used.isdisjoint(lets) and used <= writer.symbols.keys():
            found.setdefault(expression_text(load), load)
    if not found:
        return
    here = writer.symbols[symbol]
    further = writer.temporary(f"add nsw i64 {here}, {ahead}")
    last = writer.temporary(f"add nsw i64 {limit}, -1")
    inside = writer.temporary(f"icmp slt i64 {further}, {last}")
    writer.symbols[symbol] = writer.temporary(f"select i1 {inside}, i64 {further}, i64 {last}")
    writer.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    for load in found.values():
        memo: dict[int, str] = {}
        place = "0"
        for part, stride in zip(load.index, load.buffer.strides, strict=True):
            number = writer.value(_number(part), memo)
            place = writer.temporary(f"add i64 {place}, {writer.temporary(f'mul i64 {number}, {stride}')}")
        address = writer.temporary(
            f"getelementptr {memory_type(load.buffer.dtype)}, ptr {writer.pointers[load.buffer]}, i64 {place}")
        for line in range(lines[load]):
            following = writer.temporary(f"getelementptr i8, ptr {address}, i64 {line * LINE_BYTES}") if line else address
            writer.append(f"call void @llvm.prefetch.p0(ptr {following}, i32 0, i32 3, i32 1)")
    writer.symbols[symbol] = here


def _lines(row: Load) -> int:
    """How many lines a row has."""
    position = max(number for number, part in enumerate(row.index) if any(loads(part)))
    row_bytes: int = row.buffer.strides[position] * row.buffer.nbytes // row.buffer.size
    return -(-row_bytes // LINE_BYTES)


def _rows(loop: For, lets: Mapping[Symbol, Expression]) -> Iterator[Load]:
    """The first elements of the rows of large arrays that ``loop`` looks up, and loops within it pass over."""
    statements = [inner for statement in loop.body if isinstance(statement, For) for inner in statement.body]
    for statement in statements:
        elements = [load for operand in operands(statement) for load in loads(operand)]
        if isinstance(statement, Accumulate):
            elements.append(Load(statement.buffer, statement.index, statement.buffer.dtype))
        for element in elements:
            if element.buffer.nbytes >= LARGE_BYTES and element.buffer.space != "tape":
                index = [in_full(part, lets) for part in element.index]
                looked_up = [number for number, part in enumerate(index) if any(loads(part))]
                if looked_up and all(_is_simple(index[number]) for number in looked_up):
                    # What follows runs over the row.
                    after = len(index) - looked_up[-1] - 1
                    yield Load(element.buffer, (*index[:looked_up[-1] + 1], *[ZERO] * after), element.dtype)


def _lookups(loop: For, lets: Mapping[Symbol, Expression]) -> Iterator[Load]:
    """What every iteration looks up in large arrays, by integers that are read from others."""
    for statement in loop.body:
        stack, seen = list(operands(statement)), set[int]()
        while stack:
            part = stack.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            if isinstance(part, Apply):
                # What a guard keeps from being read may lie outside.
                stack.extend(part.operands[:1] if part.operation == "guard" else part.operands)
            elif isinstance(part, Load):
                stack.extend(part.index)
                if part.buffer.nbytes >= LARGE_BYTES and part.buffer.space != "tape":
                    index = tuple([in_full(place, lets) for place in part.index])
                    if any(map(loads, index)) and all(map(_is_simple, index)):
                        yield Load(part.buffer, index, part.dtype)


def _number(part: Expression) -> Expression:
    """An index before it is checked."""
    return part.operands[0] if isinstance(part, Apply) and part.operation in INDEX_CHECKS else part


def _is_simple(part: Expression) -> bool:
    return all(inner.dtype.kind in "iu" and (not isinstance(inner, Apply) or inner.operation in WHOLE)
               for inner in parts(_number(part)))
