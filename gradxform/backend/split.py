"""Long bodies -> parts of bounded size, each a function of its own: LLVM's time must grow linearly with the program.

Values that cross from one part to a later one go through memory. In a loop the parts run over blocks of iterations,
so that each part is again a loop that vectorises:

    for i in 0 .. n: { long body }
    ->  for b in 0 .. n / 32: { part: for i in block b: {...} ; part: for i in block b: {...} }
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradxform.backend.blocks import Blocks, crossing_symbols, loads_of, rewritten
from gradxform.backend.journal import SILENT, Journal
from gradxform.loopir.expression import (
    Apply,
    Expression,
    Symbol,
    known,
)
from gradxform.loopir.expression import (
    symbols as symbols_of,
)
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    For,
    Kernel,
    Nest,
    Part,
    Statement,
    Store,
    While,
    bodies,
    with_bodies,
)

#: Statements per part, and from how many on a body is split.
PART_STATEMENTS = 300
SPLIT_STATEMENTS = 800
#: The body of a loop that runs in order may be longer: what it carries is in registers, and would go through memory.
IN_ORDER_STATEMENTS = 2400
#: Bytes of the values that cross, per block; a block has 8 to 64 iterations.
BLOCK_BYTES = 256 * 1024
MAX_BLOCK = 64
#: What a block stores waits for memory, and loads from the same places of other pages wait for it: half a page is stored, if a
#: block of so many iterations does not store more.
APART_BYTES, LEAST_APART = 2048, 16


def split_kernel(kernel: Kernel, journal: Journal = SILENT) -> Kernel:
    """The kernel with long bodies split; the same object if there are none."""
    if all(weight(nest.body) <= SPLIT_STATEMENTS for nest in kernel.nests):
        return kernel
    return replace(kernel, nests=tuple([_split_nest(nest, number, journal) for number, nest in enumerate(kernel.nests)]))


def weight(statements: Sequence[Statement]) -> int:
    """How many statements there are, inner ones included."""
    return sum(1 + sum(map(weight, bodies(s))) for s in statements)


def _split_nest(nest: Nest, number: int, journal: Journal) -> Nest:
    if weight(nest.body) <= SPLIT_STATEMENTS:
        return nest
    blocks = Blocks(f"p{number}.", journal)
    body = _split(nest.body, blocks)
    return replace(nest, body=tuple(body), locals=(*nest.locals, *blocks.buffers))


def _split(statements: Sequence[Statement], blocks: Blocks) -> list[Statement]:
    """Split what is long in a list of statements that runs as a whole."""
    inner: list[Statement] = []
    for statement in statements:
        private = None
        if isinstance(statement, For) and weight(statement.body) > SPLIT_STATEMENTS:
            private = _private(statement)
        if private is not None:
            assert isinstance(statement, For)
            inner += _blocked(statement, private, blocks)
        else:
            # The condition of a While sees what its head binds, so that stays in one piece.
            limit = IN_ORDER_STATEMENTS if _in_order(statement) else SPLIT_STATEMENTS
            parts = [body if (isinstance(statement, While) and body is statement.head) or weight(body) <= limit
                     else tuple(_split(body, blocks)) for body in bodies(statement)]
            inner.append(with_bodies(statement, parts))
    if (sum(not bodies(s) for s in inner) if any(map(_in_order, inner)) else _own(inner)) <= SPLIT_STATEMENTS:
        return inner
    groups = _groups(inner)
    homes = blocks.homes(crossing_symbols(groups), ())
    return [Part(tuple(rewritten(group, homes, ()))) for group in groups]


def _in_order(statement: Statement) -> bool:
    """Whether what a statement hands from one iteration to the next should stay in registers, before it and behind it too."""
    return isinstance(statement, While) or (isinstance(statement, For) and statement.ordered)


def _own(statements: Sequence[Statement]) -> int:
    """How many statements there are but for those in parts."""
    return sum(1 + sum(map(_own, bodies(s))) for s in statements if not isinstance(s, Part))


def _blocked(loop: For, private: Sequence[Buffer], blocks: Blocks) -> list[Statement]:
    groups = _groups(loop.body)
    size = MAX_BLOCK
    crossing_bytes = 8 * len(crossing_symbols(groups)) + sum(buffer.nbytes for buffer in private)
    if not 0 < loop.symbol.extent <= MAX_BLOCK:
        while size > 8 and size * crossing_bytes > BLOCK_BYTES:
            size //= 2
        reach = max((_row_bytes(s, loop.symbol) for s in loop.body if isinstance(s, Store)), default=0)
        while size > LEAST_APART and size * reach > APART_BYTES:
            size //= 2
    return blocks.pieces(loop, groups, private, size, lambda piece: Part((piece,)))


def _row_bytes(store: Store, symbol: Symbol) -> int:
    """By how many bytes a store moves on from one iteration to the next, if that is known."""
    strides = zip(store.index, store.buffer.strides, strict=True)
    return store.buffer.dtype.itemsize * sum(stride for part, stride in strides if part is symbol)


def _private(loop: For) -> list[Buffer] | None:
    """Local buffers by which parts of one iteration hand values to later parts: each lane needs its own.

    None if parts cannot run block by block: the loop is ordered or holds others, or a buffer that parts share may carry
    values from one iteration to the next. What is only accumulated may be shared, and elements indexed by the loop's
    own symbol, or by that and a number, belong to one iteration anyway.
    """
    if loop.ordered or any(map(bodies, loop.body)):
        return None
    places: dict[Buffer, set[int]] = {}
    carried: set[Buffer] = set()
    used: set[Buffer] = set()  # otherwise than by accumulation alone
    stored: set[tuple[Buffer, tuple[int | None, ...]]] = set()

    def touch(buffer: Buffer, index: Sequence[Expression], position: int, reads: bool, stores: bool) -> None:
        if buffer.space != "local" or any(_tells_apart(part, loop.symbol) for part in index):
            return
        places.setdefault(buffer, set()).add(position)
        if any(loop.symbol in symbols_of(part) for part in index):
            carried.add(buffer)
        constant = tuple([known(part) for part in index])
        if reads and (buffer, constant) not in stored:
            carried.add(buffer)
        if stores and None not in constant:
            stored.add((buffer, constant))

    for position, group in enumerate(_groups(loop.body)):
        for statement in group:
            for buffer, index in loads_of(statement):
                used.add(buffer)
                touch(buffer, index, position, reads=True, stores=False)
            if isinstance(statement, Store):
                used.add(statement.buffer)
                touch(statement.buffer, statement.index, position, reads=False, stores=True)
            elif isinstance(statement, Accumulate):
                touch(statement.buffer, statement.index, position, reads=True, stores=False)
    crossing = [buffer for buffer, found in places.items() if len(found) > 1 and buffer in used]
    return None if any(buffer in carried for buffer in crossing) else crossing


def _tells_apart(index: Expression, symbol: Symbol) -> bool:
    """Whether an index differs in all iterations: ``symbol`` times a number plus a number."""
    while isinstance(index, Apply) and index.operation in ("add", "mul"):
        number = known(index.operands[1])
        if number is None or (number == 0 and index.operation == "mul"):
            return False
        index = index.operands[0]
    return index is symbol


def _groups(statements: Sequence[Statement]) -> list[list[Statement]]:
    groups: list[list[Statement]] = [[]]
    filled = 0
    for statement in statements:
        size = _own([statement])
        if groups[-1] and filled + size > PART_STATEMENTS:
            groups.append([])
            filled = 0
        groups[-1].append(statement)
        filled += size
    return groups


