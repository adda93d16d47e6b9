"""Updates of ranges: a scatter whose targets are an affine image of its points gives each element a value of its own.

    y = x ; for p in 0 .. 6: y[2 p + 1] += u[p]
    ->  y[i] = guard(i >= 1 and i < 12 and (i - 1) % 2 == 0, x[i] + u[(i - 1) / 2], x[i])

As a map it shares the loops of what it reads and of what reads it, and the passes that cut loops where guards change leave a
plain loop over the range. As a scatter it would store its updates first, and copy the array that it updates.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradxform.data_class import data_class
from gradxform.loopir.expression import (
    ZERO,
    Apply,
    Expression,
    Index,
    Symbol,
    compare,
    index_add,
    index_divmod,
    index_mul,
    integer,
    known,
)


@data_class(frozen=True, slots=True)
class Place:
    """Where a point lies along one axis: at ``offset + step * point[position]``; a ``position`` of -1: at ``offset``."""

    position: int
    step: int
    offset: int


def affine_places(target: Index, point: Sequence[Expression]) -> list[Place] | None:
    """The places of a scatter's ``target``, if they are affine and all points go to different ones; else None."""
    places: list[Place] = []
    left = {symbol: number for number, symbol in enumerate(point) if isinstance(symbol, Symbol)}
    for part in target:
        found = _affine(part)
        if found is None:
            return None
        symbol, step, offset = found
        if symbol is None:
            places.append(Place(-1, 0, offset))
            continue
        number = left.pop(symbol, -1)
        if number < 0 or step == 0:
            return None
        places.append(Place(number, step, offset))
    return None if left else places


def _affine(index: Expression) -> tuple[Symbol | None, int, int] | None:
    """(symbol, step, offset) of ``symbol * step + offset``; None for what has another form."""
    value = known(index)
    if value is not None:
        return None, 0, value
    offset, step = 0, 1
    if isinstance(index, Apply) and index.operation == "add":
        constant = known(index.operands[1])
        if constant is None:
            return None
        index, offset = index.operands[0], constant
    if isinstance(index, Apply) and index.operation == "mul":
        factor = known(index.operands[1])
        if factor is None:
            return None
        index, step = index.operands[0], factor
    return (index, step, offset) if isinstance(index, Symbol) else None


def point_of(index: Index, places: Sequence[Place], extents: Sequence[int]) -> tuple[list[Expression], Index]:
    """Conditions under which ``index`` is a target, and the point (of ``extents``) whose target it then is.

    Conditions compare an axis with a constant, as far as they can: where they change is then easily seen.
    """
    conditions: list[Expression] = []
    point: list[Expression] = [ZERO] * len(extents)
    for part, place in zip(index, places, strict=True):
        if place.position < 0:
            conditions.append(compare("equal", part, integer(place.offset)))
            continue
        count, stride = extents[place.position], abs(place.step)
        last = place.offset + place.step * (count - 1)
        first, last = min(place.offset, last), max(place.offset, last)
        conditions += [compare("greater_equal", part, integer(first)), compare("less", part, integer(last + 1))]
        # Shifted by a multiple of the stride so that the dividend is never negative.
        periods = -(-first // stride)
        quotient, remainder = index_divmod(index_add(part, integer(periods * stride - first)), stride)
        conditions.append(compare("equal", remainder, ZERO))
        ordinal = index_add(quotient, integer(-periods))
        if place.step < 0:
            ordinal = index_add(index_mul(ordinal, -1), integer(count - 1))
        point[place.position] = ordinal
    return conditions, tuple(point)
