"""What is computed for a long sum of products is computed along the sum: that axis comes first.

    b[i, k] = x[k, i] * w[k] ; c[i, j] = sum over k of b[i, k] * y[k, j]   ->   b[k, i] = x[k, i] * w[k] ; ...

Such a sum is one loop over its long axis, in blocks (see `Node.in_blocks`), and values that only it reads never lie in
memory as wholes. So the order of their axes, which a program has from how it was derived, means nothing; but a loop over
an axis that is not the first one seems to jump through memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.nodes import Node
from gradxform.backend.recompute import fixed_memory
from gradxform.ir import ArrayType, Var
from gradxform.loopir.expression import Expression, Load, Symbol

_Value = TypeVar("_Value")


def sum_first(nodes: Sequence[Node], outputs: Iterable[Var], journal: Journal = SILENT) -> None:
    """Bring the axes of such values, in this block and in those within it, into that order."""
    _in_block(nodes, set(fixed_memory(nodes, outputs).stored), journal)


def _in_block(nodes: Sequence[Node], fixed: set[Var], journal: Journal) -> None:
    for node in nodes:
        for block in node.blocks:
            _in_block(block, fixed, journal)
    if any(node.in_blocks for node in nodes):
        places = _places(nodes, fixed)
        if places:
            _turn(nodes, places, journal)


def _places(nodes: Sequence[Node], fixed: set[Var]) -> dict[Var, int]:
    """Values that only such sums read, through maps or not, and which of their axes, not the first, is the sum's."""
    readers: dict[Var, list[Node]] = {}
    for node in nodes:
        for load in node.reads:
            readers.setdefault(load.buffer, []).append(node)
    # Of each node of such a sum, the symbol of the sum.
    along: dict[Node, Symbol] = {node: node.reduced[0] for node in nodes if node.in_blocks and len(node.reduced) == 1}
    places: dict[Var, int] = {}
    for node in reversed(nodes):
        if node.kind != "map" or node.after or node.apart or node.var in fixed or node.var not in readers:
            continue
        found = {_place(load, along.get(reader)) for reader in readers[node.var] for load in reader.reads
                 if load.buffer is node.var}
        place = found.pop()
        symbol = node.axes[place] if not found and place is not None else None
        if place is not None and isinstance(symbol, Symbol):
            along[node] = symbol
            if any(isinstance(a, Symbol) for a in node.axes[:place]):
                places[node.var] = place
    return places


def _place(load: Load, symbol: Symbol | None) -> int | None:
    """At which of its places ``load`` has the symbol."""
    return next((place for place, part in enumerate(load.index) if part is symbol), None)


def _turn(nodes: Sequence[Node], places: dict[Var, int], journal: Journal) -> None:
    turned: dict[Var, Var] = {}
    for node in nodes:
        replaced: dict[int, Expression] = {
            id(load): Load(turned[load.buffer], _first(load.index, places[load.buffer]), load.dtype)
            for load in node.reads if load.buffer in turned}
        if replaced:
            node.rewrite(replaced)
        if node.var in places:
            place, old = places[node.var], node.var
            new = turned[old] = Var(ArrayType(old.type.dtype, _first(old.type.shape, place)))
            journal.stands_for(new, old)
            node.move(new, _first(node.axes, place))


def _first(values: Sequence[_Value], place: int) -> tuple[_Value, ...]:
    return (values[place], *values[:place], *values[place + 1:])
