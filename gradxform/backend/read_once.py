"""Values that are read once, elsewhere than where they would be computed, go into the expressions that read them.

    a[i] = x[i] * 2 ; p[j] = guard(j >= 1, a[j - 1], 0.0) ; q[j] = guard(j < n, b[j], 0.0) ; s[j] = p[j] + q[j]
    ->  s[j] = guard(j >= 1, x[j - 1] * 2, 0.0) + guard(j < n, b[j], 0.0)

What is read at another index than that of its own loop would have to be stored; read once, it is not computed more often
within its reader. Guards (pads, concatenations, updates of ranges) follow to where their sum is needed, so that a sum of
shifted pieces is one loop over its result, whatever the order in which the pieces become known. What is an element of one
array but for a factor or a summand is never stored to be read at another index: reading the array itself costs as much.
What is looked up is read elsewhere if all of it is, as through a reshape: each index is to be checked, whatever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import prod

from gradxform.backend.instructions import ELEMENTARY_OPERATIONS
from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.nodes import Node
from gradxform.backend.recompute import fixed_memory
from gradxform.data_class import data_class
from gradxform.dtypes import bool_, int64
from gradxform.ir import Var
from gradxform.loopir.expression import INDEX_CHECKS, Apply, Expression, Index, Load, Symbol, parts, substitute, symbols

#: What fuses with the operations around it, or nearly so.
_CHEAP = ("add", "sub", "mul", "neg")
#: An expression of more parts takes in nothing more.
MAX_PARTS = 400
#: What is read is looked at through so many values, one behind the other.
DEEPEST = 32


def merge_read_once(nodes: list[Node], outputs: Iterable[Var], journal: Journal = SILENT) -> None:
    """Put such values of the block, and of the blocks within it, where they are read."""
    merging = _Merging(nodes, outputs, journal)
    merging.decide(nodes)
    merging.carry_out(nodes)


@data_class(frozen=True, slots=True, eq=False)
class _Use:
    """``load`` in the expression of ``within``, which is, or has gone into, ``reader``, perhaps to another index."""

    reader: Node
    load: Load
    within: Node
    displaced: bool = False


class _Merging:
    """First decides what goes where, on the expressions as they were, then writes each new expression once."""

    def __init__(self, nodes: Sequence[Node], outputs: Iterable[Var], journal: Journal) -> None:
        self.journal = journal
        self.fixed = fixed_memory(nodes, outputs)
        self.uses: dict[Var, dict[int, _Use]] = {}
        self.node_of: dict[Var, Node] = {}
        self.block_of: dict[Node, int] = {}
        self.size: dict[Node, int] = {}
        self.guarded: set[Node] = set()
        # Nodes that compare numbers: what they compare with may be the same number, computed in one place only.
        self.comparing: set[Node] = set()
        self.movable: dict[Node, bool] = {}
        # Nodes that look something up, or into which such have gone.
        self.looking_up: set[Node] = set()
        # Where a merged node has gone, and whether to another index.
        self.reader_of: dict[Node, tuple[Node, bool]] = {}
        self.gone: set[Node] = set()
        # Nodes into which something has gone; they may be computed once only.
        self.grown: set[Node] = set()
        self.note(nodes)

    def note(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self.block_of[node] = id(nodes)
            self.node_of.update(dict.fromkeys(node.results, node))
            inside = list(islice(parts(node.expression), MAX_PARTS + 1))
            self.size[node] = len(inside)
            if any(isinstance(part, Apply) and part.operation == "guard" for part in inside):
                self.guarded.add(node)
            if any(isinstance(part, Apply) and part.dtype == bool_ and part.operands[0].dtype.kind == "f" for part in inside):
                self.comparing.add(node)
            if any(_is_dynamic(load) for load in node.reads):
                self.looking_up.add(node)
            for load in node.reads:
                self.uses.setdefault(load.buffer, {})[id(load)] = _Use(node, load, node)
            for block in node.blocks:
                self.note(block)

    # ------------------------------------------------------------------------------------------------- decisions

    def decide(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            for block in node.blocks:
                self.decide(block)
        left = [node for node in nodes if self.is_movable(node) or self.is_lookup(node)]
        while left:
            merged = {node for node in left if self.merge(node) or self.merge_scaled(node)}
            if not merged:
                break
            left = [node for node in left if node not in merged]

    def merge(self, node: Node) -> bool:
        """Put ``node`` into its only reader, if there it is better."""
        if len(self.uses.get(node.var, ())) != 1:
            return False
        (use,) = self.uses[node.var].values()
        root, displaced = self.root(use)
        if not self.suits(node, use, root):
            return False
        if node in self.looking_up and not self.looks_up_all(node, use, root):
            return False
        shifted = displaced or _changes_extent(node, use.load)
        if not (shifted or node in self.guarded):
            return False
        # What it reads must lie in memory instead of it, and does so anyway if there is no loop that computes both.
        if shifted and self.leaves(node) and not self.is_apart(node):
            return False
        self.size[root] += self.size[node]
        self.grown.add(root)
        if node in self.guarded:
            self.guarded.add(root)
        if node in self.looking_up:
            self.looking_up |= {use.reader, root}
        self.reader_of[node] = (use.reader, use.displaced or not _is_identity(use.load) or _changes_extent(node, use.load))
        self.gone.add(node)
        self.journal.where(node.var, "register", None, "read once{}: computed within what reads it",
                           ", at another index" if shifted else "")
        return True

    def merge_scaled(self, node: Node) -> bool:
        """Put ``node``, if it is little more than an element of one array, into all its readers: they read that instead."""
        uses = list(self.uses.get(node.var, {}).values())
        if not uses or node in self.grown or node in self.looking_up or not _is_scaled(node):
            return False
        roots = [self.root(use) for use in uses]
        if not any(displaced for _, displaced in roots) or any(use.within in self.comparing for use in uses):
            return False
        if not all(self.suits(node, use, root) for use, (root, _) in zip(uses, roots, strict=True)):
            return False
        for load in node.reads:
            found = self.uses[load.buffer]
            for use in [found.pop(id(load))] if id(load) in found else []:
                for other in uses:
                    displaced = use.displaced or other.displaced or not _is_identity(other.load)
                    copy = _Use(other.reader, load, node, displaced)
                    found[id(copy)] = copy
        for root, _ in roots:
            self.size[root] += self.size[node]
            self.grown.add(root)
        self.gone.add(node)
        self.journal.where(node.var, "computed anew", None, "little more than an element of an array: {} read that instead",
                           len(uses))
        return True

    def suits(self, node: Node, use: _Use, root: Node) -> bool:
        kinds = ("map", "reduction", "cumulative")
        return (self.block_of[use.within] == self.block_of[node] and use.within.kind in kinds and root.kind in kinds
                and not root.in_blocks and not _is_dynamic(use.load) and _is_injective(use.load, use.within)
                and self.size[root] + self.size[node] <= MAX_PARTS)

    def looks_up_all(self, node: Node, use: _Use, root: Node) -> bool:
        """Whether what ``node`` looks up is looked up, and checked, there too, and loops over it are none for vectors."""
        between = {node, use.reader, use.within, root}
        return (between.isdisjoint(self.guarded) and prod(a.extent for a in root.loop_axes) == prod(node.var.type.shape)
                and not any(isinstance(part, Apply) and part.operation in ELEMENTARY_OPERATIONS
                            for one in between for part in islice(parts(one.expression), MAX_PARTS)))

    def root(self, use: _Use) -> tuple[Node, bool]:
        """The node in whose expression ``use`` is by now, and whether that reads at another index than its own."""
        reader, displaced = use.reader, use.displaced or not _is_identity(use.load)
        passed: list[Node] = []
        while reader in self.reader_of:
            passed.append(reader)
            reader, moved = self.reader_of[reader]
            displaced = displaced or moved
        shift = False
        for node in reversed(passed):
            shift = shift or self.reader_of[node][1]
            self.reader_of[node] = (reader, shift)
        return reader, displaced

    def is_movable(self, node: Node) -> bool:
        found = self.movable.get(node)
        if found is None:
            found = self.movable[node] = self.is_map_to_move(node) and not any(_is_dynamic(load) for load in node.reads)
        return found

    def is_map_to_move(self, node: Node) -> bool:
        return (node.kind == "map" and not node.after and not node.apart and not node.bases and not node.effect
                and node.var not in self.fixed.stored
                and not any(load.buffer in self.fixed.overwritten for load in node.reads))

    def is_lookup(self, node: Node) -> bool:
        return node in self.looking_up and self.is_map_to_move(node)

    def is_single(self, node: Node) -> bool:
        return len(self.uses.get(node.var, ())) == 1 and (self.is_movable(node) or self.is_lookup(node))

    def reads(self, node: Node) -> Iterator[tuple[Load, bool]]:
        """What ``node`` reads by now, and whether at another index than its own."""
        stack = [(load, False) for load in node.reads]
        while stack:
            load, displaced = stack.pop()
            displaced = displaced or not _is_identity(load)
            inner = self.node_of.get(load.buffer)
            if inner in self.gone:
                stack += [(part, displaced or _changes_extent(inner, load)) for part in inner.reads]
            else:
                yield load, displaced

    def leaves(self, node: Node, depth: int = 0) -> set[Node]:
        """What must be stored, besides what is stored anyway, for ``node`` to be computed elsewhere."""
        found: set[Node] = set()
        for load, _ in self.reads(node):
            leaf = self.node_of.get(load.buffer)
            if leaf is None or leaf in found or self.lies_in_memory(leaf):
                continue
            through = depth < DEEPEST and self.is_single(leaf) and self.block_of[leaf] == self.block_of[node]
            found |= self.leaves(leaf, depth + 1) if through else {leaf}
        return found

    def is_apart(self, node: Node, depth: int = 0) -> bool:
        """Whether ``node`` can be computed only after loops that compute what it reads."""
        for load, displaced in self.reads(node):
            found = self.node_of.get(load.buffer)
            if found is None or self.block_of[found] != self.block_of[node]:
                continue
            if found.kind != "map" or displaced:
                return True
            if depth < DEEPEST and self.is_single(found) and self.is_apart(found, depth + 1):
                return True
        return False

    def lies_in_memory(self, node: Node) -> bool:
        if node.kind != "map" or node.var in self.fixed.stored:
            return True
        for use in self.uses.get(node.var, {}).values():
            root, displaced = self.root(use)
            if displaced or self.block_of[root] != self.block_of[node]:
                return True
        return False

    # ------------------------------------------------------------------------------------------------ expressions

    def carry_out(self, nodes: list[Node]) -> None:
        nodes[:] = [node for node in nodes if node not in self.gone]
        for node in nodes:
            for block in node.blocks:
                self.carry_out(block)
            replaced = {id(load): self.expanded(self.node_of[load.buffer], load.index)
                        for load in node.reads if self.node_of.get(load.buffer) in self.gone}
            if replaced:
                node.rewrite(replaced)

    def expanded(self, node: Node, index: Index) -> Expression:
        """The element of ``node`` at ``index``, with what has gone into it."""
        place = {a: part for a, part in zip(node.axes, index, strict=True) if isinstance(a, Symbol)}

        def replace(part: Expression) -> Expression | None:
            if isinstance(part, Symbol):
                return place.get(part)
            if isinstance(part, Load):
                inner = self.node_of.get(part.buffer)
                if inner in self.gone:
                    return self.expanded(inner, tuple([substitute(i, replace) for i in part.index]))
            return None

        return substitute(node.expression, replace)


def _is_scaled(node: Node) -> bool:
    """Whether it is an element of one array times or plus what is the same for all elements, or the like."""
    inside = list(islice(parts(node.expression), 32))
    arrays = [part for part in inside if isinstance(part, Load) and any(symbols(i) for i in part.index)]
    operations = [part for part in inside if isinstance(part, Apply) and part.dtype != int64]
    return len(inside) < 32 and len(arrays) == 1 and len(operations) <= 2 and all(
        part.operation in _CHEAP and part.dtype.kind == "f" for part in operations)


def _is_dynamic(load: Load) -> bool:
    return any(isinstance(p, Load) or (isinstance(p, Apply) and p.operation in INDEX_CHECKS)
               for i in load.index for p in parts(i))


def _is_identity(load: Load) -> bool:
    """Whether ``load`` reads at the index of the reader's loops: it can share them."""
    return all(not isinstance(part, Apply) for part in load.index)


def _changes_extent(node: Node, load: Load) -> bool:
    """Whether ``load`` reads ``node`` in loops that are longer or shorter."""
    return any(isinstance(a, Symbol) and isinstance(b, Symbol) and a.extent != b.extent
               for a, b in zip(node.axes, load.index, strict=True))


def _is_injective(load: Load, reader: Node) -> bool:
    """Whether different iterations of the reader's loops read different elements."""
    found = [symbol for part in load.index for symbol in symbols(part)]
    return len(set(found)) == len(found) and set(found) == set(reader.loop_axes)
