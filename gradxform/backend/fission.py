"""Long loop bodies of arithmetic and elementary functions become several loops, over blocks of iterations.

    for i in 0 .. n: { a = exp(x[i]) ; b = log(y[i]) ; c = erf(a * b) ; ... }
    ->  for b: { for i in block b: a[i] = exp(x[i]) ; for i in block b: b[i] = log(y[i]) ; for i in block b: ... }

A processor looks a few hundred instructions ahead. In a longer body it sees little but one iteration, and waits for the
latencies along it; in short ones it works on several iterations at a time, and their constants stay in registers. What
crosses from piece to piece lies in the nearest cache.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from gradxform.backend.blocks import Blocks
from gradxform.backend.elementary import instruction_count
from gradxform.backend.instructions import ELEMENTARY_OPERATIONS, elementary_name
from gradxform.backend.journal import SILENT, Journal
from gradxform.loopir.expression import Apply, Load, Symbol, loads, parts
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

#: Instructions from which on a body is taken apart, and of a piece; a piece may be longer for a single function's sake.
LONG_BODY = 240
PIECE = 120
#: What weighs more than one instruction: divisions and roots occupy their unit, and the rounds of threefry wait for one
#: another, as long as so many take.
MANY_INSTRUCTIONS = {"div": 8, "reciprocal": 8, "sqrt": 8, "threefry2x32": 105}
#: Bytes of the vectors of a block: eight or so of the widest.
BLOCK_BYTES = 512
#: Nests estimated to run for fewer nanoseconds stay as they are: each loop more takes the compiler its time.
LEAST_WORK = 4_000_000.0


def fission_kernel(kernel: Kernel, journal: Journal = SILENT) -> Kernel:
    """The kernel with such loops in pieces; the same object if there are none."""
    return with_nests(kernel, [_nest(nest, number, journal) for number, nest in enumerate(kernel.nests)])


def _nest(nest: Nest, number: int, journal: Journal) -> Nest:
    if nest.work < LEAST_WORK:
        return nest
    blocks = Blocks(f"f{number}.", journal)
    body = _inside(nest.body, blocks)
    return nest if body is nest.body else replace(nest, body=body, locals=(*nest.locals, *blocks.buffers))


def _inside(statements: tuple[Statement, ...], blocks: Blocks) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        pieces = _pieces(statement, blocks) if isinstance(statement, For) else None
        new = statement if pieces else with_bodies(statement, [_inside(body, blocks) for body in bodies(statement)])
        changed = changed or pieces is not None or new is not statement
        result += pieces or [new]
    return tuple(result) if changed else statements


def _pieces(loop: For, blocks: Blocks) -> list[Statement] | None:
    if loop.ordered or not all(isinstance(statement, (Let, Store, Accumulate)) for statement in loop.body):
        return None
    weights = [instructions_of(statement) for statement in loop.body]
    widest = max([call.dtype.itemsize for statement in loop.body for call in _functions(statement)], default=0)
    if not widest or sum(weights) < LONG_BODY or not _independent(loop):
        return None
    lanes = BLOCK_BYTES // widest
    groups = _groups(loop.body, weights)
    if len(groups) < 2 or loop.symbol.extent < lanes:
        return None
    return blocks.pieces(loop, groups, (), lanes, lambda piece: piece)


def _functions(statement: Statement) -> list[Apply]:
    """The calls of elementary functions in a statement."""
    return [part for operand in operands(statement) for part in parts(operand)
            if isinstance(part, Apply) and part.operation in ELEMENTARY_OPERATIONS]


def instructions_of(statement: Statement) -> int:
    """About how many instructions a statement is, divisions counted by their time."""
    total = 0
    for operand in operands(statement):
        for part in parts(operand):
            if not isinstance(part, Apply):
                continue
            if part.operation in ELEMENTARY_OPERATIONS:
                total += instruction_count(elementary_name(part.operation))
            else:
                total += MANY_INSTRUCTIONS.get(part.operation, 1)
    return total


def _independent(loop: For) -> bool:
    """Whether no piece hands anything to another by way of memory, elements that one iteration has to itself excepted."""
    # Where the loop's own symbol stands alone in every index of a buffer, by position: there iterations never meet.
    apart = {s.buffer: set(range(len(s.index))) for s in loop.body if isinstance(s, Store)}
    summed = {s.buffer for s in loop.body if isinstance(s, Accumulate)}
    for statement in loop.body:
        touched = [(load.buffer, load.index) for operand in operands(statement) for load in loads(operand)]
        if any(buffer in summed for buffer, _ in touched):
            return False
        if isinstance(statement, Store):
            touched.append((statement.buffer, statement.index))
        for buffer, index in touched:
            if buffer in apart:
                apart[buffer] &= {position for position, part in enumerate(index) if part is loop.symbol}
    return all(apart.values()) and not summed & apart.keys()


def _groups(statements: Sequence[Statement], weights: Sequence[int]) -> list[list[Statement]]:
    """Runs of statements of bounded weight. Functions of one argument, which share most of their work, stay together."""
    stored = {statement.buffer for statement in statements if isinstance(statement, Store)}
    groups: list[list[Statement]] = [[]]
    placed: dict[Hashable, list[Statement]] = {}
    total = 0
    for statement, weight in zip(statements, weights, strict=True):
        argument = _argument(statement, stored)
        home = placed.get(argument) if argument is not None else None
        if home is not None:
            home.append(statement)
            continue
        if groups[-1] and total + weight > PIECE:
            groups.append([])
            total = 0
        groups[-1].append(statement)
        total += weight
        if argument is not None:
            placed[argument] = groups[-1]
    return groups


def _argument(statement: Statement, stored: set[Buffer]) -> Hashable:
    """What tells arguments of functions apart; None if the statement is no function of one value that stays as it is."""
    if isinstance(statement, Let) and isinstance(statement.value, Apply) and statement.value.operation in ELEMENTARY_OPERATIONS:
        argument, *others = statement.value.operands
        if not others and isinstance(argument, Symbol):
            return argument
        if not others and isinstance(argument, Load) and argument.buffer not in stored:
            return (argument.buffer, *argument.index)
    return None
