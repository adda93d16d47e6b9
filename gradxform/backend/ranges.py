"""Loops are cut where guards change, so that nearly all iterations run without them.

    for j in 0 .. 1000: y[j] = guard(j < 999, a[j], 0.0) + guard(j - 1 >= 0, b[j - 1], 0.0)
    ->  for j in 0 .. 1: y[j] = a[j] + 0.0 ; for j in 1 .. 999: y[j] = a[j] + b[j - 1] ; for j in 999 .. 1000: ...

Pads, concatenations and updates of ranges, so all gradients of slices, come as such guards. Of nested loops all are cut. Where
guards change several times within few iterations those stay one piece, a *seam*, in which guards are tested, so that code grows
with the rank of arrays and not with the number of guards:

    for i: for j: y[i, j] = sum of nine guarded terms
    ->  for i in 0 .. 2: ... ; for i in 2 .. n - 2: { for j in 0 .. 1, 1 .. 2, 2 .. n - 2, ... } ; for i in n - 2 .. n: ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, pairwise

from gradxform.data_class import data_class
from gradxform.dtypes import bool_, int64
from gradxform.loopir.expression import Apply, Expression, Load, Symbol, axis, index_add, integer, known
from gradxform.loopir.loops import For, Kernel, Nest, Statement, bodies, operands, with_bodies, with_nests
from gradxform.loopir.rewriting import renamed

#: An innermost loop is cut into at most this many pieces without any guard, or into as many as have no more code together
#: than the loop; with seams there may be as many long pieces.
MAX_PIECES = 5
#: Changes no further apart than this many iterations are in one seam.
SEAM = 8
#: Pieces of fewer iterations would not fill a vector of float64.
VECTOR_EXTENT = 8
#: Operations in all pieces of a loop together.
MAX_OPERATIONS = 2_000


@data_class(frozen=True, slots=True)
class Piece:
    """Iterations ``first`` .. ``last`` of a loop; a seam if guards change within."""

    first: int
    last: int
    seam: bool


def cut_kernel(kernel: Kernel) -> Kernel:
    """The kernel with its guarded loops cut into pieces; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [_nest(nest, numbers) for nest in kernel.nests])


def _nest(nest: Nest, numbers: count[int]) -> Nest:
    body = _inside(nest.body, numbers, True)
    return nest if body is nest.body else replace(nest, body=body)


def _inside(statements: tuple[Statement, ...], numbers: count[int], exactly: bool) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        pieces = _pieces(statement, exactly) if isinstance(statement, For) else ()
        if isinstance(statement, For) and len(pieces) > 1 and _factor(statement, exactly) * _size(statement) <= MAX_OPERATIONS:
            for piece in pieces:
                loop = _piece(statement, piece, next(numbers))
                result.append(replace(loop, body=_inside(loop.body, numbers, exactly and not piece.seam)))
            changed = True
            continue
        new = with_bodies(statement, [_inside(body, numbers, exactly) for body in bodies(statement)])
        changed = changed or new is not statement
        result.append(new)
    return tuple(result) if changed else statements


def _factor(loop: For, exactly: bool) -> int:
    """How many copies of its body ``loop`` becomes, if it and the loops within it are cut."""
    inner = [s for s in loop.body if isinstance(s, For)]
    total = 0
    for piece in _pieces(loop, exactly) or (Piece(0, 0, False),):
        total += max([_factor(s, exactly and not piece.seam) for s in inner], default=1)
    return total


def _size(statement: Statement) -> int:
    """The number of different loads in a statement, and of operations on what is no index and no condition."""
    seen: set[int] = set()
    total = 0

    def walk(inner: Statement) -> None:
        nonlocal total
        stack = list(operands(inner))
        while stack:
            part = stack.pop()
            if id(part) not in seen and isinstance(part, (Apply, Load)):
                seen.add(id(part))
                total += isinstance(part, Load) or part.dtype not in (int64, bool_)
                stack.extend(part.operands if isinstance(part, Apply) else ())
        for body in bodies(inner):
            for s in body:
                walk(s)

    walk(statement)
    return total


# ------------------------------------------------------------------------------------------------------- pieces


def _pieces(loop: For, exactly: bool) -> Sequence[Piece]:
    """The pieces into which ``loop`` is to be cut; none if it is not.

    ``exactly``: no seam is around it. An innermost loop is then cut without seams; otherwise no other is cut.
    """
    innermost = not any(map(bodies, loop.body))
    if not innermost and (loop.ordered or not exactly):
        return ()
    begin, end = known(loop.begin), known(loop.end)
    begin, end = 0 if begin is None else begin, loop.symbol.extent if end is None else end
    places = sorted({place for place in _changes(loop) if begin < place < end})
    if not places:
        return ()
    exact = [Piece(first, last, False) for first, last in pairwise([begin, *places, end])]
    if innermost and exactly and (len(exact) <= MAX_PIECES or _shares(loop, exact)):
        return exact
    pieces = _with_seams([begin, *places, end])
    return pieces if 0 < sum(not piece.seam for piece in pieces) <= MAX_PIECES else ()


def _shares(loop: For, pieces: Sequence[Piece]) -> bool:
    """Whether ``pieces``, each long enough for a vector, share what ``loop`` does: together they do no more, as those of a
    concatenation, of which each copies one part.
    """
    size = _size(loop)
    if min(piece.last - piece.first for piece in pieces) < VECTOR_EXTENT or len(pieces) * size > MAX_OPERATIONS:
        return False
    return sum(_size(_piece(loop, piece, number)) for number, piece in enumerate(pieces)) <= size


def _with_seams(places: Sequence[int]) -> list[Piece]:
    pieces: list[Piece] = []
    for first, last in pairwise(places):
        if last - first > SEAM:
            pieces.append(Piece(first, last, False))
        elif pieces and pieces[-1].seam:
            pieces[-1] = Piece(pieces[-1].first, last, True)
        else:
            pieces.append(Piece(first, last, True))
    return pieces


def _piece(loop: For, piece: Piece, number: int) -> For:
    """The iterations of ``loop`` in a piece, with a symbol that counts from its first."""
    first = piece.first
    symbol = axis(f"{loop.symbol.name}.{number}", piece.last - first)
    body = renamed(loop.body, {loop.symbol: index_add(symbol, integer(first))}, f"s{number}")
    return replace(loop, symbol=symbol, begin=_limited("maximum", loop.begin, first, first),
                   end=_limited("minimum", loop.end, piece.last, first), body=tuple(body))


def _limited(operation: str, bound: Expression, limit: int, origin: int) -> Expression:
    """max or min of a loop's bound and ``limit``, counted from ``origin``."""
    value = known(bound)
    if value is not None:
        return integer((max if operation == "maximum" else min)(value, limit) - origin)
    return index_add(Apply(operation, (bound, integer(limit)), int64), integer(-origin))


# ------------------------------------------------------------------------------------------------------ changes


def _changes(loop: For) -> set[int]:
    """The values of the loop's symbol at which a guard changes that is tested in each iteration of the innermost loops."""
    found: set[int] = set()
    seen: set[int] = set()
    for statement in _innermost(loop):
        for part in operands(statement):
            _guards(part, loop.symbol, found, seen)
    return found


def _innermost(loop: For) -> Iterator[Statement]:
    """The statements of the innermost loops within ``loop``."""
    deeper = False
    for statement in loop.body:
        if isinstance(statement, For):
            deeper = True
            yield from _innermost(statement)
        elif bodies(statement):
            deeper = True
    if not deeper:
        yield from loop.body


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
        limit = known(condition.operands[1])
        if limit is not None:
            limits = (limit, limit + 1) if condition.operation == "equal" else (limit,)
            found.update(place for place in [_threshold(condition.operands[0], symbol, x) for x in limits] if place is not None)


def _threshold(index: Expression, symbol: Symbol, limit: int) -> int | None:
    """The value of ``symbol`` from which on, or up to which, ``index`` is at least ``limit``; None if that is not seen."""
    while index is not symbol:
        if not isinstance(index, Apply) or len(index.operands) != 2:
            return None
        number = known(index.operands[1])
        if number is None:
            return None
        if index.operation == "add":
            limit -= number
        elif index.operation == "mul" and number > 0:
            limit = -(-limit // number)
        elif index.operation == "mul" and number < 0:
            limit = limit // number + 1
        elif index.operation == "floor_divide" and number > 0:
            limit *= number
        else:
            return None
        index = index.operands[0]
    return limit
