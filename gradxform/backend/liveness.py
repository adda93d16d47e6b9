"""What statements touch: their buffers, their free symbols; and the layout of the arena by the lifetimes of buffers."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

from gradxform.loopir.expression import Symbol, loads, symbols
from gradxform.loopir.loops import (
    WORKSPACE,
    Accumulate,
    Buffer,
    Call,
    Contract,
    For,
    Fork,
    Let,
    Multiply,
    Native,
    Nest,
    Reserve,
    Statement,
    Store,
    While,
    bodies,
    operands,
)


def lay_out(temporaries: Sequence[Buffer], nests: Sequence[Nest]) -> tuple[dict[str, int], int]:
    """Offsets in one arena; memory is reused once the last nest that touches a buffer has run (first fit)."""
    lifetime: dict[Buffer, tuple[int, int]] = {}
    for position, nest in enumerate(nests):
        for buffer in touched(nest.body):
            if buffer.space == "arena":
                first, _ = lifetime.get(buffer, (position, position))
                lifetime[buffer] = (first, position)
    offsets: dict[str, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # begin, end, first, last; in order
    total = 0
    for buffer in sorted((b for b in temporaries if b in lifetime), key=lambda b: -b.nbytes):
        first, last = lifetime[buffer]
        begin = 0
        for other_begin, other_end, other_first, other_last in placed:
            if other_last < first or other_first > last:
                continue
            if begin + buffer.nbytes <= other_begin:
                break
            begin = max(begin, -(-other_end // 64) * 64)
        offsets[buffer.name] = begin
        insort(placed, (begin, begin + buffer.nbytes, first, last))
        total = max(total, begin + buffer.nbytes)
    return offsets, total


def touched(statements: Sequence[Statement]) -> dict[Buffer, None]:
    """The buffers that statements read or write, in order of first use."""
    found: dict[Buffer, None] = {}
    for statement in statements:
        for operand in operands(statement):
            found.update(dict.fromkeys(load.buffer for load in loads(operand)))
        if isinstance(statement, (Store, Accumulate, Reserve)):
            found[statement.buffer] = None
        elif isinstance(statement, (Multiply, Contract)):
            for matrix in (statement.left, statement.right, statement.result):
                found[matrix.buffer] = None
            if isinstance(statement, Multiply):
                found[WORKSPACE] = None
        elif isinstance(statement, (Call, Native)):
            for region in (*statement.arguments, *statement.results):
                found[region.buffer] = None
            if isinstance(statement, Native) and statement.workspace:
                found[WORKSPACE] = None
        for inner in bodies(statement):
            seen = touched(inner)
            if isinstance(statement, Fork):
                seen = {buffer: None for buffer in seen if buffer not in statement.locals}
            found.update(seen)
    return found


def free_symbols(statements: Sequence[Statement]) -> dict[Symbol, None]:
    """The symbols that statements use and do not bind, in order of first use."""
    bound: dict[Symbol, None] = {}
    found: dict[Symbol, None] = {}

    def walk(inner: Sequence[Statement]) -> None:
        for statement in inner:
            if isinstance(statement, While):  # its condition sees what its head binds
                walk(statement.head)
            for operand in operands(statement):
                found.update(dict.fromkeys(symbol for symbol in symbols(operand) if symbol not in bound))
            if isinstance(statement, (Let, For, Fork)):
                bound[statement.symbol] = None
            for body in bodies(statement):
                walk(body)

    walk(statements)
    return found
