"""Elementary functions between inner loops get a loop of their own, over a block of iterations, that vectorises.

    for i in 0 .. n: { for j: z += x[i, j] * w[j] ; p = exp(z) ; for j: g[j] += p * x[i, j] }
    ->  for b: { for i in block b: { for j: z ... } ; for i in block b: p[i] = exp(z[i]) ; for i in block b: { for j: g ... } }

A block is small enough that what its iterations read of memory is still in the nearest cache when the last piece reads it
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradxform.backend.blocks import Blocks, loads_of
from gradxform.backend.instructions import ELEMENTARY_OPERATIONS
from gradxform.loopir.expression import Apply, Symbol, parts, symbols
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
)

#: Bytes that the iterations of a block may read, if later pieces read them again.
BLOCK_BYTES = 24 * 1024
#: A block has as many iterations as fill a few vectors.
LEAST_LANES, MOST_LANES = 8, 64


def strip_kernel(kernel: Kernel) -> Kernel:
    """The kernel with such loops in pieces; the same object if there are none."""
    nests = tuple([_nest(nest, number) for number, nest in enumerate(kernel.nests)])
    return kernel if all(a is b for a, b in zip(nests, kernel.nests, strict=True)) else replace(kernel, nests=nests)


def _nest(nest: Nest, number: int) -> Nest:
    blocks = Blocks(f"s{number}.")
    body = _inside(nest.body, blocks)
    return nest if body is nest.body else replace(nest, body=body, locals=(*nest.locals, *blocks.buffers))


def _inside(statements: tuple[Statement, ...], blocks: Blocks) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        new = with_bodies(statement, [_inside(body, blocks) for body in bodies(statement)])
        pieces = _pieces(new, blocks) if isinstance(new, For) else None
        changed = changed or new is not statement or pieces is not None
        result += [new] if pieces is None else pieces
    return tuple(result) if changed else statements


def _pieces(loop: For, blocks: Blocks) -> list[Statement] | None:
    plain = all(isinstance(s, (Let, Store, Accumulate, For)) for s in _all(loop.body))
    if loop.ordered or not plain or loop.symbol.extent < LEAST_LANES:
        return None
    groups = _groups(loop.body)
    with_loops = sum(any(isinstance(s, For) for s in group) for group in groups)
    if len(groups) < 2 or not with_loops:
        return None
    lanes = MOST_LANES
    if with_loops > 1:
        per_iteration = max(_bytes_read(loop), 1)
        while lanes >= LEAST_LANES and lanes * per_iteration > BLOCK_BYTES:
            lanes //= 2
    private = _private(loop.symbol, groups)
    if lanes < LEAST_LANES or private is None:
        return None
    return blocks.pieces(loop, groups, private, lanes, lambda piece: piece)


def _all(statements: Sequence[Statement]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        for body in bodies(statement):
            yield from _all(body)


def _groups(statements: Sequence[Statement]) -> list[list[Statement]]:
    """Runs of statements, each with inner loops or with elementary functions but not both."""
    groups: list[list[Statement]] = [[]]
    kind = ""
    for statement in statements:
        own = "loop" if isinstance(statement, For) else "function" if _calls(statement) else ""
        if own and kind and own != kind:
            # What leads up to an elementary function and needs no memory of the loops before it goes with it.
            last: list[Statement] = []
            while own == "function" and isinstance(groups[-1][-1], Let) and not any(True for _ in loads_of(groups[-1][-1])):
                last.insert(0, groups[-1].pop())
            groups.append(last)
        kind = own or kind
        groups[-1].append(statement)
    return groups


def _calls(statement: Statement) -> bool:
    return any(isinstance(part, Apply) and part.operation in ELEMENTARY_OPERATIONS
               for operand in operands(statement) for part in parts(operand))


def _bytes_read(loop: For) -> int:
    """What one iteration reads in its inner loops, each buffer counted once."""
    found: dict[Buffer, int] = {}

    def walk(statements: Sequence[Statement], size: int) -> None:
        for statement in statements:
            for buffer, index in loads_of(statement):
                if buffer.space != "local" and any(loop.symbol in symbols(part) for part in index):
                    found[buffer] = max(found.get(buffer, 0), size * buffer.dtype.itemsize)
            if isinstance(statement, For):
                walk(statement.body, size * max(statement.symbol.extent, 1))

    walk(loop.body, 1)
    return sum(found.values())


def _private(symbol: Symbol, groups: Sequence[Sequence[Statement]]) -> list[Buffer] | None:
    """The scalars in memory by which one piece of an iteration hands values to a later one; None if arrays do that too.

    What is only accumulated is shared by all iterations.
    """
    places: dict[Buffer, dict[int, None]] = {}
    used: set[Buffer] = set()
    begun: set[Buffer] = set()
    carried: set[Buffer] = set()
    for position, group in enumerate(groups):
        for statement in _all(group):
            touched = list(loads_of(statement))
            used.update(buffer for buffer, _ in touched)
            if isinstance(statement, (Store, Accumulate)):
                touched.append((statement.buffer, statement.index))
                if isinstance(statement, Store):
                    used.add(statement.buffer)
            for buffer, index in touched:
                if buffer.space == "local" and not any(symbol in symbols(part) for part in index):
                    places.setdefault(buffer, {})[position] = None
                    if isinstance(statement, Store) and buffer is statement.buffer:
                        begun.add(buffer)
                    elif buffer not in begun:
                        carried.add(buffer)
    crossing = [buffer for buffer, found in places.items() if len(found) > 1 and buffer in used]
    return None if any(buffer.shape or buffer in carried for buffer in crossing) else crossing
