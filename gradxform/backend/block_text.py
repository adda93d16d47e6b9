"""Loops in blocks of iterations: what a block has stored on the stack is moved to where it belongs when the block is done.

    for i in begin .. end: { ... }
    ->  for start in begin .. end by lanes: { for i in start .. min(start + lanes, end): { ... } ; move }
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.loopir.expression import Symbol
from gradxform.loopir.loops import For

if TYPE_CHECKING:
    from gradxform.backend.nest_text import NestWriter


@data_class(frozen=True, slots=True, eq=False)
class Block:
    """The iterations of one block, from ``start`` to before ``stop``: ``inner`` runs over them."""

    inner: For
    start: str
    stop: str


@contextmanager
def in_blocks(writer: NestWriter, loop: For, lanes: int, stem: str) -> Iterator[Block]:
    """Write a loop over blocks of up to ``lanes`` iterations of ``loop``; its body is what is written in this context."""
    begin, end = writer.value(loop.begin, {}), writer.value(loop.end, {})
    body, done = writer.block(stem), writer.block("done")
    before = writer.label
    writer.append(f"br i1 {writer.temporary(f'icmp slt i64 {begin}, {end}')}, label %{body}, label %{done}")
    writer.start_block(body)
    start, following = writer.fresh(), writer.fresh()
    phi = len(writer.lines)
    writer.append("")
    writer.append(f"{following} = add nsw i64 {start}, {lanes}")
    more = writer.temporary(f"icmp slt i64 {following}, {end}")
    stop = writer.temporary(f"select i1 {more}, i64 {following}, i64 {end}")
    first, last = Symbol("start", int64), Symbol("stop", int64)
    writer.symbols[first], writer.symbols[last] = start, stop
    yield Block(replace(loop, begin=first, end=last), start, stop)
    writer.lines[phi] = f"{start} = phi i64 [{begin}, %{before}], [{following}, %{writer.label}]"
    writer.append(f"br i1 {more}, label %{body}, label %{done}")
    writer.start_block(done)
