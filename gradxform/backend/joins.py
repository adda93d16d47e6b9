"""Results that are put together from parts: each part is stored where it belongs, by the loop that computes it.

    g[i] = e[i] * v[i] ; h[i] = e[i] * u[i] ; out[k] = guard(k < n, g[k], h[k - n])
    ->  out[i] = e[i] * v[i] ; out[n + i] = e[i] * u[i]

So the gradient in a vector of packed parameters is never copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradxform.backend.nodes import Node, Region
from gradxform.ir import ArrayType, Var
from gradxform.loopir.expression import ZERO, Apply, Expression, Load, Symbol, axis, index_add, integer, known, substitute

#: Parts of results with fewer elements, or more parts than these, are not worth loops of their own.
LEAST_ELEMENTS = 64
MOST_PARTS = 8


def split_joins(nodes: list[Node], outputs: Sequence[Var]) -> dict[Var, Region]:
    """Put a node for each part in the place of such results, of ``outputs``; gives where the parts lie."""
    uses = _uses(nodes)
    results = set(outputs)
    regions: dict[Var, Region] = {}
    for position in range(len(nodes) - 1, -1, -1):
        node = nodes[position]
        if node.kind != "map" or node.var not in results or node.var in uses or node.after or node.apart or node.bases:
            continue
        if node.var.type.size < LEAST_ELEMENTS:
            continue
        parts = list(_parts(node))
        if not 2 <= len(parts) <= MOST_PARTS:
            continue
        own = {n.var: n for n in nodes if n.kind == "map" and n.var not in results and uses.get(n.var) == 1}
        spared = sum(part.var.type.size for part, _ in parts if _copies(part, own))
        if 2 * spared >= node.var.type.size:
            nodes[position:position + 1] = [part for part, _ in parts]
            regions.update({part.var: Region(node.var, start) for part, start in parts})
    return regions


def _uses(nodes: Sequence[Node]) -> dict[Var, int]:
    """How often each value is read or updated."""
    found: dict[Var, int] = {}
    for node in nodes:
        for var in [*(load.buffer for load in node.reads), *(base for _, base in node.bases)]:
            found[var] = found.get(var, 0) + 1
        for block in node.blocks:
            for var, times in _uses(block).items():
                found[var] = found.get(var, 0) + times
    return found


def _parts(node: Node) -> Iterator[tuple[Node, tuple[int, ...]]]:
    """A node for each range of one axis in which a chain of guards chooses one expression, and where it starts."""
    along = _axis_of(node.expression)
    if along is None or along not in node.axes:
        return
    place = node.axes.index(along)
    for first, last, expression in _chosen(node.expression, along, 0, along.extent):
        count = last - first
        axes = [axis(a.name, a.extent) if isinstance(a, Symbol) else a for a in node.axes]
        own: Expression = axis(along.name, count) if count != 1 else ZERO
        axes[place] = own
        moved: dict[Symbol, Expression] = {a: b for a, b in zip(node.axes, axes, strict=True) if isinstance(a, Symbol)}
        moved[along] = index_add(own, integer(first))
        value = _with(expression, moved)
        shape = node.var.type.shape
        var = Var(ArrayType(node.var.type.dtype, (*shape[:place], count, *shape[place + 1:])))
        start = tuple([first if p == place else 0 for p in range(len(shape))])
        yield Node(var, "map", tuple(axes), value), start


def _with(expression: Expression, values: dict[Symbol, Expression]) -> Expression:
    return substitute(expression, lambda part: values.get(part) if isinstance(part, Symbol) else None)


def _axis_of(expression: Expression) -> Symbol | None:
    if isinstance(expression, Apply) and expression.operation == "guard":
        condition = expression.operands[0]
        if isinstance(condition, Apply) and condition.operation == "less" and isinstance(condition.operands[0], Symbol):
            return condition.operands[0]
    return None


def _chosen(expression: Expression, along: Symbol, first: int, last: int) -> Iterator[tuple[int, int, Expression]]:
    if _axis_of(expression) is along:
        assert isinstance(expression, Apply)
        condition, value, otherwise = expression.operands
        assert isinstance(condition, Apply)
        limit = known(condition.operands[1])
        if limit is not None:
            middle = min(max(limit, first), last)
            if first < middle:
                yield from _chosen(value, along, first, middle)
            if middle < last:
                yield from _chosen(otherwise, along, middle, last)
            return
    yield first, last, expression


def _copies(node: Node, own: dict[Var, Node]) -> bool:
    """Whether ``node`` is a plain copy of one of these values."""
    load = node.expression
    return isinstance(load, Load) and load.buffer in own and load.buffer.type.shape == node.var.type.shape and all(
        part is a for part, a in zip(load.index, node.axes, strict=True))
