"""Groups -> loops: storage, accumulators, chunks.

A value read in the straight-line code where it is computed is a scalar; one that is read in another group is stored
over the axes not fixed by loops that both share. Work worth it is cut into chunks, whose number depends on shapes
only, never on the number of threads: reductions over the chunked axis keep one partial result per chunk, combined
in order, so results repeat bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from gradxform.backend.gemm import workspace_bytes
from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.liveness import lay_out, touched
from gradxform.backend.nodes import Choice, Loop, NativeCall, Node, NodeGraph, Product, PythonCall, Side
from gradxform.backend.recompute import fixed_memory, prices
from gradxform.backend.schedule import Group, Partition
from gradxform.backend.widen import widen_sums
from gradxform.config import config
from gradxform.data_class import data_class
from gradxform.dtypes import DType, bool_, int64
from gradxform.ir import Var
from gradxform.loopir.expression import (
    ZERO,
    Apply,
    Constant,
    Expression,
    Index,
    Load,
    Symbol,
    axis,
    index_add,
    index_mul,
    integer,
    substitute,
)
from gradxform.loopir.loops import (
    WORKSPACE,
    Accumulate,
    Buffer,
    Call,
    For,
    Fork,
    If,
    Kernel,
    Let,
    Matrix,
    Multiply,
    Native,
    Nest,
    Region,
    Reserve,
    Statement,
    Store,
    While,
)
from gradxform.quantities import duration

#: Estimated nanoseconds of work that one chunk should hold; see also config.parallel_threshold.
CHUNK_WORK = 20_000.0
MAX_CHUNKS = 64
#: Within a loop that runs in order: the threads meet at the end of each of its iterations.
MAX_FORK_CHUNKS = 16
#: Up to so many partial results are added up element by element.
FEW_CHUNKS = 7
#: Estimated nanoseconds for an element of what each chunk has a copy of: filling it, and adding it up.
PRIVATE_ELEMENT = 0.5
#: Estimates are of one number at a time; vectors may be so many times faster, beside which copies must still cost little.
VECTOR_GAIN = 8
#: The workspaces of all chunks of a batch of routines may take so many bytes, or there are so few of them.
WORKSPACES_BYTES, FEW_WORKSPACES = 1 << 26, 8
#: Partial results of all chunks of one reduction may take this many bytes, and copies of what scatters update so many.
PARTIAL_BYTES = 1 << 22
COPIES_BYTES = 1 << 25

#: Loops estimated to take more nanoseconds can be interrupted.
LONG_WORK = 50_000_000.0

#: Accumulators of up to this many elements are local, so that they can be held in registers.
REGISTER_ELEMENTS = 32

_SCATTER = {"max": "maximum", "min": "minimum"}


@data_class(frozen=True, slots=True, eq=False)
class Storage:
    """Where a value lies: its axes at ``positions`` index ``buffer`` behind ``prefix``; the others are fixed by
    enclosing loops. A part of an array counts its indices from ``start``.
    """

    buffer: Buffer
    positions: tuple[int, ...]
    prefix: Index = ()
    start: tuple[int, ...] = ()

    def index(self, full: Sequence[Expression]) -> Index:
        own = [full[position] for position in self.positions]
        if self.start:
            own = [index_add(part, integer(first)) for part, first in zip(own, self.start, strict=True)]
        return (*self.prefix, *own)

    @property
    def offset(self) -> Expression:
        """How many elements lie before the value."""
        total: Expression = ZERO
        for part, stride in zip((*self.prefix, *map(integer, self.start)), self.buffer.strides, strict=False):
            total = index_add(total, index_mul(part, stride))
        return total


def identity(operation: str, dtype: DType) -> Constant:
    """The neutral element of a reduction."""
    if operation == "add":
        # -0.0 would be the exact identity of IEEE addition; NumPy's empty sum is 0.0.
        return Constant(dtype.type(0), dtype)
    if operation == "mul":
        return Constant(dtype.type(1), dtype)
    if operation in ("logical_or", "bitwise_or"):
        return Constant(dtype.type(0), dtype)
    if operation in ("logical_and",):
        return Constant(dtype.type(1), dtype)
    lowest = operation == "maximum"
    if dtype.kind == "f":
        return Constant(dtype.type(-np.inf if lowest else np.inf), dtype)
    if dtype.kind == "b":
        return Constant(dtype.type(not lowest), dtype)
    limits = np.iinfo(dtype)
    return Constant(dtype.type(limits.min if lowest else limits.max), dtype)


def neutral(operation: str, dtype: DType) -> Constant:
    """What an update by changes nothing, zeros of either sign included."""
    if operation == "add" and dtype.kind == "f":
        return Constant(dtype.type(-0.0), dtype)
    return identity(operation, dtype)


def _repeats(node: Node, group: Group) -> bool:
    """Whether a scatter may update one element in several iterations of the group's loop."""
    return node.kind == "scatter" and group.assigned[node] not in node.target


def _private_chunks(group: Group, work: float) -> int:
    """Into how many chunks a loop with scatters may be cut, each with its own copy of what is updated; 0: none.

    Copies are to cost a small part of the work, and all else must run in any order.
    """
    scatters = [node for node in group.members if _repeats(node, group)]
    if any(node.operation == "set" or node.var.type.dtype == bool_ for node in scatters):
        return 0
    if any(node.scan is group.assigned[node] for node in group.members):
        return 0
    elements = sum(node.var.type.size for node in scatters)
    size = sum(node.var.type.size * node.var.type.dtype.itemsize for node in scatters)
    found = min(MAX_CHUNKS, int(work / (16 * PRIVATE_ELEMENT * max(elements, 1))), COPIES_BYTES // max(size, 1))
    return _even(found) if found > 1 and (group.extent or 0) > 1 else 0


def _even(chunks: int) -> int:
    """As many, or fewer: a power of two is shared evenly by most numbers of threads."""
    return 1 << (chunks.bit_length() - 1)


def _routine_chunks(call: NativeCall) -> int:
    """Into how many chunks a batch is cut; what uses several threads by itself runs one after the other."""
    if call.routine.threads or call.work < config.parallel_threshold:
        return 1
    # Each chunk has a workspace of its own.
    roomy = max(FEW_WORKSPACES, WORKSPACES_BYTES // max(call.routine.workspace, 1))
    return max(1, min(MAX_CHUNKS, roomy, prod(call.batch), int(call.work / CHUNK_WORK)))


def _values(nodes: Sequence[Node]) -> tuple[Var, ...]:
    """What nodes, and those inside them, compute."""
    found: list[Var] = []
    for node in nodes:
        found += node.results
        for block in node.blocks:
            found += _values(block)
    return tuple(found)


def _loops_over(symbols: Sequence[Symbol], statements: list[Statement]) -> list[Statement]:
    """``statements`` for all values of ``symbols``, the last one innermost."""
    for symbol in reversed(symbols):
        statements = [For(symbol, ZERO, integer(symbol.extent), tuple(statements))]
    return statements


class Nests:
    """Builds the kernel of a node graph."""

    def __init__(self, graph: NodeGraph, journal: Journal) -> None:
        self.graph = graph
        self.journal = journal
        self.inputs = {
            var: Buffer(f"in{i}", var.type.dtype, var.type.shape, "input", i) for i, var in enumerate(graph.inputs)
        }
        self.outputs = {
            var: Buffer(f"out{i}", var.type.dtype, var.type.shape, "output", i) for i, var in enumerate(graph.outputs)
        }
        self.storage: dict[Var, Storage] = {}
        self.values: dict[Var, Symbol] = {}
        self.bound: dict[Symbol, Expression] = {}
        self.accumulators: dict[Var, Storage] = {}
        self.temporaries: list[Buffer] = []
        self.locals: list[Buffer] = []
        self.counter = 0
        # Around the present place: loops whose iterations may run on different threads.
        self.shared_loops = 0
        # Values that must lie in memory even if only the scalars of their own group read them.
        self.kept: set[Var] = set()
        self.keep_operands(graph.nodes)
        self.memory = fixed_memory(graph.nodes, graph.outputs)
        for var, buffer in self.inputs.items():
            journal.where(var, "input", buffer, "")

    def keep_operands(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node.call is not None:
                self.kept.update(x for x in node.call.operands if isinstance(x, Var))
            for block in node.blocks:
                self.keep_operands(block)

    # ------------------------------------------------------------------------------------------------- storage

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def prepare_outputs(self) -> None:
        """Outputs are stored where they belong, and with them the values whose memory they take over."""
        for var, buffer in self.outputs.items():
            self.storage[var] = Storage(buffer, tuple(range(len(buffer.shape))))
        for var, region in self.graph.regions.items():
            self.storage[var] = replace(self.storage[region.whole], start=region.start)
            self.journal.where(region.whole, "output", self.storage[var].buffer, "each of its parts is computed there")
        self.journal.results([*self.outputs, *self.graph.regions])
        for node in reversed(self.graph.nodes):
            for var, base in node.bases:
                if var in self.storage:
                    self.storage[base] = self.storage[var]

    def allocate(self, node: Node, depth: int) -> Storage:
        """Storage over the axes of ``node`` that no enclosing loop fixes."""
        positions = tuple(p for p, a in enumerate(node.axes) if isinstance(a, Symbol) and a not in self.bound)
        shape = tuple(node.axes[p].extent for p in positions)  # type: ignore[union-attr]
        return Storage(self.new_buffer("t", node.var.type.dtype, shape, depth), positions)

    def allocate_whole(self, stem: str, var: Var, depth: int) -> Storage:
        """Storage over all axes."""
        return Storage(self.new_buffer(stem, var.type.dtype, var.type.shape, depth), tuple(range(var.type.rank)))

    def new_buffer(self, stem: str, dtype: DType, shape: tuple[int, ...], depth: int) -> Buffer:
        tape = bool(shape) and shape[0] < 0
        buffer = Buffer(self.fresh(stem), dtype, shape, "tape" if tape else "local" if depth else "arena")
        (self.locals if depth and not tape else self.temporaries).append(buffer)
        return buffer

    def groups(self, nodes: Sequence[Node], depth: int) -> list[Group]:
        """Group the nodes of a level, and give storage to every value that is read in another group."""
        repeatable = prices(nodes, self.bound, self.memory, self.storage, self.journal)
        groups = Partition(nodes, self.bound, repeatable, self.journal).groups
        groups = widen_sums(groups, self.memory.stored, self.storage, journal=self.journal)
        group_of = {node: position for position, group in enumerate(groups) for node in group.members}
        consumers: dict[Var, list[Node]] = {}
        for node in group_of:
            for var in node.inputs:
                consumers.setdefault(var, []).append(node)
        for node in group_of:
            bases = dict(node.bases)
            position = group_of[node]
            straight = groups[position].extent is None
            for var in node.results:
                if var in self.storage:
                    continue
                if var in bases:
                    self.storage[var] = self.storage[bases[var]]
                    continue
                readers = consumers.get(var, ())
                apart = {group_of[reader] for reader in readers} - {position}
                in_place = any(base is var for reader in readers for _, base in reader.bases)
                kept = node.kind == "product" or var in self.kept or node.stores(var)
                if kept or in_place or (apart and (depth == 0 or not straight)):
                    if apart:
                        self.journal.remark(var, "readers", "read by {} other loop{}", len(apart), "s" * (len(apart) > 1))
                    whole = node.kind in ("loop", "choice", "call")
                    self.storage[var] = self.allocate_whole("t", var, depth) if whole else self.allocate(node, depth)
        return groups

    # -------------------------------------------------------------------------------------------------- levels

    def level(self, nodes: Sequence[Node], depth: int) -> list[Statement]:
        """The statements of ``nodes`` with the axes in ``bound`` fixed."""
        outer_values = dict(self.values)
        statements = self.block(nodes, depth)
        self.values = outer_values
        return statements

    def block(self, nodes: Sequence[Node], depth: int) -> list[Statement]:
        """As `level`; scalars that ``nodes`` have computed remain known."""
        statements: list[Statement] = []
        for group in self.groups(nodes, depth):
            statements += self.straight(group, depth) if group.extent is None else self.loop(group, depth)
        return statements

    def loop(self, group: Group, depth: int) -> list[Statement]:
        assert group.extent is not None
        if depth and not self.shared_loops and self.pays(group):
            return self.forked(group, depth)
        symbol = axis(self.fresh("i"), group.extent)
        before, after = self.open_accumulators(group, depth)
        body = self.fixed(group, symbol, depth)
        return [*before, For(symbol, ZERO, integer(group.extent), tuple(body), group.ordered), *after]

    def fixed(self, group: Group, symbol: Symbol, depth: int) -> list[Statement]:
        """The group's body with its shared axis bound to ``symbol``."""
        for node in group.members:
            self.bound[group.assigned[node]] = symbol
        self.shared_loops += 1
        body = self.level(group.members, depth + 1)
        self.shared_loops -= 1
        for node in group.members:
            del self.bound[group.assigned[node]]
        return body

    def straight(self, group: Group, depth: int) -> list[Statement]:
        statements: list[Statement] = []
        for node in group.members:
            if node.loop is not None:
                statements += self.repeat(node, node.loop, depth)
            elif node.choice is not None:
                statements += self.choose(node, node.choice, depth)
            elif node.call is not None:
                statements += self.call(node.call)
            else:
                statements += self.compute(node)
            self.tell(node)
        return statements

    def tell(self, node: Node) -> None:
        """Let the journal know where the results of ``node`` are."""
        for var in node.results:
            stored, accumulator = self.storage.get(var), self.accumulators.get(var)
            self.journal.computed(
                node, var, self.memory.stored.get(var, ""), None if stored is None else stored.buffer,
                None if accumulator is None else accumulator.buffer, self.values.get(var))

    # --------------------------------------------------------------------------------------------- accumulators

    def open_accumulators(self, group: Group, depth: int, private: bool = False) -> tuple[list[Statement], list[Statement]]:
        """Initialise what the group's reductions accumulate into; afterwards, hand results to where they are read.

        ``private``: into memory of this chunk even where the value has storage.
        """
        before: list[Statement] = []
        after: list[Statement] = []
        for node in group.members:
            assigned = group.assigned[node]
            if node.kind == "cumulative" and assigned is node.scan:
                positions = tuple(p for p, a in enumerate(node.axes)
                                  if isinstance(a, Symbol) and a not in self.bound and a is not assigned)
                shape = tuple(node.axes[p].extent for p in positions)  # type: ignore[union-attr]
                buffer = self.new_buffer("scan", node.var.type.dtype, shape, 1)
                self.accumulators[node.var] = Storage(buffer, positions)
                before += self.fill(self.accumulators[node.var], node)
            if node.kind != "reduction" or assigned not in node.reduced or node.var in self.accumulators:
                continue
            open_axes = [a for a in node.axes if isinstance(a, Symbol) and a not in self.bound]
            stored = self.storage.get(node.var)
            large = prod(a.extent for a in open_axes) > REGISTER_ELEMENTS
            if open_axes and large and stored is not None and not private:
                self.accumulators[node.var] = stored
            else:
                self.accumulators[node.var] = self.allocate(node, 1)
            self.journal.sums(node.var, self.accumulators[node.var].buffer)
            before += self.fill(self.accumulators[node.var], node)
            if not private and self.accumulators[node.var] is not stored:
                after += self.close_accumulator(node)
        return before, after

    def close_accumulator(self, node: Node) -> list[Statement]:
        """After its loops: a scalar result becomes a symbol, and is stored if it has storage."""
        accumulator = self.accumulators[node.var]
        stored = self.storage.get(node.var)
        dtype = node.var.type.dtype
        if accumulator.buffer.shape:
            if stored is None:
                self.storage[node.var] = accumulator
                return []
            return self.over(accumulator.positions, node, lambda full: [
                Store(stored.buffer, stored.index(full), Load(accumulator.buffer, accumulator.index(full), dtype))])
        symbol = Symbol(self.fresh("v"), dtype)
        self.values[node.var] = symbol
        statements: list[Statement] = [Let(symbol, Load(accumulator.buffer, (), dtype))]
        if stored is not None:
            statements.append(Store(stored.buffer, stored.index(self.own_index(node)), symbol))
        return statements

    def own_index(self, node: Node) -> list[Expression]:
        return [self.bound.get(a, a) if isinstance(a, Symbol) else a for a in node.axes]

    def fill(self, storage: Storage, node: Node) -> list[Statement]:
        value = identity(node.operation, node.var.type.dtype)
        return self.over(storage.positions, node,
                         lambda full: [Store(storage.buffer, storage.index(full), value)])

    def over(self, positions: Sequence[int], node: Node, body: Any) -> list[Statement]:
        """Loops over the unbound axes of ``node`` among ``positions``; ``body(full index)`` gives the statements."""
        full = self.own_index(node)
        symbols: list[Symbol] = []
        for p in positions:
            a = node.axes[p]
            if isinstance(a, Symbol) and a not in self.bound:
                symbols.append(axis(self.fresh("j"), a.extent))
                full[p] = symbols[-1]
        return _loops_over(symbols, body(full))

    # ------------------------------------------------------------------------------------------------ statements

    def compute(self, node: Node) -> list[Statement]:
        """The statements for one element of ``node``; all its loop axes are bound."""
        if node.product is not None:
            return [self.multiply(node, node.product)]
        dtype = node.var.type.dtype
        if node.kind == "scatter":
            target = tuple([self.place(part) for part in node.target])
            storage = self.storage[node.var]
            operation = _SCATTER.get(node.operation, node.operation)
            return [Accumulate(storage.buffer, storage.index(target), operation, self.place(node.expression))]
        value = self.place(node.expression)
        if node.kind == "reduction":
            accumulator = self.accumulators[node.var]
            return [Accumulate(accumulator.buffer, accumulator.index(self.own_index(node)), node.operation, value)]
        statements: list[Statement] = []
        symbol = Symbol(self.fresh("v"), dtype)
        if node.kind == "cumulative":
            accumulator = self.accumulators[node.var]
            index = accumulator.index(self.own_index(node))
            value = Apply(node.operation, (Load(accumulator.buffer, index, dtype), value), dtype)
            statements += [Let(symbol, value), Store(accumulator.buffer, index, symbol)]
        else:
            statements.append(Let(symbol, value))
        self.values[node.var] = symbol
        storage_or_none = self.storage.get(node.var)
        if storage_or_none is not None:
            statements.append(Store(storage_or_none.buffer, storage_or_none.index(self.own_index(node)), symbol))
        return statements

    def place(self, expression: Expression) -> Expression:
        """An expression over node axes and variables as one over loop symbols, scalars and buffers."""

        def replace(part: Expression) -> Expression | None:
            if isinstance(part, Symbol):
                return self.bound.get(part)
            if isinstance(part, Load) and isinstance(part.buffer, Var):
                value = self.values.get(part.buffer)
                if value is not None:
                    return value
                index = [substitute(i, replace) for i in part.index]
                source = self.inputs.get(part.buffer)
                if source is not None:
                    return Load(source, tuple(index), part.dtype)
                stored = self.storage[part.buffer]
                return Load(stored.buffer, stored.index(index), part.dtype)
            return None

        return substitute(expression, replace)

    def multiply(self, node: Node, product: Product) -> Multiply:
        def matrix(side: Side) -> Matrix:
            offset = self.place(side.offset)
            source = self.inputs.get(side.var)
            if source is None:
                stored = self.storage[side.var]
                source, offset = stored.buffer, index_add(stored.offset, offset)
            return Matrix(source, offset, side.batch, side.row, side.column)

        target = self.storage[node.var]
        result = Matrix(target.buffer, target.offset, product.rows * product.columns, product.columns, 1)
        return Multiply(result, matrix(product.left), matrix(product.right), product.batch, product.rows,
                        product.inner, product.columns)

    def call(self, call: PythonCall | NativeCall) -> list[Statement]:
        """A call into Python or of native code; numbers among its operands are stored for it."""
        statements: list[Statement] = []
        arguments: list[Region] = []
        for operand in call.operands:
            if isinstance(operand, Var):
                arguments.append(self.region(operand))
            else:
                buffer = self.new_buffer("number", operand.dtype, (), 1)
                statements.append(Store(buffer, (), self.place(operand)))
                arguments.append(Region(buffer, ZERO, ()))
        results = tuple(map(self.region, call.results))
        if isinstance(call, PythonCall):
            self.journal.how(call.results, "python", "{}", call.callback)
            return [*statements, Call(call.callback, tuple(arguments), results)]
        chunks = _routine_chunks(call)
        times = prod(call.batch)
        often = f"{times:,} times{f' in {chunks} chunks' if chunks > 1 else ''}, " if times != 1 else ""
        self.journal.how(call.results, "routine", "{}, {}about {}{}", call.routine.name, often,
                         duration(1e-9 * call.routine.work), " each" if often else "")
        return [*statements, Native(call.routine, call.batch, chunks, tuple(arguments), results)]

    def region(self, var: Var) -> Region:
        """Where a stored value lies as a whole."""
        source = self.inputs.get(var)
        if source is not None:
            return Region(source, ZERO, var.type.shape)
        stored = self.storage[var]
        return Region(stored.buffer, stored.offset, var.type.shape)

    # ---------------------------------------------------------------------------------------- loops and branches

    def assign(self, storage: Storage, axes: Sequence[Expression], value: Expression) -> list[Statement]:
        """Store ``value`` over ``axes``."""
        loops = {a: axis(self.fresh("j"), a.extent) for a in axes if isinstance(a, Symbol)}
        self.bound.update(loops)
        full = [self.bound.get(a, a) if isinstance(a, Symbol) else a for a in axes]
        statements: list[Statement] = [Store(storage.buffer, storage.index(full), self.place(value))]
        for symbol in loops:
            del self.bound[symbol]
        return _loops_over(list(loops.values()), statements)

    def hand_out(self, result: Var, own: Storage) -> list[Statement]:
        """The small ``result`` of a loop or branch, computed in memory of its own, goes to where it is read."""
        stored = self.storage.get(result)
        dtype = result.type.dtype
        if result.type.shape:
            if stored is None:
                self.storage[result] = own
                return []
            axes = tuple([axis(self.fresh("j"), n) if n != 1 else ZERO for n in result.type.shape])
            copy = Store(stored.buffer, stored.index(axes), Load(own.buffer, own.index(axes), dtype))
            return _loops_over([a for a in axes if isinstance(a, Symbol)], [copy])
        symbol = Symbol(self.fresh("v"), dtype)
        self.values[result] = symbol
        self.journal.moved(symbol, own.buffer)
        statements: list[Statement] = [Let(symbol, Load(own.buffer, (), dtype))]
        if stored is not None:
            statements.append(Store(stored.buffer, stored.index(()), symbol))
        return statements

    def repeat(self, node: Node, loop: Loop, depth: int) -> list[Statement]:
        """A loop: what it carries is set up, the body computes what follows, which is then handed on."""
        statements: list[Statement] = []
        for carry in loop.carries:
            if carry.base is not None:
                self.storage[carry.variable] = self.storage[carry.base]
            else:
                own = self.allocate_whole("carry", carry.variable, 1)
                statements += self.assign(own, carry.axes, carry.start)
                self.storage[carry.variable] = own
            self.journal.where(carry.variable, "stored", self.storage[carry.variable].buffer, "carried by a loop")
        outer_values = dict(self.values)
        head = self.block(loop.head, depth + 1)
        condition = self.place(loop.condition)
        body: list[Statement] = []
        for record in loop.records:
            whole = self.storage[record.result]
            position = self.place(record.position)
            if whole.buffer.space == "tape":
                body.append(Reserve(whole.buffer, position))
            prefix = (*whole.prefix, position)
            self.storage[record.element] = Storage(whole.buffer, tuple(range(record.element.type.rank)), prefix)
        self.kept.update(c.source for c in loop.carries if c.source is not None and c.source.type.shape)
        body += self.block(loop.body, depth + 1)
        body += self.hand_on(loop)
        self.values = outer_values
        work = sum(inner.work for inner in (*loop.head, *loop.body)) + 1.0
        known_before = loop.symbol is not None and isinstance(loop.end, Constant)
        self.journal.how(node.results, "loop", "{:,} iterations{}, about {} each", loop.iterations,
                         "" if known_before else " assumed", duration(1e-9 * work))
        if loop.symbol is not None:
            end = self.place(loop.end)
            long = not isinstance(end, Constant) or work * loop.iterations > LONG_WORK
            statements.append(For(loop.symbol, ZERO, end, tuple(body), True, work if long else 0.0))
        else:
            statements.append(While(tuple(head), condition, tuple(body), work))
        for carry in loop.carries:
            if carry.base is None:
                statements += self.hand_out(carry.result, self.storage[carry.variable])
        return statements

    def hand_on(self, loop: Loop) -> list[Statement]:
        """At the end of the body: the next values of what is carried, all of them known before any is stored."""
        known_before: list[Statement] = []
        stores: list[Statement] = []
        for carry in loop.carries:
            own = self.storage[carry.variable]
            if carry.source is carry.variable:
                continue
            if carry.source is not None and carry.source in self.storage and self.storage[carry.source] is own:
                continue
            if carry.variable.type.shape:
                stores += self.assign(own, carry.axes, carry.following)
                continue
            symbol = Symbol(self.fresh("v"), carry.variable.type.dtype)
            known_before.append(Let(symbol, self.place(carry.following)))
            stores.append(Store(own.buffer, own.index(()), symbol))
        return [*known_before, *stores]

    def choose(self, node: Node, choice: Choice, depth: int) -> list[Statement]:
        """A branch: each arm stores the results where they are read."""
        own: dict[Var, Storage] = {}
        for var in node.results:
            if not node.stores(var):
                own[var] = self.allocate_whole("chosen", var, 1)
        index = Symbol(self.fresh("v"), int64)
        statements: list[Statement] = [Let(index, self.place(choice.index))]
        bodies: list[tuple[Statement, ...]] = []
        for arm in choice.arms:
            outer_values = dict(self.values)
            for result, held in arm.held.items():
                self.storage[held] = self.storage[result]
                self.journal.where(held, "stored", self.storage[held].buffer, "memory that a result of the branch takes over")
            updates = {result for inner in arm.body for result, _ in inner.bases}
            for var, source in zip(node.results, arm.sources, strict=True):
                if source is not None and source.type.shape and source not in self.storage and source not in updates:
                    if var in arm.held:  # it may read, at other indices, what it would be stored over
                        self.kept.add(source)
                    else:
                        self.storage[source] = own[var] if var in own else self.storage[var]
            body = self.block(arm.body, depth + 1)
            for var, source, axes, value in zip(node.results, arm.sources, choice.axes, arm.values, strict=True):
                target = own[var] if var in own else self.storage[var]
                at_home = source if source is not None else arm.held.get(var)
                if at_home is not None and self.storage.get(at_home) is target:
                    continue
                body += self.assign(target, axes, value)
            bodies.append(tuple(body))
            self.values = outer_values
        self.journal.how(node.results, "branch", "one of {}", len(bodies))
        chosen = bodies[-1]
        for number in range(len(bodies) - 2, -1, -1):
            chosen = (If(Apply("less_equal", (index, integer(number)), bool_), bodies[number], chosen),)
        statements += chosen
        for var, storage in own.items():
            statements += self.hand_out(var, storage)
        return statements

    # ----------------------------------------------------------------------------------------------------- nests

    def build(self) -> Kernel:
        self.prepare_outputs()
        nests: list[Nest] = []
        for group in self.groups(self.graph.nodes, 0):
            work = sum(node.work for node in group.members)
            values = _values(group.members)
            self.values = {}
            self.locals = []
            if group.extent is None:
                body: Sequence[Statement] = self.straight(group, 0)
                nests.append(Nest(tuple(body), tuple(self.locals), repeatable=False, work=work, values=values))
            elif self.pays(group):
                nests += self.chunked(group, work)
            elif work >= config.parallel_threshold and (most := _private_chunks(group, work)) > 1:
                nests += self.chunked(group, work, most)
            else:
                body = self.loop(group, 0)
                repeatable = all(node.kind != "scatter" for node in group.members)
                nests.append(Nest(tuple(body), tuple(self.locals), repeatable=repeatable, work=work, values=values))
        offsets, arena_bytes = lay_out(self.temporaries, nests)
        workspace = max([workspace_bytes(nest.body) for nest in nests], default=0)
        if any(WORKSPACE in touched(nest.body) for nest in nests):
            offsets[WORKSPACE.name] = -(-arena_bytes // 64) * 64
            arena_bytes = offsets[WORKSPACE.name] + workspace
            self.temporaries.append(WORKSPACE)
        return Kernel(tuple(self.inputs.values()), tuple(self.outputs.values()), tuple(self.temporaries), tuple(nests),
                      offsets, arena_bytes)

    def pays(self, group: Group) -> bool:
        """Whether the group's loop is worth chunks, and may have them as it is."""
        work = sum(node.work for node in group.members)
        return work >= config.parallel_threshold and not group.ordered and group.extent is not None and group.extent > 1

    def chunked(self, group: Group, work: float, most: int = MAX_CHUNKS) -> list[Nest]:
        """The group's loop cut into chunks that run in parallel, and the loop that combines their partial results."""
        scatters = [n for n in group.members if _repeats(n, group)]
        whole = {node: self.storage[node.var] for node in scatters}
        fork, combine = self.cut(group, work, most, 0, scatters)
        repeatable = all(node.kind != "scatter" for node in group.members)
        first = Nest(fork.body, tuple(self.locals), fork.symbol, fork.chunks, repeatable=repeatable, work=work,
                     values=_values(group.members))
        self.locals = []
        combined = _values([n for n in group.members if n.kind == "reduction"])
        nests = [first, Nest(tuple(combine), (), work=100.0, values=combined)] if combine else [first]
        for node, storage in whole.items():
            private, self.storage[node.var] = self.storage[node.var], storage
            self.tell(node)
            nests.append(self.unite(node, private.buffer, storage, fork.chunks))
        return nests

    def forked(self, group: Group, depth: int) -> list[Statement]:
        """The same within a nest, as where a loop that runs in order is around it."""
        work = sum(node.work for node in group.members)
        fork, combine = self.cut(group, work, MAX_FORK_CHUNKS, depth, ())
        return [fork, *combine]

    def cut(
        self, group: Group, work: float, most: int, depth: int, scatters: Sequence[Node]
    ) -> tuple[Fork, list[Statement]]:
        """The group's loop in at most so many chunks, and the loops that combine their partial results.

        Each chunk updates a copy of what ``scatters`` update.
        """
        extent = group.extent
        assert extent is not None
        reductions = [n for n in group.members if n.kind == "reduction" and group.assigned[n] in n.reduced]
        partial_bytes = sum(n.var.type.size * n.var.type.dtype.itemsize for n in reductions)
        chunks = min(most, max(2, int(work / CHUNK_WORK)), max(2, PARTIAL_BYTES // max(partial_bytes, 1)))
        chunks = min(_even(chunks), extent)
        in_memory = sum(n.var.type.size for n in reductions if n.var.type.size > REGISTER_ELEMENTS)
        affordable = int(work / (16 * VECTOR_GAIN * PRIVATE_ELEMENT * max(in_memory, 1)))
        if affordable < chunks or depth:
            chunks = _even(max(min(affordable, chunks), 2))
        size = -(-extent // chunks)
        if size > 64:
            size = -(-size // 16) * 16
        chunks = -(-extent // size)
        chunk = axis(self.fresh("c"), chunks)
        symbol = axis(self.fresh("i"), extent)
        before, _ = self.open_accumulators(group, 1, private=True)
        for node in scatters:
            before += self.open_private(node, chunk)
        body = self.fixed(group, symbol, depth)
        begin = index_mul(chunk, size)
        end = Apply("minimum", (index_add(begin, integer(size)), integer(extent)), int64)
        statements = [*before, For(symbol, begin, end, tuple(body), group.ordered)]
        combine: list[Statement] = []
        for node in reductions:
            accumulator = self.accumulators[node.var]
            dtype = node.var.type.dtype
            partial = self.new_buffer("part", dtype, (chunks, *accumulator.buffer.shape), depth)
            statements += self.over(accumulator.positions, node, lambda full, p=partial, a=accumulator, d=dtype: [
                Store(p, (chunk, *a.index(full)), Load(a.buffer, a.index(full), d))])
            combine += self.combine(node, partial, accumulator, chunks, depth)
        return Fork(chunk, chunks, tuple(statements)), combine

    def open_private(self, node: Node, chunk: Symbol) -> list[Statement]:
        """Let a scatter update memory of this chunk, which starts as what changes nothing."""
        dtype = node.var.type.dtype
        self.journal.remark(node.var, "memory", "each of {} chunks updates a copy of its own", chunk.extent)
        partial = self.new_buffer("part", dtype, (chunk.extent, *node.var.type.shape), 0)
        self.storage[node.var] = Storage(partial, tuple(range(node.var.type.rank)), (chunk,))
        return self.assign(self.storage[node.var], node.axes, neutral(node.operation, dtype))

    def unite(self, node: Node, partial: Buffer, storage: Storage, chunks: int) -> Nest:
        """Update the elements by what the chunks have found for them, in the order of the chunks."""
        axes = tuple([axis(self.fresh("j"), n) if n != 1 else ZERO for n in node.var.type.shape])
        number = axis(self.fresh("c"), chunks)
        update = Accumulate(storage.buffer, storage.index(axes), _SCATTER.get(node.operation, node.operation),
                            Load(partial, (number, *axes), partial.dtype))
        symbols = [a for a in axes if isinstance(a, Symbol)]
        work = 0.2 * chunks * prod(a.extent for a in symbols)
        if chunks > FEW_CHUNKS or not symbols:
            return Nest((For(number, ZERO, integer(chunks), tuple(_loops_over(symbols, [update])), True),), (),
                        repeatable=False, work=work, values=(node.var,))
        body = _loops_over(symbols, [For(number, ZERO, integer(chunks), (update,), True)])
        extent = symbols[0].extent
        parts = min(MAX_CHUNKS, int(work / CHUNK_WORK), extent) if work >= config.parallel_threshold else 1
        if parts < 2:
            return Nest(tuple(body), (), repeatable=False, work=work, values=(node.var,))
        part, step = axis(self.fresh("c"), parts), -(-extent // parts)
        begin = index_mul(part, step)
        end = Apply("minimum", (index_add(begin, integer(step)), integer(extent)), int64)
        (loop,) = body
        assert isinstance(loop, For)
        return Nest((replace(loop, begin=begin, end=end),), (), part, parts, repeatable=False, work=work, values=(node.var,))

    def combine(
        self, node: Node, partial: Buffer, accumulator: Storage, chunks: int, depth: int
    ) -> list[Statement]:
        stored = self.storage.get(node.var)
        if stored is None:
            stored = self.storage[node.var] = self.allocate(node, depth)
        dtype = node.var.type.dtype
        number = axis(self.fresh("c"), chunks)

        def accumulate(full: Sequence[Expression]) -> list[Statement]:
            value = Load(partial, (number, *accumulator.index(full)), dtype)
            return [Accumulate(stored.buffer, stored.index(full), node.operation, value)]

        loop = For(number, ZERO, integer(chunks), tuple(self.over(accumulator.positions, node, accumulate)), True)
        return [*self.fill(stored, node), loop]


def build_kernel(graph: NodeGraph, journal: Journal = SILENT) -> Kernel:
    """The loops of a node graph."""
    return Nests(graph, journal).build()
