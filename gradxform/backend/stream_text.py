"""Loops that fill more memory than the caches hold: what they store goes past the caches.

An ordinary store first reads the line that it changes, and throws out of the cache what might be wanted again. Here a loop
stores into a block on the stack, and the block is copied with non-temporal stores, whole aligned lines of them:

    for i in begin .. end: out[i] = f(i)
    ->  for b in begin .. end by 256: { for i in b .. b + 256: block[i - b] = f(i) ; stream(out + b, block) }
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from gradxform.backend.block_text import in_blocks
from gradxform.backend.fission import instructions_of
from gradxform.backend.instructions import memory_type
from gradxform.loopir.expression import Constant, Symbol, loads
from gradxform.loopir.loops import Accumulate, Buffer, For, Let, Statement, Store, bodies, operands, written

if TYPE_CHECKING:
    from gradxform.backend.nest_text import NestWriter

#: Bytes of a block: many lines, and well within the nearest cache.
BLOCK_BYTES = 2048
#: Instructions per 8 bytes stored up to which a loop waits for memory, not for arithmetic.
LIGHT = 48
#: What the last cache is taken to hold where the system does not tell.
USUAL_CACHE_BYTES = 32 << 20


def _word_by_word(label: str, i: str, before: str, first: str, last: str, after: str) -> str:
    """A loop that copies the words from ``first`` up to ``last``; it is entered from ``before`` and goes on with ``after``."""
    return f"""{label}:
  %{i} = phi i64 [{first}, %{before}], [%{i}.next, %{label}.one]
  %{label}.more = icmp ult i64 %{i}, {last}
  br i1 %{label}.more, label %{label}.one, label %{after}
{label}.one:
  %{i}.from = getelementptr i32, ptr %from, i64 %{i}
  %{i}.word = load i32, ptr %{i}.from, align 4
  %{i}.to = getelementptr i32, ptr %to, i64 %{i}
  store i32 %{i}.word, ptr %{i}.to, align 4
  %{i}.next = add i64 %{i}, 1
  br label %{label}
"""


#: Copies 4-byte words. Lines that begin before `to` or end behind it are not whole, and are stored as usual.
STREAM = """define void @gx.memory.stream(ptr noalias captures(none) %to, ptr noalias readonly captures(none) %from,
    i64 %words) noinline nounwind {
start:
  %address = ptrtoint ptr %to to i64
  %negative = sub i64 0, %address
  %bytes = and i64 %negative, 63
  %ahead = lshr i64 %bytes, 2
  %few = icmp ult i64 %words, %ahead
  %first = select i1 %few, i64 %words, i64 %ahead
  %rest = sub i64 %words, %first
  %whole = and i64 %rest, -16
  %last = add i64 %first, %whole
  br label %head
""" + _word_by_word("head", "i", "start", "0", "%first", "line") + """line:
  %j = phi i64 [%first, %head], [%j.next, %line.one]
  %line.more = icmp ult i64 %j, %last
  br i1 %line.more, label %line.one, label %tail
line.one:
  %j.from = getelementptr i32, ptr %from, i64 %j
  %j.words = load <16 x i32>, ptr %j.from, align 4
  %j.to = getelementptr i32, ptr %to, i64 %j
  store <16 x i32> %j.words, ptr %j.to, align 64, !nontemporal !0
  %j.next = add i64 %j, 16
  br label %line
""" + _word_by_word("tail", "k", "line", "%last", "%words", "done") + """done:
  ret void
}
!0 = !{i32 1}
"""


@cache
def cache_bytes() -> int:
    """The size of the last cache."""
    largest = 0
    folder = "/sys/devices/system/cpu/cpu0/cache"
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        place = os.path.join(folder, name, "size")
        if not os.path.isfile(place):
            continue
        with open(place) as file:
            text = file.read().strip()
        unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
        digits = text.rstrip("KMG")
        largest = max(largest, int(digits) * unit if digits.isdigit() else 0)
    return largest or USUAL_CACHE_BYTES


def streamable(statements: Sequence[Statement], beside: bool = False) -> frozenset[Buffer]:
    """The outputs that a nest only stores to, if they are too large together for the caches; or ``beside`` all that it reads
    from outside, if they are a good part of that.
    """
    stored: set[Buffer] = set()
    read: set[Buffer] = set()

    def walk(part: Sequence[Statement]) -> None:
        for statement in part:
            for operand in operands(statement):
                read.update(load.buffer for load in loads(operand))
            (stored if isinstance(statement, Store) else read).update(written(statement))
            for body in bodies(statement):
                walk(body)

    walk(statements)
    found = {b for b in stored - read if b.space == "output" and b.dtype.itemsize in (4, 8)}
    filled = sum(b.nbytes for b in found)
    others = sum(b.nbytes for b in read if b.space == "input") if beside and 4 * filled > cache_bytes() else 0
    return frozenset(found if filled + others > cache_bytes() else ())


def targets(writer: NestWriter, loop: For) -> dict[Buffer, Store]:
    """The stores of a loop that are to go past the caches."""
    if writer.diverted or loop.ordered or loop.work or not all(isinstance(s, (Let, Store, Accumulate)) for s in loop.body):
        return {}
    stores = [s for s in loop.body if isinstance(s, Store) and s.buffer in writer.streamable]
    found = {s.buffer: s for s in stores if _runs_along(writer, loop, s)}
    light = 8 * sum(map(instructions_of, loop.body)) <= LIGHT * sum(buffer.dtype.itemsize for buffer in found)
    # A buffer with several stores in an iteration is left alone.
    return found if light and len(found) == len(stores) else {}


def _runs_along(writer: NestWriter, loop: For, store: Store) -> bool:
    """Whether a loop stores to neighbouring elements, one after the other, and to many of them."""
    moving = [stride for part, stride in zip(store.index, store.buffer.strides, strict=True) if part is loop.symbol]
    fixed = all(part is loop.symbol or isinstance(part, Constant) or (isinstance(part, Symbol) and part in writer.symbols)
                for part in store.index)
    return moving == [1] and fixed and loop.symbol.extent * store.buffer.dtype.itemsize >= BLOCK_BYTES


def write_streamed(writer: NestWriter, loop: For, found: dict[Buffer, Store]) -> None:
    """The loop in blocks, each followed by copies of what it has stored."""
    writer.stream_past()
    lanes = BLOCK_BYTES // max(buffer.dtype.itemsize for buffer in found)
    with in_blocks(writer, loop, lanes, "stream") as part:
        for buffer in found:
            block = f"%{writer.block('block')}"
            writer.entry_lines.append(f"{block} = alloca [{lanes} x {memory_type(buffer.dtype)}], align 64")
            writer.diverted[buffer] = (block, loop.symbol, part.start, 0, 0)
        writer.loop(part.inner)
        count = writer.temporary(f"sub nsw i64 {part.stop}, {part.start}")
        writer.symbols[loop.symbol] = part.start
        for buffer, store in found.items():
            block = writer.diverted.pop(buffer)[0]
            words = writer.temporary(f"mul nsw i64 {count}, {buffer.dtype.itemsize // 4}")
            address = writer.address(buffer, store.index, {})
            writer.append(f"call void @gx.memory.stream(ptr {address}, ptr {block}, i64 {words})")
