"""How operations act on pieces. A rule answers with pieces, with a dense atom, or with None: then its operands are
written out and the equation stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from gradxform.ir import ArrayType, Atom, Equation
from gradxform.loopir.axes import axis_groups
from gradxform.passes.lane_digits import Digit, Sum, digit_first, digits_of, laid, summed_digit
from gradxform.passes.pieces import Piece, Pieces, combined, inserted, without, written
from gradxform.passes.rewriting import Rewriter, literal

#: Work on more pieces than this would be more code than the dense array is worth.
MAX_PIECES = 8
#: Adding pieces is only bookkeeping; this bounds its cost.
MAX_SUM = 1024

Known = Mapping[Atom, Pieces]
Answer = Pieces | Sum | Atom | None
BasisRule = Callable[[Rewriter, Known, Equation, ArrayType], Answer]


def _without_axis(rewriter: Rewriter, atom: Atom, axis: int, shape: tuple[int, ...]) -> Atom | None:
    """``atom``, of ``shape`` or rank 0, without an axis along which it is known to repeat."""
    if not atom.type.shape:
        return atom
    equation = rewriter.definition(atom, "broadcast")
    if equation is None:
        return None
    (source,), axes = equation.inputs, dict(equation.params)["axes"]
    if axis in axes:
        position = axes.index(axis)
        if source.type.shape[position] != 1:
            return None
        source = rewriter.emit("reshape", source, shape=without(source.type.shape, position))
        axes = without(axes, position)
    return rewriter.emit("broadcast", source, shape=without(shape, axis), axes=tuple(a - (a > axis) for a in axes))


def _lane_free(rewriter: Rewriter, known: Known, atom: Atom, like: Pieces) -> Atom | None:
    """``atom`` without the axis of the lanes of ``like``, if it is the same in all of them.

    ``atom`` may stand for pieces in other lanes, as where the basis of a Jacobian meets that of a Jacobian inside.
    """
    pieces = known.get(atom)
    if pieces is None:
        return _without_axis(rewriter, atom, like.lane, like.type.shape)
    if pieces.lane == like.lane:
        return None
    position = like.lane - (like.lane > pieces.lane)
    parts = []
    for part in pieces.parts:
        value = _without_axis(rewriter, part.value, position, pieces.rest)
        if value is None or part.steps[position]:
            return None
        value = rewriter.shaped(value, without(pieces.rest, position))
        parts.append(Piece(value, part.offset, without(part.steps, position)))
    lane = pieces.lane - (pieces.lane > like.lane)
    return written(rewriter, Pieces(pieces.type.with_shape(like.rest), lane, tuple(parts)))


def _mapped(
    rewriter: Rewriter, x: Pieces, result: ArrayType, function: Callable[[Atom], Atom]
) -> Pieces:
    parts = [Piece(rewriter.shaped(function(p.value), x.rest), p.offset, p.steps) for p in x.parts]
    return Pieces(result, x.lane, tuple(parts))


# ------------------------------------------------------------------------------------------------------ elementwise


def _unary(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    x = known[equation.inputs[0]]
    if len(x.parts) > MAX_PIECES or result.dtype.kind != "f":
        return None
    name, params = equation.operation.name, dict(equation.params)
    return _mapped(rewriter, x, result, lambda value: rewriter.emit(name, value, **params))


def _mul(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    first, second = equation.inputs
    for atom, factor in ((first, second), (second, first)):
        x = known.get(atom)
        if x is not None and len(x.parts) <= MAX_PIECES:
            plain = _lane_free(rewriter, known, factor, x)
            if plain is not None:
                return _scaled(rewriter, x, result, plain)
    return None


def _scaled(rewriter: Rewriter, x: Pieces, result: ArrayType, factor: Atom) -> Pieces:
    return _mapped(rewriter, x, result, lambda value: rewriter.emit("mul", factor, value))


def _div(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    first, second = equation.inputs
    if first not in known or len(known[first].parts) > MAX_PIECES:
        return None
    plain = _lane_free(rewriter, known, second, known[first])
    return None if plain is None else _mapped(
        rewriter, known[first], result, lambda value: rewriter.emit("div", value, plain))


def _sum(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    first, second = equation.inputs
    negative = equation.operation.name == "sub"
    x, y = known.get(first), known.get(second)
    if x is None or y is None:
        other = second if y is None else first
        if rewriter.constant(other) != 0:
            return None
        return x if x is not None else y if not negative else _negated(rewriter, y, result)
    if x.lane != y.lane or len(x.parts) + len(y.parts) > MAX_SUM:
        return None
    if negative:
        y = _negated(rewriter, y, result)
    return combined(rewriter, result, x.lane, (*x.parts, *y.parts))


def _negated(rewriter: Rewriter, x: Pieces | None, result: ArrayType) -> Pieces:
    assert x is not None
    return _mapped(rewriter, x, result, lambda value: rewriter.emit("neg", value))


def _select(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    condition, first, second = equation.inputs
    if condition in known:
        return None
    x, y = known.get(first), known.get(second)
    like = x or y
    assert like is not None
    if x is not None and y is not None and x.lane != y.lane:
        return None
    if (x is None and rewriter.constant(first) != 0) or (y is None and rewriter.constant(second) != 0):
        return None
    plain = _lane_free(rewriter, known, condition, like)
    if plain is None or sum(len(z.parts) for z in (x, y) if z is not None) > MAX_PIECES:
        return None
    zero = literal(0, result.dtype)
    parts: list[Piece] = []
    if x is not None:
        parts += _mapped(rewriter, x, result, lambda value: rewriter.emit("select", plain, value, zero)).parts
    if y is not None:
        parts += _mapped(rewriter, y, result, lambda value: rewriter.emit("select", plain, zero, value)).parts
    return combined(rewriter, result, like.lane, parts)


# ---------------------------------------------------------------------------------------------------- index patterns


def _broadcast(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    x, axes = known[equation.inputs[0]], dict(equation.params)["axes"]
    lane = axes[x.lane]
    if result.shape[lane] != x.lanes:
        return None
    rest = without(result.shape, lane)
    places = tuple(a - (a > lane) for a in without(axes, x.lane))
    parts = []
    for part in x.parts:
        steps = [0] * len(rest)
        for place, step in zip(places, part.steps, strict=True):
            steps[place] = step
        parts.append(Piece(rewriter.emit("broadcast", part.value, shape=rest, axes=places), part.offset, tuple(steps)))
    return combined(rewriter, result, lane, parts)


def _transpose(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    x, permutation = known[equation.inputs[0]], dict(equation.params)["permutation"]
    lane = permutation.index(x.lane)
    order = tuple(a - (a > x.lane) for a in without(permutation, lane))
    parts = [Piece(rewriter.emit("transpose", p.value, permutation=order), p.offset, tuple(p.steps[a] for a in order))
             for p in x.parts]
    return Pieces(result, lane, tuple(parts))


def _reshape(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    x, shape = known[equation.inputs[0]], result.shape
    before = prod(x.type.shape[:x.lane])
    lane = next((a for a, n in enumerate(shape) if n == x.lanes and prod(shape[:a]) == before), None)
    if lane is None or not result.size:
        return None
    rest = without(shape, lane)
    groups = axis_groups(x.rest, rest)
    parts = []
    for part in x.parts:
        steps = [0] * len(rest)
        for olds, news in groups:
            # The steps of a run of axes must be those of one flat index; then they come apart again.
            step = part.steps[olds[-1]]
            stride = 1
            for a in reversed(olds):
                if part.steps[a] != step * stride:
                    return None
                stride *= x.rest[a]
            stride = 1
            for a in reversed(news):
                steps[a] = step * stride
                stride *= rest[a]
        parts.append(Piece(rewriter.emit("reshape", part.value, shape=rest), part.offset, tuple(steps)))
    return Pieces(result, lane, tuple(parts))


def _slice(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    x, params = known[equation.inputs[0]], dict(equation.params)
    if result.shape[x.lane] != x.lanes:
        return None
    start, limit, strides = (without(params[name], x.lane) for name in ("start", "limit", "strides"))
    parts = []
    for part in x.parts:
        offset = part.offset + sum(step * first for step, first in zip(part.steps, start, strict=True))
        steps = tuple(step * stride for step, stride in zip(part.steps, strides, strict=True))
        value = rewriter.emit("slice", part.value, start=start, limit=limit, strides=strides)
        parts.append(Piece(value, offset, steps))
    return combined(rewriter, result, x.lane, parts)


def _reverse(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    x, axes = known[equation.inputs[0]], dict(equation.params)["axes"]
    if x.lane in axes:
        return None
    turned = tuple(a - (a > x.lane) for a in axes)
    parts = []
    for part in x.parts:
        offset = part.offset + sum(part.steps[a] * (x.rest[a] - 1) for a in turned)
        steps = tuple(-step if a in turned else step for a, step in enumerate(part.steps))
        parts.append(Piece(rewriter.emit("reverse", part.value, axes=turned), offset, steps))
    return Pieces(result, x.lane, tuple(parts))


def _padded(
    rewriter: Rewriter, x: Pieces, result: ArrayType, low: Sequence[int], high: Sequence[int], interior: Sequence[int]
) -> Pieces | None:
    """Padding of the axes without lanes; a piece may then name lanes that do not exist, where its value is zero."""
    parts = []
    for part in x.parts:
        if any(step and gap for step, gap in zip(part.steps, interior, strict=True)):
            return None
        offset = part.offset - sum(step * first for step, first in zip(part.steps, low, strict=True))
        value = rewriter.emit("pad", part.value, literal(0, result.dtype), high=tuple(high), interior=tuple(interior),
                              low=tuple(low))
        parts.append(Piece(value, offset, part.steps))
    return Pieces(result, x.lane, tuple(parts))


def _pad(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    array, value = equation.inputs
    if array not in known or rewriter.constant(value) != 0 or result.shape[known[array].lane] != known[array].lanes:
        return None
    x, params = known[array], dict(equation.params)
    low, high, interior = (without(params[name], x.lane) for name in ("low", "high", "interior"))
    return _padded(rewriter, x, result, low, high, interior)


def _concatenate(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    axis = dict(equation.params)["axis"]
    given = [known.get(x) for x in equation.inputs]
    lane = next(x.lane for x in given if x is not None)
    if axis == lane:
        return None
    along = axis - (axis > lane)
    zeros = (0,) * (len(result.shape) - 1)
    offset = 0
    parts: list[Piece] = []
    for atom, x in zip(equation.inputs, given, strict=True):
        end = offset + atom.type.shape[axis]
        if x is not None:
            if x.lane != lane or len(parts) > MAX_SUM:
                return None
            low = inserted(without(zeros, along), along, offset)
            high = inserted(without(zeros, along), along, result.shape[axis] - end)
            padded = _padded(rewriter, x, result, low, high, zeros)
            assert padded is not None
            parts += padded.parts
        elif rewriter.constant(atom) != 0 and atom.type.size:
            return None
        offset = end
    return combined(rewriter, result, lane, parts)


# ------------------------------------------------------------------------------------------------------------ sums


def _reduce_sum(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    x, axes = known[equation.inputs[0]], dict(equation.params)["axes"]
    if not x.parts or len(x.parts) > MAX_PIECES:
        return None
    inner = tuple(a - (a > x.lane) for a in axes if a != x.lane)

    def over(value: Atom, reduced: tuple[int, ...]) -> Atom:
        return rewriter.emit("reduce_sum", value, axes=reduced) if reduced else value

    if x.lane in axes:
        # Each element lies in one lane, so that the sum over the lanes is the value itself.
        return _total(rewriter, [over(part.value, inner) for part in x.parts])
    lane = x.lane - sum(a < x.lane for a in axes)
    if not any(part.steps[a] for part in x.parts for a in inner):
        parts = [Piece(over(p.value, inner), p.offset, tuple(s for a, s in enumerate(p.steps) if a not in inner))
                 for p in x.parts]
        return combined(rewriter, result, lane, parts)
    dense = [_spread_over_lanes(rewriter, x, part, inner, lane) for part in x.parts]
    if not any(part is None for part in dense):
        return _total(rewriter, [d for d in dense if d is not None])
    return _sum_of_digit(rewriter, x, inner, result, lane)


def _sum_of_digit(
    rewriter: Rewriter, x: Pieces, summed: tuple[int, ...], result: ArrayType, lane: int
) -> Sum | None:
    """sum over f of value[f, c] [lane == f * B + c] = value[f', c] where c' == c."""
    digits = digits_of(x, summed)
    if digits is None:
        return None
    left = [a for a in range(len(x.rest)) if a not in summed]
    places = inserted(without(range(len(result.shape)), lane), 0, lane)

    def value_of(part: Piece, digit: Digit, shape: tuple[int, ...]) -> Atom:
        plain = tuple(a for a in summed if a not in digit.axes)
        value = rewriter.emit("reduce_sum", part.value, axes=plain) if plain else part.value
        axes = tuple(a - sum(b < a for b in plain) for a in digit.axes)
        return laid(rewriter, digit_first(rewriter, value, axes), places, shape)

    targets = [None if a in summed else places[1 + left.index(a)] for a in range(len(x.rest))]
    return summed_digit(rewriter, x, digits, result.shape, lane, targets, value_of)


def _total(rewriter: Rewriter, terms: Sequence[Atom]) -> Atom:
    total = terms[0]
    for term in terms[1:]:
        total = rewriter.emit("add", total, term)
    return total


def _spread_over_lanes(
    rewriter: Rewriter, x: Pieces, part: Piece, reduced: tuple[int, ...], lane: int
) -> Atom | None:
    """The sum of a piece over all axes that have steps (and others): its elements, put where their lanes are."""
    rest = x.rest
    stepping = sorted((a for a, step in enumerate(part.steps) if step), key=lambda a: -part.steps[a])
    if not stepping or any(a not in reduced for a in stepping):
        return None
    plain = tuple(a for a in reduced if a not in stepping)
    value = rewriter.emit("reduce_sum", part.value, axes=plain) if plain else part.value
    left = [a for a in range(len(rest)) if a not in plain]
    kept = [a for a in left if a not in stepping]
    step = part.steps[stepping[-1]]
    count = 1
    for a in reversed(stepping):
        if part.steps[a] != step * count:
            return None
        count *= rest[a]
    low, high = part.offset, x.lanes - (part.offset + (count - 1) * step + 1)
    if step < 1 or low < 0 or high < 0 or count == 0:
        return None
    ordered = rewriter.emit("transpose", value, permutation=tuple(left.index(a) for a in (*stepping, *kept)))
    flat = rewriter.emit("reshape", ordered, shape=(count, *(rest[a] for a in kept)))
    none = (0,) * len(kept)
    full = rewriter.emit("pad", flat, literal(0, x.type.dtype), high=(high, *none), interior=(step - 1, *none),
                         low=(low, *none))
    return _lanes_moved(rewriter, full, lane)


def _lanes_moved(rewriter: Rewriter, atom: Atom, lane: int) -> Atom:
    """``atom`` with its first axis brought to position ``lane``."""
    order = inserted(range(1, len(atom.type.shape)), lane, 0)
    return rewriter.emit("transpose", atom, permutation=order)


def _dot_general(rewriter: Rewriter, known: Known, equation: Equation, result: ArrayType) -> Answer:
    side = 0 if equation.inputs[0] in known else 1
    other = equation.inputs[1 - side]
    x, params = known[equation.inputs[side]], dict(equation.params)
    contracting, batch = params["contracting"], params["batch"]
    if other in known or len(x.parts) > MAX_PIECES or x.lane in (*contracting[side], *batch[side]):
        return None

    def shifted(axes: Sequence[int]) -> tuple[int, ...]:
        return tuple(a - (a > x.lane) for a in axes)

    mine, shared = shifted(contracting[side]), shifted(batch[side])
    free = [a for a in range(len(x.rest)) if a not in mine and a not in shared]
    other_free = other.type.rank - len(contracting[1 - side]) - len(batch[1 - side])
    first = len(shared) + (other_free if side else 0)
    lane = first + sum(a < x.lane for a in range(x.type.rank)
                       if a != x.lane and a not in contracting[side] and a not in batch[side])
    if not any(part.steps[a] for part in x.parts for a in mine):
        parts = []
        for part in x.parts:
            operands = (part.value, other) if side == 0 else (other, part.value)
            pairs = [(a, b) if side == 0 else (b, a)
                     for a, b in ((mine, contracting[1 - side]), (shared, batch[1 - side]))]
            value = rewriter.emit("dot_general", *operands, contracting=pairs[0], batch=pairs[1])
            steps = [0] * len(value.type.shape)
            steps[:len(shared)] = [part.steps[a] for a in shared]
            steps[first:first + len(free)] = [part.steps[a] for a in free]
            parts.append(Piece(value, part.offset, tuple(steps)))
        return combined(rewriter, result, lane, parts)
    theirs = contracting[1 - side]
    dense = _dot_with_identity(rewriter, x, other, mine, theirs, shared, free, side, lane)
    if dense is not None:
        return dense
    return _dot_of_digit(rewriter, x, other, (mine, theirs), (shared, batch[1 - side]), side, result, lane)


def _dot_with_identity(
    rewriter: Rewriter, x: Pieces, other: Atom, mine: tuple[int, ...], theirs: tuple[int, ...], shared: tuple[int, ...],
    free: list[int], side: int, lane: int,
) -> Atom | None:
    """sum over j of [lane == j] value[j, free] other[j, ...] = value[lane, free] other[lane, ...]."""
    if shared or len(mine) != 1 or len(x.parts) != 1:
        return None
    (part,), axis = x.parts, mine[0]
    if part.offset or part.steps[axis] != 1 or any(part.steps[a] for a in free) or x.rest[axis] != x.lanes:
        return None
    values = rewriter.emit("transpose", part.value, permutation=(axis, *free))
    others = [a for a in range(other.type.rank) if a != theirs[0]]
    rows = rewriter.emit("transpose", other, permutation=(theirs[0], *others))
    mine_shape, their_shape = values.type.shape[1:], rows.type.shape[1:]
    halves = (mine_shape, their_shape) if side == 0 else (their_shape, mine_shape)
    shape = (x.lanes, *halves[0], *halves[1])
    early, late = tuple(range(1, 1 + len(halves[0]))), tuple(range(1 + len(halves[0]), len(shape)))
    places = (early, late) if side == 0 else (late, early)
    product = rewriter.emit("mul", rewriter.emit("broadcast", values, shape=shape, axes=(0, *places[0])),
                            rewriter.emit("broadcast", rows, shape=shape, axes=(0, *places[1])))
    return _lanes_moved(rewriter, product, lane)


def _dot_of_digit(
    rewriter: Rewriter, x: Pieces, other: Atom, contracting: tuple[tuple[int, ...], tuple[int, ...]],
    batch: tuple[tuple[int, ...], tuple[int, ...]], side: int, result: ArrayType, lane: int,
) -> Sum | None:
    """sum over f of other[n, f] value[f, c] [lane == f * B + c] = other[n, f'] value[f', c] where c' == c."""
    (mine, theirs), (my_batch, their_batch) = contracting, batch
    digits = digits_of(x, mine)
    if digits is None or any(len(digit.axes) != len(mine) for digit in digits):
        return None
    free = [a for a in range(len(x.rest)) if a not in mine and a not in my_batch]
    other_free = [a for a in range(other.type.rank) if a not in theirs and a not in their_batch]
    places = without(range(len(result.shape)), lane)  # of what is shared, of the left operand, of the right one
    shared, rest = places[:len(my_batch)], places[len(my_batch):]
    halves = (rest[:len(free)], rest[len(free):]) if side == 0 else (rest[len(other_free):], rest[:len(other_free)])
    my_places = dict(zip((*my_batch, *free), (*shared, *halves[0]), strict=True))
    their_places = dict(zip((*their_batch, *other_free), (*shared, *halves[1]), strict=True))

    def value_of(part: Piece, digit: Digit, shape: tuple[int, ...]) -> Atom:
        def factor(atom: Atom, axes: Sequence[int], found: Mapping[int, int]) -> Atom:
            others = [found[a] for a in range(atom.type.rank) if a not in axes]
            return laid(rewriter, digit_first(rewriter, atom, axes), (lane, *others), shape)

        partners = [theirs[mine.index(a)] for a in digit.axes]
        return rewriter.emit("mul", factor(other, partners, their_places), factor(part.value, digit.axes, my_places))

    targets = [my_places.get(a) for a in range(len(x.rest))]
    return summed_digit(rewriter, x, digits, result.shape, lane, targets, value_of)


RULES: dict[str, BasisRule] = {
    "neg": _unary, "convert": _unary, "mul": _mul, "div": _div, "add": _sum, "sub": _sum, "select": _select,
    "broadcast": _broadcast, "transpose": _transpose, "reshape": _reshape, "slice": _slice, "reverse": _reverse,
    "pad": _pad, "concatenate": _concatenate, "reduce_sum": _reduce_sum, "dot_general": _dot_general,
}
