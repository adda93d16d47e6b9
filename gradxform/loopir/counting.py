"""What a kernel's loops cost, from the loops alone: their spans, and how much arithmetic and memory each has.

A *span* is a part of a kernel that is worth a line of its own: each nest, and in nests that run for some microseconds
the loops, products, routines and calls into Python in them that do so each time they are reached. Spans nest.

How often a statement runs is counted by following the bounds of the loops around it, exactly where they are numbers,
blocks and triangles included. A loop or branch that the data decide is a *site*: it is taken to run `TYPICAL_ITERATIONS`
times (a branch, every other time), unless the counts of an execution are given.

What is counted:

- **flops**: additions, subtractions, products, divisions, square roots, remainders, minima, maxima and comparisons of floats
  are one each, a fused multiply-add is two. Changes of sign, absolute values, roundings, selections and conversions are none,
  nor is what is done to integers. A product of matrices (m, k) and (k, n) is 2 m k n; decompositions are what textbooks
  say in their leading term (Golub & Van Loan, Matrix Computations, 4th ed.), a Fourier transform of n numbers 5 n log2 n.
- **elementary calls**: exp, log, sin, pow and their kind and special functions, however many operations they take.
- **bytes**: what loads and stores move between registers and memory, caches included. An element whose index stays the
  same in a loop is moved once per run of the loop: it is in a register meanwhile.
- **footprint**: each buffer once, or the part of it that these loads and stores can reach at most.

All are totals of one call of the kernel. Guarded expressions are taken to be evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any, Literal

import numpy as np

from gradxform.data_class import data_class
from gradxform.loopir.amounts import (
    ACCESS_WORK,
    FLOPS,
    MULTIPLY_ADD_WORK,
    OPERATION_WORK,
    PYTHON_WORK,
    Amount,
    operation_cost,
    routine_flops,
)
from gradxform.loopir.domains import Domain, deciding_symbols, evaluate
from gradxform.loopir.expression import Apply, Constant, Expression, Index, Load, Symbol
from gradxform.loopir.loops import (
    TYPICAL_ITERATIONS,
    Accumulate,
    Call,
    Contract,
    For,
    Fork,
    If,
    Kernel,
    Let,
    Multiply,
    Native,
    Nest,
    Part,
    Reserve,
    Statement,
    Store,
    While,
    operands,
)
from gradxform.loopir.printer import position_text

SpanKind = Literal["nest", "loop", "while", "gemm", "tile", "routine", "python"]


@data_class(frozen=True, slots=True, eq=False)
class Span:
    """A part of a kernel that is worth a line of its own.

    Attributes:
        number: its place in `spans`, where parents stand before their children, in the order of the program.
        nest: the number of its nest.
        kind: what it is; a nest, or a statement of that nest.
        label: what to call it: ``nest 2``, ``for i5 in 0 .. 1000``, ``gemm 500x500x500``, ``cholesky 100x100``.
        statement: the statement; None for a nest.
        depth: 0 for a nest, 1 for what is not in another span of it, and so on.
        parent: the number of the span around it; None for a nest.
    """

    number: int
    nest: int
    kind: SpanKind
    label: str
    statement: Statement | None
    depth: int
    parent: int | None


@data_class(frozen=True, slots=True)
class Estimate:
    """How much there is to do in one call of a kernel, or in a span of it; see the module on what is counted.

    Attributes:
        entries: how often it is reached. A nest in chunks is reached once, what is in it once per chunk or more often.
        iterations: of its loop, in all entries together; for a product, a routine or a nest the same as ``entries``.
        flops, elementary_calls, bytes_read, bytes_written, footprint_bytes: totals of all entries.
        assumed: whether a number of iterations is in it that was assumed.
    """

    entries: int
    iterations: int
    flops: int
    elementary_calls: int
    bytes_read: int
    bytes_written: int
    footprint_bytes: int
    assumed: bool

    @property
    def bytes_moved(self) -> int:
        return self.bytes_read + self.bytes_written


@data_class(frozen=True, slots=True, eq=False)
class Site:
    """A loop or branch that the data decide. Counting how often ``block`` runs tells how it went.

    Attributes:
        number: its place in `sites`.
        nest: the number of its nest.
        statement: the loop or branch.
        which: the block that is counted: the body of a loop, or its head if there is none; one arm of a branch.
        block: the statements of that block; they are not empty.
    """

    number: int
    nest: int
    statement: For | While | If
    which: Literal["body", "head", "then", "otherwise"]
    block: tuple[Statement, ...]


#: In nests estimated to run for fewer nanoseconds nothing has a line of its own: LLVM may dissolve them in what is around.
LEAST_NEST_WORK = 2_000.0
#: What is estimated to take fewer nanoseconds each time it is reached has no line: clocks around it would tell of clocks.
LEAST_WORK = 1_000.0


def spans(kernel: Kernel) -> tuple[Span, ...]:
    """The spans of a kernel, each before those inside it."""
    return tuple([span for span, _ in _chosen(_walk(kernel))])


def sites(kernel: Kernel) -> tuple[Site, ...]:
    """The loops and branches of a kernel that the data decide, in the order of the program."""
    return tuple(_walk(kernel).sites)


def estimates(kernel: Kernel, executed: Sequence[float] | None = None) -> tuple[Estimate, ...]:
    """What each of the `spans` of a kernel has to do in one call.

    Args:
        kernel: the loops.
        executed: how often the block of each of the `sites` ran, from an execution; what is typical where it is not given.
    """
    # Which parts are spans is decided by what is typical, whatever came of it.
    chosen = [place.number for _, place in _chosen(_walk(kernel))]
    places = _walk(kernel).places if executed is None else _Walk(kernel, executed).places
    return tuple([_estimate([places[number]]) for number in chosen])


def total(kernel: Kernel, executed: Sequence[float] | None = None) -> Estimate:
    """What the whole kernel has to do in one call."""
    walk = _walk(kernel) if executed is None else _Walk(kernel, executed)
    return replace(_estimate([place for place in walk.places if place.parent is None]), entries=1, iterations=1)


@lru_cache(maxsize=2)
def _walk(kernel: Kernel) -> _Walk:
    """What is typical of a kernel; all that is asked of it is asked several times in a row."""
    return _Walk(kernel)


@dataclass(slots=True, eq=False)
class _Place:
    """A nest, or a statement in it that may be a span, with what it does outside of such statements inside it."""

    number: int
    nest: int
    kind: SpanKind
    statement: Statement | None
    parent: _Place | None
    entries: float
    iterations: float
    deep: bool  # whether there may be spans within its nest
    own: Amount = field(default_factory=Amount)
    children: list[_Place] = field(default_factory=list)
    assumed: bool = False

    @property
    def whole(self) -> Amount:
        found = Amount()
        found.add(self.own)
        for child in self.children:
            found.add(child.whole)
        return found

    @property
    def guessed(self) -> bool:
        return self.assumed or any(child.guessed for child in self.children)


def _estimate(places: Sequence[_Place]) -> Estimate:
    amount = Amount()
    for place in places:
        amount.add(place.whole)
    # The memory of a tape is what was written to it.
    footprint = sum(size if -1 in buffer.shape else min(size, buffer.nbytes) for buffer, size in amount.moved.items())
    entries, iterations = sum(place.entries for place in places), sum(place.iterations for place in places)
    return Estimate(
        round(entries), round(iterations), round(amount.flops), round(amount.calls), round(amount.read), round(amount.written),
        round(footprint), any(place.guessed for place in places))


# ------------------------------------------------------------------------------------------------------------ spans


def _chosen(walk: _Walk) -> list[tuple[Span, _Place]]:
    """The places of a walk that are spans."""
    found: list[tuple[Span, _Place]] = []

    def choose(place: _Place, parent: Span | None) -> None:
        span = parent
        if parent is None or (place.deep and place.entries > 0 and place.whole.work >= LEAST_WORK * place.entries):
            depth, above = (0, None) if parent is None else (parent.depth + 1, parent.number)
            span = Span(len(found), place.nest, place.kind, _label(walk.kernel, place), place.statement, depth, above)
            found.append((span, place))
        for child in place.children:
            choose(child, span)

    for place in walk.places:
        if place.parent is None:
            choose(place, None)
    return found


def _label(kernel: Kernel, place: _Place) -> str:
    statement = place.statement
    if statement is None:
        chunks = kernel.nests[place.nest].chunks
        return f"nest {place.nest}, {chunks} chunks" if chunks else f"nest {place.nest}"
    return _LABELS[type(statement)](statement)


def _times(count: int) -> str:
    return f"{count} x " if count != 1 else ""


def _extents(*values: object) -> str:
    return "x".join(map(str, values))


def _short(expression: Expression) -> str:
    seen: set[int] = set()
    stack = [expression]
    while stack and len(seen) < LONGEST_TEXT:  # what occurs in many places is printed in all of them
        part = stack.pop()
        seen.add(id(part))
        stack.extend(part.operands if isinstance(part, Apply) else part.index if isinstance(part, Load) else ())
    if stack:
        return "..."
    text = position_text(expression)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT - 3] + "..."


def _bracketed(expression: Expression) -> str:
    text = _short(expression)
    return f"({text})" if " " in text else text


def _routine_label(statement: Native) -> str:
    regions = statement.arguments or statement.results
    shape = regions[0].shape[len(statement.batch):] if regions else ()
    name = statement.routine.name.rpartition(".")[2] if statement.routine.name.startswith("lapack.") else statement.routine.name
    return f"{_times(prod(statement.batch))}{name} {_extents(*shape)}".rstrip()


#: Bounds and conditions longer than this are shortened.
LONGEST_TEXT = 40
_LABELS: dict[type, Callable[[Any], str]] = {
    For: lambda s: f"for {s.symbol.name} in {_short(s.begin)} .. {_short(s.end)}",
    While: lambda s: f"while {_short(s.condition)}",
    Multiply: lambda s: f"gemm {_times(s.batch)}{_extents(s.rows, s.inner, s.columns)}",
    Contract: lambda s: f"tile {_extents(*map(_bracketed, (s.rows, s.inner, s.columns)))}",
    Native: _routine_label,
    Call: lambda s: f"python {s.callback}",
}

# ---------------------------------------------------------------------------------------------------------- counting


@dataclass(slots=True, eq=False)
class _Frame:
    """A block around the present place: how often it runs, and how often a loop of it is begun that runs at all."""

    loop: bool
    runs: float
    begun: float


class _Walk:
    """Goes through a kernel once; `places` are in its order, parents first."""

    def __init__(self, kernel: Kernel, executed: Sequence[float] | None = None) -> None:
        self.kernel = kernel
        self.executed = executed
        self.places: list[_Place] = []
        self.sites: list[Site] = []
        self.definitions: dict[Symbol, Expression] = {}
        self.levels: dict[Symbol, int] = {}
        self.needed: set[Symbol] = set()
        self.frames: list[_Frame] = []
        self.deep = False
        for number, nest in enumerate(kernel.nests):
            self.nest(number, nest)

    def nest(self, number: int, nest: Nest) -> None:
        self.number = number
        self.deep = nest.work > LEAST_NEST_WORK or nest.chunk is not None
        self.needed = deciding_symbols(nest)
        self.definitions, self.levels = {}, {}
        domain = Domain(np.ones(1), {})
        if nest.chunk is not None:
            count = np.array([nest.chunks])
            domain = (domain.extended(nest.chunk, np.zeros(1, np.int64), count)[0] if nest.chunk in self.needed
                      else domain.repeated(count))
        self.frames = [_Frame(False, domain.total, domain.total)]
        self.block(nest.body, domain, self.place("nest", None, None, 1.0))

    def place(self, kind: SpanKind, statement: Statement | None, parent: _Place | None, entries: float) -> _Place:
        found = _Place(len(self.places), self.number, kind, statement, parent, entries, entries, self.deep)
        self.places.append(found)
        if parent is not None:
            parent.children.append(found)
        return found

    def block(self, statements: Sequence[Statement], domain: Domain, place: _Place) -> None:
        at_hand: set[Hashable] = set()  # what has been loaded in this block
        for statement in statements:
            if not isinstance(statement, While):  # its condition belongs to its head
                self.expressions(operands(statement), domain, place, at_hand)
            _VISITS[type(statement)](self, statement, domain, place)
            _forget(at_hand, statement)

    def inside(self, statements: Sequence[Statement], domain: Domain, place: _Place, loop: bool, begun: float) -> None:
        """A block of a loop, or an arm of a branch."""
        self.frames.append(_Frame(loop, domain.total, begun))
        self.block(statements, domain, place)
        self.frames.pop()

    def count_of(self, statement: For | While | If, place: _Place) -> tuple[str, float | None]:
        """Which block of a statement that the data decide is counted, and the count if it is there."""
        blocks: dict[str, tuple[Statement, ...]] = (
            {"then": statement.then, "otherwise": statement.otherwise} if isinstance(statement, If)
            else {"body": statement.body} if isinstance(statement, For) else {"body": statement.body, "head": statement.head})
        for which, block in blocks.items():
            if block:
                self.sites.append(Site(len(self.sites), self.number, statement, which, block))  # type: ignore[arg-type]
                if self.executed is not None:
                    return which, float(self.executed[len(self.sites) - 1])
                place.assumed = True
                return which, None
        return "", None

    # ------------------------------------------------------------------------------------------------ statements

    def let(self, statement: Let, domain: Domain, place: _Place) -> None:
        self.definitions[statement.symbol] = statement.value
        self.levels[statement.symbol] = self.level(statement.value)

    def store(self, statement: Store, domain: Domain, place: _Place) -> None:
        count = self.moves(statement.index)
        place.own.move(statement.buffer, count, written=True)
        place.own.work += count * ACCESS_WORK

    def accumulate(self, statement: Accumulate, domain: Domain, place: _Place) -> None:
        count = self.moves(statement.index)
        fresh = statement.operation == "set"
        place.own.move(statement.buffer, count, read=not fresh, written=True)
        flops = FLOPS.get(statement.operation, 0) if statement.buffer.dtype.kind == "f" else 0
        place.own.flops += flops * domain.total
        place.own.work += count * ACCESS_WORK + domain.total * OPERATION_WORK

    def loop(self, statement: For, domain: Domain, parent: _Place) -> None:
        place = self.place("loop", statement, parent, domain.total)
        begin, end = (evaluate(bound, domain, self.definitions) for bound in (statement.begin, statement.end))
        if begin is None or end is None:
            _, found = self.count_of(statement, place)
            runs = TYPICAL_ITERATIONS * domain.total if found is None else found
            inner = domain.scaled(runs / domain.total if domain.total else 0.0)
            place.iterations, begun = runs, min(runs, domain.total)
        else:
            shape = domain.weights.shape
            trips = np.broadcast_to(np.maximum(end - begin, 0), shape)
            begun = float(domain.weights[trips > 0].sum())
            if statement.symbol in self.needed:
                inner, place.assumed = domain.extended(statement.symbol, np.broadcast_to(begin, shape), trips)
            else:
                inner = domain.repeated(trips)
            place.iterations = inner.total
        self.levels[statement.symbol] = len(self.frames)
        self.inside(statement.body, inner, place, True, begun)

    def while_loop(self, statement: While, domain: Domain, parent: _Place) -> None:
        entries = domain.total
        place = self.place("while", statement, parent, entries)
        which, found = self.count_of(statement, place)
        runs = TYPICAL_ITERATIONS * entries if found is None else max(found - entries, 0.0) if which == "head" else found
        place.iterations = runs
        for condition, block, count in (((statement.condition,), statement.head, runs + entries), ((), statement.body, runs)):
            inner = domain.scaled(count / entries if entries else 0.0)
            self.frames.append(_Frame(True, inner.total, min(count, entries)))
            self.block(block, inner, place)
            self.expressions(condition, inner, place, set())
            self.frames.pop()

    def branch(self, statement: If, domain: Domain, place: _Place) -> None:
        condition = evaluate(statement.condition, domain, self.definitions)
        if condition is not None:
            mask = np.broadcast_to(condition, domain.weights.shape)
            arms = domain.where(mask), domain.where(~mask)
        else:
            which, found = self.count_of(statement, place)
            entries = domain.total
            part = 0.5 if found is None else found / entries if entries else 0.0
            first = 1.0 - part if which == "otherwise" else part
            arms = domain.scaled(first), domain.scaled(1.0 - first)
        for block, arm in zip((statement.then, statement.otherwise), arms, strict=True):
            self.inside(block, arm, place, False, arm.total)

    def product(self, statement: Multiply, domain: Domain, parent: _Place) -> None:
        place = self.place("gemm", statement, parent, domain.total)
        runs = statement.batch * domain.total
        self.matrices(statement, place.own, runs * statement.rows * statement.inner, runs * statement.inner * statement.columns,
                      runs * statement.rows * statement.columns, runs * statement.rows * statement.inner * statement.columns)

    def tile(self, statement: Contract, domain: Domain, parent: _Place) -> None:
        place = self.place("tile", statement, parent, domain.total)
        extents = [evaluate(extent, domain, self.definitions)
                   for extent in (statement.rows, statement.inner, statement.columns)]
        place.assumed = any(extent is None for extent in extents)
        rows, inner, columns = (0 if extent is None else np.maximum(extent, 0) for extent in extents)

        def points(count: Any) -> float:
            return float((domain.weights * count).sum())

        self.matrices(statement, place.own, points(rows * inner), points(inner * columns), points(rows * columns),
                      points(rows * inner * columns))
        if not statement.fresh:
            place.own.move(statement.result.buffer, points(rows * columns), read=True)

    def matrices(
        self, statement: Multiply | Contract, own: Amount, left: float, right: float, result: float, steps: float
    ) -> None:
        own.flops += 2 * steps
        own.work += MULTIPLY_ADD_WORK * steps
        own.move(statement.left.buffer, left, read=True)
        own.move(statement.right.buffer, right, read=True)
        own.move(statement.result.buffer, result, written=True)

    def routine(self, statement: Native, domain: Domain, parent: _Place) -> None:
        place = self.place("routine", statement, parent, domain.total)
        runs = prod(statement.batch) * domain.total
        place.own.flops += runs * routine_flops(statement.routine)
        place.own.work += runs * statement.routine.work
        self.regions(statement, domain, place.own)

    def python(self, statement: Call, domain: Domain, parent: _Place) -> None:
        place = self.place("python", statement, parent, domain.total)
        place.own.work += domain.total * PYTHON_WORK
        self.regions(statement, domain, place.own)

    def regions(self, statement: Native | Call, domain: Domain, own: Amount) -> None:
        for regions, written in ((statement.arguments, False), (statement.results, True)):
            for region in regions:
                own.move(region.buffer, domain.total * prod(region.shape), read=not written, written=written)

    def part(self, statement: Part, domain: Domain, place: _Place) -> None:
        self.block(statement.body, domain, place)

    def fork(self, statement: Fork, domain: Domain, place: _Place) -> None:
        shape = domain.weights.shape
        trips = np.full(shape, statement.chunks)
        inner = domain.extended(statement.symbol, np.zeros(shape, np.int64), trips)[0] if statement.symbol in self.needed else (
            domain.repeated(trips))
        self.levels[statement.symbol] = len(self.frames)
        self.inside(statement.body, inner, place, True, domain.total)

    def reserve(self, statement: Reserve, domain: Domain, place: _Place) -> None:
        """Growing a tape, now and then, is not counted."""

    # ----------------------------------------------------------------------------------------------- expressions

    def expressions(
        self, expressions: Sequence[Expression], domain: Domain, place: _Place, at_hand: set[Hashable]
    ) -> None:
        """What the expressions of one statement cost, each part of them once."""
        runs = domain.total
        stack, seen = list(expressions), set()
        while stack:
            part = stack.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            if isinstance(part, Load):
                stack.extend(part.index)
                key = _key(part)
                if key not in at_hand:
                    at_hand.add(key)
                    count = self.moves(part.index)
                    place.own.move(part.buffer, count, read=True)
                    place.own.work += count * ACCESS_WORK
            elif isinstance(part, Apply):
                stack.extend(part.operands)
                flops, calls, work = operation_cost(part)
                place.own.flops += flops * runs
                place.own.calls += calls * runs
                place.own.work += work * runs

    def moves(self, index: Index) -> float:
        """How often an element at ``index`` is moved: not again in loops in which it stays the same."""
        level = max(map(self.level, index), default=0)
        depth = len(self.frames) - 1
        count = self.frames[depth].runs
        while depth > level and self.frames[depth].loop:
            count = self.frames[depth].begun
            depth -= 1
        return count

    def level(self, expression: Expression) -> int:
        """The innermost of the blocks around the present place in which an expression may change."""
        found, seen, stack = 0, set(), [expression]
        while stack:
            part = stack.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            if isinstance(part, Symbol):
                found = max(found, self.levels.get(part, 0))
            elif isinstance(part, Load):
                return len(self.frames) - 1
            elif isinstance(part, Apply):
                stack.extend(part.operands)
        return found

def _key(expression: Expression) -> Hashable:
    """Equal for expressions that are the same by form."""
    if isinstance(expression, Constant):
        return expression.dtype, expression.value.tobytes()
    if isinstance(expression, Symbol):
        return expression
    if isinstance(expression, Load):
        return expression.buffer, *map(_key, expression.index)
    return expression.operation, *map(_key, expression.operands)


def _forget(at_hand: set[Hashable], statement: Statement) -> None:
    """After a statement what it writes to must be loaded again, and what blocks inside it bind is another."""
    if isinstance(statement, (Store, Accumulate)):
        changed = statement.buffer
        at_hand.difference_update([key for key in at_hand if isinstance(key, tuple) and changed in key])
    elif not isinstance(statement, Let):
        at_hand.clear()


_VISITS: dict[type, Callable[[_Walk, Any, Domain, _Place], None]] = {
    Let: _Walk.let, Store: _Walk.store, Accumulate: _Walk.accumulate, For: _Walk.loop, While: _Walk.while_loop,
    If: _Walk.branch, Multiply: _Walk.product, Contract: _Walk.tile, Native: _Walk.routine, Call: _Walk.python,
    Part: _Walk.part, Fork: _Walk.fork, Reserve: _Walk.reserve,
}
