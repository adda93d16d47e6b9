"""The axis of the lanes taken apart into two digits, where a sum uses up one of them.

The basis of a matrix of A x B has A * B lanes, and the piece of the lane f * B + c has its one at [f, c]. A product with the
matrix sums over f, say: what is left depends on c only by where it is zero, but on f everywhere. So lanes are counted by
two axes, f' and c': f' becomes an ordinary axis of the value, and c' remains an axis of lanes.

    sum over f of x[n, f] [lane == f * B + c]   =   x[n, f'] where c' == c

Equations that read such a result are written for arrays with both axes, until the two are one again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import gcd, prod
from typing import Any

from gradxform.data_class import data_class
from gradxform.ir import Atom, Equation, Var
from gradxform.passes.pieces import Piece, Pieces, combined, inserted, without
from gradxform.passes.rewriting import ELEMENTWISE, Rewriter, literal


@data_class(frozen=True, slots=True, eq=False)
class Sum:
    """A sum over a digit: pieces with two axes of ``extents`` in the place of ``axis``, one of which counts lanes."""

    axis: int
    extents: tuple[int, int]
    pieces: Pieces


@data_class(frozen=True, slots=True, eq=False)
class Split:
    """What stands for an array: ``atom``, which has two axes of ``extents`` in the place of ``axis``."""

    axis: int
    extents: tuple[int, int]
    atom: Atom
    is_written: bool = False


@data_class(frozen=True, slots=True, eq=False)
class Apart:
    """An equation on arrays with two axes of ``extents`` for the lanes, the first of which is ``axis`` in its result."""

    equation: Equation
    axis: int
    extents: tuple[int, int]


def apart(shape: Sequence[int], axis: int, extents: tuple[int, int]) -> tuple[int, ...]:
    """``shape`` with two axes in the place of ``axis``."""
    return (*shape[:axis], *extents, *shape[axis + 1:])


# ----------------------------------------------------------------------------------------------------- sums of a digit


@data_class(frozen=True, slots=True)
class Digit:
    """Which digit of the lane numbers some axes count: the ``outer`` one of ``extents`` or the inner one, from ``low`` on."""

    outer: bool
    extents: tuple[int, int]
    axes: tuple[int, ...]
    low: int
    count: int
    offset: int
    steps: tuple[int, ...]


def _digit(x: Pieces, part: Piece, summed: Sequence[int]) -> Digit | None:
    """The digit that the axes among ``summed`` count, if those that are left count the other one."""
    axes = tuple(sorted((a for a in summed if part.steps[a]), key=lambda a: -part.steps[a]))
    left = [a for a in range(len(x.rest)) if part.steps[a] and a not in axes]
    if not axes or not left or part.steps[axes[-1]] < 1 or part.offset < 0:
        return None
    step, count = part.steps[axes[-1]], 1
    for a in reversed(axes):
        if part.steps[a] != step * count:
            return None
        count *= x.rest[a]
    common = gcd(*(part.steps[a] for a in left))
    outer = step > 1 and common < step
    inner = step if outer else common
    if inner < 2 or x.lanes % inner or (not outer and step != 1):
        return None
    extents = x.lanes // inner, inner
    high, low = divmod(part.offset, inner)
    offset, start = (low, high) if outer else (high, low)
    steps = tuple([0 if a in axes else s if outer else s // inner for a, s in enumerate(part.steps)])
    reach = [steps[a] * (x.rest[a] - 1) for a in left]
    lowest, highest = offset + sum(min(n, 0) for n in reach), offset + sum(max(n, 0) for n in reach)
    # Were the inner digit to run over, lanes of another outer one would be meant.
    if start + count > extents[0 if outer else 1] or (outer and not 0 <= lowest <= highest < inner):
        return None
    return Digit(outer, extents, axes, start, count, offset, steps)


def digits_of(x: Pieces, summed: Sequence[int]) -> list[Digit] | None:
    """For each piece the digit that a sum over the axes ``summed`` uses up, if it is the same one in all of them."""
    found = [_digit(x, part, summed) for part in x.parts]
    digits = [digit for digit in found if digit is not None]
    if not digits or len(digits) != len(found):
        return None
    return digits if all((d.outer, d.extents) == (digits[0].outer, digits[0].extents) for d in digits) else None


def summed_digit(
    rewriter: Rewriter, x: Pieces, digits: Sequence[Digit], shape: tuple[int, ...], lane: int, targets: Sequence[int | None],
    value_of: Callable[[Piece, Digit, tuple[int, ...]], Atom],
) -> Sum:
    """An array of ``shape`` that is a sum over a digit of the lanes, which its axis ``lane`` counts.

    ``targets`` are the axes of it to which those of a piece come, None for what is summed. ``value_of`` makes the value of a
    piece, of ``shape`` but with the digit in the place of the lanes.
    """
    first = digits[0]
    kept = lane + 1 if first.outer else lane
    extents = apart(shape, lane, first.extents)
    rest = without(extents, kept)
    parts = []
    for part, digit in zip(x.parts, digits, strict=True):
        value = value_of(part, digit, (*shape[:lane], digit.count, *shape[lane + 1:]))
        after = rest[lane] - digit.low - digit.count
        if digit.low or after:
            none = (0,) * len(rest)
            low, high = (inserted(without(none, lane), lane, n) for n in (digit.low, after))
            value = rewriter.emit("pad", value, literal(0, x.type.dtype), high=high, interior=none, low=low)
        steps = [0] * len(rest)
        for target, step in zip(targets, digit.steps, strict=True):
            if target is not None:
                steps[target] = step
        parts.append(Piece(value, digit.offset, tuple(steps)))
    return Sum(lane, first.extents, combined(rewriter, x.type.with_shape(extents), kept, parts))


def digit_first(rewriter: Rewriter, atom: Atom, axes: Sequence[int]) -> Atom:
    """``atom`` with ``axes`` as one axis in front of the others."""
    others = [a for a in range(atom.type.rank) if a not in axes]
    ordered = rewriter.emit("transpose", atom, permutation=(*axes, *others))
    count = prod(atom.type.shape[a] for a in axes)
    return rewriter.emit("reshape", ordered, shape=(count, *(atom.type.shape[a] for a in others)))


def laid(rewriter: Rewriter, atom: Atom, places: Sequence[int], shape: tuple[int, ...]) -> Atom:
    """``atom`` repeated to ``shape``, its axes in ``places`` that need not be in order."""
    order = sorted(range(len(places)), key=lambda a: places[a])
    ordered = rewriter.emit("transpose", atom, permutation=tuple(order))
    return rewriter.emit("broadcast", ordered, shape=shape, axes=tuple([places[a] for a in order]))


# ------------------------------------------------------------------------------------- equations on arrays with both axes


def split_form(
    rewriter: Rewriter, splits: Mapping[Atom, Split], dense: Callable[[Atom], Atom], equation: Equation
) -> Apart | None:
    """The equation on arrays with two axes for the lanes, if it can be written so.

    ``dense`` writes out an array that is known as pieces with lanes on one axis.
    """
    if len(equation.outputs) != 1:
        return None
    operation = equation.operation.name
    if operation in ELEMENTWISE:
        found = _elementwise(rewriter, splits, dense, equation)
    else:
        rule = _FORMS.get(operation)
        found = None if rule is None else rule(splits, equation)
    if found is None:
        return None
    inputs, params, axis = found
    split = next(splits[x] for x in equation.inputs if x in splits)
    (var,) = equation.outputs
    shape = apart(var.type.shape, axis, split.extents)
    ordered = tuple([(name, params.get(name, value)) for name, value in equation.params])
    written = Equation(equation.operation, inputs, ordered, (Var(var.type.with_shape(shape)),), equation.source)
    return Apart(written, axis, split.extents)


Form = tuple[tuple[Atom, ...], dict[str, Any], int]
FormRule = Callable[[Mapping[Atom, Split], Equation], "Form | None"]


def _taken_apart(rewriter: Rewriter, atom: Atom, axis: int, extents: tuple[int, int]) -> Atom:
    """``atom`` with its axis ``axis`` as two; what only repeats along it still does."""
    shape = apart(atom.type.shape, axis, extents)
    equation = rewriter.definition(atom, "broadcast")
    if equation is None:
        return rewriter.emit("reshape", atom, shape=shape)
    (source,), axes = equation.inputs, dict(equation.params)["axes"]
    if axis in axes:
        position = axes.index(axis)
        if source.type.shape[position] == 1:
            source = rewriter.emit("reshape", source, shape=without(source.type.shape, position))
            axes = without(axes, position)
        else:
            source = _taken_apart(rewriter, source, position, extents)
            axes = (*axes[:position], axis, axis, *axes[position + 1:])
            return rewriter.emit("broadcast", source, shape=shape, axes=tuple(
                [a + (a > axis or i == position + 1) for i, a in enumerate(axes)]))
    return rewriter.emit("broadcast", source, shape=shape, axes=tuple([a + (a > axis) for a in axes]))


def _elementwise(
    rewriter: Rewriter, splits: Mapping[Atom, Split], dense: Callable[[Atom], Atom], equation: Equation
) -> Form | None:
    split = next(splits[x] for x in equation.inputs if x in splits)
    shape = equation.outputs[0].type.shape
    others = [splits.get(x) for x in equation.inputs]
    if any(other is not None and (other.axis, other.extents) != (split.axis, split.extents) for other in others):
        return None
    if any(x.type.shape not in ((), shape) for x in equation.inputs):
        return None
    inputs = [other.atom if other is not None else x if not x.type.shape
              else _taken_apart(rewriter, dense(x), split.axis, split.extents)
              for x, other in zip(equation.inputs, others, strict=True)]
    return tuple(inputs), {}, split.axis


def _moved(axes: Sequence[int], axis: int) -> tuple[int, ...]:
    """``axes`` of an array of which ``axis``, none of them, has become two."""
    return tuple([a + (a > axis) for a in axes])


def _broadcast(splits: Mapping[Atom, Split], equation: Equation) -> Form | None:
    split = splits[equation.inputs[0]]
    params = dict(equation.params)
    axes, shape = params["axes"], params["shape"]
    axis = axes[split.axis]
    if shape[axis] != prod(split.extents):
        return None
    before, after = axes[:split.axis], axes[split.axis + 1:]
    places = (*before, axis, axis + 1, *_moved(after, axis))
    return (split.atom,), {"axes": places, "shape": apart(shape, axis, split.extents)}, axis


def _transpose(splits: Mapping[Atom, Split], equation: Equation) -> Form | None:
    split = splits[equation.inputs[0]]
    permutation = dict(equation.params)["permutation"]
    axis = permutation.index(split.axis)
    moved = _moved(permutation, split.axis)
    return (split.atom,), {"permutation": (*moved[:axis], split.axis, split.axis + 1, *moved[axis + 1:])}, axis


def _reshape(splits: Mapping[Atom, Split], equation: Equation) -> Form | None:
    split, shape = splits[equation.inputs[0]], equation.outputs[0].type.shape
    count, before = prod(split.extents), prod(equation.inputs[0].type.shape[:split.axis])
    axis = next((a for a, n in enumerate(shape) if n == count and prod(shape[:a]) == before), None)
    return None if axis is None else ((split.atom,), {"shape": apart(shape, axis, split.extents)}, axis)


def _reduction(splits: Mapping[Atom, Split], equation: Equation) -> Form | None:
    split, axes = splits[equation.inputs[0]], dict(equation.params)["axes"]
    if split.axis in axes:
        return None
    return (split.atom,), {"axes": _moved(axes, split.axis)}, split.axis - sum(a < split.axis for a in axes)


def _product(splits: Mapping[Atom, Split], equation: Equation) -> Form | None:
    params = dict(equation.params)
    contracting, batch = list(params["contracting"]), list(params["batch"])
    sides = [side for side, x in enumerate(equation.inputs) if x in splits]
    if len(sides) != 1:
        return None
    (side,) = sides
    split = splits[equation.inputs[side]]
    if split.axis in (*contracting[side], *batch[side]):
        return None
    used = (*contracting[side], *batch[side])
    other = equation.inputs[1 - side]
    other_free = other.type.rank - len(contracting[1 - side]) - len(batch[1 - side])
    axis = len(batch[side]) + (other_free if side else 0) + sum(a not in used for a in range(split.axis))
    contracting[side], batch[side] = _moved(contracting[side], split.axis), _moved(batch[side], split.axis)
    inputs = (split.atom, other) if side == 0 else (other, split.atom)
    return inputs, {"contracting": tuple(contracting), "batch": tuple(batch)}, axis


_FORMS: dict[str, FormRule] = {
    "broadcast": _broadcast, "transpose": _transpose, "reshape": _reshape, "dot_general": _product,
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or"), _reduction),
}
