"""Indices that are looked up and checked are so once, as far out as they are known.

    for i: { for j: out[i, j] = x[relative_index(w[i], n), j] ; for j: s[i] += x[relative_index(w[i], n), j] }
    ->  for i: { k = relative_index(w[i], n) ; for j: out[i, j] = x[k, j] ; for j: s[i] += x[k, j] }

A check is a branch, which LLVM does not take out of a loop: it would keep a copy of a row from being one of vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

from gradxform.dtypes import int64
from gradxform.loopir.expression import (
    INDEX_CHECKS,
    Apply,
    Constant,
    Expression,
    Load,
    Symbol,
    index_range,
    known,
    parts,
    substitute,
)
from gradxform.loopir.loops import (
    Buffer,
    For,
    Kernel,
    Let,
    Nest,
    Statement,
    bodies,
    operands,
    with_bodies,
    with_nests,
    with_operands,
    written,
)

Key = tuple[object, ...]


def hoist_indices(kernel: Kernel) -> Kernel:
    """The kernel with such indices bound to symbols; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [_nest(nest, numbers) for nest in kernel.nests])


def _nest(nest: Nest, numbers: Iterator[int]) -> Nest:
    if not any(True for statement in nest.body for _ in _checks(statement)):
        return nest
    body = _block(nest.body, {}, numbers)
    return nest if body is nest.body else replace(nest, body=body)


def _block(
    statements: tuple[Statement, ...], known_before: Mapping[Key, Symbol], numbers: Iterator[int]
) -> tuple[Statement, ...]:
    """The statements with what they share bound in front of them, and in all of them what is bound already."""
    changed = {buffer for statement in statements for buffer in _written(statement)}
    uses: dict[Key, int] = {}
    for statement in statements:
        for key, times in _fixed(statement, changed).items():
            uses[key] = uses.get(key, 0) + times
    bound = dict(known_before)
    result: list[Statement] = []
    for statement in statements:
        for check in _checks(statement):
            key = _key(check)
            # Inside a loop that stands here it is computed in every iteration.
            if key not in bound and uses.get(key, 0) > 1 and key in _fixed(statement, changed):
                symbol = Symbol(f"x{next(numbers)}", int64, _extent(check))
                result.append(Let(symbol, _replaced(check, bound)))
                bound[key] = symbol
        new = with_operands(statement, lambda part: _replaced(part, bound)) if _is_touched(statement) else statement
        result.append(with_bodies(new, [_block(body, bound, numbers) for body in bodies(new)]))
    same = len(result) == len(statements) and all(a is b for a, b in zip(result, statements, strict=True))
    return statements if same else tuple(result)


def _is_touched(statement: Statement) -> bool:
    return any(isinstance(part, Apply) and part.operation in INDEX_CHECKS
               for operand in operands(statement) for part in parts(operand))


def _fixed(statement: Statement, changed: set[Buffer]) -> dict[Key, int]:
    """The checks that may be made in front of ``statement``, and how often they are made in it; in a loop: often.

    Those that may not be made at all, because a guard or a branch stands before them, are not among them.
    """
    found: dict[Key, int] = {}

    def note(expression: Expression, times: int, inside: set[Symbol]) -> None:
        stack = [expression]
        while stack:
            part = stack.pop()
            if isinstance(part, Load):
                stack.extend(part.index)
            elif isinstance(part, Apply):
                stack.extend(part.operands[:1] if part.operation == "guard" else part.operands)
                if part.operation in INDEX_CHECKS and not any(
                        p in inside or (isinstance(p, Load) and p.buffer in changed) for p in parts(part)):
                    found[_key(part)] = found.get(_key(part), 0) + times

    def walk(inner: Statement, times: int, inside: set[Symbol]) -> None:
        for operand in operands(inner):
            note(operand, times, inside)
        if isinstance(inner, For) and _runs(inner):
            inside.add(inner.symbol)
            for deeper in inner.body:
                walk(deeper, 2, inside)
        elif isinstance(inner, Let):
            inside.add(inner.symbol)

    walk(statement, 1, set())
    return found


def _runs(loop: For) -> bool:
    """Whether a loop runs at least once."""
    begin, end = known(loop.begin), known(loop.end)
    if begin is not None and end is not None:
        return begin < end
    # Of a chunk: c * size .. min(c * size + size, extent)
    bounds = index_range(loop.begin)
    limit = loop.end.operands[1] if isinstance(loop.end, Apply) and loop.end.operation == "minimum" else None
    last = known(limit) if limit is not None else None
    return bounds is not None and last is not None and bounds[1] < last


def _checks(statement: Statement) -> Iterator[Apply]:
    for operand in operands(statement):
        for part in parts(operand):
            if isinstance(part, Apply) and part.operation in INDEX_CHECKS:
                yield part
    for body in bodies(statement):
        for inner in body:
            yield from _checks(inner)


def _written(statement: Statement) -> Iterator[Buffer]:
    yield from written(statement)
    for body in bodies(statement):
        for inner in body:
            yield from _written(inner)


def _extent(check: Expression) -> int:
    extent = known(check.operands[1]) if isinstance(check, Apply) else None
    return -1 if extent is None else extent


def _key(expression: Expression) -> Key:
    """What is the same for expressions that read the same."""
    if isinstance(expression, Constant):
        return ("constant", str(expression.dtype), str(expression.value))
    if isinstance(expression, Load):
        return ("load", expression.buffer, *map(_key, expression.index))
    if isinstance(expression, Apply):
        return (expression.operation, str(expression.dtype), *map(_key, expression.operands))
    return (expression,)


def _replaced(expression: Expression, bound: Mapping[Key, Symbol]) -> Expression:
    if not bound:
        return expression

    def replacement(part: Expression) -> Expression | None:
        return bound.get(_key(part)) if isinstance(part, Apply) and part.operation in INDEX_CHECKS else None

    return substitute(expression, replacement)
