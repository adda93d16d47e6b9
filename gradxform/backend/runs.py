"""Updates that come in runs of one element are added up in a register, if it can be told where a run ends.

    for i: out[k(i)] += u(i)
    ->  if a few samples have long runs, or runs of even length:
            for i: { if k(i) != last: { out[last] = sum ; last = k(i) ; sum = out[last] } ; sum += u(i) } ; out[last] = sum
        else:
            for i: out[k(i)] += u(i), from several places in turn

Where indices are sorted, too, such runs can be shared among threads: see `runs_in_chunks`.

An element that has just been stored comes back from memory only after some cycles: a sum over a run of equal indices takes
them for each update. Segment sums, and sparse matrices whose entries are in order, are such runs. Where a run ends is
guessed right by a processor if most runs are as long as the one before, as those of a matrix with the same number of entries
in each row are; if not, guessing wrong costs more than memory does, and the updates are `interleave`d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from gradxform.backend.interleave import distance, in_full, interleaved, ways_of
from gradxform.backend.runs_in_chunks import Runs, in_chunks
from gradxform.data_class import data_class
from gradxform.dtypes import bool_, int64
from gradxform.loopir.expression import (
    INDEX_CHECKS,
    ZERO,
    Apply,
    Expression,
    Index,
    Load,
    Symbol,
    axis,
    conjunction,
    index_add,
    index_divmod,
    index_mul,
    index_range,
    integer,
    known,
    loads,
    parts,
    substitute,
    symbols,
)
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    For,
    If,
    Kernel,
    Let,
    Nest,
    Statement,
    Store,
    bodies,
    operands,
    with_bodies,
    with_nests,
    with_operands,
)

#: The shortest loops that are looked at, before they run, at so many places, for so many iterations each.
LEAST_ITERATIONS = 8192
WINDOWS, WINDOW = 4, 64
#: Of these so many runs may be of another length than the one before; a run has two updates or more.
ODD_RUNS = 12
MOST_RUNS = WINDOWS * WINDOW // 2
#: So many pairs of updates that would follow each other are looked at; in so many the element may be the same one.
PAIRS = 64
MOST_PAIRS = 16
#: Among so few elements neighbours are often the same without being in order: the bins of a histogram.
FEW_BYTES = 16 * 1024


def gather_runs(kernel: Kernel) -> Kernel:
    """The kernel with such loops in two versions; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [_nest(nest, numbers) for nest in kernel.nests])


def _nest(nest: Nest, numbers: Iterator[int]) -> Nest:
    locals_: list[Buffer] = []
    body = _inside(nest.body, numbers, locals_, nest.chunk is None)
    return nest if body is nest.body else replace(nest, body=body, locals=(*nest.locals, *locals_))


def _inside(
    statements: tuple[Statement, ...], numbers: Iterator[int], locals_: list[Buffer], alone: bool
) -> tuple[Statement, ...]:
    """The statements with such loops in versions; ``alone``: no loop is around them, and no other thread at work."""
    result: list[Statement] = []
    for statement in statements:
        inner = with_bodies(statement, [_inside(body, numbers, locals_, False) for body in bodies(statement)])
        result += (_versions(inner, numbers, locals_, alone) if isinstance(inner, For) else None) or [inner]
    same = len(result) == len(statements) and all(a is b for a, b in zip(result, statements, strict=True))
    return statements if same else tuple(result)


def _versions(loop: For, numbers: Iterator[int], locals_: list[Buffer], alone: bool) -> list[Statement] | None:
    length = _least_iterations(loop)
    if not loop.ordered or length < LEAST_ITERATIONS or not all(isinstance(s, (Let, Store, Accumulate)) for s in loop.body):
        return None
    found = next((update for s in loop.body if (update := _update(s, loop)) is not None), None)
    if found is None:
        return None
    stem = f".r{next(numbers)}"
    look, repeated, even = _samples(loop, found, length, stem, locals_)
    in_runs = _with_register(loop, found, stem, locals_)
    ways = ways_of(loop)
    in_turn = [loop] if ways == 1 else _in_turn(loop, found, length, ways, repeated, stem, locals_)
    versions = If(conjunction((repeated, even)), tuple(in_runs), tuple(in_turn))
    chunks = None
    if alone:
        runs = Runs(loop, found.statement, found.position, lambda place: _at(found.index, loop.symbol, place), stem,
                    even, ways)
        chunks = in_chunks(runs)
    if chunks is None:
        return [*look, versions]
    locals_ += chunks.locals
    sorted_ = Load(chunks.sorted, (), bool_)
    long_runs = repeated if ways > 1 else conjunction((repeated, even))
    return [*look, Store(chunks.sorted, (), long_runs), If(sorted_, chunks.before, ()),
            If(sorted_, chunks.body, (versions,))]


def _samples(
    loop: For, found: _Update, length: int, stem: str, locals_: list[Buffer]
) -> tuple[list[Statement], Expression, Expression]:
    """Statements that look at some runs; whether indices are often repeated, and whether where runs end can be told."""
    buffers = [Buffer(f"{name}{stem}", int64, (), "local") for name in ("run", "usual", "runs", "odd")]
    locals_ += buffers
    run, usual, runs, odd = buffers
    place = axis(f"p{stem}", WINDOWS * WINDOW)
    window, inside = index_divmod(place, WINDOW)
    start = index_add(loop.begin, index_add(index_mul(window, (length - WINDOW - 1) // (WINDOWS - 1)), inside))
    here, there = (_at(found.index, loop.symbol, index_add(start, integer(further))) for further in (0, 1))
    unusual = Apply("not_equal", (Load(run, (), int64), Load(usual, (), int64)), bool_)
    ends = (
        _count(odd, unusual), Accumulate(runs, (), "add", integer(1)),
        Store(usual, (), Load(run, (), int64)), Store(run, (), ZERO),
    )
    body = (Accumulate(run, (), "add", integer(1)), If(Apply("not_equal", (here, there), bool_), ends, ()))
    look: list[Statement] = [
        *[Store(buffer, (), ZERO) for buffer in buffers],
        For(place, ZERO, integer(WINDOWS * WINDOW), body, ordered=True),
    ]
    repeated, even = [Apply("less_equal", (Load(buffer, (), int64), integer(limit)), bool_)
                      for buffer, limit in ((runs, MOST_RUNS), (odd, ODD_RUNS))]
    return look, repeated, even


def _in_turn(
    loop: For, found: _Update, length: int, ways: int, repeated: Expression, stem: str, locals_: list[Buffer]
) -> list[Statement]:
    """The updates from several places in turn, if neighbours are often of the same element, and these places are not."""
    same = Buffer(f"same{stem}", int64, (), "local")
    locals_.append(same)
    apart, pair = distance(length, ways), axis(f"q{stem}", PAIRS)
    here = index_add(loop.begin, index_mul(pair, apart // PAIRS))
    both = [_at(found.index, loop.symbol, place) for place in (here, index_add(here, integer(apart)))]
    seldom = Apply("less_equal", (Load(same, (), int64), integer(MOST_PAIRS)), bool_)
    buffer = found.statement.buffer
    few = buffer.shape[found.position] * buffer.dtype.itemsize <= FEW_BYTES
    return [
        Store(same, (), ZERO),
        For(pair, ZERO, integer(PAIRS), (_count(same, Apply("equal", tuple(both), bool_)),), ordered=True),
        *interleaved(loop, ways, apart, seldom if few else conjunction((repeated, seldom)), f"{stem}t"),
    ]


def _count(buffer: Buffer, condition: Expression) -> Statement:
    return Accumulate(buffer, (), "add", Apply("select", (condition, integer(1), ZERO), int64))


def _least_iterations(loop: For) -> int:
    """How many iterations it has at least, as far as that is known."""
    begin, end = index_range(loop.begin), known(loop.end)
    if begin is not None and end is not None:
        return end - begin[1]
    limit = loop.end.operands[1] if isinstance(loop.end, Apply) and loop.end.operation == "minimum" else None
    last = known(limit) if limit is not None else None
    return last - begin[1] if begin is not None and last is not None else 0


@data_class(frozen=True, slots=True, eq=False)
class _Update:
    """The statement of a loop that updates elements which no other one touches.

    Its place is one over the loop's symbol, at ``position`` a number that is looked up: ``index``, before it is checked.
    """

    statement: Accumulate
    place: Index
    position: int
    index: Expression


def _update(update: Statement, loop: For) -> _Update | None:
    if not isinstance(update, Accumulate) or update.operation == "set" or update.buffer.dtype == bool_:
        return None
    lets = {statement.symbol: statement.value for statement in loop.body if isinstance(statement, Let)}
    changed: set[Buffer] = set()
    for statement in loop.body:
        if update.buffer in [load.buffer for operand in operands(statement) for load in loads(operand)]:
            return None
        if isinstance(statement, (Store, Accumulate)) and statement is not update:
            changed.add(statement.buffer)
    if update.buffer in changed:
        return None

    places = [in_full(part, lets) for part in update.index]
    varying = [position for position, part in enumerate(places) if loop.symbol in symbols(part)]
    if len(varying) != 1:
        return None
    index = places[varying[0]]
    if isinstance(index, Apply) and index.operation in INDEX_CHECKS:
        index = index.operands[0]
    inside = list(parts(index))
    if any(isinstance(part, Apply) and part.operation in (*INDEX_CHECKS, "guard") for part in inside):
        return None
    buffers = {part.buffer for part in inside if isinstance(part, Load)}
    return _Update(update, tuple(places), varying[0], index) if buffers and not buffers & changed else None


def _at(expression: Expression, symbol: Symbol, place: Expression) -> Expression:
    return substitute(expression, lambda part: place if part is symbol else None)


def _with_register(loop: For, update: _Update, stem: str, locals_: list[Buffer]) -> list[Statement]:
    """The loop, over symbols of its own, with the element of the update before in a register."""
    numbers = [Buffer(f"{name}{stem}", int64, (), "local") for name in ("key", "last")]
    key, last = numbers
    buffer, operation, position = update.statement.buffer, update.statement.operation, update.position
    total = Buffer(f"sum{stem}", buffer.dtype, (), "local")
    locals_ += [key, last, total]
    names: dict[Symbol, Symbol] = {loop.symbol: axis(f"{loop.symbol.name}{stem}", loop.symbol.extent)}

    def renamed(expression: Expression) -> Expression:
        return substitute(expression, lambda part: names.get(part) if isinstance(part, Symbol) else None)

    index = tuple([Load(last, (), int64) if n == position else part for n, part in enumerate(update.place)])
    keep = Store(buffer, index, Load(total, (), total.dtype))

    def begin(number: Expression, place: Expression) -> list[Statement]:
        return [Store(key, (), number), Store(last, (), place), Store(total, (), Load(buffer, index, total.dtype))]

    body: list[Statement] = []
    for statement in loop.body:
        new = with_operands(statement, renamed)
        if isinstance(new, Let):
            symbol = names[new.symbol] = Symbol(f"{new.symbol.name}{stem}", new.symbol.dtype, new.symbol.extent)
            body.append(Let(symbol, new.value))
        elif statement is update.statement:
            assert isinstance(new, Accumulate)
            number = Symbol(f"k{stem}", int64)
            other = Apply("not_equal", (number, Load(key, (), int64)), bool_)
            body += [
                Let(number, renamed(update.index)),
                If(other, (keep, *begin(number, renamed(update.place[position]))), ()),
                Accumulate(total, (), operation, new.value),
            ]
        else:
            body.append(new)
    first = [_at(part, loop.symbol, loop.begin) for part in (update.index, update.place[position])]
    return [*begin(*first), replace(loop, symbol=names[loop.symbol], body=tuple(body)), keep]
