"""What the scheduler works on: values as scalar expressions over index symbols; see node_lowering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from math import prod

from gradxform.backend.instructions import cost
from gradxform.data_class import data_class
from gradxform.ir import Callback, Var
from gradxform.loopir.expression import INDEX_CHECKS, ZERO, Apply, Expression, Index, Load, Symbol, loads, substitute
from gradxform.loopir.loops import TYPICAL_ITERATIONS
from gradxform.loopir.routine import Routine

#: Values that loops carry, and that branches give, are computed in memory of their own up to this many elements.
SMALL_ELEMENTS = 32
#: What a call into Python is taken to last, in nanoseconds.
CALL_WORK = 5_000.0
#: Estimated nanoseconds for a multiplication and addition in a product of matrices.
MULTIPLY_ADD = 0.05


@data_class(slots=True, eq=False)
class Side:
    """An operand of a product: strides per batch, row and column axis within a stored value."""

    var: Var
    offset: Expression
    batch: int
    row: int
    column: int


@data_class(slots=True, eq=False)
class Product:
    left: Side
    right: Side
    batch: int
    rows: int
    inner: int
    columns: int


@data_class(slots=True, eq=False)
class Carry:
    """What a loop hands from one iteration to the next: ``variable`` inside, ``result`` after the last.

    It starts as ``start`` and goes on as ``following``, both over ``axes``. A large one lives in the memory of ``base``,
    a stored value that nothing reads after this loop; a small one (``base`` is None) in memory of its own, or in registers.
    ``source`` is the variable of which ``following`` is a plain copy.
    """

    variable: Var
    result: Var
    axes: tuple[Expression, ...]
    start: Expression
    following: Expression
    source: Var | None
    base: Var | None


@data_class(slots=True, eq=False)
class Record:
    """A value of each iteration: ``element``, stored by the body, goes to ``position`` of ``result``."""

    element: Var
    result: Var
    position: Expression


@data_class(slots=True, eq=False)
class Loop:
    """``body`` once for each value of ``symbol`` below ``end``, or else as long as ``condition`` holds after ``head``."""

    body: list[Node]
    carries: list[Carry]
    records: list[Record]
    symbol: Symbol | None = None
    end: Expression = ZERO
    head: list[Node] = field(default_factory=list)
    condition: Expression = ZERO
    iterations: int = TYPICAL_ITERATIONS


@data_class(slots=True, eq=False)
class Arm:
    """One branch: its nodes, and per result the expression over ``Choice.axes`` (and the variable that it copies).

    ``held`` tells by which variable the branch knows the memory that a result has taken over.
    """

    body: list[Node]
    values: list[Expression]
    sources: list[Var | None]
    held: dict[Var, Var]


@data_class(slots=True, eq=False)
class Choice:
    """The arm number ``index``, limited to those there are, gives the node's results."""

    index: Expression
    arms: list[Arm]
    axes: list[tuple[Expression, ...]]


@data_class(slots=True, eq=False)
class PythonCall:
    """Calls Python with ``operands``: whole stored values, or expressions of rank 0 with their dtype."""

    callback: Callback
    operands: list[Var | Expression]
    results: tuple[Var, ...]


@data_class(slots=True, eq=False)
class NativeCall:
    """Runs ``routine`` per element of ``batch``; operands and results as those of a call into Python."""

    routine: Routine
    batch: tuple[int, ...]
    operands: list[Var | Expression]
    results: tuple[Var, ...]

    @property
    def work(self) -> float:
        return prod(self.batch) * self.routine.work


@data_class(slots=True, eq=False)
class Node:
    """``kind`` is map, reduction, cumulative, scatter, product, loop, choice or call.

    ``axes`` holds one index expression per result axis: a Symbol, or ZERO where the extent is 1. ``reduced`` are the
    further loop axes of reductions and scatters. Only loops, choices and calls have several ``results``, or none: then
    ``var`` only stands for the node.

    ``bases`` pairs results with the values whose memory they take over; ``after`` are variables whose nodes must run
    before this one because they read such a value, or have an ``effect`` that comes before its own, or stand in front
    of a barrier. A node ``apart`` does not even share straight-line code with these, so that memory can be used again.
    ``in_blocks`` is a product of matrices that goes through its long sum in blocks, for which its results stay in the caches.
    """

    var: Var
    kind: str
    axes: tuple[Expression, ...]
    expression: Expression
    reduced: tuple[Symbol, ...] = ()
    operation: str = ""
    scan: Symbol | None = None
    target: Index = ()
    bases: list[tuple[Var, Var]] = field(default_factory=list)
    product: Product | None = None
    loop: Loop | None = None
    choice: Choice | None = None
    call: PythonCall | NativeCall | None = None
    effect: bool = False
    results: tuple[Var, ...] = ()
    after: list[Var] = field(default_factory=list)
    apart: bool = False
    in_blocks: bool = False
    reads: list[Load] = field(default_factory=list)
    loop_axes: tuple[Symbol, ...] = ()
    cost: float = 0.0

    def __post_init__(self) -> None:
        self.results = self.results or (self.var,)
        self.reads = [load for part in (self.expression, *self.target) for load in loads(part)]
        own = [a for a in self.axes if isinstance(a, Symbol)]
        whole = self.kind in ("product", "loop", "choice", "call")
        self.loop_axes = () if whole else self.reduced if self.kind == "scatter" else (*own, *self.reduced)
        self.cost = self.own_cost()
        self.effect = self.effect or any(node.effect for block in self.blocks for node in block)

    def own_cost(self) -> float:
        """Estimated nanoseconds per point of its loops."""
        if self.in_blocks:
            return MULTIPLY_ADD
        found = expression_cost(self.expression)
        if self.kind == "scatter":
            # One element after the other, unless whole rows are updated.
            found += 0.2 if self.loop_axes and self.loop_axes[-1] in self.target else 0.7
        return found

    @property
    def blocks(self) -> list[list[Node]]:
        """The nodes of its bodies."""
        if self.loop is not None:
            return [self.loop.head, self.loop.body]
        return [] if self.choice is None else [arm.body for arm in self.choice.arms]

    def stores(self, var: Var) -> bool:
        """Whether a loop or branch writes its result ``var`` straight to where it is read; small ones it hands out."""
        if self.loop is not None:
            return any(record.result is var for record in self.loop.records)
        if self.call is not None:
            return var in self.call.results
        return self.choice is not None and var.type.size > SMALL_ELEMENTS

    @property
    def inputs(self) -> dict[Var, None]:
        """The values that it reads or updates."""
        return dict.fromkeys([*(load.buffer for load in self.reads), *(base for _, base in self.bases)])

    @property
    def reads_first(self) -> bool:
        """Whether all reads are done before anything is written: a scatter of one point."""
        return self.kind == "scatter" and not self.reduced

    def rewrite(self, replaced: Mapping[int, Expression]) -> None:
        """Put other expressions in place of parts, known by their id, of what a map, reduction or scatter computes."""
        self.expression, *target = [substitute(part, lambda p: replaced.get(id(p))) for part in (self.expression, *self.target)]
        self.target = tuple(target)
        self.reads = [load for part in (self.expression, *self.target) for load in loads(part)]
        self.cost = self.own_cost()

    def move(self, var: Var, axes: tuple[Expression, ...]) -> None:
        """Give the result of a map as another variable, with its axes in another order."""
        self.var, self.results, self.axes = var, (var,), axes
        self.loop_axes = tuple([a for a in axes if isinstance(a, Symbol)])

    def reduce_over(self, symbol: Symbol, expression: Expression) -> None:
        """Reduce another expression, along ``symbol`` alone."""
        self.reduced, self.loop_axes = (symbol,), (symbol,)
        self.expression, self.reads = expression, list(loads(expression))
        self.cost = expression_cost(expression)

    def replace_base(self, number: int, result: Var, base: Var) -> None:
        """Take over the memory of another value."""
        self.bases[number] = (result, base)
        if self.loop is not None:
            for carry in self.loop.carries:
                if carry.result is result:
                    carry.base = base

    @property
    def work(self) -> float:
        """Estimated nanoseconds on one core."""
        if self.product is not None:
            p = self.product
            return MULTIPLY_ADD * p.batch * p.rows * p.inner * p.columns
        if self.loop is not None:
            body = sum(node.work for node in (*self.loop.head, *self.loop.body))
            return self.loop.iterations * (2.0 + body)
        if self.call is not None:
            return self.call.work if isinstance(self.call, NativeCall) else CALL_WORK
        if self.choice is not None:
            return 2.0 + max(sum(node.work for node in arm.body) for arm in self.choice.arms)
        return self.cost * prod(a.extent for a in self.loop_axes)


@data_class(frozen=True, slots=True)
class Region:
    """A part of ``whole`` whose first element is at index ``start``."""

    whole: Var
    start: tuple[int, ...]


@data_class(slots=True, eq=False)
class NodeGraph:
    """The nodes in order, the program's inputs and, per output, the variable to be stored there.

    ``regions`` says of parts of outputs, which have nodes in place of the whole, where they lie.
    """

    inputs: tuple[Var, ...]
    nodes: list[Node]
    outputs: list[Var]
    regions: Mapping[Var, Region] = field(default_factory=dict)


def expression_cost(expression: Expression) -> float:
    """Estimated nanoseconds per element."""
    total, stack, seen = 0.1, [expression], set()
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Apply):
            total += cost(part.operation, part.dtype)
            stack.extend(part.operands)
        elif isinstance(part, Load):
            total += 0.1
            # An element that is looked up is not read together with its neighbours; in a row that is, it is.
            if part.index and isinstance(part.index[-1], Apply) and part.index[-1].operation in INDEX_CHECKS:
                total += 0.4
                stack.append(part.index[-1])
    return total
