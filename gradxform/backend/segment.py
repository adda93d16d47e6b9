"""Innermost loops are cut where guards change, so that each piece runs without them.

    for j in 0 .. 1000: y[j] = guard(j < 999, a[j], 0.0) + guard(j - 1 >= 0, b[j - 1], 0.0)
    ->  for j in 0 .. 1: y[j] = a[j] + 0.0 ; for j in 1 .. 999: y[j] = a[j] + b[j - 1] ; for j in 999 .. 1000: ...

Pads and concatenations, so all gradients of slices, come as such guards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, pairwise

from gradxform.backend.split import weight
from gradxform.dtypes import int64
from gradxform.loopir.expression import Apply, Expression, Load, Symbol, axis, index_add, integer, known
from gradxform.loopir.loops import For, Kernel, Nest, Statement, bodies, operands, with_bodies
from gradxform.loopir.rewriting import renamed

#: A loop is cut into at most this many pieces, of together at most so many statements.
MAX_PIECES = 5
MAX_STATEMENTS = 256


def segment_kernel(kernel: Kernel) -> Kernel:
    """The kernel with its guarded innermost loops cut into pieces; the same object if there are none."""
    numbers = count()
    nests = tuple([_nest(nest, numbers) for nest in kernel.nests])
    return kernel if all(a is b for a, b in zip(nests, kernel.nests, strict=True)) else replace(kernel, nests=nests)


def _nest(nest: Nest, numbers: count[int]) -> Nest:
    body = _inside(nest.body, numbers)
    return nest if body is nest.body else replace(nest, body=body)


def _inside(statements: tuple[Statement, ...], numbers: count[int]) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        new = with_bodies(statement, [_inside(body, numbers) for body in bodies(statement)])
        pieces: Sequence[Statement] = (new,)
        if isinstance(new, For) and not any(map(bodies, new.body)):
            pieces = _pieces(new, numbers)
        changed = changed or pieces[0] is not statement
        result += pieces
    return tuple(result) if changed else statements


def _pieces(loop: For, numbers: count[int]) -> Sequence[Statement]:
    extent = loop.symbol.extent
    places = sorted({place for place in _breaks(loop) if 0 < place < extent})
    if not places or len(places) >= MAX_PIECES or weight(loop.body) * (len(places) + 1) > MAX_STATEMENTS:
        return (loop,)
    return [_piece(loop, first, last, next(numbers)) for first, last in pairwise([0, *places, extent])]


def _piece(loop: For, first: int, last: int, number: int) -> For:
    """The iterations of ``loop`` in first .. last, with a symbol that counts from ``first``."""
    symbol = axis(f"{loop.symbol.name}.{number}", last - first)
    body = renamed(loop.body, {loop.symbol: index_add(symbol, integer(first))}, f"s{number}")
    return replace(loop, symbol=symbol, begin=_limited("maximum", loop.begin, first, first),
                   end=_limited("minimum", loop.end, last, first), body=tuple(body))


def _limited(operation: str, bound: Expression, limit: int, origin: int) -> Expression:
    """max or min of a loop's bound and ``limit``, counted from ``origin``."""
    value = known(bound)
    if value is not None:
        return integer((max if operation == "maximum" else min)(value, limit) - origin)
    return index_add(Apply(operation, (bound, integer(limit)), int64), integer(-origin))


def _breaks(loop: For) -> set[int]:
    """The values of the loop's symbol at which a guard in its body changes."""
    found: set[int] = set()
    for statement in loop.body:
        for part in operands(statement):
            _guards(part, loop.symbol, found, set())
    return found


def _guards(expression: Expression, symbol: Symbol, found: set[int], seen: set[int]) -> None:
    if id(expression) in seen:
        return
    seen.add(id(expression))
    if isinstance(expression, Load):
        for part in expression.index:
            _guards(part, symbol, found, seen)
    elif isinstance(expression, Apply):
        if expression.operation == "guard":
            _conditions(expression.operands[0], symbol, found)
        for operand in expression.operands:
            _guards(operand, symbol, found, seen)


def _conditions(condition: Expression, symbol: Symbol, found: set[int]) -> None:
    if not isinstance(condition, Apply):
        return
    if condition.operation == "logical_and":
        for operand in condition.operands:
            _conditions(operand, symbol, found)
    elif condition.operation in ("less", "greater_equal", "equal"):
        offset, limit = _offset(condition.operands[0], symbol), known(condition.operands[1])
        if offset is not None and limit is not None:
            found.add(limit - offset)
            if condition.operation == "equal":
                found.add(limit - offset + 1)


def _offset(index: Expression, symbol: Symbol) -> int | None:
    """c where ``index`` is symbol + c, else None."""
    if index is symbol:
        return 0
    if isinstance(index, Apply) and index.operation == "add" and index.operands[0] is symbol:
        return known(index.operands[1])
    return None
