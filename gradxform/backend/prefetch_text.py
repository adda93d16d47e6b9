"""What a loop looks up in a large array is asked for some iterations ahead.

    for i: s += v[i] * x[c[i]]    ->    for i: { prefetch x[c[min(i + 64, n - 1)]] ; s += v[i] * x[c[i]] }

A processor fetches ahead what lies in order, which looked-up elements do not; it waits for those that are not in its second
cache, as far as it cannot look ahead itself. An index that is out of range does no harm here: nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from gradxform.backend.instructions import memory_type
from gradxform.backend.interleave import in_full
from gradxform.loopir.expression import INDEX_CHECKS, Apply, Expression, Load, Symbol, known, loads, parts, symbols
from gradxform.loopir.loops import For, Let, bodies, operands
from gradxform.loopir.printer import expression_text

if TYPE_CHECKING:
    from gradxform.backend.nest_text import NestWriter

#: Arrays of at least so many bytes, beside what else is read, do not stay in the second cache.
LARGE_BYTES = 1 << 19
#: So many iterations ahead. Loops of fewer than four times as many look ahead in the loop around them.
AHEAD = 64
#: What may be computed from integers without harm, whatever they are.
WHOLE = ("add", "sub", "mul", "convert")


def write_prefetches(writer: NestWriter, loop: For) -> None:
    """At the beginning of the body of ``loop``, the innermost of ``writer.loops``."""
    if any(isinstance(inner, For) for statement in loop.body for inner in (statement, *chain(*bodies(statement)))):
        return
    depth, ahead = len(writer.loops) - 1, AHEAD
    begin, end = known(loop.begin), known(loop.end)
    if begin is not None and end is not None and end - begin < 4 * AHEAD:
        depth, ahead = depth - 1, -(-AHEAD // max(end - begin, 1))
    if depth < 0:
        return
    symbol, limit = writer.loops[depth]
    lets = {statement.symbol: statement.value for statement in loop.body if isinstance(statement, Let)}
    found: dict[str, Load] = {}
    for load in _lookups(loop, lets):
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
        writer.append(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 3, i32 1)")
    writer.symbols[symbol] = here


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
