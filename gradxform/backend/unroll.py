"""Loops shorter than a vector are unrolled, so that small arrays become scalars and the loop around them the lane.

    for i in 0 .. 1000: { for j in 0 .. 3: t[j] = x[i, j] - y[j] }
    ->  for i in 0 .. 1000: { t[0] = x[i, 0] - y[0] ; t[1] = ... ; t[2] = ... }

Indices become constants: guards on them are decided here, and local buffers that are indexed by constants only become
SSA values when LLVM takes aggregates apart.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from gradxform.backend.blocks import accesses
from gradxform.backend.jam import filled_by, products_in, target_of, work_of
from gradxform.backend.split import weight
from gradxform.loopir.expression import integer, known, symbols
from gradxform.loopir.loops import For, Kernel, Nest, Statement, While, bodies, with_bodies, with_nests
from gradxform.loopir.rewriting import renamed

#: A loop of fewer iterations is unrolled: it would not fill a vector of float64.
VECTOR_EXTENT = 8
#: So is one of this many if it is the loop around it that walks through memory by neighbours: that one is to be the lane.
STRIDED_EXTENT = 8
#: Unrolled code may have this many statements.
UNROLLED_STATEMENTS = 256
#: A product of so many multiplications for each iteration of the loop around it becomes a tile; see jam.
TILE_WORK = 32


def unroll_kernel(kernel: Kernel) -> Kernel:
    """The kernel with its short inner loops unrolled; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [_nest(nest, numbers) for nest in kernel.nests])


def _nest(nest: Nest, numbers: count[int]) -> Nest:
    # Around a loop that is run in order even the small arrays of its state must be scalars, to stay in registers.
    within_loop = nest.chunk is not None or _in_order(nest.body)
    body = _inside(nest.body, numbers, within_loop, None)
    return nest if body is nest.body else replace(nest, body=body)


def _in_order(statements: tuple[Statement, ...]) -> bool:
    return any(isinstance(s, While) or (isinstance(s, For) and s.ordered) or any(map(_in_order, bodies(s)))
               for s in statements)


def _inside(
    statements: tuple[Statement, ...], numbers: count[int], within_loop: bool, around: For | None
) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    tiles = _tiles(around) if around is not None else ()
    for statement in statements:
        if statement in tiles:
            result.append(statement)
            continue
        looping = within_loop or isinstance(statement, (For, While))
        outer = statement if isinstance(statement, For) and _is_long(statement) else None
        new = with_bodies(statement, [_inside(body, numbers, looping, outer) for body in bodies(statement)])
        unrolled = _unrolled(new, numbers, around) if isinstance(new, For) and within_loop else None
        changed = changed or new is not statement or unrolled is not None
        result += [new] if unrolled is None else unrolled
    return tuple(result) if changed else statements


def _is_long(loop: For) -> bool:
    return not loop.ordered and loop.symbol.extent >= VECTOR_EXTENT


def _tiles(loop: For) -> set[Statement]:
    """What in the body of a loop is to become tiles over its iterations, or loops around such products; see jam."""
    products = {statement for statement in products_in((loop,)) if work_of(statement) >= TILE_WORK}
    targets = {target_of(product) for product in products}
    zeros = {statement for statement in loop.body if filled_by(statement) in targets} if targets else set()
    around = {statement for statement in loop.body if isinstance(statement, For) and statement not in products
              and any(work_of(product) * statement.symbol.extent >= TILE_WORK for product in products_in((loop, statement)))}
    return products | zeros | around


def _unrolled(loop: For, numbers: count[int], around: For | None) -> list[Statement] | None:
    begin, end = known(loop.begin), known(loop.end)
    if begin is None or end is None or end - begin > STRIDED_EXTENT:
        return None
    if end - begin >= VECTOR_EXTENT and (around is None or not _jumps(loop, around)):
        return None
    if any(map(bodies, loop.body)) or weight(loop.body) * (end - begin) > UNROLLED_STATEMENTS:
        return None
    return [copy for i in range(begin, end) for copy in renamed(loop.body, {loop.symbol: integer(i)}, f"u{next(numbers)}")]


def _jumps(loop: For, around: For) -> bool:
    """Whether more of what the loop reads and writes in arrays has neighbours along the loop around it than along itself."""
    lasts = [index[-1] for statement in loop.body for buffer, index in accesses(statement) if index and buffer.space != "local"]
    return (sum(around.symbol in symbols(last) for last in lasts)
            > sum(loop.symbol in symbols(last) for last in lasts))
