"""Loops shorter than a vector are unrolled, so that small arrays become scalars and the loop around them the lane.

    for i in 0 .. 1000: { for j in 0 .. 3: t[j] = x[i, j] - y[j] }
    ->  for i in 0 .. 1000: { t[0] = x[i, 0] - y[0] ; t[1] = ... ; t[2] = ... }

Indices become constants: guards on them are decided here, and local buffers that are indexed by constants only become
SSA values when LLVM takes aggregates apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from gradxform.backend.split import weight
from gradxform.loopir.expression import Expression, Symbol, integer, known, substitute
from gradxform.loopir.loops import Accumulate, For, Kernel, Let, Nest, Part, Statement, Store

#: A loop of fewer iterations is unrolled: it would not fill a vector of float64.
VECTOR_EXTENT = 8
#: Unrolled code may have this many statements.
UNROLLED_STATEMENTS = 256


def unroll_kernel(kernel: Kernel) -> Kernel:
    """The kernel with its short inner loops unrolled; the same object if there are none."""
    numbers = count()
    nests = tuple([_nest(nest, numbers) for nest in kernel.nests])
    return kernel if all(a is b for a, b in zip(nests, kernel.nests, strict=True)) else replace(kernel, nests=nests)


def _nest(nest: Nest, numbers: count[int]) -> Nest:
    body = _inside(nest.body, numbers, within_loop=nest.chunk is not None)
    return nest if body is nest.body else replace(nest, body=body)


def _inside(statements: tuple[Statement, ...], numbers: count[int], within_loop: bool) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        if not isinstance(statement, For):
            result.append(statement)
            continue
        body = _inside(statement.body, numbers, within_loop=True)
        loop = statement if body is statement.body else replace(statement, body=body)
        unrolled = _unrolled(loop, numbers) if within_loop else None
        changed = changed or loop is not statement or unrolled is not None
        result += [loop] if unrolled is None else unrolled
    return tuple(result) if changed else statements


def _unrolled(loop: For, numbers: count[int]) -> list[Statement] | None:
    begin, end = known(loop.begin), known(loop.end)
    if begin is None or end is None or end - begin >= VECTOR_EXTENT:
        return None
    if any(isinstance(s, (For, Part)) for s in loop.body) or weight(loop.body) * (end - begin) > UNROLLED_STATEMENTS:
        return None
    return [copy for i in range(begin, end) for copy in _copy(loop.body, {loop.symbol: integer(i)}, next(numbers))]


def _copy(statements: Sequence[Statement], values: dict[Symbol, Expression], number: int) -> list[Statement]:
    """The statements with symbols replaced, and with symbols of their own for what they bind."""

    def replaced(part: Expression) -> Expression | None:
        return values.get(part) if isinstance(part, Symbol) else None

    def rewrite(expression: Expression) -> Expression:
        return substitute(expression, replaced)

    result: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Let):
            value = rewrite(statement.value)
            own = Symbol(f"{statement.symbol.name}.{number}", statement.symbol.dtype)
            values[statement.symbol] = own
            result.append(Let(own, value))
        elif isinstance(statement, (Store, Accumulate)):
            result.append(replace(statement, index=tuple(map(rewrite, statement.index)), value=rewrite(statement.value)))
        else:
            result.append(statement)
    return result


