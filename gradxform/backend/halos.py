"""A loop that reads what the loop before it computes at its neighbours runs together with it, block by block.

    for i in 0 .. n: t[i] = f(i)
    for i in 0 .. n: y[i] = g(t[i - 1], t[i + 1])        guarded at the ends
    ->  for b in 0 .. n by 256: { for i in b - 1 .. b + 257: u[i - b + 1] = f(i) ; for i in b .. b + 256: y[i] = ... u ... }

The few values at the ends of a block, its halo, are also computed by the block beside it, and arrays that would have been
written to memory and read again stay in a near cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

from gradxform.backend.blocks import accesses
from gradxform.backend.journal import SILENT, Journal
from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.loopir.expression import (
    ZERO,
    Apply,
    Expression,
    Load,
    Symbol,
    axis,
    index_add,
    index_mul,
    integer,
    known,
    substitute,
)
from gradxform.loopir.loops import (
    WORKSPACE,
    Accumulate,
    Buffer,
    For,
    Kernel,
    Let,
    Nest,
    Statement,
    Store,
    bodies,
    with_bodies,
    with_operands,
    written,
)

#: Arrays of fewer bytes stay in a near cache from one loop to the next.
LEAST_BYTES = 1 << 19
#: What a block computes for itself takes so many bytes, and stays in the first cache with what is read and written beside
#: it; or up to the second number, where these are too few iterations beside the halo: `HALO_SHARE` times as many at least.
BLOCK_BYTES, MOST_BYTES = 1 << 13, 3 << 17
HALO_SHARE = 8
#: Longer blocks are whole numbers of this many iterations: their rows begin where lines of memory do.
LINE = 16
#: Nanoseconds of estimated work, on one number at a time, that it is worth to save a byte's way out and back.
NANOSECONDS_PER_BYTE = 0.2


@data_class(frozen=True, slots=True, eq=False)
class Halo:
    """Iterations of the loop before that are read at ``below`` .. ``above`` from one's own, through ``buffers``."""

    producer: For
    consumer: For
    buffers: tuple[Buffer, ...]
    below: int
    above: int


def join_neighbours(kernel: Kernel, journal: Journal = SILENT) -> Kernel:
    """The kernel with such pairs of nests as one nest each; the same object if there are none."""
    if sum(buffer.nbytes for buffer in kernel.temporaries) < LEAST_BYTES:
        return kernel
    nests: list[Nest] = []
    gone: set[Buffer] = set()
    users: Counter[Buffer] = Counter()
    for position, nest in enumerate(kernel.nests):
        halo = _halo(kernel, position, users) if nests and kernel.nests[position - 1] is nests[-1] else None
        joined = None if halo is None else _joined(nests[-1], nest, halo, len(nests), journal)
        if halo is None or joined is None:
            nests.append(nest)
        else:
            nests[-1] = joined
            gone.update(halo.buffers)
    if not gone:
        return kernel
    left = tuple([buffer for buffer in kernel.temporaries if buffer not in gone])
    offsets = {name: place for name, place in kernel.offsets.items() if all(name != buffer.name for buffer in gone)}
    # What products and routines need lies behind all else, and stays where it is.
    ends = [offsets[buffer.name] + buffer.nbytes for buffer in left if buffer.name in offsets]
    arena = kernel.arena_bytes if WORKSPACE.name in offsets else -(-max(ends, default=0) // 64) * 64
    return replace(kernel, temporaries=left, nests=tuple(nests), offsets=offsets, arena_bytes=arena)


# ------------------------------------------------------------------------------------------------- what may be joined


def _halo(kernel: Kernel, position: int, users: Counter[Buffer]) -> Halo | None:
    """What joins a nest and the one before it. ``users`` counts the nests that touch a buffer, once that is asked."""
    first, second = kernel.nests[position - 1], kernel.nests[position]
    if not second.chunks or len(first.body) != 1 or not isinstance(first.body[0], For):
        return None
    producer = first.body[0]
    if not first.chunks and (producer.begin is not ZERO or known(producer.end) != producer.symbol.extent):
        return None
    loops = [statement for statement in second.body if isinstance(statement, For)]
    stored = {buffer for statement in _all(producer.body) for buffer in written(statement)} - set(first.locals)
    readers = [loop for loop in loops if not stored.isdisjoint(_touched((loop,)))]
    plain = [*_all(producer.body), *_all(second.body)]
    if len(readers) != 1 or readers[0].symbol.extent < 1 or producer.ordered or readers[0].ordered or not all(
            isinstance(s, (Let, Store, Accumulate, For)) for s in plain):
        return None
    consumer = readers[0]
    if sum(buffer.nbytes for buffer in stored) < LEAST_BYTES or not all(buffer in kernel.temporaries for buffer in stored):
        return None
    if not _only_own(producer, stored) or any(buffer.shape[0] != producer.symbol.extent for buffer in stored):
        return None
    distances = _distances(consumer, stored)
    if not distances or _overwrites(kernel, second, first, stored):
        return None
    if not users:
        users.update(buffer for nest in kernel.nests for buffer in _touched(nest.body))
    rest = [statement for statement in second.body if statement is not consumer]
    if any(users[buffer] != 2 for buffer in stored) or not stored.isdisjoint(_touched(rest)):
        return None
    ordered = tuple([buffer for buffer in kernel.temporaries if buffer in stored])
    return Halo(producer, consumer, ordered, max(0, -min(distances)), max(0, max(distances)))


def _all(statements: Sequence[Statement]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        for body in bodies(statement):
            yield from _all(body)


def _touched(statements: Sequence[Statement]) -> set[Buffer]:
    return {buffer for statement in _all(statements) for buffer, _ in accesses(statement)}


def _overwrites(kernel: Kernel, second: Nest, first: Nest, stored: set[Buffer]) -> bool:
    """Whether the second nest writes where the first reads: blocks of the first will come after some of the second."""
    def place(buffer: Buffer) -> tuple[int, int]:
        begin = kernel.offsets.get(buffer.name, 0)
        return begin, begin + buffer.nbytes

    changed = {buffer for statement in _all(second.body) for buffer in written(statement)} - set(second.locals)
    read = _touched(first.body) - stored - set(first.locals)
    for one in changed:
        for other in read:
            if one is other:
                return True
            if one.space == other.space == "arena" and place(one)[0] < place(other)[1] and place(other)[0] < place(one)[1]:
                return True
    return not stored.isdisjoint(changed)


def _only_own(loop: For, stored: set[Buffer]) -> bool:
    """Whether iterations store, and read again, only what is theirs along the first axis."""
    own = all(isinstance(statement, (Store, Let, For)) or statement.buffer not in stored  # type: ignore[union-attr]
              for statement in _all(loop.body))
    return own and all(index and index[0] is loop.symbol
                       for statement in _all(loop.body) for buffer, index in accesses(statement) if buffer in stored)


def _distances(loop: For, stored: set[Buffer]) -> set[int] | None:
    """How far from its own iteration a loop reads along the first axis; None if that is not known."""
    found: set[int] = set()
    for statement in _all(loop.body):
        for buffer, index in accesses(statement):
            if buffer in stored:
                distance = _distance(index[0], loop.symbol)
                if distance is None:
                    return None
                found.add(distance)
    return found


def _distance(index: Expression, symbol: Symbol) -> int | None:
    if index is symbol:
        return 0
    if isinstance(index, Apply) and index.operation == "add" and index.operands[0] is symbol:
        return known(index.operands[1])
    return None


# ------------------------------------------------------------------------------------------------------- one nest


def _joined(first: Nest, second: Nest, halo: Halo, number: int, journal: Journal) -> Nest | None:
    """Both nests as one, if the halo is worth it."""
    producer, consumer = halo.producer, halo.consumer
    row = sum(prod(buffer.shape[1:]) * buffer.dtype.itemsize for buffer in halo.buffers)
    around = halo.below + halo.above
    # As many iterations as a chunk has: those of all chunks but the last are as many.
    chunk = -(-consumer.symbol.extent // second.chunks)
    block = min(max(BLOCK_BYTES // row, HALO_SHARE * around, 1), chunk)
    block = -(-block // LINE) * LINE if block > LINE else block
    if (block + around) * row > MOST_BYTES:
        return None
    total = sum(buffer.nbytes for buffer in halo.buffers)
    if first.work * around / block > NANOSECONDS_PER_BYTE * total:
        return None
    symbol = axis(f"halo.{number}", -(-consumer.symbol.extent // block))
    start = index_add(consumer.begin, index_mul(symbol, block))
    stop = Apply("minimum", (index_add(start, integer(block)), consumer.end), int64)
    begin = Apply("maximum", (index_add(start, integer(-halo.below)), ZERO), int64)
    end = Apply("minimum", (index_add(stop, integer(halo.above)), integer(producer.symbol.extent)), int64)
    own = {buffer: Buffer(f"{buffer.name}.h{number}", buffer.dtype, (block + around, *buffer.shape[1:]), "local")
           for buffer in halo.buffers}
    for old, new in own.items():
        journal.moved(old, new)
    shift = index_add(Apply("mul", (start, integer(-1)), int64), integer(halo.below))
    parts = [replace(loop, begin=low, end=high, body=_moved(loop, own, shift, f"place.{number}.{which}"))
             for which, (loop, low, high) in enumerate(((producer, begin, end), (consumer, start, stop)))]
    length = index_add(consumer.end, index_mul(consumer.begin, -1))
    blocks = Apply("floor_divide", (index_add(length, integer(block - 1)), integer(block)), int64)
    around_blocks = For(symbol, ZERO, blocks, tuple(parts))
    return replace(
        second,
        body=tuple([around_blocks if statement is consumer else statement for statement in second.body]),
        locals=(*first.locals, *own.values(), *second.locals),
        repeatable=first.repeatable and second.repeatable,
        work=first.work + second.work,
        values=(*first.values, *second.values),
    )


def _moved(loop: For, own: dict[Buffer, Buffer], shift: Expression, name: str) -> tuple[Statement, ...]:
    """The body of a loop with what lies in memory of the block."""
    place = Symbol(name, int64)

    def index_of(index: Sequence[Expression]) -> tuple[Expression, ...]:
        distance = _distance(index[0], loop.symbol)
        assert distance is not None
        return index_add(place, integer(distance)), *index[1:]

    def replaced(part: Expression) -> Expression | None:
        if isinstance(part, Load) and part.buffer in own:
            index = [substitute(i, replaced) for i in part.index]
            return Load(own[part.buffer], index_of(index), part.dtype)
        return None

    def moved(statement: Statement) -> Statement:
        new = with_operands(statement, lambda expression: substitute(expression, replaced))
        new = with_bodies(new, [tuple(map(moved, body)) for body in bodies(new)])
        if isinstance(new, Store) and new.buffer in own:
            return replace(new, buffer=own[new.buffer], index=index_of(new.index))
        return new

    return Let(place, index_add(loop.symbol, shift)), *map(moved, loop.body)
