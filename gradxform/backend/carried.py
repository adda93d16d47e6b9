"""What one iteration of a loop has computed and the next one needs again is handed on, in a register.

    for i: y[i] = f(x[i + 1]) - f(x[i])
    ->  last = f(x[begin]) ; for i: { here = f(x[i + 1]) ; y[i] = here - last ; last = here }

Differences of neighbours, and their derivatives, are full of such pairs. In vectors the values of the iterations before are
those of this vector and of the last one, moved along by a lane: one instruction. A mere load is not worth it; but LLVM
may see for itself that the next iteration loads the same, and makes vectors of that only if the load stands before all
stores: so it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from itertools import count

from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.loopir.expression import (
    INDEX_CHECKS,
    TRUE,
    Apply,
    Constant,
    Expression,
    Load,
    Symbol,
    compare,
    known,
    substitute,
)
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    For,
    If,
    Kernel,
    Let,
    Nest,
    Part,
    Statement,
    Store,
    bodies,
    operands,
    with_bodies,
    with_nests,
    with_operands,
)

#: Loops known to run for fewer iterations stay as they are.
LEAST_ITERATIONS = 32
#: Operations of a value from which on it is handed on: one alone is often part of another instruction.
LEAST_OPERATIONS = 2
#: Values that a loop hands on, at most: each takes a register, and code before the loop.
MOST_VALUES = 8


def carry_kernel(kernel: Kernel) -> Kernel:
    """The kernel with such values handed on; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [_nest(nest, numbers) for nest in kernel.nests])


def _nest(nest: Nest, numbers: count[int]) -> Nest:
    locals_: list[Buffer] = []
    body = _inside(nest.body, numbers, locals_)
    return nest if body is nest.body else replace(nest, body=body, locals=(*nest.locals, *locals_))


def _inside(statements: tuple[Statement, ...], numbers: count[int], locals_: list[Buffer]) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        # What is local to a nest is no register in a function of its own.
        new = [statement] if isinstance(statement, Part) else _handing_on(
            with_bodies(statement, [_inside(body, numbers, locals_) for body in bodies(statement)]), numbers, locals_)
        changed = changed or new != [statement]
        result += new
    return tuple(result) if changed else statements


@data_class(frozen=True, slots=True)
class Shape:
    """What an expression is, up to the iteration that it belongs to and up to its sign.

    One of number s and offset n has at iteration i the value, or the ``negative`` value, of one of number s and offset 0 at
    i + n. The offset is None where the value is the same in all iterations.
    """

    number: int
    offset: int | None
    negative: bool = False

    def beside(self, base: int | None) -> tuple[object, ...]:
        """The shape as seen from an expression of which this is a part."""
        return self.number, None if self.offset is None or base is None else self.offset - base, self.negative


@data_class(slots=True, eq=False)
class Shapes:
    """The shapes of expressions in a loop's body: none where a value is not to be had in another iteration."""

    symbol: Symbol
    lets: dict[Symbol, Expression]
    changed: set[Buffer]
    numbers: dict[object, int] = field(default_factory=dict)
    found: dict[int, tuple[Expression, Shape | None]] = field(default_factory=dict)

    def add(self, symbol: Symbol, value: Expression, shape: Shape) -> None:
        """Note what a new symbol stands for."""
        self.lets[symbol] = value
        self.found[id(symbol)] = symbol, shape

    def of(self, expression: Expression) -> Shape | None:
        seen = self.found.get(id(expression))
        if seen is None:
            # The expression is kept, so that no other gets its number.
            seen = self.found[id(expression)] = expression, self._of(expression)
        return seen[1]

    def _of(self, expression: Expression) -> Shape | None:
        if isinstance(expression, Constant):
            return self._shape(("constant", expression.dtype.name, expression.value.tobytes()), None)
        if isinstance(expression, Symbol):
            if expression is self.symbol:
                return self._shape("symbol", 0)
            value = self.lets.get(expression)
            return self.of(value) if value is not None else self._shape(expression, None)
        if isinstance(expression, Load):
            if expression.buffer in self.changed or expression.buffer.space == "tape":
                return None
            return self._together(expression.buffer, expression.index)
        operation, inner = expression.operation, expression.operands
        if operation in INDEX_CHECKS or operation == "guard":
            return None
        if expression.dtype == int64 and operation == "add" and inner[0] is self.symbol and known(inner[1]) is not None:
            return self._shape("symbol", known(inner[1]))
        if expression.dtype.kind == "f" and operation == "neg":
            shape = self.of(inner[0])
            return None if shape is None else replace(shape, negative=not shape.negative)
        # A product with a number less than 0 is the negative of that with its magnitude.
        factor = inner[0]
        turned = operation == "mul" and isinstance(factor, Constant) and factor.dtype.kind == "f" and bool(factor.value < 0)
        if turned and isinstance(factor, Constant):
            inner = Constant(-factor.value, factor.dtype), inner[1]
        shape = self._together((operation, expression.dtype.name), inner)
        return replace(shape, negative=True) if turned and shape is not None else shape

    def _together(self, head: object, inner: Sequence[Expression]) -> Shape | None:
        shapes: list[Shape] = []
        for part in inner:
            shape = self.of(part)
            if shape is None:
                return None
            shapes.append(shape)
        base = next((shape.offset for shape in shapes if shape.offset is not None), None)
        return self._shape((head, *[shape.beside(base) for shape in shapes]), base)

    def _shape(self, key: object, offset: int | None) -> Shape:
        return Shape(self.numbers.setdefault(key, len(self.numbers)), offset)


#: An expression for several iterations in a row, as it stands in one of them, the latest first.
_Run = list[tuple[Expression, Shape]]


def _handing_on(loop: Statement, numbers: count[int], locals_: list[Buffer]) -> list[Statement]:
    """The statement, or what stands for it if it is a loop that computes values again."""
    if not isinstance(loop, For) or loop.ordered or 0 <= loop.symbol.extent < LEAST_ITERATIONS:
        return [loop]
    if not all(isinstance(statement, (Let, Store, Accumulate)) for statement in loop.body):
        return [loop]
    lets = {statement.symbol: statement.value for statement in loop.body if isinstance(statement, Let)}
    changed = {statement.buffer for statement in loop.body if isinstance(statement, (Store, Accumulate))}
    shapes = Shapes(loop.symbol, lets, changed)
    before: list[Statement] = []
    body: Sequence[Statement] = loop.body
    while runs := _runs(body, shapes):
        run = max(runs, key=lambda run: _operations(run[0][0]))
        if _operations(run[0][0]) < LEAST_OPERATIONS or len(before) + len(run) > MOST_VALUES:
            break
        body = _handed_on(loop, run, body, before, shapes, f"c{next(numbers)}")
    first = [(run[0][1], Let(Symbol(f"next.c{next(numbers)}", run[0][0].dtype), _expanded(run[0][0], shapes.lets)))
             for run in runs if isinstance(run[0][0], Load) and sum(isinstance(s, Store) for s in loop.body) > 1]
    if first:
        body = [*[let for _, let in first], *_replaced(body, shapes, {(s.number, s.offset): let.symbol for s, let in first})]
    if body is loop.body:
        return [loop]
    locals_ += [statement.buffer for statement in before if isinstance(statement, Store)]
    inside = (*before, replace(loop, body=tuple(body)))
    # Before a loop that does not run at all there may be nothing to load.
    runs_at_all = compare("less", loop.begin, loop.end) if before else TRUE
    return list(inside) if runs_at_all is TRUE else [If(runs_at_all, inside, ())]


def _handed_on(
    loop: For, run: _Run, body: Sequence[Statement], before: list[Statement], shapes: Shapes, stem: str
) -> list[Statement]:
    """The body with the first expression of a run computed, and the others those of earlier iterations."""
    negative = run[0][1].negative
    head: list[Statement] = []
    tail: list[Statement] = []
    places: dict[tuple[int, int | None], Symbol] = {}
    newer: Symbol | None = None
    for position, (expression, shape) in enumerate(run):
        value = _expanded(expression, shapes.lets)
        if shape.negative is not negative:
            value = Apply("neg", (value,), value.dtype)
        symbol = Symbol(f"last{position}.{stem}" if position else f"here.{stem}", value.dtype)
        places[shape.number, shape.offset] = symbol
        shapes.add(symbol, value, replace(shape, negative=negative))
        if newer is None:
            head.append(Let(symbol, value))
        else:
            last = Buffer(symbol.name, value.dtype, (), "local")
            shapes.changed.add(last)
            before.append(Store(last, (), substitute(value, lambda part: loop.begin if part is loop.symbol else None)))
            head.append(Let(symbol, Load(last, (), last.dtype)))
            tail.append(Store(last, (), newer))
        newer = symbol
    return [*head, *_replaced(body, shapes, places, negative), *tail]


def _replaced(
    body: Sequence[Statement], shapes: Shapes, places: dict[tuple[int, int | None], Symbol], negative: bool = False
) -> list[Statement]:
    """The body with symbols in the places of expressions, by the numbers and offsets of these."""

    def put(part: Expression) -> Expression | None:
        shape = None if isinstance(part, (Constant, Symbol)) else shapes.of(part)
        symbol = places.get((shape.number, shape.offset)) if shape is not None else None
        if shape is None or symbol is None or shape.negative is negative:
            return symbol
        return Apply("neg", (symbol,), symbol.dtype)

    return [with_operands(statement, lambda operand: substitute(operand, put)) for statement in body]


def _expanded(expression: Expression, lets: dict[Symbol, Expression]) -> Expression:
    """An expression without what the body binds."""
    return substitute(
        expression, lambda part: _expanded(lets[part], lets) if isinstance(part, Symbol) and part in lets else None)


def _runs(body: Sequence[Statement], shapes: Shapes) -> list[_Run]:
    """The expressions that stand in the body for several iterations in a row."""
    found: dict[int, dict[int, tuple[Expression, Shape]]] = {}
    seen: set[int] = set()
    stack = [operands(statement)[-1] for statement in reversed(body)]
    while stack:
        expression = stack.pop()
        if isinstance(expression, (Constant, Symbol)) or id(expression) in seen:
            continue
        seen.add(id(expression))
        if isinstance(expression, Apply):
            # What a guard keeps from being evaluated stays where it is.
            stack += expression.operands[:1] if expression.operation == "guard" else reversed(expression.operands)
        shape = shapes.of(expression)
        if shape is None or shape.offset is None or expression.dtype.kind != "f":
            continue
        if isinstance(expression, Load) or expression.operation != "neg":
            found.setdefault(shape.number, {}).setdefault(shape.offset, (expression, shape))
    runs: list[_Run] = []
    for places in found.values():
        for offset in places:
            if offset + 1 not in places and offset - 1 in places:
                runs.append([places[offset]])
                while (offset := offset - 1) in places:
                    runs[-1].append(places[offset])
    return runs


def _operations(expression: Expression) -> int:
    """How many operations it takes beside loads."""
    seen: set[int] = set()
    stack, total = [expression], 0
    while stack:
        part = stack.pop()
        if isinstance(part, Apply) and id(part) not in seen:
            seen.add(id(part))
            total += 1
            stack += part.operands
    return total
