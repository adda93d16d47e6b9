"""Program -> nodes: each equation as a scalar expression over index symbols.

Views disappear into the index maps of their readers; so do maps that read nothing (iota, masks). What is left is
what must be computed in some loop:

    b = sin a ; c = transpose b ; d = reduce_sum[axes=(0,)] c
    ->  b[i, j] = sin(a[i, j])          d[k] = sum over r of b[k, r]

The nodes of a body (of a loop, of a branch) are a block of their own. Within a block, a scatter or a loop takes over
the memory of the value that it updates if nothing reads that value afterwards; see `Lowering.settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

from gradxform.backend import loop_lowering
from gradxform.backend.joins import split_joins
from gradxform.backend.journal import NOTHING_READ, SILENT, Journal
from gradxform.backend.nodes import SMALL_ELEMENTS, NativeCall, Node, NodeGraph, Product, PythonCall, Side
from gradxform.backend.range_updates import Place, affine_places, point_of
from gradxform.backend.read_once import merge_read_once
from gradxform.backend.summed_first import sum_first
from gradxform.core import Builder
from gradxform.data_class import data_class
from gradxform.dtypes import bool_, is_float
from gradxform.errors import CompileError
from gradxform.ir import ArrayType, Atom, Equation, Literal, Program, Var
from gradxform.loopir.expression import (
    INDEX_CHECKS,
    ZERO,
    Apply,
    Constant,
    Expression,
    Index,
    Load,
    Symbol,
    axis,
    conjunction,
    guard,
    index_add,
    index_mul,
    known,
    loads,
    normal,
    parts,
    symbols,
)
from gradxform.loopir.lowering import (
    Branch,
    Call,
    Contraction,
    Cumulative,
    Expands,
    Map,
    Native,
    Reduction,
    Repeat,
    Scatter,
    View,
    While,
)

#: From this many multiply-adds, and such sides, a contraction of floats is a product of its own, in blocks that fit the caches.
PRODUCT_THRESHOLD = 16 * 16 * 16
LEAST_SIDE = 4

#: A product of a long matrix with a narrow one, which stays in the nearest cache, is done by loops that it shares with others.
NARROW = 16
NARROW_SIZE = 4096
LONG = 512
#: So is a sum of so many products for each of so many elements, which stay in the second cache: one pass over both operands,
#: in blocks of the sum, packing neither.
LONG_SUM = 4096
SUMS = 16384


@data_class(frozen=True, slots=True, eq=False)
class Reader:
    """An operand as lowering rules see it; ``atom`` is what the program calls it."""

    type: ArrayType
    read: Callable[[Index], Expression]
    atom: Atom

    def __call__(self, index: Index) -> Expression:
        return self.read(index)


class Lowering:
    def __init__(self, program: Program, journal: Journal) -> None:
        self.program = program
        self.journal = journal
        self.nodes: list[Node] = []
        self.outermost = self.nodes
        self.readers: dict[Var, Callable[[Index], Expression]] = {}
        self.stored: dict[Var, Node] = {}
        # Values that lie in memory as a whole, with no node: inputs, and what enclosing loops carry.
        self.held: set[Var] = set(program.inputs)
        # The block in which a value is computed or carried; only there may its memory be taken over.
        self.block = 0
        self.blocks = 0
        self.block_of: dict[Var, int] = {}
        # The last node of the block that has an effect.
        self.last_effect: Node | None = None
        # What the next node must wait for, since it reads through a barrier, and the block of that barrier.
        self.awaited: dict[Var, int] = {}
        # The result of the equation whose rule is being followed, for the journal.
        self.owner: Var | None = None
        self.counter = 0

    def reader(self, atom: Atom) -> Reader:
        if isinstance(atom, Literal):
            value = Constant(atom.value, atom.type.dtype)
            return Reader(atom.type, lambda index: value, atom)
        found = self.readers.get(atom)
        if found is None:
            var = atom
            found = self.readers[var] = lambda index: Load(var, index, var.type.dtype)
        return Reader(atom.type, found, atom)

    def axes_for(self, shape: Sequence[int]) -> tuple[Expression, ...]:
        result: list[Expression] = []
        for extent in shape:
            if extent == 1:
                result.append(ZERO)
            else:
                result.append(axis(f"n{self.number()}", extent))
        return tuple(result)

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        if self.awaited:
            node.after += self.awaited
            node.apart = True
        # A node of a loop's body waits for nothing outside: the node of the loop does, which is added after it.
        self.awaited = {var: block for var, block in self.awaited.items() if block != self.block}
        if node.effect:
            if self.last_effect is not None:
                node.after.append(self.last_effect.var)
            self.last_effect = node
        if self.owner is not None:
            self.journal.part_of(node.results, self.owner)
        self.stored.update(dict.fromkeys(node.results, node))
        self.block_of.update(dict.fromkeys(node.results, self.block))

    def number(self) -> int:
        self.counter += 1
        return self.counter

    def lower(self, equation: Equation) -> None:
        operation = equation.operation
        operands = [self.reader(x) for x in equation.inputs]
        params = dict(equation.params)
        if not operation.multiple:
            (var,) = equation.outputs
            lowered = operation.lower(operands, var.type, **params)
            if isinstance(lowered, Native):
                self.place_call(lowered, operands, equation.outputs)
            else:
                self.place_own(var, lowered, operands, equation)
            return
        lowered = operation.lower(operands, tuple([var.type for var in equation.outputs]), **params)
        if isinstance(lowered, Repeat):
            loop_lowering.place_repeat(self, lowered, operands, equation.outputs)
        elif isinstance(lowered, While):
            loop_lowering.place_while(self, lowered, operands, equation.outputs)
        elif isinstance(lowered, Branch):
            loop_lowering.place_branch(self, lowered, operands, equation.outputs)
        elif isinstance(lowered, (Call, Native)):
            self.place_call(lowered, operands, equation.outputs)
        else:
            for var, one in zip(equation.outputs, lowered, strict=True):
                self.place_own(var, one, operands, equation)
            if operation.name == "barrier":
                self.place_barrier(equation.outputs)

    def place_barrier(self, results: Sequence[Var]) -> None:
        """Let whatever reads one of ``results``, which are views, wait for the values behind all of them."""
        readers = [self.readers[var] for var in results]
        buffers = [load.buffer for var, read in zip(results, readers, strict=True)
                   for load in loads(read(self.axes_for(var.type.shape)))]
        awaited = dict.fromkeys([buffer for buffer in buffers if buffer in self.stored], self.block)
        if not awaited:
            return

        def waiting(read: Callable[[Index], Expression]) -> Callable[[Index], Expression]:
            def through(index: Index) -> Expression:
                self.awaited.update(awaited)
                return read(index)

            return through

        self.readers.update(zip(results, map(waiting, readers), strict=True))

    def place_own(self, var: Var, lowered: Any, operands: Sequence[Reader], equation: Equation) -> None:
        """As `place`; what has to be computed on the way belongs to ``var``."""
        outer, self.owner = self.owner, var
        self.place(var, lowered, operands, equation)
        self.owner = outer

    def place(self, var: Var, lowered: Any, operands: Sequence[Reader], equation: Equation) -> None:
        shape = var.type.shape
        if isinstance(lowered, View):
            self.readers[var] = lowered.read
            self.journal.where(var, "view", operands[0].atom if operands else None, "its elements under other indices")
        elif isinstance(lowered, Map):
            axes = self.axes_for(shape)
            expression = lowered.read(axes)
            if not loads(expression) and not _has_check(expression):
                self.readers[var] = lambda index: normal(lowered.read(index))
                self.journal.where(var, "computed anew", None, NOTHING_READ)
            elif isinstance(expression, Load) and not any(loads(part) or _has_check(part) for part in expression.index):
                self.readers[var] = lowered.read  # a gather at positions that are computed from the index: a view
                self.journal.where(var, "view", operands[0].atom, "its elements at places made of the index")
            else:
                self.add(Node(var, "map", axes, expression))
        elif isinstance(lowered, Reduction):
            axes, reduced = self.axes_for(shape), self.axes_for(lowered.extents)
            symbols = tuple(a for a in reduced if isinstance(a, Symbol))
            kind = "reduction" if symbols else "map"
            self.add(Node(var, kind, axes, lowered.read(axes, reduced), symbols, lowered.operation))
        elif isinstance(lowered, Cumulative):
            axes = self.axes_for(shape)
            scan = axes[lowered.axis]
            kind = "cumulative" if isinstance(scan, Symbol) else "map"
            self.add(Node(var, kind, axes, lowered.read(axes), (), lowered.operation,
                          scan if isinstance(scan, Symbol) else None))
        elif isinstance(lowered, Scatter):
            self.place_scatter(var, lowered, operands[0].atom)
        elif isinstance(lowered, Contraction):
            self.place_contraction(var, lowered, operands)
        elif isinstance(lowered, Expands):
            self.expand(var, lowered, operands)
        else:
            raise CompileError(f"{equation.operation.name}: its lowering rule gave {lowered!r}")

    def place_scatter(self, var: Var, lowered: Scatter, base: Atom) -> None:
        point = self.axes_for(lowered.extents)
        target = tuple(lowered.target(point))
        in_place = isinstance(base, Var) and self.may_take_over(base)
        places = affine_places(target, point)
        # An update of most of an array passes over it anyway, and so does one that would have to copy it first.
        if places is not None and (not in_place or 2 * prod(lowered.extents) >= var.type.size):
            self.place_range_update(var, lowered, places)
            self.journal.remark(var, "memory", "a range of {:,} of {:,} elements, updated in one pass over all of them",
                                prod(lowered.extents), var.type.size)
            return
        if not (in_place and isinstance(base, Var)):
            base = self.copied(Reader(var.type, lowered.base, base), "copied, since it is updated")
        symbols = tuple(a for a in point if isinstance(a, Symbol))
        self.add(Node(var, "scatter", self.axes_for(var.type.shape), lowered.update(point), symbols, lowered.operation,
                      target=target, bases=[(var, base)]))

    def place_range_update(self, var: Var, lowered: Scatter, places: Sequence[Place]) -> None:
        """A scatter to a range: each element is updated or not."""
        axes = self.axes_for(var.type.shape)
        old = lowered.base(axes)
        if 0 in lowered.extents:
            self.add(Node(var, "map", axes, old))
            return
        conditions, point = point_of(axes, places, lowered.extents)
        new = lowered.update(point)
        if lowered.operation != "set":
            new = Apply(lowered.operation, (old, new), var.type.dtype)
        self.add(Node(var, "map", axes, guard(conjunction(conditions), new, old)))

    def may_take_over(self, var: Var) -> bool:
        """Whether ``var`` is a value of the block being lowered, with memory of its own; see `settle`."""
        return self.block_of.get(var) == self.block

    def hold(self, var: Var) -> None:
        """Make ``var`` a value that lies in memory throughout the block being lowered."""
        self.held.add(var)
        self.block_of[var] = self.block

    @contextmanager
    def inner_block(self) -> Iterator[list[Node]]:
        """A block within this one; its nodes are complete after the ``with``."""
        outer, outer_block, outer_effect = self.nodes, self.block, self.last_effect
        self.blocks += 1
        self.nodes, self.block, self.last_effect = [], self.blocks, None
        try:
            yield self.nodes
        finally:
            self.nodes, self.block, self.last_effect = outer, outer_block, outer_effect

    @contextmanager
    def outermost_block(self) -> Iterator[None]:
        """Within this context nodes are added in front of all loops that are being lowered."""
        here = self.nodes, self.block
        self.nodes, self.block = self.outermost, 0
        try:
            yield
        finally:
            self.nodes, self.block = here

    def settle(self, needed: Iterable[Var], homes: Mapping[Var, Var] | None = None) -> None:
        """Decide for the block which nodes take over memory; the others get a copy of the value that they update.

        ``needed`` are the values that are read when the block ends. A node may take over the memory of a value that
        nothing reads after it, and that the node itself reads, if at all, before it writes. What is needed in the end
        must not lie in memory that a loop carries, except for the carry whose next value it is (``homes``): carries
        are handed on one after the other.
        """
        homes = homes or {}
        needed = list(needed)
        self.read_early(needed)
        roots: dict[Var, Var] = {}
        last: dict[Var, int] = dict.fromkeys(needed, len(self.nodes))
        readers: dict[Var, list[int]] = {}
        for position, node in enumerate(self.nodes):
            for var in node.inputs:
                readers.setdefault(var, []).append(position)
        for var, positions in readers.items():
            last[var] = max(last.get(var, -1), positions[-1])
        settled: list[Node] = []
        copies: dict[Var, list[Var]] = {}
        for position, node in enumerate(self.nodes):
            claimed = [base for _, base in node.bases]
            for number, (result, base) in enumerate(node.bases):
                clobbers = any(load.buffer is base for load in node.reads) and not node.reads_first
                root = roots[result] = roots.get(base, base)
                strays = result in needed and root in self.held and homes.get(result) is not root
                if last[base] > position or clobbers or strays or claimed.count(base) > 1:
                    roots[result] = result
                    self.journal.remark(result, "memory", "updates a copy, since {}",
                                        "what it starts from is read later" if last[base] > position else
                                        "it reads elsewhere what it would overwrite" if clobbers else
                                        "what it starts from is carried by the loop" if strays else
                                        "another result takes over the same memory")
                    copy = Var(base.type)
                    self.journal.stands_for(copy, base)
                    self.journal.remark(copy, "memory", "copied, since it is updated")
                    axes = self.axes_for(base.type.shape)
                    settled.append(Node(copy, "map", axes, Load(base, axes, base.type.dtype)))
                    self.stored[copy] = settled[-1]
                    copies.setdefault(base, []).append(copy)
                    node.replace_base(number, result, copy)
                else:
                    before = [p for p in readers[base] if p < position]
                    node.after += [*(var for p in before for var in self.nodes[p].results), *copies.get(base, ())]
                    self.journal.remark(result, "memory", "in the memory of what it starts from, which nothing reads later")
            settled.append(node)
        self.nodes[:] = settled
        for value, carry in homes.items():
            if carry.type.size > SMALL_ELEMENTS and carry not in needed and not self.stored[value].bases:
                self.write_home(value, carry)

    def write_home(self, value: Var, carry: Var) -> None:
        """Let the next value of a carry be computed in the carry's own memory, if it and all others read that at the
        same index only, or before.
        """
        node = self.stored[value]
        own = [load for load in node.reads if load.buffer is carry]
        others = [n for n in self.nodes if n is not node and carry in n.inputs]
        aligned = node.kind == "map" and all(
            part is a for load in own for part, a in zip(load.index, node.axes, strict=True))
        if not (aligned or (node.kind == "product" and not own)):
            return
        if not any(base is carry for n in others for _, base in n.bases) and self.read_before(node, {carry}):
            node.bases.append((value, carry))
            self.journal.remark(value, "memory", "computed in memory of what the loop carries")
            node.after += [var for n in others for var in n.results]

    def read_early(self, needed: Iterable[Var]) -> None:
        """Bring the block into an order in which values are read before they are updated, where that can be.

            s = scatter x ... ; u = x[i]   ->   u = x[i] ; s = scatter x ...
        """
        needed = set(needed)
        readers: dict[Var, list[Node]] = {}
        for node in self.nodes:
            for var in node.inputs:
                readers.setdefault(var, []).append(node)
        for node in [node for node in self.nodes if node.bases]:
            bases = {base for _, base in node.bases}
            # In a chain of updates each value is read by the next one only: there is nothing to move.
            if not bases & needed and any(reader is not node for base in bases for reader in readers.get(base, ())):
                self.read_before(node, bases)

    def read_before(self, node: Node, memory: set[Var]) -> bool:
        """Move what reads ``memory`` before ``node``; False if that depends on it."""
        position = self.nodes.index(node)
        after = self.nodes[position + 1:]
        late = {n for n in after if any(var in memory for var in n.inputs)}
        if not late:
            return True
        dependent = set(node.results)
        for other in after:
            if any(var in dependent for var in (*other.inputs, *other.after)):
                dependent.update(other.results)
        if any(var in dependent for other in late for var in other.results):
            return False
        moved: list[Node] = []
        wanted: set[Var] = set()
        for other in reversed(after):
            if other in late or any(var in wanted for var in other.results):
                wanted.update(other.inputs, other.after)
                moved.append(other)
        moved.reverse()
        self.nodes[position:] = [*moved, *(n for n in self.nodes[position:] if n not in moved)]
        return True

    def copied(self, operand: Reader, reason: str) -> Var:
        """A new stored variable with the values of ``operand``."""
        copy = Var(operand.type.strong())
        axes = self.axes_for(copy.type.shape)
        self.add(Node(copy, "map", axes, operand(axes)))
        self.journal.stands_for(copy, operand.atom)
        self.journal.remark(copy, "memory", reason)
        return copy

    def place_call(self, lowered: Call | Native, operands: Sequence[Reader], results: Sequence[Var]) -> None:
        """A call into Python, or of native code: its operands of rank 1 or more lie in memory as wholes."""
        given: list[Var | Expression] = []
        for operand in operands:
            if not operand.type.shape:
                given.append(operand(()))
                continue
            value = operand(axes := self.axes_for(operand.type.shape))
            whole = isinstance(value, Load) and (value.buffer in self.stored or value.buffer in self.held) and (
                value.buffer.type.shape == operand.type.shape
                and all(part is a for part, a in zip(value.index, axes, strict=True)))
            given.append(value.buffer if whole else self.copied(operand, "copied, since it is handed over as a whole"))  # type: ignore[union-attr]
        reads: list[Load] = []
        for x in given:
            reads += [Load(x, (ZERO,) * x.type.rank, x.type.dtype)] if isinstance(x, Var) else loads(x)
        var = results[0] if results else Var(ArrayType(bool_, ()))
        call: PythonCall | NativeCall
        if isinstance(lowered, Native):
            call, effect = NativeCall(lowered.routine, lowered.batch, given, tuple(results)), lowered.effect
        else:
            call, effect = PythonCall(lowered.callback, given, tuple(results)), lowered.effect
        node = Node(var, "call", (), ZERO, call=call, results=tuple(results), effect=effect)
        node.reads = reads
        self.add(node)

    def expand(self, var: Var, lowered: Expands, operands: Sequence[Reader]) -> None:
        builder = Builder("lowering")
        with builder:
            tracers = [builder.add_input(operand.type) for operand in operands]
            program, captures = builder.finish([lowered.build(*tracers)])
        if captures:
            raise CompileError("an expansion captured an array")
        for inner, operand in zip(program.inputs, operands, strict=True):
            self.readers[inner] = operand.read
            self.journal.operand(inner, operand.atom)
        for equation in program.equations:
            self.journal.part_of(equation.outputs, var)
            self.lower(equation)
        (result,) = program.outputs
        self.readers[var] = self.reader(result).read
        if isinstance(result, Var) and result not in program.inputs:
            self.journal.stands_for(result, var)
        else:
            self.journal.where(var, "view", result, "what it expands to")

    def place_contraction(self, var: Var, c: Contraction, operands: Sequence[Reader]) -> None:
        left, right = operands
        ls, rs = left.type.shape, right.type.shape
        left_free = [a for a in range(len(ls)) if a not in c.lhs_contracting and a not in c.lhs_batch]
        right_free = [a for a in range(len(rs)) if a not in c.rhs_contracting and a not in c.rhs_batch]
        batch = prod(ls[a] for a in c.lhs_batch)
        rows, columns = prod(ls[a] for a in left_free), prod(rs[a] for a in right_free)
        inner = prod(ls[a] for a in c.lhs_contracting)
        small = rows * columns * inner < PRODUCT_THRESHOLD or min(rows, columns, inner) < LEAST_SIDE
        least, middle, most = sorted((rows, columns, inner))
        alone = not small and batch == 1 and all(map(self.is_plain, operands))
        narrow = (alone and least <= NARROW and most >= LONG and least * middle <= NARROW_SIZE
                  and left.type.rank == right.type.rank == 2)
        in_blocks = (alone and not narrow and is_float(var.type.dtype) and inner == most >= LONG_SUM and least * middle <= SUMS
                     and not any(map(self.lies_along, operands, (c.lhs_contracting, c.rhs_contracting))))
        panels = not small and not narrow and not in_blocks and is_float(var.type.dtype)
        self.journal.how(
            [var], "product" if panels else "loops", "{}{}x{}x{}: {:,} multiply-adds{}", f"{batch} of " if batch > 1 else "",
            rows, inner, columns, rows * inner * columns,
            f", a side is shorter than {LEAST_SIDE}" if least < LEAST_SIDE else
            f", fewer than {PRODUCT_THRESHOLD:,}" if small else
            " in one pass over its long side" if narrow or in_blocks else
            f", at least {PRODUCT_THRESHOLD:,}" if panels else " of integers")
        if panels:
            left_side = self.side(left, c.lhs_batch, left_free, c.lhs_contracting)
            right_side = self.side(right, c.rhs_batch, list(c.rhs_contracting), right_free, vectors=True)
            product = Product(left_side, right_side, batch, rows, inner, columns)
            reads = [Load(s.var, (ZERO,) * s.var.type.rank, s.var.type.dtype) for s in (left_side, right_side)]
            node = Node(var, "product", self.axes_for(var.type.shape), ZERO, product=product)
            node.reads = reads
            self.add(node)
            return
        axes = self.axes_for(var.type.shape)
        reduced = self.axes_for([ls[a] for a in c.lhs_contracting])
        left_index: list[Expression] = [ZERO] * len(ls)
        right_index: list[Expression] = [ZERO] * len(rs)
        for position, (a, b) in enumerate(zip(c.lhs_batch, c.rhs_batch, strict=True)):
            left_index[a] = right_index[b] = axes[position]
        for position, a in enumerate(left_free):
            left_index[a] = axes[len(c.lhs_batch) + position]
        for position, b in enumerate(right_free):
            right_index[b] = axes[len(c.lhs_batch) + len(left_free) + position]
        for position, (a, b) in enumerate(zip(c.lhs_contracting, c.rhs_contracting, strict=True)):
            left_index[a] = right_index[b] = reduced[position]
        dtype = var.type.dtype
        expression = Apply("mul", (left(tuple(left_index)), right(tuple(right_index))), dtype)
        symbols = tuple(a for a in reduced if isinstance(a, Symbol))
        self.add(Node(var, "reduction" if symbols else "map", axes, expression, symbols, "add", in_blocks=in_blocks))

    def is_plain(self, operand: Reader) -> bool:
        """Whether it is read as it lies in memory: anything else is better packed once than read for each column."""
        axes = self.axes_for(operand.type.shape)
        value = operand(axes)
        return isinstance(value, Load) and _affine(value, axes) is not None

    def lies_along(self, operand: Reader, summed: Sequence[int]) -> bool:
        """Whether what is read for a plain operand has neighbours along the ``summed`` axes: lanes cannot lie along others."""
        axes = self.axes_for(operand.type.shape)
        value = operand(axes)
        node = self.stored.get(value.buffer) if isinstance(value, Load) else None
        if isinstance(value, Load) and node is not None and node.kind == "map":
            own = dict(zip(value.index, node.axes, strict=True))
            value, axes = node.expression, tuple([own.get(a, a) for a in axes])
        along = [axes[a] for a in summed]
        return any(len({symbol for part in load.index for symbol in symbols(part)}) > 1
                   and any(symbol in along for symbol in symbols(load.index[-1])) for load in loads(value))

    def side(self, operand: Reader, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int], vectors: bool = False,
             ) -> Side:
        """Strides of the operand's three axis groups within a stored value; a contiguous copy where there are none.

        ``vectors``: of the rows and columns one must have stride 1, since elements are read as vectors.
        """
        shape = operand.type.shape
        axes = self.axes_for(shape)
        value = operand(axes)
        if isinstance(value, Load) and (value.buffer in self.stored or value.buffer in self.held):
            strides = _affine(value, axes)
            if strides is not None:
                offset, per_axis = strides
                groups = [_collapse(group, shape, per_axis) for group in (batch, rows, columns)]
                b, r, k = (group or 0 for group in groups)
                # A stride is 0 where the extent is 1.
                if None not in groups and (not vectors or r in (0, 1) or k in (0, 1)):
                    outside = self.block and self.block_of.get(value.buffer, 0) == 0 and known(offset) is not None
                    if not (vectors and outside and k not in (0, 1)):
                        return Side(value.buffer, offset, b, r, k)
                    # A matrix that a loop reads transposed in each iteration is transposed once, in front of it.
                    with self.outermost_block():
                        return self.packed(operand, batch, rows, columns, upright=False)
        return self.packed(operand, batch, rows, columns, upright=nearest_axis(value, axes) in rows)

    def packed(self, operand: Reader, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int], upright: bool) -> Side:
        """A contiguous copy of an operand of a product, its columns innermost, or its rows if it is to be ``upright``."""
        shape = operand.type.shape
        order = [*batch, *columns, *rows] if upright else [*batch, *rows, *columns]
        copy = Var(ArrayType(operand.type.dtype, tuple(shape[a] for a in order)))
        axes = self.axes_for(copy.type.shape)
        source: list[Expression] = [ZERO] * len(shape)
        for position, a in enumerate(order):
            source[a] = axes[position]
        self.add(Node(copy, "map", axes, operand(tuple(source))))
        self.journal.stands_for(copy, operand.atom)
        self.journal.remark(copy, "memory", "packed for a product")
        inner, outer = prod(shape[a] for a in columns), prod(shape[a] for a in rows)
        return Side(copy, ZERO, inner * outer, 1, outer) if upright else Side(copy, ZERO, inner * outer, inner, 1)


def nearest_axis(expression: Expression, axes: Sequence[Expression]) -> int:
    """Which of ``axes`` has neighbours next to each other in most of what ``expression`` reads; -1 for none."""
    votes: dict[int, int] = {}
    for load in loads(expression):
        last = load.index[-1] if load.index else ZERO
        for position, a in enumerate(axes):
            if isinstance(a, Symbol) and a in symbols(last):
                votes[position] = votes.get(position, 0) + 1
    return max(votes, key=lambda position: votes[position], default=-1)


def _affine(load: Load, axes: Sequence[Expression]) -> tuple[Expression, dict[int, int]] | None:
    """The load's address as offset + sum of stride * axis, or None; the offset may depend on enclosing loops."""
    strides, step = [], 1
    for extent in reversed(load.buffer.type.shape):
        strides.append(step)
        step *= extent
    strides.reverse()
    position_of = {a: position for position, a in enumerate(axes) if isinstance(a, Symbol)}
    offset: Expression = ZERO
    per_axis = dict.fromkeys(range(len(axes)), 0)

    def add(expression: Expression, factor: int) -> bool:
        nonlocal offset
        if isinstance(expression, Symbol) and expression in position_of:
            per_axis[position_of[expression]] += factor
            return True
        if not any(symbol in position_of for symbol in symbols(expression)) and not _has_check(expression):
            offset = index_add(offset, index_mul(expression, factor))
            return True
        if isinstance(expression, Apply) and expression.operation == "add":
            return all(add(operand, factor) for operand in expression.operands)
        if isinstance(expression, Apply) and expression.operation == "mul":
            inner = known(expression.operands[1])
            return inner is not None and add(expression.operands[0], factor * inner)
        return False

    if not all(add(part, stride) for part, stride in zip(load.index, strides, strict=True)):
        return None
    return offset, per_axis


def _collapse(group: Sequence[int], shape: Sequence[int], strides: dict[int, int]) -> int | None:
    """One stride for a group of axes taken together; 0 for an empty group (or extents of 1), None if there is none."""
    stride, span = 0, 0
    for a in reversed(group):
        if shape[a] == 1:
            continue
        if strides[a] <= 0 or (span and strides[a] != span):
            return None
        stride = stride or strides[a]
        span = strides[a] * shape[a]
    return stride


def _has_check(expression: Expression) -> bool:
    return any(isinstance(part, Apply) and part.operation in INDEX_CHECKS for part in parts(expression))


def lower_program(program: Program, journal: Journal = SILENT) -> NodeGraph:
    """The nodes of ``program``; every output is a stored variable of its own."""
    lowering = Lowering(program, journal)
    for equation in program.equations:
        lowering.lower(equation)
    outputs: list[Var] = []
    for atom in program.outputs:
        if isinstance(atom, Var) and atom in lowering.stored and atom not in outputs:
            outputs.append(atom)
        else:
            outputs.append(lowering.copied(lowering.reader(atom), "copied"))
    lowering.settle(outputs)
    regions = split_joins(lowering.nodes, outputs)
    merge_read_once(lowering.nodes, [*outputs, *regions], journal)
    sum_first(lowering.nodes, [*outputs, *regions], journal)
    return NodeGraph(program.inputs, lowering.nodes, outputs, regions)
