"""Long bodies -> parts of bounded size, each a function of its own: LLVM's time must grow linearly with the program.

Values that cross from one part to a later one go through memory. In a loop the parts run over blocks of iterations,
so that each part is again a loop that vectorises:

    for i in 0 .. n: { long body }
    ->  for b in 0 .. n / 32: { part: for i in block b: {...} ; part: for i in block b: {...} }
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from gradxform.dtypes import DType, int64
from gradxform.loopir.expression import (
    ZERO,
    Apply,
    Constant,
    Expression,
    Load,
    Symbol,
    axis,
    index_add,
    index_mul,
    integer,
    known,
    substitute,
)
from gradxform.loopir.expression import (
    symbols as symbols_of,
)
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    For,
    Kernel,
    Let,
    Nest,
    Part,
    Statement,
    Store,
    While,
    bodies,
    operands,
    with_bodies,
    with_operands,
)

#: Statements per part, and from how many on a body is split.
PART_STATEMENTS = 300
SPLIT_STATEMENTS = 600
#: Bytes of the values that cross, per block; a block has 8 to 64 iterations.
BLOCK_BYTES = 256 * 1024
MAX_BLOCK = 64


def split_kernel(kernel: Kernel) -> Kernel:
    """The kernel with long bodies split; the same object if there are none."""
    if all(weight(nest.body) <= SPLIT_STATEMENTS for nest in kernel.nests):
        return kernel
    numbers = count()
    return replace(kernel, nests=tuple([_split_nest(nest, numbers) for nest in kernel.nests]))


def weight(statements: Sequence[Statement]) -> int:
    """How many statements there are, inner ones included."""
    return sum(1 + sum(map(weight, bodies(s))) for s in statements)


def _split_nest(nest: Nest, numbers: count[int]) -> Nest:
    if weight(nest.body) <= SPLIT_STATEMENTS:
        return nest
    buffers: list[Buffer] = []
    body = _split(nest.body, numbers, buffers)
    return replace(nest, body=tuple(body), locals=(*nest.locals, *buffers))


def _split(statements: Sequence[Statement], numbers: count[int], buffers: list[Buffer]) -> list[Statement]:
    """Split what is long in a list of statements that runs as a whole."""
    inner: list[Statement] = []
    for statement in statements:
        private = None
        if isinstance(statement, For) and weight(statement.body) > SPLIT_STATEMENTS:
            private = _private(statement)
        if private is not None:
            assert isinstance(statement, For)
            inner += _blocked(statement, private, numbers, buffers)
        else:
            # The condition of a While sees what its head binds, so that stays in one piece.
            parts = [body if (isinstance(statement, While) and body is statement.head) or weight(body) <= SPLIT_STATEMENTS
                     else tuple(_split(body, numbers, buffers)) for body in bodies(statement)]
            inner.append(with_bodies(statement, parts))
    if sum(not bodies(s) for s in inner) <= SPLIT_STATEMENTS:
        return inner
    groups = _groups(inner)
    crossing = _crossing(groups)
    homes = _homes(crossing, (), numbers, buffers)
    return [Part(tuple(_rewritten(group, homes, ()))) for group in groups]


def _blocked(
    loop: For, private: Sequence[Buffer], numbers: count[int], buffers: list[Buffer]
) -> tuple[Statement, ...]:
    groups = _groups(loop.body)
    crossing = _crossing(groups)
    extent = loop.symbol.extent
    if loop.begin is ZERO and isinstance(loop.end, Constant) and 0 < extent <= MAX_BLOCK:
        groups = _per_lane(groups, private, extent, loop.symbol, buffers)
        homes = _homes(crossing, (extent,), numbers, buffers)
        return tuple([Part((replace(loop, body=tuple(_rewritten(group, homes, (loop.symbol,)))),)) for group in groups])
    size = MAX_BLOCK
    crossing_bytes = 8 * len(crossing) + sum(buffer.nbytes for buffer in private)
    while size > 8 and size * crossing_bytes > BLOCK_BYTES:
        size //= 2
    homes = _homes(crossing, (size,), numbers, buffers)
    number = next(numbers)
    block = axis(f"b{number}", max(1, -(-extent // size)) if extent > 0 else 1)
    start = index_add(loop.begin, index_mul(block, size))
    end = Apply("minimum", (index_add(start, integer(size)), loop.end), int64)
    lane = Symbol(f"lane{number}", int64)
    groups = _per_lane(groups, private, size, lane, buffers)
    bind_lane = Let(lane, index_add(loop.symbol, Apply("mul", (start, integer(-1)), int64)))
    parts = [Part((replace(loop, begin=start, end=end, body=(bind_lane, *_rewritten(group, homes, (lane,)))),))
             for group in groups]
    length = index_add(loop.end, index_mul(loop.begin, -1))
    blocks = Apply("floor_divide", (index_add(length, integer(size - 1)), integer(size)), int64)
    known_blocks = integer(block.extent) if isinstance(loop.end, Constant) and loop.begin is ZERO else blocks
    return (For(block, ZERO, known_blocks, tuple(parts)),)


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
            for buffer, index in _loads(statement):
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


def _loads(statement: Statement) -> Iterator[tuple[Buffer, tuple[Expression, ...]]]:
    """Buffer and index of each load of a statement."""
    stack = list(operands(statement))
    while stack:
        part = stack.pop()
        if isinstance(part, Load):
            yield part.buffer, part.index
            stack.extend(part.index)
        elif isinstance(part, Apply):
            stack.extend(part.operands)


def _per_lane(groups: list[list[Statement]], private: Sequence[Buffer], extent: int, lane: Expression,
              buffers: list[Buffer]) -> list[list[Statement]]:
    """The groups with an element per lane for each element of the private buffers."""
    if not private:
        return groups
    own = {buffer: Buffer(f"{buffer.name}.lanes", buffer.dtype, (*buffer.shape, extent), "local") for buffer in private}
    buffers += own.values()

    def replaced(part: Expression) -> Expression | None:
        if isinstance(part, Load) and part.buffer in own:
            return Load(own[part.buffer], (*[substitute(i, replaced) for i in part.index], lane), part.dtype)
        return None

    def rewritten(statement: Statement) -> Statement:
        new = with_operands(statement, lambda expression: substitute(expression, replaced))
        if isinstance(new, (Store, Accumulate)) and new.buffer in own:
            return replace(new, buffer=own[new.buffer], index=(*new.index, lane))
        return new

    return [[rewritten(statement) for statement in group] for group in groups]


def _groups(statements: Sequence[Statement]) -> list[list[Statement]]:
    groups: list[list[Statement]] = [[]]
    filled = 0
    for statement in statements:
        size = weight([statement])
        if groups[-1] and filled + size > PART_STATEMENTS:
            groups.append([])
            filled = 0
        groups[-1].append(statement)
        filled += size
    return groups


def _crossing(groups: Sequence[Sequence[Statement]]) -> list[Symbol]:
    """Symbols bound in one group and used in a later one, in order of definition."""
    defined: dict[Symbol, int] = {}
    found: dict[Symbol, None] = {}

    def visit(expression: Expression, position: int) -> None:
        stack = [expression]
        while stack:
            part = stack.pop()
            if isinstance(part, Symbol):
                if defined.get(part, position) != position:
                    found[part] = None
            elif isinstance(part, Load):
                stack.extend(part.index)
            elif isinstance(part, Apply):
                stack.extend(part.operands)

    def walk(statements: Sequence[Statement], position: int, outermost: bool) -> None:
        for statement in statements:
            for part in operands(statement):
                visit(part, position)
            if isinstance(statement, Let) and outermost:
                defined[statement.symbol] = position
            for body in bodies(statement):
                walk(body, position, False)

    for position, group in enumerate(groups):
        walk(group, position, True)
    return list(found)


def _homes(
    crossing: Sequence[Symbol], lanes: tuple[int, ...], numbers: count[int], buffers: list[Buffer]
) -> dict[Symbol, tuple[Buffer, int]]:
    """A slot of a buffer, one buffer per dtype, for each symbol that crosses."""
    by_dtype: dict[DType, list[Symbol]] = {}
    for symbol in crossing:
        by_dtype.setdefault(symbol.dtype, []).append(symbol)
    homes: dict[Symbol, tuple[Buffer, int]] = {}
    for dtype, symbols in by_dtype.items():
        buffer = Buffer(f"cross{next(numbers)}", dtype, (len(symbols), *lanes), "local")
        buffers.append(buffer)
        homes.update({symbol: (buffer, slot) for slot, symbol in enumerate(symbols)})
    return homes


def _rewritten(
    group: Sequence[Statement], homes: dict[Symbol, tuple[Buffer, int]], lane: tuple[Expression, ...]
) -> list[Statement]:
    """The group with loads where it uses what an earlier one has bound, and stores of what a later one uses."""
    bound: dict[Symbol, None] = {}
    loaded: dict[Symbol, Symbol] = {}
    result: list[Statement] = []

    def replace_symbol(part: Expression) -> Expression | None:
        if isinstance(part, Symbol) and part in homes and part not in bound:
            local = loaded.get(part)
            if local is None:
                buffer, slot = homes[part]
                local = loaded[part] = Symbol(f"{part.name}.x", part.dtype)
                result.append(Let(local, Load(buffer, (integer(slot), *lane), part.dtype)))
            return local
        return None

    def rewrite(expression: Expression) -> Expression:
        return substitute(expression, replace_symbol)

    def walk(statement: Statement) -> Statement:
        new = with_operands(statement, rewrite)
        return with_bodies(new, [tuple([walk(s) for s in body]) for body in bodies(new)])

    for statement in group:
        # Loads of crossing values are appended by `rewrite` before the statement that needs them.
        new = walk(statement)
        result.append(new)
        if isinstance(new, Let):
            bound[new.symbol] = None
            if new.symbol in homes:
                buffer, slot = homes[new.symbol]
                result.append(Store(buffer, (integer(slot), *lane), new.symbol))
    return result
