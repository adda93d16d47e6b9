"""Updates that come in runs of one element are added up in a register.

    for i: out[k(i)] += u(i)
    ->  if the indices seem to be sorted:
            for i: { if k(i) != last: { sum = out[k(i)] ; last = k(i) } ; sum += u(i) ; out[k(i)] = sum }
        else:
            for i: out[k(i)] += u(i)

An element that has just been stored comes back from memory only after some cycles: a sum over a run of equal indices takes
them for each update. Segment sums, and sparse matrices whose entries are in order, are such runs; the order of the updates,
and so their sum, is the same. Whether an index is that of the update before can be predicted if indices are sorted; if
they are not, but repeat by chance, guessing wrong costs more than memory does. So a few neighbours are compared first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from gradxform.dtypes import bool_, int64
from gradxform.loopir.expression import (
    INDEX_CHECKS,
    TRUE,
    ZERO,
    Apply,
    Expression,
    Load,
    Symbol,
    axis,
    index_add,
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
    with_operands,
)

#: So many pairs of neighbours are looked at, in loops of at least so many iterations.
SAMPLES = 64
LEAST_ITERATIONS = 8192


def gather_runs(kernel: Kernel) -> Kernel:
    """The kernel with such loops in two versions; the same object if there are none."""
    numbers = count()
    nests = tuple([_nest(nest, numbers) for nest in kernel.nests])
    return kernel if all(a is b for a, b in zip(nests, kernel.nests, strict=True)) else replace(kernel, nests=nests)


def _nest(nest: Nest, numbers: Iterator[int]) -> Nest:
    locals_: list[Buffer] = []
    body = _inside(nest.body, numbers, locals_)
    return nest if body is nest.body else replace(nest, body=body, locals=(*nest.locals, *locals_))


def _inside(statements: tuple[Statement, ...], numbers: Iterator[int], locals_: list[Buffer]) -> tuple[Statement, ...]:
    result: list[Statement] = []
    for statement in statements:
        inner = with_bodies(statement, [_inside(body, numbers, locals_) for body in bodies(statement)])
        result += (_versions(inner, numbers, locals_) if isinstance(inner, For) else None) or [inner]
    same = len(result) == len(statements) and all(a is b for a, b in zip(result, statements, strict=True))
    return statements if same else tuple(result)


def _versions(loop: For, numbers: Iterator[int], locals_: list[Buffer]) -> list[Statement] | None:
    length = _least_iterations(loop)
    if not loop.ordered or length < LEAST_ITERATIONS or not all(isinstance(s, (Let, Store, Accumulate)) for s in loop.body):
        return None
    found = next((update for s in loop.body if (update := _update(s, loop)) is not None), None)
    if found is None:
        return None
    stem = f".r{next(numbers)}"
    ordered = Buffer(f"ordered{stem}", bool_, (), "local")
    last = Buffer(f"last{stem}", int64, (), "local")
    total = Buffer(f"sum{stem}", found.statement.buffer.dtype, (), "local")
    locals_ += [ordered, last, total]
    sample = axis(f"p{stem}", SAMPLES)
    place = index_add(loop.begin, index_mul(sample, (length - 2) // SAMPLES))
    here, there = (_at(found.index, loop.symbol, index_add(place, integer(further))) for further in (0, 1))
    in_order = Apply("logical_and", (Load(ordered, (), bool_), Apply("less_equal", (here, there), bool_)), bool_)
    look = For(sample, ZERO, integer(SAMPLES), (Store(ordered, (), in_order),))
    in_runs = _with_register(loop, found, last, total, stem)
    return [
        Store(ordered, (), TRUE), look,
        If(Load(ordered, (), bool_), (Store(last, (), integer(-1)), in_runs), (loop,)),
    ]


def _least_iterations(loop: For) -> int:
    """How many iterations it has at least, as far as that is known."""
    begin, end = index_range(loop.begin), known(loop.end)
    if begin is not None and end is not None:
        return end - begin[1]
    limit = loop.end.operands[1] if isinstance(loop.end, Apply) and loop.end.operation == "minimum" else None
    last = known(limit) if limit is not None else None
    return last - begin[1] if begin is not None and last is not None else 0


@dataclass(frozen=True, slots=True, eq=False)
class _Update:
    """The statement of a loop that updates elements which no other one touches.

    The part of its index at ``position`` is looked up; ``index`` is the number found there, over the loop's symbol.
    """

    statement: Accumulate
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

    def value(expression: Expression) -> Expression:
        return substitute(expression, lambda part: value(lets[part]) if isinstance(part, Symbol) and part in lets else None)

    places = [value(part) for part in update.index]
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
    return _Update(update, varying[0], index) if buffers and not buffers & changed else None


def _at(expression: Expression, symbol: Symbol, place: Expression) -> Expression:
    return substitute(expression, lambda part: place if part is symbol else None)


def _with_register(loop: For, update: _Update, last: Buffer, total: Buffer, stem: str) -> For:
    """The loop, over symbols of its own, with the element of the update before in a register."""
    names: dict[Symbol, Symbol] = {loop.symbol: axis(f"{loop.symbol.name}{stem}", loop.symbol.extent)}

    def renamed(expression: Expression) -> Expression:
        return substitute(expression, lambda part: names.get(part) if isinstance(part, Symbol) else None)

    body: list[Statement] = []
    for statement in loop.body:
        new = with_operands(statement, renamed)
        if isinstance(new, Let):
            symbol = names[new.symbol] = Symbol(f"{new.symbol.name}{stem}", new.symbol.dtype, new.symbol.extent)
            body.append(Let(symbol, new.value))
        elif statement is update.statement:
            assert isinstance(new, Accumulate)
            key = Symbol(f"k{stem}", int64)
            index = tuple([key if n == update.position else part for n, part in enumerate(new.index)])
            other = Apply("not_equal", (key, Load(last, (), int64)), bool_)
            start = (Store(total, (), Load(new.buffer, index, total.dtype)), Store(last, (), key))
            body += [
                Let(key, new.index[update.position]), If(other, start, ()), Accumulate(total, (), new.operation, new.value),
                Store(new.buffer, index, Load(total, (), total.dtype)),
            ]
        else:
            body.append(new)
    return replace(loop, symbol=names[loop.symbol], body=tuple(body))
