"""Loops that choose a few elements by their index fill all others first, and store these one by one.

    for j: out[i, j] = select(j == i, a, select(j == i + 1, b, 0.0))
    ->  for j: out[i, j] = 0.0 ; if i is in range: out[i, i] = a ; if i + 1 is in range: out[i, i + 1] = b

The second derivatives of sums over neighbours are such bands. A point gets what the loop's body gives there, whatever else is
equal to it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from gradxform.backend.blocks import loads_of
from gradxform.backend.carried import Shapes
from gradxform.dtypes import int64
from gradxform.loopir.expression import (
    FALSE,
    INDEX_CHECKS,
    TRUE,
    Apply,
    Expression,
    Symbol,
    compare,
    conjunction,
    index_add,
    integer,
    known,
    parts,
    substitute,
    symbols,
)
from gradxform.loopir.loops import (
    For,
    If,
    Kernel,
    Let,
    Statement,
    Store,
    bodies,
    operands,
    with_bodies,
    with_nests,
    with_operands,
)
from gradxform.loopir.rewriting import renamed

#: A loop has so many iterations for each of its points.
ITERATIONS = 32
#: Points of a loop, at most.
MOST_POINTS = 16


def single_out(kernel: Kernel) -> Kernel:
    """The kernel with such loops filling first; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [nest if (body := _inside(nest.body, numbers)) is nest.body else replace(nest, body=body)
                               for nest in kernel.nests])


def _inside(statements: tuple[Statement, ...], numbers: count[int]) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        inner = with_bodies(statement, [_inside(body, numbers) for body in bodies(statement)])
        new = _filled(inner, numbers) if isinstance(inner, For) else [inner]
        changed = changed or new != [statement]
        result += new
    return tuple(result) if changed else statements


def _filled(loop: For, numbers: count[int]) -> list[Statement]:
    """What stands for a loop: itself, or the filling and the points."""
    if loop.ordered or loop.symbol.extent < ITERATIONS or not all(isinstance(s, (Let, Store)) for s in loop.body):
        return [loop]
    found = _tests(loop)
    points = list(dict(reversed([(number, point) for number, point in found.values()])).values())
    if not points or len(points) > MOST_POINTS or len(points) * ITERATIONS > loop.symbol.extent or not _apart(loop):
        return [loop]

    def without(part: Expression) -> Expression | None:
        return FALSE if id(part) in found else None

    filling = [with_operands(statement, lambda operand: substitute(operand, without)) for statement in loop.body]
    result: list[Statement] = [replace(loop, body=tuple(filling))]
    for point in points:
        inside = conjunction([compare("greater_equal", point, loop.begin), compare("less", point, loop.end)])
        copies = renamed(loop.body, {loop.symbol: point}, f"at{next(numbers)}")
        body = tuple([with_operands(copy, lambda operand: substitute(operand, _same)) for copy in copies])
        result += body if inside is TRUE else () if inside is FALSE else (If(inside, body, ()),)
    return result


def _tests(loop: For) -> dict[int, tuple[int, Expression]]:
    """The tests of whether the loop's symbol is a certain number, by their identities: the point, and a number for it."""
    bound = {loop.symbol, *(s.symbol for s in loop.body if isinstance(s, Let))}
    shapes = Shapes(loop.symbol, {}, set())
    found: dict[int, tuple[int, Expression]] = {}
    for part in (part for statement in loop.body for operand in operands(statement) for part in parts(operand)):
        if not isinstance(part, Apply) or part.operation != "equal" or part.operands[0].dtype != int64:
            continue
        for one, other in (part.operands, part.operands[::-1]):
            step = _step(one, loop.symbol)
            if step is not None and bound.isdisjoint(symbols(other)):
                point = index_add(other, integer(-step))
                shape = shapes.of(point)
                if shape is not None:
                    found[id(part)] = shape.number, point
    return found


def _same(test: Expression) -> Expression | None:
    """What a test of two indices gives that differ by a number, if it is one."""
    if not isinstance(test, Apply) or test.operation != "equal" or test.operands[0].dtype != int64:
        return None
    left, right = test.operands
    start = left.operands[0] if isinstance(left, Apply) and left.operation == "add" else left
    first, second = (_step(index, start) for index in (left, right)) if isinstance(start, Symbol) else (None, None)
    return None if first is None or second is None else TRUE if first == second else FALSE


def _step(index: Expression, symbol: Symbol) -> int | None:
    """What is added to a symbol, if that is all there is."""
    if index is symbol:
        return 0
    if isinstance(index, Apply) and index.operation == "add" and index.operands[0] is symbol:
        return known(index.operands[1])
    return None


def _apart(loop: For) -> bool:
    """Whether each iteration stores elements of its own, which none reads, at indices that need no check."""
    stored = {statement.buffer for statement in loop.body if isinstance(statement, Store)}
    for statement in loop.body:
        if isinstance(statement, Store) and loop.symbol not in statement.index:
            return False
        if any(buffer in stored for buffer, _ in loads_of(statement)):
            return False
        if any(isinstance(part, Apply) and part.operation in INDEX_CHECKS
               for operand in operands(statement) for part in parts(operand)):
            return False
    return True


