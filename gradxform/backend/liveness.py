"""What statements touch: their buffers, their free symbols; and the layout of the arena by the lifetimes of buffers."""

from __future__ import annotations

from collections.abc import Sequence

from gradxform.loopir.expression import Apply, Expression, Load, Symbol
from gradxform.loopir.loops import Accumulate, Buffer, For, Let, Nest, Part, Statement, Store


def lay_out(temporaries: Sequence[Buffer], nests: Sequence[Nest]) -> tuple[dict[str, int], int]:
    """Offsets in one arena; memory is reused once the last nest that touches a buffer has run (first fit)."""
    lifetime: dict[Buffer, tuple[int, int]] = {}
    for position, nest in enumerate(nests):
        for buffer in touched(nest.body):
            if buffer.space == "arena":
                first, _ = lifetime.get(buffer, (position, position))
                lifetime[buffer] = (first, position)
    offsets: dict[str, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # begin, end, first, last
    total = 0
    for buffer in sorted((b for b in temporaries if b in lifetime), key=lambda b: -b.nbytes):
        first, last = lifetime[buffer]
        begin = 0
        for other_begin, other_end, other_first, other_last in sorted(placed):
            if other_last < first or other_first > last:
                continue
            if begin + buffer.nbytes <= other_begin:
                break
            begin = max(begin, -(-other_end // 64) * 64)
        offsets[buffer.name] = begin
        placed.append((begin, begin + buffer.nbytes, first, last))
        total = max(total, begin + buffer.nbytes)
    return offsets, total


def touched(statements: Sequence[Statement]) -> dict[Buffer, None]:
    """The buffers that statements read or write, in order of first use."""
    found: dict[Buffer, None] = {}

    def expression(part: Expression) -> None:
        stack = [part]
        while stack:
            top = stack.pop()
            if isinstance(top, Load):
                found[top.buffer] = None
                stack.extend(top.index)
            elif isinstance(top, Apply):
                stack.extend(top.operands)

    for statement in statements:
        if isinstance(statement, Let):
            expression(statement.value)
        elif isinstance(statement, (Store, Accumulate)):
            expression(statement.value)
            for part in statement.index:
                expression(part)
            found[statement.buffer] = None
        elif isinstance(statement, For):
            expression(statement.begin)
            expression(statement.end)
            found.update(touched(statement.body))
        elif isinstance(statement, Part):
            found.update(touched(statement.body))
        else:
            for matrix in (statement.left, statement.right, statement.result):
                found[matrix.buffer] = None
    return found


def free_symbols(statements: Sequence[Statement]) -> dict[Symbol, None]:
    """The symbols that statements use and do not bind, in order of first use."""
    bound: dict[Symbol, None] = {}
    found: dict[Symbol, None] = {}

    def expression(part: Expression) -> None:
        stack = [part]
        while stack:
            top = stack.pop()
            if isinstance(top, Symbol):
                if top not in bound:
                    found[top] = None
            elif isinstance(top, Load):
                stack.extend(top.index)
            elif isinstance(top, Apply):
                stack.extend(top.operands)

    def walk(inner: Sequence[Statement]) -> None:
        for statement in inner:
            if isinstance(statement, Let):
                expression(statement.value)
                bound[statement.symbol] = None
            elif isinstance(statement, (Store, Accumulate)):
                for part in (*statement.index, statement.value):
                    expression(part)
            elif isinstance(statement, For):
                expression(statement.begin)
                expression(statement.end)
                bound[statement.symbol] = None
                walk(statement.body)
            elif isinstance(statement, Part):
                walk(statement.body)

    walk(statements)
    return found
