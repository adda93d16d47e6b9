"""What a loop keeps for its linear part, and what that computes again.

A linearized body is two programs: the known one gives values and residuals, the linear one takes residuals and
tangents. Between the two loops a residual is memory, an element for each iteration. Much of it is saved:

- constants of the loop and elements of its xs are there already, and so are the elements of its ys;
- what depends on constants only is computed once, before the linear loop;
- cheap arithmetic is done again in the linear loop, from values of which there are fewer.

What is stored is a minimum vertex cut, weighted by bytes, of the graph of the known equations between what cannot be
computed again (carries, results of expensive equations) and what the linear part needs. So a Runge-Kutta step of a
polynomial right-hand side stores its state and none of its stages. Among cuts of equal weight the one nearest to the
linear part is taken, where least is computed twice.

A tape cannot be stored, since tapes of many iterations differ in length. The loop that recorded it runs again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from math import prod

from gradxform.data_class import data_class
from gradxform.dtypes import is_differentiable
from gradxform.ir import Atom, Equation, Program, Var
from gradxform.ir.callback import has_effect, may_fail, replayed
from gradxform.ir.families import VIEWS

#: Operations of about one instruction per element; divisions and roots take longer than others, but not than memory.
CHEAP = VIEWS | frozenset((
    "abs", "add", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "ceil", "clamp", "concatenate", "convert",
    "copysign", "div", "equal", "floor", "greater", "greater_equal", "integer_pow", "iota", "isfinite", "isinf", "isnan",
    "left_shift", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum",
    "mul", "neg", "not_equal", "pad", "reciprocal", "right_shift", "rint", "rsqrt", "select", "sign", "sqrt", "square",
    "stop_gradient", "sub", "trunc", "unit_vectors",
))

#: Operations that are cheap on few elements.
CHEAP_IF_SMALL = frozenset((
    "argmax", "argmin", "cummax", "cummin", "cumprod", "cumsum", "dot_general", "floor_divide", "gather",
    "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "remainder",
))
SMALL = 64

_INFINITE = 1 << 62


class Role(Enum):
    """What an input of a known program is to its loop."""

    CONSTANT = "constant"
    CARRY = "carry"
    ELEMENT = "element"


@data_class(frozen=True, slots=True, eq=False)
class Plan:
    """How residuals come from the loop of known values to the linear loop.

    ``known`` is the known program with the values that are stored as its last outputs. ``hoisted`` takes the constants
    and gives what is computed once, before the linear loop. ``recomputed`` gives the residuals; it takes, in this
    order, the inputs of the known program at positions ``constants``, the results of ``hoisted``, the inputs at
    positions ``elements``, the known outputs at positions ``given``, and what is stored.
    """

    known: Program
    stored: int
    hoisted: Program
    recomputed: Program
    constants: tuple[int, ...]
    elements: tuple[int, ...]
    given: tuple[int, ...]


def without_dead(program: Program) -> Program:
    """``program`` without the equations that no output needs and that have no effect."""
    needed: dict[Atom, None] = dict.fromkeys(program.outputs)
    kept: list[Equation] = []
    for equation in reversed(program.equations):
        if any(var in needed for var in equation.outputs) or has_effect(equation):
            needed.update(dict.fromkeys(equation.inputs))
            kept.append(equation)
    return Program(program.inputs, tuple(reversed(kept)), program.outputs, program.name)


def plan(known: Program, count: int, roles: Sequence[Role], given: Iterable[int], runs: bool) -> Plan:
    """Decide where the residuals of ``known``, its outputs behind the first ``count``, come from.

    ``given`` are the positions of outputs whose elements the linear loop can read; ``runs`` says that the loop has at
    least one iteration, so that whatever fails within it may as well fail before it.
    """
    return _Planner(known, count, roles, given, runs).plan()


class _Planner:
    def __init__(self, known: Program, count: int, roles: Sequence[Role], given: Iterable[int], runs: bool) -> None:
        self.program, self.count = known, count
        self.needed = [x for x in known.outputs[count:] if isinstance(x, Var)]
        self.roles = dict(zip(known.inputs, roles, strict=True))
        self.defining = {var: equation for equation in known.equations for var in equation.outputs}
        self.given: dict[Var, int] = {}
        for position in given:
            atom = known.outputs[position]
            if isinstance(atom, Var) and self.roles.get(atom, Role.CARRY) is Role.CARRY:
                self.given.setdefault(atom, position)
        self.invariant: dict[Var, None] = {v: None for v, role in self.roles.items() if role is Role.CONSTANT}
        # Of these, what depends on literals alone.
        self.literal: dict[Var, None] = {}
        for equation in known.equations:
            operands = [x for x in equation.inputs if isinstance(x, Var)]
            if all(x in self.invariant for x in operands) and _can_be_hoisted(equation, runs):
                self.invariant.update(dict.fromkeys(equation.outputs))
                if all(x in self.literal for x in operands):
                    self.literal.update(dict.fromkeys(equation.outputs))
        self.repeated = self._repeated_loops()

    def _repeated_loops(self) -> dict[Equation, None]:
        """The equations whose tapes are needed, directly or for another one's."""
        found: dict[Equation, None] = {}
        seen: dict[Var, None] = {}
        stack = list(self.needed)
        while stack:
            var = stack.pop()
            if var in seen:
                continue
            seen[var] = None
            equation = self.defining.get(var)
            if equation is None or self._is_free(var):
                continue
            if var.type.is_tape:
                found[equation] = None
            elif not _is_cheap(equation):
                continue
            stack.extend(x for x in equation.inputs if isinstance(x, Var))
        return found

    def _is_free(self, var: Var) -> bool:
        """Whether the linear loop has ``var`` without storing anything."""
        if var in self.given or self.roles.get(var, Role.CARRY) is not Role.CARRY:
            return True
        return self._is_hoisted(var)

    def _is_hoisted(self, var: Var) -> bool:
        equation = self.defining.get(var)
        if equation is None or var not in self.invariant:
            return False
        # A view of a constant is read as such; an array of literals would only be in the way.
        return not (equation.operation.name in VIEWS or (var in self.literal and _is_cheap(equation)))

    def _recomputable(self, var: Var) -> Equation | None:
        equation = self.defining.get(var)
        return equation if equation is not None and (_is_cheap(equation) or equation in self.repeated) else None

    def _stored(self) -> dict[Var, None]:
        numbers: dict[Var, int] = {}
        edges: list[tuple[int, int]] = []
        sources: list[int] = []
        stack: list[Var] = []

        def number(var: Var) -> int:
            found = numbers.get(var)
            if found is None:
                found = numbers[var] = len(numbers)
                stack.append(var)
            return found

        sinks = [number(var) for var in dict.fromkeys(self.needed) if not self._is_free(var)]
        while stack:
            var = stack.pop()
            equation = self._recomputable(var)
            if equation is None:
                sources.append(numbers[var])
                continue
            edges += [(number(x), numbers[var])
                      for x in dict.fromkeys(equation.inputs) if isinstance(x, Var) and not self._is_free(x)]
        weights = [_INFINITE if var.type.is_tape else var.type.size * var.type.dtype.itemsize for var in numbers]
        variables = list(numbers)
        return dict.fromkeys(variables[node] for node in minimum_cut(weights, edges, sources, sinks))

    def plan(self) -> Plan:
        stored = self._stored()
        used: dict[Var, None] = {}
        equations: dict[Equation, None] = {}
        seen: dict[Var, None] = {}
        stack = list(self.needed)
        while stack:
            var = stack.pop()
            if var in seen:
                continue
            seen[var] = None
            if var in stored:
                continue
            if self._is_free(var):
                used[var] = None
                continue
            equation = self.defining[var]
            equations[equation] = None
            stack.extend(x for x in equation.inputs if isinstance(x, Var))
        program, count = self.program, self.count
        inputs = {var: position for position, var in enumerate(program.inputs)}
        constants = [v for v in program.inputs if v in used and self.roles[v] is Role.CONSTANT]
        elements = [v for v in program.inputs if v in used and self.roles[v] is Role.ELEMENT]
        given = [v for v in self.given if v in used]
        hoisted = [v for e in program.equations for v in e.outputs
                   if v in used and v not in self.given and self._is_hoisted(v)]
        # In the order of the program, so that the same function gives the same text.
        kept = [v for v in (*program.inputs, *self.defining) if v in stored]
        # A repeated loop defines all its results, of which some may be stored: the copy gets variables of its own.
        recomputed = _renamed(Program(
            (*constants, *hoisted, *elements, *given, *kept),
            replayed([e for e in program.equations if e in equations]),
            program.outputs[count:]))
        return Plan(
            known=without_dead(Program(program.inputs, program.equations, (*program.outputs[:count], *kept))),
            stored=len(kept),
            hoisted=without_dead(Program(
                tuple(v for v in program.inputs if self.roles[v] is Role.CONSTANT),
                tuple(e for e in program.equations if e.outputs and all(v in self.invariant for v in e.outputs)),
                tuple(hoisted))),
            recomputed=recomputed,
            constants=tuple(inputs[v] for v in constants),
            elements=tuple(inputs[v] for v in elements),
            given=tuple(self.given[v] for v in given),
        )


def _renamed(program: Program) -> Program:
    """``program`` with the results of its equations that are also inputs under other names."""
    inputs = dict.fromkeys(program.inputs)
    equations = []
    for equation in program.equations:
        if any(var in inputs for var in equation.outputs):
            outputs = tuple(Var(var.type) if var in inputs else var for var in equation.outputs)
            equation = Equation(equation.operation, equation.inputs, equation.params, outputs, equation.source)
        equations.append(equation)
    return Program(program.inputs, tuple(equations), program.outputs, program.name)


def compares_floats(equation: Equation) -> bool:
    """Whether it asks for the equality of floats, as the rules of maxima do, to find out which element was the greatest.

    Computed again in another loop an operand may differ in its last bit, and then nothing is equal: the answer is kept.
    """
    return equation.operation.name in ("equal", "not_equal") and is_differentiable(equation.inputs[0].type.dtype)


def _is_cheap(equation: Equation) -> bool:
    name = equation.operation.name
    if compares_floats(equation):
        return False
    if name in CHEAP:
        return True
    if name not in CHEAP_IF_SMALL:
        return False
    work = max([var.type.size for var in equation.outputs])
    if name == "dot_general":
        shape = equation.inputs[0].type.shape
        work *= prod([shape[a] for a in dict(equation.params)["contracting"][0]])
    elif name != "gather":
        work = max([work, *(x.type.size for x in equation.inputs)])
    return work <= SMALL


def _can_be_hoisted(equation: Equation, runs: bool) -> bool:
    if any(var.type.is_tape for var in equation.outputs) or has_effect(equation):
        return False
    return runs or not may_fail(equation)


def minimum_cut(
    weights: Sequence[int], edges: Iterable[tuple[int, int]], sources: Iterable[int], sinks: Iterable[int]
) -> list[int]:
    """The nodes of least total weight without which no path leads from ``sources`` to ``sinks``.

    By maximum flow: Dinic, "Algorithm for solution of a problem of maximum flow in a network with power estimation",
    Soviet Mathematics Doklady 11 (1970). Each node is an arc of its weight from its entry 2n to its exit 2n + 1. Of all
    minimum cuts this is the one nearest to the sinks.

    >>> minimum_cut([8, 3, 8], [(0, 1), (1, 2)], [0], [2])
    [1]
    """
    count = len(weights)
    source, sink = 2 * count, 2 * count + 1
    target: list[int] = []
    room: list[int] = []
    arcs: list[list[int]] = [[] for _ in range(2 * count + 2)]

    def connect(tail: int, head: int, capacity: int) -> None:
        # An arc and its reverse are neighbours, so that the other one of arc a is a ^ 1.
        for a, b, space in ((tail, head, capacity), (head, tail, 0)):
            arcs[a].append(len(target))
            target.append(b)
            room.append(space)

    for node, weight in enumerate(weights):
        connect(2 * node, 2 * node + 1, weight)
    for tail, head in edges:
        connect(2 * tail + 1, 2 * head, _INFINITE)
    for node in sources:
        connect(source, 2 * node, _INFINITE)
    for node in sinks:
        connect(2 * node + 1, sink, _INFINITE)
    while True:
        level = [-1] * len(arcs)
        level[source] = 0
        queue = [source]
        for node in queue:
            for arc in arcs[node]:
                if room[arc] and level[target[arc]] < 0:
                    level[target[arc]] = level[node] + 1
                    queue.append(target[arc])
        if level[sink] < 0:
            break
        _block(source, sink, level, target, room, arcs)
    reaching = {sink: None}
    queue = [sink]
    for node in queue:
        for arc in arcs[node]:
            if room[arc ^ 1] and target[arc] not in reaching:
                reaching[target[arc]] = None
                queue.append(target[arc])
    cut = [node for node in range(count) if 2 * node + 1 in reaching and 2 * node not in reaching]
    assert all(weights[node] < _INFINITE for node in cut), "a tape would have to be stored"
    return cut


def _block(
    source: int, sink: int, level: list[int], target: list[int], room: list[int], arcs: list[list[int]]
) -> None:
    """Push flow along shortest paths until none is left."""
    following = [0] * len(arcs)
    path: list[int] = []
    node = source
    while True:
        if node == sink:
            amount = min([room[arc] for arc in path])
            for arc in path:
                room[arc] -= amount
                room[arc ^ 1] += amount
            full = next(position for position, arc in enumerate(path) if not room[arc])
            node = target[path[full] ^ 1]
            del path[full:]
            continue
        own = arcs[node]
        while following[node] < len(own):
            arc = own[following[node]]
            if room[arc] and level[target[arc]] == level[node] + 1:
                path.append(arc)
                node = target[arc]
                break
            following[node] += 1
        else:
            if node == source:
                return
            node = target[path.pop() ^ 1]
            following[node] += 1
