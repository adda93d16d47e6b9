"""Sums over a little less than what another loop runs over join that loop.

    for i in 0 .. 999: s += (x[i + 1] - x[i])**2 ; for i in 0 .. 1000: g[i] = guard(i >= 1, ...) - guard(i < 999, ...)
    ->  for i in 0 .. 1000: { s += guard(i < 999, (x[i + 1] - x[i])**2, 0.0) ; g[i] = ... }

Differences of neighbours are one fewer than these, their gradient is not. Passes that cut loops where guards change take the
guard out of all iterations but the last; what is left reads the data once for value and gradient.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.nodes import Node
from gradxform.backend.schedule import Group, at
from gradxform.ir import Var
from gradxform.loopir.expression import Expression, Load, Symbol, compare, constant, guard, integer, loads, parts, substitute

#: Extents differ by this much at most, and are at least so large.
NEAR = 8
LEAST_EXTENT = 512
#: What is summed has this many parts at most.
MAX_PARTS = 200


def widen_sums(groups: Sequence[Group], *stored: Container[Var], journal: Journal = SILENT) -> list[Group]:
    """The groups with such sums in the group behind theirs, if they have to come first neither for it nor for others.

    What one of ``stored`` contains lies in memory, and stays in its loop.
    """
    result: list[Group] = []
    for group in groups:
        if result and _may_join(result[-1], group, stored) and not _is_read(result[-1], groups):
            earlier = result.pop()
            maps = {node.var: node for node in earlier.members if node.kind == "map"}
            for node in earlier.members:
                if node.kind == "map":
                    journal.where(node.var, "register", None, "computed within a sum that has joined the loop behind it")
                if node.kind == "reduction":
                    _join(node, _inlined(node.expression, maps), earlier, group)
        result.append(group)
    return result


def _may_join(earlier: Group, group: Group, stored: Sequence[Container[Var]]) -> bool:
    if earlier.extent is None or group.extent is None or not (
            LEAST_EXTENT <= earlier.extent < group.extent <= earlier.extent + NEAR):
        return False
    results = {node.var for node in earlier.members}
    if any(node.kind not in ("map", "reduction") or not results.isdisjoint((*node.inputs, *node.after))
           for node in group.members):
        return False
    sizes: dict[Var, int] = {}
    for node in earlier.members:
        sizes[node.var] = sum(1 for _ in parts(node.expression)) + sum(sizes.get(load.buffer, 0) for load in node.reads)
        whole = not any(isinstance(a, Symbol) for a in node.axes) and node.reduced == (earlier.assigned[node],)
        if node.kind == "reduction":
            if not whole or node.operation != "add" or sizes[node.var] > MAX_PARTS:
                return False
        elif node.kind != "map" or node.bases or any(node.var in memory for memory in stored):
            return False
    return True


def _is_read(group: Group, groups: Sequence[Group]) -> bool:
    """Whether others than a group itself read what its maps compute: they would look for it in vain."""
    maps = {node.var for node in group.members if node.kind == "map"}
    return any(not maps.isdisjoint(node.inputs) for other in groups if other is not group for node in other.members)


def _inlined(expression: Expression, maps: Mapping[Var, Node]) -> Expression:
    """``expression`` in terms of what ``maps`` read."""
    def computed(part: Expression) -> Expression | None:
        inner = maps.get(part.buffer) if isinstance(part, Load) else None
        return None if inner is None or not isinstance(part, Load) else at(inner.expression, inner, part.index)

    while any(load.buffer in maps for load in loads(expression)):
        expression = substitute(expression, computed)
    return expression


def _join(node: Node, expression: Expression, earlier: Group, group: Group) -> None:
    """Let ``node`` sum in the loop of ``group``, which is longer than its own."""
    own = earlier.assigned[node]
    assert group.extent is not None
    wider = Symbol(own.name, own.dtype, group.extent)
    value = substitute(expression, lambda part: wider if part is own else None)
    node.reduce_over(wider, guard(compare("less", wider, integer(own.extent)), value, constant(0, value.dtype)))
    group.add(node, wider)
