"""Arrays of which only few elements per lane are not zero, as sums of pieces; see basis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradxform.data_class import data_class
from gradxform.dtypes import int64
from gradxform.ir import ArrayType, Atom
from gradxform.passes.rewriting import Rewriter, literal


@data_class(frozen=True, slots=True, eq=False)
class Piece:
    """``value[r]`` in the lane ``offset + steps . r``."""

    value: Atom
    offset: int
    steps: tuple[int, ...]

    @property
    def is_row(self) -> bool:
        return not any(self.steps)


@data_class(frozen=True, slots=True, eq=False)
class Pieces:
    """An array of ``type`` whose axis ``lane`` counts the lanes; ``origin`` is the same array written out, if it is."""

    type: ArrayType
    lane: int
    parts: tuple[Piece, ...]
    origin: Atom | None = None

    @property
    def lanes(self) -> int:
        return self.type.shape[self.lane]

    @property
    def rest(self) -> tuple[int, ...]:
        """The shape without the lanes."""
        return without(self.type.shape, self.lane)


def without(values: Sequence[int], position: int) -> tuple[int, ...]:
    """``values`` but the one at ``position``."""
    return (*values[:position], *values[position + 1:])


def inserted(values: Sequence[int], position: int, value: int) -> tuple[int, ...]:
    """``values`` with ``value`` put in before ``position``."""
    return (*values[:position], value, *values[position:])


def combined(rewriter: Rewriter, result: ArrayType, lane: int, parts: Iterable[Piece]) -> Pieces:
    """Pieces with those that lie in the same lanes added.

    A row in a lane that does not exist is left out: it was cut from the zeros around a piece.
    """
    extents = without(result.shape, lane)
    found: dict[tuple[int, tuple[int, ...]], Piece] = {}
    for part in parts:
        steps = tuple(step if n > 1 else 0 for step, n in zip(part.steps, extents, strict=True))
        key = part.offset, steps
        if not any(steps) and not 0 <= part.offset < result.shape[lane]:
            continue
        earlier = found.get(key)
        value = part.value if earlier is None else rewriter.emit("add", earlier.value, part.value)
        found[key] = Piece(value, part.offset, steps)
    return Pieces(result, lane, tuple(found.values()))


def written(rewriter: Rewriter, pieces: Pieces) -> Atom:
    """The array that ``pieces`` stand for: rows stacked, diagonals selected by comparing indices."""
    if pieces.origin is not None:
        return pieces.origin
    rows = {part.offset: part.value for part in pieces.parts if part.is_row}
    totals = [_stacked(rewriter, pieces, rows)] if rows else []
    # Diagonals of the same steps never meet: one is chosen where the other is not.
    families: dict[tuple[int, ...], Atom] = {}
    for part in pieces.parts:
        if not part.is_row:
            other = families.get(part.steps, literal(0, pieces.type.dtype))
            families[part.steps] = _selected(rewriter, pieces, part, other)
    totals += families.values()
    if not totals:
        return rewriter.full(0, pieces.type)
    total = totals[0]
    for term in totals[1:]:
        total = rewriter.emit("add", total, term)
    return total


def _stacked(rewriter: Rewriter, pieces: Pieces, rows: dict[int, Atom]) -> Atom:
    """Along the axis of the lanes, with zeros in the gaps."""
    rest, lane = pieces.rest, pieces.lane
    stack: list[Atom] = []
    position = 0
    for offset in [*sorted(rows), pieces.lanes]:
        if offset > position:
            stack.append(rewriter.full(0, pieces.type.with_shape(inserted(rest, lane, offset - position))))
        if offset < pieces.lanes:
            stack.append(rewriter.emit("reshape", rows[offset], shape=inserted(rest, lane, 1)))
        position = offset + 1
    return stack[0] if len(stack) == 1 else rewriter.emit("concatenate", *stack, axis=lane)


def _selected(rewriter: Rewriter, pieces: Pieces, part: Piece, otherwise: Atom) -> Atom:
    shape, lane = pieces.type.shape, pieces.lane
    others = without(range(len(shape)), lane)

    def index(axis: int) -> Atom:
        return rewriter.emit("iota", axis=axis, dtype=int64, shape=shape)

    target: Atom = literal(part.offset, int64)
    for axis, step in zip(others, part.steps, strict=True):
        if step:
            target = rewriter.emit("add", rewriter.emit("mul", literal(step, int64), index(axis)), target)
    mask = rewriter.emit("equal", index(lane), target)
    value = rewriter.emit("broadcast", part.value, shape=shape, axes=others)
    return rewriter.emit("select", mask, value, otherwise)
