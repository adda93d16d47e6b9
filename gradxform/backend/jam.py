"""Loops that are small products of matrices become tiles in registers; see contract_text.

    for i in block: { t[i] = 0.0 ; for k: t[i] += x[i, k] * w[k] }     ->  tile t = x @ w
    for i in block: { for k: g[k] += x[i, k] * r[i] }                  ->  tile g += x' @ r

A loop that LLVM vectorises goes through one row after the other: it sums across each row by itself, and brings all of g
from memory and back for each row. In a tile several rows are worked on at a time, and g stays in registers for a block of
rows. Which loop is the outer one does not matter to a tile: what matters is which symbols the result and the factors have.

    rows: in the result and the first factor; columns: in the result and the second; inner: in both factors only
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, pairwise
from math import prod

from gradxform.backend.blocks import with_lane
from gradxform.backend.contract_text import orientation
from gradxform.data_class import data_class
from gradxform.dtypes import DType, int64, is_float
from gradxform.loopir.expression import (
    ONE,
    ZERO,
    Apply,
    Expression,
    Index,
    Load,
    Symbol,
    axis,
    index_add,
    index_mul,
    integer,
    known,
    loads,
    substitute,
    symbols,
)
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    Contract,
    For,
    Kernel,
    Let,
    Matrix,
    Statement,
    Store,
    bodies,
    with_bodies,
    with_nests,
    with_operands,
)
from gradxform.loopir.printer import expression_text

#: Fewer multiplications than this, per step of the outer loop, are left to LLVM.
LEAST_WORK = 8
#: A product that sums over more rows than this goes through them in blocks, unless its result fits registers as a whole.
INNER_BLOCK = 128
REGISTER_RESULT = 128

Values = dict[Symbol, Expression]


def jam_kernel(kernel: Kernel) -> Kernel:
    """The kernel with its small products of matrices as tiles; the same object if there are none."""
    numbers = count()
    return with_nests(kernel, [nest if (body := _inside(nest.body, numbers)) is nest.body else replace(nest, body=body)
                               for nest in kernel.nests])


def _inside(statements: tuple[Statement, ...], numbers: count[int]) -> tuple[Statement, ...]:
    result: list[Statement] = []
    changed = False
    for statement in statements:
        tiles = contracted(statement, numbers) if isinstance(statement, For) else None
        if tiles is None:
            new = with_bodies(statement, [_inside(body, numbers) for body in bodies(statement)])
            changed = changed or new is not statement
            result.append(new)
        else:
            changed = True
            result += tiles
    return tuple(result) if changed else statements


@data_class(frozen=True, slots=True, eq=False)
class Chain:
    """Loops, one directly inside the other, around one sum of products."""

    loops: tuple[For, ...]
    target: Buffer
    index: Index
    factors: tuple[Expression, Expression]


def contracted(loop: For, numbers: count[int]) -> list[Statement] | None:
    """The tiles that do what ``loop`` does, or None if it is not made of products alone."""
    values: Values = {}
    fills: dict[Buffer, tuple[tuple[For, ...], Index]] = {}
    result: list[Statement] = []
    filled: set[Buffer] = set()
    if loop.ordered:
        return None
    for statement in loop.body:
        if isinstance(statement, Let):
            values[statement.symbol] = _substituted(statement.value, values)
            continue
        fill = _fill(statement, values)
        if fill is not None:
            buffer, loops, index = fill
            if buffer in fills or buffer in filled:
                return None
            fills[buffer] = ((loop, *loops), index)
            continue
        chain = chain_of((loop,), statement, values)
        if chain is None:
            return None
        fresh = chain.target in fills
        contract = contract_of(chain, fresh)
        if contract is None or (fresh and not _same_elements(chain, fills.pop(chain.target))):
            return None
        filled.add(chain.target)
        result += _in_blocks(contract, chain, loop, numbers)
    return None if fills or not result else result


def _substituted(expression: Expression, values: Values) -> Expression:
    return substitute(expression, lambda part: values.get(part) if isinstance(part, Symbol) else None) if values else expression


def _fill(statement: Statement, values: Values) -> tuple[Buffer, tuple[For, ...], Index] | None:
    """Buffer, loops and index of a statement that only stores zeros."""
    loops: list[For] = []
    while isinstance(statement, For) and len(statement.body) == 1 and _is_plain(statement):
        loops.append(statement)
        statement = statement.body[0]
    if not isinstance(statement, Store) or not is_zero(statement.value):
        return None
    return statement.buffer, tuple(loops), tuple([_substituted(part, values) for part in statement.index])


def is_zero(expression: Expression) -> bool:
    """Whether an expression is the number 0.0 (of either sign)."""
    return not isinstance(expression, (Symbol, Load, Apply)) and is_float(expression.dtype) and bool(expression.value == 0)


def _is_plain(loop: For) -> bool:
    return loop.begin is ZERO and known(loop.end) is not None and not loop.ordered


def chain_of(loops: tuple[For, ...], statement: Statement, values: Values) -> Chain | None:
    """The chain of ``loops`` and those of ``statement``; None if it is not one."""
    values = dict(values)
    while isinstance(statement, For) and _is_plain(statement) and statement.body:
        loops = (*loops, statement)
        for inner in statement.body[:-1]:
            if not isinstance(inner, Let):
                return None
            values[inner.symbol] = _substituted(inner.value, values)
        statement = statement.body[-1]
    if len(loops) < 2 or not isinstance(statement, Accumulate) or statement.operation != "add":
        return None
    value = _substituted(statement.value, values)
    if not (isinstance(value, Apply) and value.operation == "mul" and is_float(value.dtype)):
        return None
    index = tuple([_substituted(part, values) for part in statement.index])
    return Chain(loops, statement.buffer, index, (value.operands[0], value.operands[1]))


def contract_of(chain: Chain, fresh: bool) -> Contract | None:
    """The chain as a tile, if its indices are those of matrices and lanes can lie along one of them."""
    first, second = chain.factors
    if not (isinstance(first, Load) and isinstance(second, Load)) or chain.target in (first.buffer, second.buffer):
        return None
    loop_symbols = [loop.symbol for loop in chain.loops]
    places = [_affine(buffer, index, loop_symbols) for buffer, index in (
        (chain.target, chain.index), (first.buffer, first.index), (second.buffer, second.index))]
    if any(place is None for place in places):
        return None
    (_, target), (_, left), (_, right) = found = [place for place in places if place is not None]
    roles: dict[str, list[Symbol]] = {"row": [], "column": [], "inner": []}
    for symbol in loop_symbols:
        inside = symbol in target, symbol in left, symbol in right
        role = {(True, True, False): "row", (True, False, True): "column", (False, True, True): "inner"}.get(inside)
        if role is None:
            return None
        roles[role].append(symbol)
    outer = chain.loops[0]
    whole = [_as_one(roles[role], outer, strides) for role, strides in (
        ("row", (target, left)), ("inner", (left, right)), ("column", (target, right)))]
    if not roles["inner"] or None in whole:
        return None
    (row, rows), (inner, middle), (column, columns) = [axis for axis in whole if axis is not None]
    matrices: list[Matrix] = []
    buffers = (chain.target, first.buffer, second.buffer)
    for buffer, (offset, strides), pair in zip(buffers, found, ((row, column), (row, inner), (inner, column)), strict=True):
        start = index_add(offset, index_mul(outer.begin, strides.get(outer.symbol, 0)))
        own = [0 if symbol is None else strides[symbol] for symbol in pair]
        matrices.append(Matrix(buffer, start, 0, own[0], own[1]))
    contract = Contract(matrices[0], matrices[1], matrices[2], rows, middle, columns, fresh)
    work = 1
    for loop in chain.loops[1:]:
        work *= loop.symbol.extent
    return contract if work >= LEAST_WORK and orientation(contract) is not None else None


def _as_one(
    together: Sequence[Symbol], outer: For, strides: tuple[dict[Symbol, int], dict[Symbol, int]]
) -> tuple[Symbol | None, Expression] | None:
    """Axes that both matrices go through as if they were one: its stride is that of the symbol, the last one; None if
    there is none.
    """
    if len(together) < 2:
        return (None, ONE) if not together else (
            together[0], index_add(outer.end, index_mul(outer.begin, -1)) if together[0] is outer.symbol
            else integer(together[0].extent))
    if outer.symbol in together:
        return None
    order = sorted(together, key=lambda symbol: -strides[0][symbol])
    if any(own[a] != own[b] * b.extent for own in strides for a, b in pairwise(order)):
        return None
    return order[-1], integer(prod(symbol.extent for symbol in order))


def _affine(buffer: Buffer, index: Index, loop_symbols: Sequence[Symbol]) -> tuple[Expression, dict[Symbol, int]] | None:
    """An address as offset + sum of stride * symbol with positive strides, or None."""
    offset: Expression = ZERO
    strides: dict[Symbol, int] = {}

    def add(expression: Expression, factor: int) -> bool:
        nonlocal offset
        if isinstance(expression, Symbol) and expression in loop_symbols:
            strides[expression] = strides.get(expression, 0) + factor
            return True
        if isinstance(expression, Apply) and expression.operation == "add":
            return all(add(operand, factor) for operand in expression.operands)
        if isinstance(expression, Apply) and expression.operation == "mul":
            number = known(expression.operands[1])
            return number is not None and add(expression.operands[0], factor * number)
        if any(symbol in loop_symbols for symbol in symbols(expression)) or loads(expression):
            return False
        offset = index_add(offset, index_mul(expression, factor))
        return True

    if buffer.space == "tape" or not all(add(part, stride) for part, stride in zip(index, buffer.strides, strict=True)):
        return None
    return (offset, strides) if all(stride > 0 for stride in strides.values()) else None


def _same_elements(chain: Chain, fill: tuple[tuple[For, ...], Index]) -> bool:
    """Whether the zeros are stored where the chain adds up, for each iteration of its outer loop."""
    loops, index = fill
    summed = _affine(chain.target, chain.index, [loop.symbol for loop in chain.loops])
    stored = _affine(chain.target, index, [loop.symbol for loop in loops])
    outer = chain.loops[0].symbol
    if summed is None or stored is None or outer not in summed[1]:
        return False
    others = [sorted((stride, symbol.extent) for symbol, stride in found[1].items() if symbol is not outer)
              for found in (summed, stored)]
    alike = summed[1][outer] == stored[1].get(outer) and others[0] == others[1]
    return alike and expression_text(summed[0]) == expression_text(stored[0])


def _in_blocks(contract: Contract, chain: Chain, loop: For, numbers: count[int]) -> list[Statement]:
    """The contraction, in blocks of its inner axis if that is long and each tile would go through all of it."""
    outer_is_inner = not any(loop.symbol in symbols(part) for part in chain.index)
    size = (known(contract.rows) or 1) * (known(contract.columns) or 1)
    if not outer_is_inner or size <= REGISTER_RESULT or _length(loop) <= INNER_BLOCK:
        return [contract]
    block = axis(f"jam{next(numbers)}", max(1, -(-loop.symbol.extent // INNER_BLOCK)))
    start = index_mul(block, INNER_BLOCK)
    blocks = Apply("floor_divide", (index_add(contract.inner, integer(INNER_BLOCK - 1)), integer(INNER_BLOCK)), int64)
    left, right = contract.left, contract.right
    part = replace(
        contract, inner=Apply("minimum", (integer(INNER_BLOCK), index_add(contract.inner, index_mul(start, -1))), int64),
        left=replace(left, offset=index_add(left.offset, index_mul(start, left.column_stride))),
        right=replace(right, offset=index_add(right.offset, index_mul(start, right.row_stride))))
    number = known(contract.inner)
    end = blocks if number is None else integer(-(-number // INNER_BLOCK))
    return [For(block, ZERO, end, (part,))]


def _length(loop: For) -> int:
    """How many iterations a loop has at most."""
    end = loop.end
    if isinstance(end, Apply) and end.operation == "minimum":
        first = end.operands[0]
        if isinstance(first, Apply) and first.operation == "add" and first.operands[0] is loop.begin:
            number = known(first.operands[1])
            if number is not None:
                return number
    return loop.symbol.extent if loop.symbol.extent > 0 else 1 << 62


# -------------------------------------------------------------------------------------------------- before the blocks


def products_in(loops: Sequence[For]) -> set[Statement]:
    """The statements in the body of the last of ``loops`` that would be tiles if these loops held nothing else.

    The loops stand one inside the other. What an iteration computes for itself, in symbols or in memory of its own, is taken
    to have an element per iteration.
    """
    outer = loops[0]
    own = own_buffers(outer)
    made: dict[object, Buffer] = {}
    bound: dict[Symbol, tuple[Symbol, ...]] = {}
    for position, loop in enumerate(loops):
        around = tuple([inner.symbol for inner in loops[:position + 1]])
        bound.update({statement.symbol: around for statement in loop.body if isinstance(statement, Let)})

    def stand_in(key: object, dtype: DType, shape: tuple[int, ...]) -> Buffer:
        found = made.get(key)
        if found is None:
            found = made[key] = Buffer("own", dtype, shape, "local")
        return found

    def per_lane(buffer: Buffer) -> Buffer:
        return stand_in(buffer, buffer.dtype, with_lane(buffer, buffer.shape, max(outer.symbol.extent, 1)))

    def spread(part: Expression) -> Expression | None:
        if isinstance(part, Symbol) and part in bound and part.dtype.kind == "f":
            around = bound[part]
            index = (*around[1:], around[0])
            return Load(stand_in(part, part.dtype, tuple([max(s.extent, 1) for s in index])), index, part.dtype)
        if isinstance(part, Load) and part.buffer in own:
            moved_index = [substitute(i, spread) for i in part.index]
            return Load(per_lane(part.buffer), with_lane(part.buffer, moved_index, outer.symbol), part.dtype)
        return None

    def moved(statement: Statement) -> Statement:
        new = with_operands(statement, lambda expression: substitute(expression, spread))
        new = with_bodies(new, [tuple(map(moved, body)) for body in bodies(new)])
        if isinstance(new, Accumulate) and new.buffer in own:
            return replace(new, buffer=per_lane(new.buffer), index=with_lane(new.buffer, new.index, outer.symbol))
        return new

    found: set[Statement] = set()
    for statement in loops[-1].body:
        if isinstance(statement, For):
            chain = chain_of(tuple(loops), moved(statement), {})
            if chain is not None and contract_of(chain, True) is not None:
                found.add(statement)
    return found


def work_of(statement: Statement) -> int:
    """How many multiplications a product among loops has."""
    work = 1
    while isinstance(statement, For):
        work *= max(statement.symbol.extent, 1)
        statement = statement.body[-1]
    return work


def own_buffers(loop: For) -> set[Buffer]:
    """Local memory that each iteration writes anew, at places that do not depend on the iteration."""
    found: set[Buffer] = set()

    def walk(statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Store) and statement.buffer.space == "local" and not any(
                    loop.symbol in symbols(part) for part in statement.index):
                found.add(statement.buffer)
            for body in bodies(statement):
                walk(body)

    walk(loop.body)
    return found


def target_of(statement: Statement) -> Buffer:
    """What a product among loops adds to."""
    while isinstance(statement, For):
        statement = statement.body[-1]
    assert isinstance(statement, Accumulate)
    return statement.buffer


def filled_by(statement: Statement) -> Buffer | None:
    """The buffer that a statement fills with zeros, if it does nothing else."""
    fill = _fill(statement, {})
    return None if fill is None else fill[0]
