"""A loop's body in pieces, each a loop of its own over a block of iterations.

    for i in 0 .. n: { first ; second }
    ->  for b in 0 .. n / 64: { for i in block b: { first } ; for i in block b: { second } }

Values that cross from one piece to a later one go through memory, an element per iteration of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from typing import TypeVar

from gradxform.backend.journal import SILENT, Journal
from gradxform.data_class import data_class
from gradxform.dtypes import DType, int64
from gradxform.loopir.expression import (
    ZERO,
    Apply,
    Constant,
    Expression,
    Load,
    Symbol,
    axis,
    index_add,
    index_mul,
    integer,
    loads,
    substitute,
    symbols,
)
from gradxform.loopir.loops import Accumulate, Buffer, For, Let, Statement, Store, bodies, operands, with_bodies, with_operands

_Value = TypeVar("_Value")

#: Rows of more elements are vectorised by themselves.
LONG_ROW = 16


@data_class(slots=True, eq=False)
class Blocks:
    """Makes pieces in one nest. ``stem`` tells the names of one pass from those of another; ``buffers`` are the new ones."""

    stem: str
    journal: Journal = SILENT
    buffers: list[Buffer] = field(default_factory=list)
    count: int = 0

    def number(self) -> str:
        self.count += 1
        return f"{self.stem}{self.count}"

    def pieces(
        self, loop: For, groups: Sequence[list[Statement]], private: Sequence[Buffer], largest: int,
        wrap: Callable[[For], Statement],
    ) -> list[Statement]:
        """The loop with each of the ``groups`` of its body in a loop of its own, over blocks of ``largest`` iterations at
        most; ``private`` buffers get an element per iteration.
        """
        crossing = crossing_symbols(groups)
        extent = loop.symbol.extent
        if loop.begin is ZERO and isinstance(loop.end, Constant) and 0 < extent <= largest:
            groups = self.per_lane(groups, private, extent, loop.symbol)
            homes = self.homes(crossing, (extent,))
            return [wrap(replace(loop, body=tuple(rewritten(group, homes, (loop.symbol,))))) for group in groups]
        homes = self.homes(crossing, (largest,))
        number = self.number()
        block = axis(f"block.{number}", max(1, -(-extent // largest)) if extent > 0 else 1)
        start = index_add(loop.begin, index_mul(block, largest))
        end = Apply("minimum", (index_add(start, integer(largest)), loop.end), int64)
        lane = Symbol(f"lane.{number}", int64)
        groups = self.per_lane(groups, private, largest, lane)
        bind_lane = Let(lane, index_add(loop.symbol, Apply("mul", (start, integer(-1)), int64)))
        parts = [wrap(replace(loop, begin=start, end=end, body=(bind_lane, *rewritten(group, homes, (lane,)))))
                 for group in groups]
        length = index_add(loop.end, index_mul(loop.begin, -1))
        blocks = Apply("floor_divide", (index_add(length, integer(largest - 1)), integer(largest)), int64)
        known_blocks = integer(block.extent) if isinstance(loop.end, Constant) and loop.begin is ZERO else blocks
        return [For(block, ZERO, known_blocks, tuple(parts))]

    def homes(self, crossing: Sequence[Symbol], lanes: tuple[int, ...]) -> dict[Symbol, tuple[Buffer, int]]:
        """A slot of a buffer, one buffer per dtype, for each symbol that crosses."""
        by_dtype: dict[DType, list[Symbol]] = {}
        for symbol in crossing:
            by_dtype.setdefault(symbol.dtype, []).append(symbol)
        homes: dict[Symbol, tuple[Buffer, int]] = {}
        for dtype, crossed in by_dtype.items():
            buffer = Buffer(f"cross.{self.number()}", dtype, (len(crossed), *lanes), "local")
            self.buffers.append(buffer)
            homes.update({symbol: (buffer, slot) for slot, symbol in enumerate(crossed)})
            for symbol in crossed:
                self.journal.moved(symbol, buffer)
        return homes

    def per_lane(
        self, groups: Sequence[list[Statement]], private: Sequence[Buffer], extent: int, lane: Expression
    ) -> Sequence[list[Statement]]:
        """The groups with an element per lane for each element of the private buffers."""
        if not private:
            return groups
        own = {buffer: Buffer(f"{buffer.name}.{self.number()}", buffer.dtype, with_lane(buffer, buffer.shape, extent), "local")
               for buffer in private}
        self.buffers += own.values()
        for old, new in own.items():
            self.journal.moved(old, new)

        def replaced(part: Expression) -> Expression | None:
            if isinstance(part, Load) and part.buffer in own:
                index = [substitute(i, replaced) for i in part.index]
                return Load(own[part.buffer], with_lane(part.buffer, index, lane), part.dtype)
            return None

        def moved(statement: Statement) -> Statement:
            new = with_operands(statement, lambda expression: substitute(expression, replaced))
            new = with_bodies(new, [tuple(map(moved, body)) for body in bodies(new)])
            if isinstance(new, (Store, Accumulate)) and new.buffer in own:
                return replace(new, buffer=own[new.buffer], index=with_lane(new.buffer, new.index, lane))
            return new

        return [[moved(statement) for statement in group] for group in groups]


def with_lane(buffer: Buffer, values: Sequence[_Value], lane: _Value) -> tuple[_Value, ...]:
    """Shape or index of a buffer with a place for the lane: last, so that lanes are neighbours, unless its rows are long."""
    return (lane, *values) if buffer.shape and buffer.shape[-1] > LONG_ROW else (*values, lane)


def loads_of(statement: Statement) -> Iterator[tuple[Buffer, tuple[Expression, ...]]]:
    """Buffer and index of each load of a statement."""
    for operand in operands(statement):
        for load in loads(operand):
            yield load.buffer, load.index


def accesses(statement: Statement) -> list[tuple[Buffer, tuple[Expression, ...]]]:
    """What a statement by itself reads, and then what it writes to."""
    found = list(loads_of(statement))
    if isinstance(statement, (Store, Accumulate)):
        found.append((statement.buffer, statement.index))
    return found


def crossing_symbols(groups: Sequence[Sequence[Statement]]) -> list[Symbol]:
    """Symbols bound in one group and used in a later one, in order of definition."""
    defined: dict[Symbol, int] = {}
    found: dict[Symbol, None] = {}

    def walk(statements: Sequence[Statement], position: int, outermost: bool) -> None:
        for statement in statements:
            for operand in operands(statement):
                found.update(dict.fromkeys(s for s in symbols(operand) if defined.get(s, position) != position))
            if isinstance(statement, Let) and outermost:
                defined[statement.symbol] = position
            for body in bodies(statement):
                walk(body, position, False)

    for position, group in enumerate(groups):
        walk(group, position, True)
    return list(found)


def rewritten(
    group: Sequence[Statement], homes: dict[Symbol, tuple[Buffer, int]], lane: tuple[Expression, ...]
) -> list[Statement]:
    """The group with loads where it uses what an earlier one has bound, and stores of what a later one uses."""
    bound: dict[Symbol, None] = {}
    loaded: dict[Symbol, Symbol] = {}
    result: list[Statement] = []

    def replace_symbol(part: Expression) -> Expression | None:
        if isinstance(part, Symbol) and part in homes and part not in bound:
            local = loaded.get(part)
            if local is None:
                buffer, slot = homes[part]
                local = loaded[part] = Symbol(f"{part.name}.x", part.dtype)
                result.append(Let(local, Load(buffer, (integer(slot), *lane), part.dtype)))
            return local
        return None

    def rewrite(expression: Expression) -> Expression:
        return substitute(expression, replace_symbol)

    def walk(statement: Statement) -> Statement:
        new = with_operands(statement, rewrite)
        return with_bodies(new, [tuple([walk(s) for s in body]) for body in bodies(new)])

    for statement in group:
        # Loads of crossing values are appended by `rewrite` before the statement that needs them.
        new = walk(statement)
        result.append(new)
        if isinstance(new, Let):
            bound[new.symbol] = None
            if new.symbol in homes:
                buffer, slot = homes[new.symbol]
                result.append(Store(buffer, (integer(slot), *lane), new.symbol))
    return result
