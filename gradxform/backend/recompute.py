"""Which values are computed anew in each loop that reads them, instead of being stored by one and loaded by others.

    c = x - mean ; v = sum c * c ; y = c / sqrt v
    ->  for i: { v += (x[i] - mean)**2 } ; for i: { y[i] = (x[i] - mean) / sqrt v }

A store and its loads cost what the memory costs that the value would take: cheap arithmetic on an array that has to be
read anyway is done again even where the value would stay in the first cache, an exponential where it would leave the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from math import prod

from gradxform.backend.instructions import cost
from gradxform.backend.journal import SILENT, Journal
from gradxform.backend.nodes import Node
from gradxform.data_class import data_class
from gradxform.ir import Var
from gradxform.loopir.expression import INDEX_CHECKS, Apply, Expression, Load, Symbol, loads, parts, symbols

#: Values of up to this many elements become registers.
SMALL_ELEMENTS = 32
#: The arithmetic, in nanoseconds per element, that is done again rather than storing a value of at least so many bytes: in
#: memory, in the third, second and first cache.
BUDGETS = ((1 << 24, 1.8), (1 << 20, 0.7), (1 << 15, 0.25), (0, 0.12))
#: How long operations take in vectors, in terms of the estimates for loops of all kinds.
SIMPLE_IN_VECTORS, OTHERS_IN_VECTORS = 0.2, 0.4
#: A value computed from more arrays of its own size is better read than these.
MOST_ARRAYS = 2
IN_ORDER = ("scatter", "cumulative")
#: As many values at most are computed anew for one.
MOST_VALUES = 50

#: Kinds of nodes whose operands and results lie in memory.
_NAMES = {"product": "product of matrices", "loop": "loop", "choice": "branch", "call": "call"}


@data_class(frozen=True, slots=True)
class Fixed:
    """Variables that must lie in memory, with the reason why, and those whose memory another value takes over at some time."""

    stored: Mapping[Var, str]
    overwritten: frozenset[Var]


@data_class(frozen=True, slots=True)
class Price:
    """What computing a value of ``nbytes`` once more costs, and what may be spent on it instead of storing it."""

    arithmetic: float
    budget: float
    nbytes: int


def fixed_memory(nodes: Sequence[Node], outputs: Iterable[Var]) -> Fixed:
    """What lies in memory whatever is decided here: results, and what products, loops, branches, calls and updates use."""
    stored, overwritten = dict.fromkeys(outputs, "a result"), set[Var]()

    def keep(why: str, variables: Iterable[Var]) -> None:
        for var in variables:
            stored.setdefault(var, why)

    def walk(block: Sequence[Node]) -> None:
        for node in block:
            overwritten.update(base for _, base in node.bases)
            keep("updated in place, or in memory taken over", [var for pair in node.bases for var in pair])
            keep("complete before something else may begin", node.after)
            keep("compared for equality, for which all must see the same bits", _compared(node))
            if node.kind in _NAMES:
                keep(f"an operand of a {_NAMES[node.kind]}", [load.buffer for load in node.reads])
                keep(f"the result of a {_NAMES[node.kind]}", node.results)
            if node.loop is not None:
                handed = [node.loop.condition, node.loop.end]
                handed += [part for carry in node.loop.carries for part in (carry.start, carry.following)]
                handed += [record.position for record in node.loop.records]
                keep("handed on by a loop", [load.buffer for expression in handed for load in loads(expression)])
                keep("recorded by a loop", [record.element for record in node.loop.records])
                keep("handed on by a loop", [carry.source for carry in node.loop.carries if carry.source is not None])
            if node.choice is not None:
                for arm in node.choice.arms:
                    keep("given by a branch", [load.buffer for value in arm.values for load in loads(value)])
                    keep("given by a branch", [source for source in arm.sources if source is not None])
            for inner in node.blocks:
                walk(inner)

    walk(nodes)
    return Fixed(stored, frozenset(overwritten))


def prices(
    nodes: Sequence[Node], bound: Mapping[Symbol, Expression], fixed: Fixed, stored: Container[Var] = (),
    journal: Journal = SILENT,
) -> dict[Node, Price]:
    """The nodes of a block, with the axes in ``bound`` fixed by outer loops, that may be computed where they are read.

    What is ``stored`` outside of these loops stays so.
    """
    found: dict[Node, Price] = {}
    # In loops that run in order a value is not computed in vectors: there it is never for free.
    uses = Counter(load.buffer for node in nodes for load in node.reads for _ in range(1 + (node.kind in IN_ORDER)))
    # Of each value the work that is done for it, with that for what it reads, and from which arrays; and its elements.
    behind: dict[Var, tuple[dict[Var, float], int]] = {}
    arrays: dict[Var, dict[Var, int]] = {}
    # Products in blocks read what they multiply, and nothing else.
    factors = {load.buffer for node in nodes if node.in_blocks for load in node.reads}
    for node in nodes:
        if node.kind != "map" or node.after or node.apart or node.var in fixed.stored or node.var in stored:
            continue
        if node.var in factors:
            journal.remark(node.var, "price", "a factor of a product of matrices")
            continue
        free = [a for a in node.axes if isinstance(a, Symbol) and a not in bound]
        elements = prod(a.extent for a in free)
        if elements <= SMALL_ELEMENTS or not all(_is_plain(load, free, fixed.overwritten) for load in node.reads):
            journal.remark(node.var, "price", "too few elements to compute again" if elements <= SMALL_ELEMENTS else
                           "reads what is looked up, overwritten, or in another order")
            continue
        work = {node.var: _arithmetic(node.expression)}
        for buffer in {load.buffer for load in node.reads}:
            inner, extent = behind.get(buffer, ({}, 0))
            work |= inner if 2 * extent > elements else {}
        # What is read once is not computed more often where it is read, only elsewhere.
        single = uses[node.var] == 1
        spent = sum(time for var, time in work.items() if not single or uses[var] > 1)
        needed: dict[Var, int] = {}
        for load in node.reads:
            needed |= arrays.get(load.buffer) or {load.buffer: prod(a.extent for a in _varying(load, free))}
        large = [var for var, extent in needed.items() if 2 * extent > elements]
        size = elements * node.var.type.dtype.itemsize
        budget = next(limit for least, limit in BUDGETS if size >= least)
        if spent > budget:
            journal.remark(node.var, "price", "{:.2g} ns an element to compute it again, more than {:.2g}", spent, budget)
        elif len(large) > MOST_ARRAYS:
            journal.remark(node.var, "price", "{} arrays to read to compute it again, more than {}", len(large), MOST_ARRAYS)
        elif len(work) > MOST_VALUES:
            journal.remark(node.var, "price", "{} values to compute again for it, more than {}", len(work), MOST_VALUES)
        else:
            found[node] = Price(spent, budget, size)
            behind[node.var] = work, elements
            arrays[node.var] = needed
    return found


def _compared(node: Node) -> list[Var]:
    """What is asked whether it equals another float: computed anew it may differ in its last bit, and then nothing is equal."""
    asked = [part for part in parts(node.expression) if isinstance(part, Apply) and part.operation in ("equal", "not_equal")
             and part.operands[0].dtype.kind == "f"]
    return [load.buffer for part in asked for operand in part.operands for load in loads(operand)]


def _arithmetic(expression: Expression) -> float:
    """Nanoseconds of the operations on values, in vectors; those on indices are free."""
    total, stack, seen = 0.0, [expression], set[int]()
    while stack:
        part = stack.pop()
        if isinstance(part, Apply) and id(part) not in seen:
            seen.add(id(part))
            estimate = cost(part.operation, part.dtype)
            total += estimate * (SIMPLE_IN_VECTORS if estimate <= cost("add", part.dtype) else OTHERS_IN_VECTORS)
            stack.extend(part.operands)
    return total


def _varying(load: Load, free: Sequence[Symbol]) -> list[Symbol]:
    used = {symbol for part in load.index for symbol in symbols(part)}
    return [a for a in free if a in used]


def _is_plain(load: Load, free: Sequence[Symbol], overwritten: Collection[Var]) -> bool:
    """Whether reading it again costs no more than a load from where the loops are anyway."""
    if load.buffer in overwritten:
        return False
    inside = [part for index in load.index for part in parts(index)]
    if any(isinstance(part, Load) or (isinstance(part, Apply) and part.operation in INDEX_CHECKS) for part in inside):
        return False
    varying = [symbol for part in load.index for symbol in symbols(part) if symbol in free]
    return varying == [a for a in free if a in varying]
