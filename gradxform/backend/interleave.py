"""Updates at computed indices are taken from several places of a loop in turn.

    for i in a .. b: out[k(i)] += u(i)
    ->  for j in 0 .. d: { out[k(a + j)] += u(a + j) ; out[k(a + d + j)] += u(a + d + j) ; ... }
        for i in a + 4 * d .. b: out[k(i)] += u(i)

Indices that are near each other are often equal, and what has just been stored comes back from memory only after some cycles.
Updates from places that are far apart seldom touch the same element, so they need not wait for each other, whatever the order
of the indices; nor is anything guessed. The order of the updates is another one, which the number of iterations and the
indices decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gradxform.dtypes import bool_, int64
from gradxform.loopir.expression import (
    Apply,
    Expression,
    Load,
    Symbol,
    axis,
    index_add,
    integer,
    loads,
    parts,
    substitute,
)
from gradxform.loopir.loops import Accumulate, Buffer, For, Let, Statement, Store, operands, with_operands

#: At most so many places, and so many that a processor can fetch ahead along the arrays at all of them.
WAYS = 4
STREAMS = 9
#: Places are apart by a multiple of this and 8 more, so that they do not meet in the same lines of the first cache.
STEP = 128
COMMUTATIVE = ("add", "mul", "maximum", "minimum", "logical_and", "logical_or")


def ways_of(loop: For) -> int:
    """From how many places of ``loop`` its iterations may be taken in turn; 1 if they must run in order, or do without."""
    lets = {statement.symbol: statement.value for statement in loop.body if isinstance(statement, Let)}
    changed: dict[Buffer, str] = {}
    found = [load for statement in loop.body for operand in operands(statement) for load in loads(operand)]
    streamed = {load.buffer for load in found if loop.symbol in load.index}
    looked_up = False
    for statement in loop.body:
        if isinstance(statement, Let):
            continue
        if not isinstance(statement, (Store, Accumulate)) or statement.buffer.dtype == bool_:
            return 1
        operation = statement.operation if isinstance(statement, Accumulate) else "store"
        if isinstance(statement, Store):
            if loop.symbol not in statement.index or statement.buffer in changed:
                return 1
            streamed.add(statement.buffer)
        elif operation not in COMMUTATIVE or changed.get(statement.buffer, operation) != operation:
            return 1
        else:
            looked_up = looked_up or any(isinstance(inner, Load) for part in statement.index
                                         for inner in parts(in_full(part, lets)))
        changed[statement.buffer] = operation
    if not looked_up or not changed.keys().isdisjoint({load.buffer for load in found}):
        return 1
    return max(2, min(WAYS, STREAMS // max(len(streamed), 1)))


def in_full(expression: Expression, lets: Mapping[Symbol, Expression]) -> Expression:
    """The expression with what symbols stand for in their places."""
    return substitute(expression,
                      lambda part: in_full(lets[part], lets) if isinstance(part, Symbol) and part in lets else None)


def distance(iterations: int, ways: int) -> int:
    """How far apart the places are in a loop of at least so many iterations: a number, which costs no register for each."""
    return (iterations // ways - 8) // STEP * STEP + 8


def interleaved(
    loop: For, ways: int, apart: int, condition: Expression, stem: str,
    guarded: Callable[[Sequence[Accumulate]], list[Statement]] = list,
) -> list[Statement]:
    """The iterations of ``loop`` from ``ways`` places ``apart`` from each other, if ``condition``; then those that are left.

    ``guarded`` gives the statements that make updates which may follow each other.
    """
    step = axis(f"{loop.symbol.name}{stem}", loop.symbol.extent)
    end, left = Symbol(f"end{stem}", int64), Symbol(f"left{stem}", int64)
    ends = [Let(symbol, Apply("select", (condition, index_add(loop.begin, integer(steps)), loop.begin), int64))
            for symbol, steps in ((end, apart), (left, ways * apart))]
    names: list[dict[Symbol, Symbol]] = []
    body: list[Statement] = []
    for way in range(ways):
        here = Symbol(f"{step.name}.{way}", int64, loop.symbol.extent)
        names.append({loop.symbol: here})
        body.append(Let(here, index_add(step, integer(way * apart))))
    for number, statement in enumerate(loop.body):
        # First all that is read, then all that is stored.
        updates: list[Statement] = []
        for way, own in enumerate(names):
            lets, update = _copy(statement, own, f"{stem}.{number}.{way}")
            body += lets
            updates += update
        body += guarded([u for u in updates if isinstance(u, Accumulate)]) if isinstance(statement, Accumulate) else updates
    rest = [s for statement in loop.body
            for s in (guarded([statement]) if isinstance(statement, Accumulate) else (statement,))]
    in_turn = For(step, loop.begin, end, tuple(body), ordered=True, work=loop.work * ways)
    return [*ends, in_turn, replace(loop, begin=left, body=tuple(rest))]


def _copy(statement: Statement, names: dict[Symbol, Symbol], stem: str) -> tuple[list[Statement], list[Statement]]:
    """A statement under other names: what it reads, bound to symbols, and what it then stores."""
    before: list[Statement] = []

    def bound(part: Expression, letter: str) -> Symbol:
        symbol = Symbol(f"{letter}{stem}", part.dtype, part.extent if isinstance(part, Symbol) else -1)
        before.append(Let(symbol, part))
        return symbol

    new = with_operands(statement, lambda whole: substitute(
        whole, lambda part: names.get(part) if isinstance(part, Symbol) else None))
    if isinstance(new, Let):
        names[new.symbol] = symbol = Symbol(f"{new.symbol.name}{stem}", new.symbol.dtype, new.symbol.extent)
        return [Let(symbol, new.value)], []
    assert isinstance(new, (Store, Accumulate))
    index = tuple([bound(part, f"k{position}") if loads(part) else part for position, part in enumerate(new.index)])
    value = bound(new.value, "u")
    return before, [replace(new, index=index, value=value)]
