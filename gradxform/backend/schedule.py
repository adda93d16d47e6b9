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
from dataclasses import field
from math import prod

from gradxform.backend.instructions import ELEMENTARY_OPERATIONS
from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.nodes import Node
from gradxform.backend.recompute import Price
from gradxform.data_class import data_class
from gradxform.ir import Var
from gradxform.loopir.expression import Apply, Expression, Load, Symbol, known, parts, substitute

#: Axes up to this extent are kept innermost, where they are unrolled.
SMALL_EXTENT = 8
#: Loops over this many elements stay in the first cache in whatever order.
CACHED_ELEMENTS = 4096
#: A loop of so many times fewer iterations does not go around one along which memory lies further apart.
LONG_RATIO = 16
#: Sums over an axis of their own, with results along another one, that a loop has at most; later ones go into the next one.
#: So the layers of a deep network, forward or back, are not all one body, and loops of equal layers are compiled once.
MOST_SUMS = 5


@data_class(slots=True, eq=False)
class Group:
    """Nodes that share a loop of ``extent`` over their ``assigned`` axes; straight-line code if ``extent`` is None.

    Nothing else joins one that is ``closed``: a product of matrices in blocks.
    """

    extent: int | None
    members: list[Node] = field(default_factory=list)
    assigned: dict[Node, Symbol] = field(default_factory=dict)
    closed: bool = False
    sums: int = 0

    @property
    def ordered(self) -> bool:
        """Whether iterations must run in order."""
        if self.extent is None:
            return False
        # Along an axis that is an index of its target a scatter writes to other elements in each iteration.
        return any(n.scan is self.assigned[n] or (n.kind == "scatter" and self.assigned[n] not in n.target)
                   for n in self.members)

    def add(self, node: Node, axis: Symbol | None) -> None:
        self.members.append(node)
        if axis is not None:
            self.assigned[node] = axis


class Partition:
    """Groups nodes (given in dependence order) for one level; axes in ``bound`` are fixed by outer loops.

    The nodes in ``repeatable`` are computed in each group that reads them: a copy with a variable of its own where the
    reader's index is that of the loop, else within the reader's expression; where neither pays, they are nodes like any other.
    """

    def __init__(
        self, nodes: Sequence[Node], bound: Mapping[Symbol, Expression], repeatable: Mapping[Node, Price],
        journal: Journal = SILENT,
    ) -> None:
        self.bound = bound
        self.journal = journal
        self.repeatable = dict(repeatable)
        self.groups: list[Group] = []
        self.group_of: dict[Var, int] = {}
        self.node_of = {var: node for node in nodes for var in node.results}
        self.sharing: dict[tuple[Var, int], int] = {}
        self.copies: dict[tuple[Node, int, Symbol], Node] = {}
        self.leaves: dict[Node, list[Load]] = {}
        for node in _bases_first(nodes):
            if node not in self.repeatable:
                self.place(node)
        for node, price in self.repeatable.items():
            journal.repeated(node.var, price)

    # ----------------------------------------------------------------------------------- values computed anew

    def inner(self, load: Load) -> Node | None:
        """The node behind ``load`` if it is computed where it is read."""
        node = self.node_of.get(load.buffer)
        return node if node in self.repeatable else None

    def reads(self, node: Node) -> list[Load]:
        """What ``node`` reads, through what is computed anew."""
        found: list[Load] = []
        for load in node.reads:
            inner = self.inner(load)
            if inner is None:
                found.append(load)
                continue
            if inner not in self.leaves:
                self.leaves[inner] = self.reads(inner)
            found += [part for leaf in self.leaves[inner] for part in (at(leaf, inner, load.index),) if isinstance(part, Load)]
        return found

    def unsuited(self, node: Node, axis: Symbol | None) -> Node | None:
        """A node to be stored after all if ``node`` is in a loop over its ``axis``: computing it anew there costs too much."""
        shifted: dict[Node, int] = {}
        for load in node.reads:
            inner = self.inner(load)
            if inner is None:
                continue
            own = own_axis(load, inner, axis)
            if own is None:
                shifted[inner] = shifted.get(inner, 0) + 1
            elif (found := self.unsuited(inner, own)) is not None:
                return found
        for inner, times in shifted.items():
            price = self.repeatable[inner]
            if times * price.arithmetic > price.budget:
                self.journal.remark(inner.var, "price", "{:.2g} ns to compute it again, at {} indices: more than {:.2g}",
                                    price.arithmetic, times, price.budget)
                return inner
            if self.volume(node) > 2 * self.volume(inner):
                self.journal.remark(inner.var, "price", "read by a loop over {:,} elements, more than twice its own {:,}",
                                    self.volume(node), self.volume(inner))
                return inner
        return None

    def volume(self, node: Node) -> int:
        return prod(a.extent for a in node.loop_axes if a not in self.bound)

    def copy(self, node: Node, position: int, axis: Symbol) -> Node:
        """The copy of ``node`` in a group, whose loop is over its ``axis``."""
        found = self.copies.get((node, position, axis))
        if found is None:
            fresh = {a: Symbol(a.name, a.dtype, a.extent) for a in node.axes if isinstance(a, Symbol) and a not in self.bound}
            axes = tuple([fresh.get(a, a) if isinstance(a, Symbol) else a for a in node.axes])
            found = Node(Var(node.var.type), "map", axes, at(node.expression, node, axes))
            self.copies[node, position, axis] = self.node_of[found.var] = found
            self.journal.repeats(node.var, found.var)
            self.insert(found, position, fresh[axis])
        return found

    # ------------------------------------------------------------------------------------------------- placing

    def place(self, node: Node) -> None:
        """Put ``node`` into a group, with what it reads and is computed anew there."""
        while True:
            reads = self.reads(node)
            position, axis = self.position(node, reads)
            stored = self.unsuited(node, axis)
            if stored is None:
                break
            del self.repeatable[stored]
            self.leaves.clear()
            self.place(stored)
        if position == len(self.groups):
            self.groups.append(Group(None if axis is None else axis.extent, closed=self.stands_alone(node)))
        self.insert(node, position, axis)
        if axis is not None:
            for load in reads:
                for place, part in enumerate(load.index):
                    if part is axis:
                        self.sharing[load.buffer, place] = position

    def insert(self, node: Node, position: int, axis: Symbol | None) -> None:
        """Add ``node`` to a group, behind copies of what it reads and is computed anew."""
        while any(self.inner(load) is not None for load in node.reads):
            # What is put within the expression may itself read values that are computed anew.
            replaced: dict[int, Expression] = {}
            for load in node.reads:
                inner = self.inner(load)
                if inner is not None:
                    own = own_axis(load, inner, axis)
                    if own is None:
                        self.journal.repeats(inner.var, None)
                    replaced[id(load)] = at(inner.expression, inner, load.index) if own is None else Load(
                        self.copy(inner, position, own).var, load.index, load.dtype)
            node.rewrite(replaced)
        self.groups[position].add(node, axis)
        self.groups[position].sums += self.is_nested_sum(node)
        self.group_of.update(dict.fromkeys(node.results, position))

    def position(self, node: Node, reads: Sequence[Load]) -> tuple[int, Symbol | None]:
        """The group for ``node`` (one more than there are: a new one), and which of its axes the group's loop is over."""
        remaining = [a for a in node.loop_axes if a not in self.bound]
        group_of = self.group_of
        producers = {load.buffer: None for load in reads if load.buffer in group_of}
        producers.update({var: None for var in (*node.after, *(base for _, base in node.bases)) if var in group_of})
        latest = max((group_of[var] for var in producers), default=-1)
        if not remaining:
            return self.straight_position(latest, node.apart), None
        return self.loop_position(node, reads, remaining, latest)

    def straight_position(self, latest: int, apart: bool) -> int:
        groups = self.groups
        first = latest if latest >= 0 and groups[latest].extent is None and not apart else latest + 1
        for position in range(first, len(groups)):
            if groups[position].extent is None:
                return position
        return len(groups)

    def loop_position(
        self, node: Node, reads: Sequence[Load], remaining: Sequence[Symbol], latest: int
    ) -> tuple[int, Symbol]:
        groups = self.groups
        candidates = remaining[:1] if node.kind == "scatter" else remaining
        scores = strides(node, reads, candidates)
        if self.stands_alone(node):
            return len(groups), preferred_axis(candidates, scores)
        suited = [a for a in candidates if not _jumps(a, scores) and not self.spreads(node, reads, a)]
        if (latest >= 0 and groups[latest].extent is not None and not self.is_closed(latest, node)
                and not _slows(node, groups[latest])):
            for axis in suited:
                if axis.extent == groups[latest].extent and self.pointwise(node, reads, axis, latest):
                    return latest, axis
        best = -1
        chosen = None
        for load in reads:
            for place, part in enumerate(load.index):
                if isinstance(part, Symbol) and part in suited:
                    found = self.sharing.get((load.buffer, place), -1)
                    if found > max(best, latest) and groups[found].extent == part.extent and not self.is_closed(found, node):
                        best, chosen = found, part
        if chosen is not None and node.kind != "scatter":
            return best, chosen
        axis = preferred_axis(candidates, scores)
        # Beside an unrelated node of the same extent: what both give is likely to be read together.
        last = len(groups) - 1
        if (last > latest and groups[last].extent == axis.extent and node.kind != "scatter" and not groups[last].ordered
                and not self.is_closed(last, node)):
            return last, axis
        return len(groups), axis

    def is_nested_sum(self, node: Node) -> bool:
        """Whether ``node`` is a sum with two loops or more inside the group's, as a row times a matrix is."""
        return node.kind == "reduction" and sum(a not in self.bound for a in node.loop_axes) > 2

    def is_closed(self, position: int, node: Node) -> bool:
        """Whether ``node`` may not join a group."""
        group = self.groups[position]
        return group.closed or (group.sums >= MOST_SUMS and self.is_nested_sum(node))

    def stands_alone(self, node: Node) -> bool:
        """Whether ``node`` is a product in blocks, in a loop along its sum: its other loops are to become one statement."""
        return node.in_blocks and all(a in self.bound for a in node.reduced)

    def spreads(self, node: Node, reads: Sequence[Load], axis: Symbol) -> bool:
        """Whether ``node`` sums over ``axis`` into so many results that they leave the cache from one term to the next,
        and reads so little along it that sharing a loop with those who made or read that saves nothing.
        """
        if axis not in node.reduced or node.in_blocks:
            return False
        results = prod(a.extent for a in node.loop_axes if a not in self.bound and a not in node.reduced)
        if results <= CACHED_ELEMENTS:
            return False
        little = self.volume(node) // LONG_RATIO
        return all(load.buffer.type.size <= little for load in reads
                   if any(symbol is axis for part in load.index for symbol, _ in _symbols(part)))

    def pointwise(self, node: Node, reads: Sequence[Load], axis: Symbol, position: int) -> bool:
        """Whether ``node`` reads its producers in that group only at its own index along the shared axis."""
        group, group_of, node_of = self.groups[position], self.group_of, self.node_of
        if any(group_of.get(base) == position for _, base in node.bases):
            return False
        if any(group_of.get(var) == position and not _before(node_of[var], node, axis, group) for var in node.after):
            return False
        for load in reads:
            if group_of.get(load.buffer) != position:
                continue
            producer = node_of[load.buffer]
            shared = group.assigned[producer]
            if producer.kind in ("scatter", "product") or shared not in producer.axes:
                return False
            if load.index[producer.axes.index(shared)] is not axis:
                return False
        return True


def _bases_first(nodes: Sequence[Node]) -> list[Node]:
    """``nodes`` with the values that scatters start from in front, so that scatters can join those that make their updates."""
    bases = {base for node in nodes if node.kind == "scatter" for _, base in node.bases}
    made = {var for node in nodes for var in node.results}
    first = {node for node in nodes if node.kind == "map" and node.var in bases and not node.after and not node.apart
             and not any(load.buffer in made for load in node.reads)}
    return [*(node for node in nodes if node in first), *(node for node in nodes if node not in first)]


def _slows(node: Node, group: Group) -> bool:
    """Whether ``node`` would keep the others of a group from being vectorised although that is most of their speed."""
    return node.kind == "scatter" and any(
        isinstance(part, Apply) and part.operation in ELEMENTARY_OPERATIONS
        for member in group.members for part in parts(member.expression))


def _before(reader: Node, node: Node, axis: Symbol, group: Group) -> bool:
    """Whether ``reader`` reads the memory that ``node`` takes over at the same index along the shared axis only."""
    if node.kind != "map":
        return False
    place = node.axes.index(axis)
    memory = {base for _, base in node.bases}
    return all(load.index[place] is group.assigned[reader] for load in reader.reads if load.buffer in memory)


def own_axis(load: Load, node: Node, axis: Symbol | None) -> Symbol | None:
    """The axis of ``node`` along which ``load`` reads it at ``axis``."""
    for own, part in zip(node.axes, load.index, strict=True):
        # An axis of another extent is read in part of the loop only: computed outside of a guard it would read too far.
        if axis is not None and part is axis and isinstance(own, Symbol) and own.extent == axis.extent:
            return own
    return None


def at(expression: Expression, node: Node, index: Sequence[Expression]) -> Expression:
    """``expression``, over the axes of ``node``, at ``index``."""
    place = {a: part for a, part in zip(node.axes, index, strict=True) if isinstance(a, Symbol)}
    return substitute(expression, lambda part: place.get(part) if isinstance(part, Symbol) else None)


def strides(node: Node, reads: Sequence[Load], candidates: Sequence[Symbol]) -> dict[Symbol, float]:
    """How far apart in memory neighbours along each axis are, in elements, summed over what ``node`` reads and writes."""
    scores = dict.fromkeys(candidates, 0.0)
    if len(candidates) == 1:
        return scores
    for load in reads:
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
    return scores


def preferred_axis(candidates: Sequence[Symbol], scores: Mapping[Symbol, float]) -> Symbol:
    """The axis to loop over first: the one with the largest strides, so that unit strides are innermost."""
    large = [a for a in candidates if a.extent > SMALL_EXTENT] or list(candidates)
    return max(large, key=lambda a: scores[a])


def _jumps(axis: Symbol, scores: Mapping[Symbol, float]) -> bool:
    """Whether a loop over ``axis`` around the others jumps through memory: one of them has much larger strides, or
    larger ones and is much longer.
    """
    spread = prod(a.extent for a in scores)
    return spread > CACHED_ELEMENTS and any(
        other is not axis and other.extent > SMALL_EXTENT and (
            scores[other] >= 16 * max(scores[axis], 1.0)
            or (scores[other] > scores[axis] and other.extent >= LONG_RATIO * axis.extent)) for other in scores)


def _symbols(expression: Expression, factor: int = 1) -> list[tuple[Symbol, int]]:
    if isinstance(expression, Symbol):
        return [(expression, factor)]
    if isinstance(expression, Apply):
        if expression.operation == "mul":
            constant = known(expression.operands[1])
            return _symbols(expression.operands[0], factor * abs(constant if constant is not None else 1))
        return [found for operand in expression.operands for found in _symbols(operand, factor)]
    return []
