"""Updates of elements at sorted indices, in chunks that run in parallel: each chunk updates elements that no other one does.

    for i in 0 .. n in order: out[k(i)] += u(i)
    ->  starts = where chunks begin, each moved back to the first update of its element
        parallel for c: for i in starts[c] .. starts[c + 1] in order, or from several places in turn:
            if bounds[c] <= k(i) < bounds[c + 1]: out[k(i)] += u(i) ; else: late[c] = true
        for c in order: if late[c]: the same loop again, for those that were left out

The order of the updates of one element stays the same, but for those that are taken from several places in turn. Whether
indices are sorted is known of a few only; others may be left out, and follow when all chunks are done. So a result depends on
the indices and on the number of chunks, which depends on that of the updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gradxform.backend.blocks import loads_of
from gradxform.backend.interleave import distance, interleaved
from gradxform.dtypes import bool_, int64, uint64
from gradxform.loopir.expression import (
    ONE,
    TRUE,
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
    known,
)
from gradxform.loopir.loops import Accumulate, Buffer, For, Fork, If, Let, Statement, Store
from gradxform.loopir.rewriting import renamed

#: Updates of a chunk at least, and chunks at most.
LEAST_UPDATES = 65_536
MAX_CHUNKS = 8

FALSE = Constant(bool_.type(False), bool_)

#: The condition that an index is between the bounds of a chunk.
Inside = Callable[[Expression], Expression]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A loop of updates: ``update`` is the statement, and the part of its index at ``position`` is looked up.

    ``index_at`` gives what is found there in some iteration. Where runs are ``even`` their elements are kept in a register;
    others are updated from ``ways`` places in turn, unless that is 1.
    """

    loop: For
    update: Accumulate
    position: int
    index_at: Callable[[Expression], Expression]
    stem: str
    even: Expression
    ways: int


@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """``before`` finds where chunks begin; ``body`` does the updates, if ``sorted`` still holds then."""

    sorted: Buffer
    before: tuple[Statement, ...]
    body: tuple[Statement, ...]
    locals: tuple[Buffer, ...]


def in_chunks(runs: Runs) -> Chunks | None:
    """Chunks of a loop of updates, or None if they would not pay, or what else it does is not apart in each iteration."""
    loop, stem = runs.loop, runs.stem
    length = known(loop.end)
    if loop.begin is not ZERO or length is None or length < 2 * LEAST_UPDATES or not _is_apart(runs):
        return None
    count = min(MAX_CHUNKS, 1 << ((length // LEAST_UPDATES).bit_length() - 1))
    starts = Buffer(f"starts{stem}", int64, (count + 1,), "local")
    bounds = Buffer(f"bounds{stem}", int64, (count + 1,), "local")
    late = Buffer(f"late{stem}", bool_, (count,), "local")
    low, high = (Buffer(f"{name}{stem}", int64, (), "local") for name in ("low", "high"))
    ordered = Buffer(f"sorted{stem}", bool_, (), "local")
    before = _search(runs, length, count, starts, bounds, low, high, ordered)
    own: list[Buffer] = []

    def fork(letter: str, updates: Callable[[For, Inside, Statement], list[Statement]]) -> Fork:
        chunk = axis(f"{letter}{stem}", count)
        first, end, inside = _range(chunk, bounds, f"{stem}.{letter}", letter == "d")
        body = updates(_between(loop, chunk, starts), inside, Store(late, (chunk,), TRUE))
        return Fork(chunk, count, (first, end, Store(late, (chunk,), FALSE), *body))

    forks: Statement = fork("c", lambda part, inside, otherwise: _with_register(runs, part, own, inside, otherwise))
    if runs.ways > 1:
        apart = distance(length // count - LEAST_UPDATES // 64, runs.ways)
        forks = If(runs.even, (forks,), (
            fork("d", lambda part, inside, otherwise: _in_turn(runs, part, apart, inside, otherwise)),))
    again = axis(f"a{stem}", count)
    first, end, inside = _range(again, bounds, f"{stem}.a")
    rest = If(Load(late, (again,), bool_), (first, end, _left_out(runs, _between(loop, again, starts), inside)), ())
    body = (forks, For(again, ZERO, integer(count), (rest,), True))
    return Chunks(ordered, before, body, (starts, bounds, late, low, high, ordered, *own))


def _is_apart(runs: Runs) -> bool:
    """Whether all that the loop stores beside its updates belongs to one iteration each, and is not read in it."""
    stored: set[Buffer] = set()
    for statement in runs.loop.body:
        if isinstance(statement, Store):
            if runs.loop.symbol not in statement.index:
                return False
            stored.add(statement.buffer)
        elif isinstance(statement, Accumulate) and statement is not runs.update:
            return False
    return not any(buffer in stored for statement in runs.loop.body for buffer, _ in loads_of(statement))


def _between(loop: For, chunk: Symbol, starts: Buffer) -> For:
    end = Load(starts, (index_add(chunk, ONE),), int64)
    return For(loop.symbol, Load(starts, (chunk,), int64), end, loop.body, True)


def _range(chunk: Symbol, bounds: Buffer, stem: str, at_once: bool = False) -> tuple[Let, Let, Inside]:
    """The bounds of a chunk's indices, and the condition that an index is between them.

    ``at_once`` takes one comparison without sign for it, which is faster where each update is looked at.
    """
    first, end = Symbol(f"first{stem}", int64), Symbol(f"end{stem}", uint64 if at_once else int64)
    last = Load(bounds, (index_add(chunk, ONE),), int64)

    def beyond(index: Expression) -> Expression:
        return Apply("convert", (Apply("sub", (index, first), int64),), uint64)

    def inside(index: Expression) -> Expression:
        if at_once:
            return Apply("less", (beyond(index), end), bool_)
        above = Apply("greater_equal", (index, first), bool_)
        return Apply("logical_and", (above, Apply("less", (index, end), bool_)), bool_)

    return Let(first, Load(bounds, (chunk,), int64)), Let(end, beyond(last) if at_once else last), inside


def _search(
    runs: Runs, length: int, count: int, starts: Buffer, bounds: Buffer, low: Buffer, high: Buffer, ordered: Buffer
) -> tuple[Statement, ...]:
    """Find by bisection where the updates of the element begin that stand where a chunk would."""
    stem = runs.stem
    size = -(-length // count)
    number, step = axis(f"b{stem}", count - 1), axis(f"h{stem}", size.bit_length() + count.bit_length())
    chunk = index_add(number, ONE)
    place = index_mul(chunk, size)
    key, middle, below = Symbol(f"key{stem}", int64), Symbol(f"middle{stem}", int64), Symbol(f"below{stem}", bool_)
    lowest, highest = Load(low, (), int64), Load(high, (), int64)
    halve = For(step, ZERO, integer(step.extent), (
        Let(middle, Apply("floor_divide", (Apply("add", (lowest, highest), int64), integer(2)), int64)),
        Let(below, Apply("less", (runs.index_at(middle), key), bool_)),
        Store(low, (), Apply("select", (below, index_add(middle, ONE), lowest), int64)),
        Store(high, (), Apply("select", (below, highest, middle), int64)),
    ), True)
    sorted_ = Apply("less_equal", (Load(bounds, (number,), int64), key), bool_)
    each = For(number, ZERO, integer(count - 1), (
        Let(key, runs.index_at(place)), Store(ordered, (), Apply("logical_and", (Load(ordered, (), bool_), sorted_), bool_)),
        Store(bounds, (chunk,), key), Store(low, (), Load(starts, (number,), int64)), Store(high, (), place),
        halve, Store(starts, (chunk,), highest),
    ), True)
    extent = runs.update.buffer.shape[runs.position]
    last = integer(count)
    good = Apply("less_equal", (Load(bounds, (integer(count - 1),), int64), integer(extent)), bool_)
    return (Store(starts, (ZERO,), ZERO), Store(bounds, (ZERO,), ZERO), each,
            Store(ordered, (), Apply("logical_and", (Load(ordered, (), bool_), good), bool_)),
            Store(starts, (last,), integer(length)), Store(bounds, (last,), integer(extent)))


def _with_register(
    runs: Runs, loop: For, locals_: list[Buffer], inside: Inside, otherwise: Statement
) -> list[Statement]:
    """The loop with the element of the last update in a register, from which it is stored when another one follows.

    Only then is an index checked. ``home`` says which element it is, ``valid`` whether what was found is ``inside``. Where it
    is not, ``otherwise`` notes it, and the sum is lost.
    """
    dtype = runs.update.buffer.dtype
    last, home = (Buffer(f"{name}{runs.stem}.c", int64, (), "local") for name in ("last", "home"))
    valid, total = Buffer(f"valid{runs.stem}.c", bool_, (), "local"), Buffer(f"sum{runs.stem}.c", dtype, (), "local")
    locals_ += [last, home, valid, total]
    found, key = Symbol(f"f{runs.stem}", int64), Symbol(f"k{runs.stem}", int64)

    def index(place: Expression) -> tuple[Expression, ...]:
        return tuple([place if number == runs.position else part for number, part in enumerate(runs.update.index)])

    store = If(Load(valid, (), bool_), (
        Store(runs.update.buffer, index(Load(home, (), int64)), Load(total, (), dtype)),), ())
    load = Store(total, (), Load(runs.update.buffer, index(key), dtype))
    start = (store, Let(key, runs.update.index[runs.position]), Store(last, (), found), Store(home, (), key),
             Store(valid, (), inside(found)), If(Load(valid, (), bool_), (load,), (otherwise,)))
    other = Apply("not_equal", (found, Load(last, (), int64)), bool_)
    body: list[Statement] = []
    for statement in loop.body:
        if statement is runs.update:
            add = Accumulate(total, (), runs.update.operation, runs.update.value)
            body += [Let(found, runs.index_at(loop.symbol)), If(other, start, ()), add]
        else:
            body.append(statement)
    another = index_add(runs.index_at(loop.begin), ONE)
    (sums,) = renamed((For(loop.symbol, loop.begin, loop.end, tuple(body), True),), {}, f"s{runs.stem}")
    zero = Store(total, (), Constant(dtype.type(0), dtype))
    return [Store(last, (), another), Store(home, (), ZERO), Store(valid, (), FALSE), zero, sums, store]


def _in_turn(runs: Runs, loop: For, apart: int, inside: Inside, otherwise: Statement) -> list[Statement]:
    """The loop from places so far ``apart`` in turn, if it is long enough. What is inside is a good index, and not checked.

    An index that is not is left to ``otherwise``, which notes it.
    """
    position = runs.position

    def guarded(updates: Sequence[Accumulate]) -> list[Statement]:
        return [If(inside(update.index[position]), (update,), (otherwise,)) for update in updates]

    index = tuple([runs.index_at(loop.symbol) if n == position else part for n, part in enumerate(runs.update.index)])
    update = replace(runs.update, index=index)
    body = tuple([update if statement is runs.update else statement for statement in loop.body])
    enough = Apply("less_equal", (index_add(loop.begin, integer(runs.ways * apart)), loop.end), bool_)
    statements = interleaved(replace(loop, body=body), runs.ways, apart, enough, f"{runs.stem}d", guarded)
    return renamed(statements, {}, f"u{runs.stem}")


def _left_out(runs: Runs, loop: For, inside: Inside) -> For:
    """The loop with those updates alone whose index is not ``inside``."""
    kept: list[Statement] = []
    for statement in loop.body:
        if statement is runs.update:
            kept.append(If(inside(runs.index_at(loop.symbol)), (), (runs.update,)))
        elif isinstance(statement, Let):
            kept.append(statement)
    (result,) = renamed((For(loop.symbol, loop.begin, loop.end, tuple(kept), True),), {}, f"l{runs.stem}")
    assert isinstance(result, For)
    return result
