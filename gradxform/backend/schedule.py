"""Which nodes share which loops.

At each level of nesting the nodes are put into groups, in order; a group shares one loop over one axis of each of
its members, or is straight-line code. Within a group the same is done again with that axis fixed. A node may join
the group of its producers if it reads them, along the shared axis, only at its own index; reductions *over* the
shared axis are complete only after the loop, so their readers go to a later group. This one rule gives a softmax
three short loops inside one loop over rows, and a regression's value and gradient one pass over the data.

    max[i] = max_j x[i, j] ; e[i, j] = exp(x[i, j] - max[i]) ; s[i] = sum_j e[i, j] ; y[i, j] = e[i, j] / s[i]
    ->  for i: { for j: max ; for j: e, s ; for j: y }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gradxform.backend.nodes import Node
from gradxform.ir import Var
from gradxform.loopir.expression import Apply, Expression, Symbol, known

#: Axes up to this extent are kept innermost, where they are unrolled.
SMALL_EXTENT = 8


@dataclass(slots=True, eq=False)
class Group:
    """Nodes that share a loop of ``extent`` over their ``assigned`` axes; straight-line code if ``extent`` is None."""

    extent: int | None
    members: list[Node] = field(default_factory=list)
    assigned: dict[Node, Symbol] = field(default_factory=dict)

    @property
    def ordered(self) -> bool:
        """Whether iterations must run in order."""
        return any(n.kind == "scatter" or n.scan is self.assigned[n] for n in self.members) if self.extent else False

    def add(self, node: Node, axis: Symbol | None) -> None:
        self.members.append(node)
        if axis is not None:
            self.assigned[node] = axis


def partition(nodes: Sequence[Node], bound: Mapping[Symbol, Expression]) -> list[Group]:
    """Group ``nodes`` (in dependence order) for one level; axes in ``bound`` are fixed by outer loops."""
    groups: list[Group] = []
    group_of: dict[Var, int] = {}
    node_of = {var: node for node in nodes for var in node.results}
    sharing: dict[tuple[Var, int], int] = {}
    for node in nodes:
        remaining = [a for a in node.loop_axes if a not in bound]
        producers = {load.buffer: None for load in node.reads if load.buffer in group_of}
        producers.update({var: None for var in (*node.after, *(base for _, base in node.bases)) if var in group_of})
        latest = max((group_of[var] for var in producers), default=-1)
        if not remaining:
            position = _straight_position(groups, latest, node.apart)
            groups[position].add(node, None)
        else:
            position, axis = _loop_position(node, remaining, groups, group_of, node_of, latest, sharing)
            groups[position].add(node, axis)
            for load in node.reads:
                for place, part in enumerate(load.index):
                    if part is axis:
                        sharing[load.buffer, place] = position
        group_of.update(dict.fromkeys(node.results, position))
    return groups


def _straight_position(groups: list[Group], latest: int, apart: bool) -> int:
    first = latest if latest >= 0 and groups[latest].extent is None and not apart else latest + 1
    for position in range(first, len(groups)):
        if groups[position].extent is None:
            return position
    groups.append(Group(None))
    return len(groups) - 1


def _loop_position(
    node: Node, remaining: Sequence[Symbol], groups: list[Group], group_of: Mapping[Var, int],
    node_of: Mapping[Var, Node], latest: int, sharing: Mapping[tuple[Var, int], int],
) -> tuple[int, Symbol]:
    candidates = remaining[:1] if node.kind == "scatter" else remaining
    if latest >= 0 and groups[latest].extent is not None:
        for axis in candidates:
            if axis.extent == groups[latest].extent and _pointwise(node, axis, latest, groups, group_of, node_of):
                return latest, axis
    best = -1
    chosen = None
    for load in node.reads:
        for place, part in enumerate(load.index):
            if isinstance(part, Symbol) and part in candidates:
                found = sharing.get((load.buffer, place), -1)
                if found > max(best, latest) and groups[found].extent == part.extent:
                    best, chosen = found, part
    if chosen is not None and node.kind != "scatter":
        return best, chosen
    axis = preferred_axis(node, candidates)
    # Beside an unrelated node of the same extent: what both give is likely to be read together.
    last = len(groups) - 1
    if last > latest and groups[last].extent == axis.extent and node.kind != "scatter" and not groups[last].ordered:
        return last, axis
    groups.append(Group(axis.extent))
    return len(groups) - 1, axis


def _pointwise(
    node: Node, axis: Symbol, position: int, groups: Sequence[Group], group_of: Mapping[Var, int],
    node_of: Mapping[Var, Node],
) -> bool:
    """Whether ``node`` reads its producers in that group only at its own index along the shared axis."""
    group = groups[position]
    if any(group_of.get(base) == position for _, base in node.bases):
        return False
    if any(group_of.get(var) == position and not _before(node_of[var], node, axis, group) for var in node.after):
        return False
    for load in node.reads:
        if group_of.get(load.buffer) != position:
            continue
        producer = node_of[load.buffer]
        shared = group.assigned[producer]
        if producer.kind in ("scatter", "product") or shared not in producer.axes:
            return False
        if load.index[producer.axes.index(shared)] is not axis:
            return False
    return True


def _before(reader: Node, node: Node, axis: Symbol, group: Group) -> bool:
    """Whether ``reader`` reads the memory that ``node`` takes over at the same index along the shared axis only."""
    if node.kind != "map":
        return False
    place = node.axes.index(axis)
    memory = {base for _, base in node.bases}
    return all(load.index[place] is group.assigned[reader] for load in reader.reads if load.buffer in memory)


def preferred_axis(node: Node, candidates: Sequence[Symbol]) -> Symbol:
    """The axis to loop over first: the one with the largest strides, so that unit strides are innermost."""
    if len(candidates) == 1:
        return candidates[0]
    scores = dict.fromkeys(candidates, 0.0)
    for load in node.reads:
        step = 1
        for extent, part in zip(reversed(load.buffer.type.shape), reversed(load.index), strict=True):
            for symbol, factor in _symbols(part):
                if symbol in scores:
                    scores[symbol] += min(step * factor, 512)
            step *= extent
    step = 1
    for part in reversed(node.axes):
        if isinstance(part, Symbol):
            if part in scores and node.kind != "scatter":
                scores[part] += min(step, 512)
            step *= part.extent
    large = [a for a in candidates if a.extent > SMALL_EXTENT] or list(candidates)
    return max(large, key=lambda a: scores[a])


def _symbols(expression: Expression, factor: int = 1) -> list[tuple[Symbol, int]]:
    if isinstance(expression, Symbol):
        return [(expression, factor)]
    if isinstance(expression, Apply):
        if expression.operation == "mul":
            constant = known(expression.operands[1])
            return _symbols(expression.operands[0], factor * abs(constant if constant is not None else 1))
        return [found for operand in expression.operands for found in _symbols(operand, factor)]
    return []
