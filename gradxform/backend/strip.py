"""Elementary functions between inner loops get a loop of their own, over a block of iterations, that vectorises; so do
products with the rows of a matrix, which become tiles (see jam).

    for i in 0 .. n: { for j: z += x[i, j] * w[j] ; p = exp(z) ; for j: g[j] += p * x[i, j] }
    ->  for b: { for i in block b: { for j: z ... } ; for i in block b: p[i] = exp(z[i]) ; for i in block b: { for j: g ... } }

A block is small enough that what its iterations read of memory is still in the nearest cache when the last piece reads it
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from math import prod

from gradxform.backend.blocks import Blocks, accesses, loads_of
from gradxform.backend.instructions import ELEMENTARY_OPERATIONS
from gradxform.backend.jam import contracted, filled_by, own_buffers, products_in, target_of, work_of
from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.liveness import touched
from gradxform.loopir.expression import ZERO, Apply, Expression, Symbol, known, parts, symbols
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    For,
    Kernel,
    Let,
    Nest,
    Statement,
    Store,
    bodies,
    operands,
    with_bodies,
    with_nests,
)

#: Bytes that the iterations of a block may read, if later pieces read them again.
BLOCK_BYTES = 24 * 1024
#: Where pieces are tiles, the next cache will do, rather than no blocks at all.
TILE_BYTES = 256 * 1024
#: Multiplications for each byte of an iteration from which on that cache is as good as the first.
LOADS_HIDDEN = 0.5
#: A block has as many iterations as fill a few vectors.
LEAST_LANES, MOST_LANES = 8, 64
#: Beside tiles, whose rows are lanes, a loop of so many iterations goes around the lanes, rather than the lanes around it.
SHORT_LOOP = 32


def strip_kernel(kernel: Kernel, journal: Journal = SILENT) -> Kernel:
    """The kernel with such loops in pieces; the same object if there are none."""
    return with_nests(kernel, [_nest(nest, number, journal) for number, nest in enumerate(kernel.nests)])


def _nest(nest: Nest, number: int, journal: Journal) -> Nest:
    blocks = Blocks(f"s{number}.", journal)
    body = _inside(nest.body, blocks, None)
    return nest if body is nest.body else replace(nest, body=body, locals=(*nest.locals, *blocks.buffers))


def _inside(statements: tuple[Statement, ...], blocks: Blocks, around: For | None) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        outer = statement if isinstance(statement, For) else None
        new = with_bodies(statement, [_inside(body, blocks, outer) for body in bodies(statement)])
        pieces = _pieces(new, blocks, around) if isinstance(new, For) else None
        changed = changed or new is not statement or pieces is not None
        result += [new] if pieces is None else pieces
    return tuple(result) if changed else statements


def _pieces(loop: For, blocks: Blocks, around: For | None) -> list[Statement] | None:
    plain = all(isinstance(s, (Let, Store, Accumulate, For)) for s in _all(loop.body))
    if not plain or (loop.symbol.extent < LEAST_LANES and around is None):
        return None
    loop = _distributed(loop, around)
    products = products_in((loop,)) if loop.symbol.extent >= LEAST_LANES else set()
    if around is not None:
        # What is a product only together with the loop around comes out of this one, so that it can have that one to itself.
        wider = products_in((around, loop))
        if len(wider) == len(loop.body) > 1 and _do_not_meet(loop.body):
            return [replace(loop, body=(statement,)) for statement in loop.body]
        if loop.symbol.extent < LEAST_LANES and not wider:
            return None
        products |= wider
    groups = _groups(loop.body, products, around is not None)
    with_loops = sum(any(isinstance(s, For) for s in group) for group in groups)
    if len(groups) < 2 or not with_loops:
        return None
    private = _private(loop.symbol, groups)
    if private is None or (loop.ordered and not (products and _keep_apart(groups, private))):
        return None
    lanes = MOST_LANES
    per_iteration = max(_bytes_read_again(loop, groups) + sum(buffer.nbytes for buffer in private if buffer.shape), 1)
    # A product that does much with each number that it loads takes longer than the loads from the next cache.
    near = max([work_of(product) for product in products], default=0) < LOADS_HIDDEN * per_iteration
    while lanes >= LEAST_LANES and lanes * per_iteration > (BLOCK_BYTES if near else TILE_BYTES):
        lanes //= 2
    if products and lanes < LEAST_LANES <= TILE_BYTES // per_iteration:
        lanes = LEAST_LANES
    if lanes < LEAST_LANES:
        return None
    return blocks.pieces(loop, groups, private, lanes, _finished if products else lambda piece: piece)


def _keep_apart(groups: Sequence[Sequence[Statement]], private: Sequence[Buffer]) -> bool:
    """Whether groups hand nothing to each other but by private memory, so that only within one the order can matter."""
    places: dict[Buffer, set[int]] = {}
    stored: set[Buffer] = set()
    for position, group in enumerate(groups):
        for buffer in touched(group):
            places.setdefault(buffer, set()).add(position)
        stored.update(s.buffer for s in _all(group) if isinstance(s, (Store, Accumulate)))
    return all(len(places[buffer]) == 1 or buffer in private for buffer in stored)


def _finished(piece: For) -> Statement:
    """A piece of a loop that runs in order runs in any order if its iterations have nothing to do with each other."""
    if piece.ordered and _is_free(piece):
        piece = replace(piece, ordered=False)
    return piece if piece.ordered else _turned(piece)


def _is_free(piece: For) -> bool:
    """Whether each iteration writes to elements of its own only, and reads none of others."""
    lanes = {piece.symbol, *(s.symbol for s in piece.body[:1] if isinstance(s, Let) and s.symbol.dtype == piece.symbol.dtype
                             and not any(True for _ in loads_of(s)))}
    own = own_buffers(piece)
    begun: set[Buffer] = set()
    stored: dict[Buffer, set[tuple[int, ...]]] = {}
    written = {s.buffer for s in _all(piece.body) if isinstance(s, (Store, Accumulate))}
    for statement in _all(piece.body):
        accesses = [access for access in loads_of(statement) if access[0] in written]
        if isinstance(statement, (Store, Accumulate)):
            accesses.append((statement.buffer, statement.index))
        for buffer, index in accesses:
            if any(part in lanes for part in index) or buffer in begun:
                continue
            if not (buffer in own and isinstance(statement, Store) and buffer is statement.buffer):
                return False  # what another iteration has left
            if _is_whole(buffer, index, stored.setdefault(buffer, set())):
                begun.add(buffer)
    return True


def _distributed(loop: For, around: For | None) -> For:
    """The loop with inner loops of several products, each of which would be a tile by itself, one for each of them."""
    result: list[Statement] = []
    for statement in loop.body:
        parts = _each_sum(statement)
        if len(parts) > 1:
            apart = replace(loop, body=(*(s for s in loop.body if s is not statement), *parts))
            products = products_in((apart,)) | (products_in((around, apart)) if around is not None else set())
            if not all(part in products for part in parts) or not _do_not_meet(parts):
                parts = [statement]
        result += parts
    return loop if len(result) == len(loop.body) else replace(loop, body=tuple(result))


def _each_sum(statement: Statement) -> list[Statement]:
    """Loops around several sums as loops around one sum each."""
    if isinstance(statement, For) and len(statement.body) == 1 and isinstance(statement.body[0], For):
        return [replace(statement, body=(part,)) for part in _each_sum(statement.body[0])]
    if isinstance(statement, For) and all(isinstance(inner, Accumulate) for inner in statement.body):
        return [replace(statement, body=(inner,)) for inner in statement.body]
    return [statement]


def _turned(piece: For) -> Statement:
    """A piece that is one short loop, with that loop around the iterations: they are the lanes.

        for i in block: { for c in 0 .. 10: e[c, i] = exp(z[c, i]) }   ->   for c in 0 .. 10: for i in block: e[c, i] = ...
    """
    *before, last = piece.body
    if contracted(piece, count()) is not None:
        return piece
    if not (isinstance(last, For) and _is_short(last) and all(isinstance(statement, Let) for statement in before)):
        return piece
    return replace(last, body=(_turned(replace(piece, body=(*before, *last.body))),))


def _is_short(loop: For) -> bool:
    return loop.begin is ZERO and known(loop.end) is not None and loop.symbol.extent <= SHORT_LOOP and not loop.ordered


def _all(statements: Sequence[Statement]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        for body in bodies(statement):
            yield from _all(body)


def _do_not_meet(products: Sequence[Statement]) -> bool:
    """Whether no product reads what another one adds up."""
    sums = {target_of(product) for product in products}
    read = {buffer for product in products for statement in _all([product]) for buffer, _ in loads_of(statement)}
    return not sums & read


def _groups(statements: Sequence[Statement], products: set[Statement], apart: bool) -> list[list[Statement]]:
    """Runs of statements, each with inner loops or with elementary functions but not both; each product with the zeros that
    it starts from is a run of its own, or, where they are to be taken together ``apart`` from this loop, two runs.
    """
    starts = {target_of(product): None for product in products}
    zeros: dict[Buffer, Statement] = {}
    groups: list[list[Statement]] = [[]]
    kind = ""
    for statement in statements:
        if zeros:
            # Zeros wait for their product, but not past anything else that touches what they fill.
            own_target = target_of(statement) if statement in products else None
            for buffer in [b for b in touched([statement]) if b in zeros and b is not own_target]:
                groups[-1].append(zeros.pop(buffer))
        filled = filled_by(statement)
        if filled is not None and filled in starts:
            zeros[filled] = statement
            continue
        if statement in products:
            target = target_of(statement)
            start = [zeros.pop(target)] if target in zeros else []
            groups += [start, [statement], []] if apart else [[*start, statement], []]
            kind = ""
            continue
        if products:
            # What is to have the iterations as its lanes is by itself.
            own = "loop" if isinstance(statement, For) else "straight"
            if own == "loop" or kind != own:
                groups.append([])
            kind = own
            groups[-1].append(statement)
            continue
        own = "loop" if isinstance(statement, For) else "function" if _calls(statement) else ""
        if own and kind and own != kind:
            # What leads up to an elementary function and needs no memory of the loops before it goes with it.
            last: list[Statement] = []
            while own == "function" and isinstance(groups[-1][-1], Let) and not any(True for _ in loads_of(groups[-1][-1])):
                last.insert(0, groups[-1].pop())
            groups.append(last)
        kind = own or kind
        groups[-1].append(statement)
    groups[-1] += zeros.values()
    return [group for group in groups if group]


def _calls(statement: Statement) -> bool:
    return any(isinstance(part, Apply) and part.operation in ELEMENTARY_OPERATIONS
               for operand in operands(statement) for part in parts(operand))


def _bytes_read_again(loop: For, groups: Sequence[Sequence[Statement]]) -> int:
    """What one iteration reads in more than one of the groups."""
    found: dict[Buffer, int] = {}
    times: dict[Buffer, int] = {}

    def walk(statements: Sequence[Statement], around: tuple[Symbol, ...], seen: set[Buffer]) -> None:
        for statement in statements:
            for buffer, index in loads_of(statement):
                own = {symbol for part in index for symbol in symbols(part)}
                if buffer.space != "local" and loop.symbol in own:
                    size = prod(max(symbol.extent, 1) for symbol in around if symbol in own)
                    found[buffer] = max(found.get(buffer, 0), size * buffer.dtype.itemsize)
                    seen.add(buffer)
            if isinstance(statement, For):
                walk(statement.body, (*around, statement.symbol), seen)

    for group in groups:
        seen: set[Buffer] = set()
        walk(group, (), seen)
        for buffer in seen:
            times[buffer] = times.get(buffer, 0) + 1
    return sum(size for buffer, size in found.items() if times[buffer] > 1)


def _private(symbol: Symbol, groups: Sequence[Sequence[Statement]]) -> list[Buffer] | None:
    """The memory by which one piece of an iteration hands values to a later one; None if it may hand them to the next
    iteration too.

    What is only accumulated is shared by all iterations. What every access finds by the iteration is apart anyway; one at
    places that are looked up, as ``t[indices[i]]`` of what was stored as ``t[j]``, is no such access.
    """
    handed = {buffer for group in groups for statement in _all(group) for buffer, index in accesses(statement)
              if buffer.space == "local" and not any(symbol in symbols(part) for part in index)}
    places: dict[Buffer, dict[int, None]] = {}
    used: set[Buffer] = set()
    begun: set[Buffer] = set()
    carried: set[Buffer] = set()
    stored: dict[Buffer, set[tuple[int, ...]]] = {}
    for position, group in enumerate(groups):
        for statement in _all(group):
            used.update(buffer for buffer, _ in loads_of(statement))
            if isinstance(statement, Store):
                used.add(statement.buffer)
            for buffer, index in accesses(statement):
                if buffer in handed:
                    places.setdefault(buffer, {})[position] = None
                    if isinstance(statement, Store) and buffer is statement.buffer:
                        if buffer not in begun and _is_whole(buffer, index, stored.setdefault(buffer, set())):
                            begun.add(buffer)
                    elif buffer not in begun:
                        carried.add(buffer)
    crossing = [buffer for buffer, found in places.items() if len(found) > 1 and buffer in used]
    return None if any(buffer in carried for buffer in crossing) else crossing


def _is_whole(buffer: Buffer, index: Sequence[Expression], stored: set[tuple[int, ...]]) -> bool:
    """Whether stores at ``index``, in the loops around them, and at the places in ``stored`` write to all elements.

    A place is -1 along an axis where a loop goes over its whole extent.
    """
    place: list[int] = []
    for part, extent in zip(index, buffer.shape, strict=True):
        number = known(part)
        if number is None and not (isinstance(part, Symbol) and part.extent == extent and list(index).count(part) == 1):
            return False
        place.append(-1 if number is None else number)
    stored.add(tuple(place))
    alike = [other for other in stored if [p < 0 for p in other] == [p < 0 for p in place]]
    return len(alike) == prod(extent for p, extent in zip(place, buffer.shape, strict=True) if p >= 0)
