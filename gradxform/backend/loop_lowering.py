"""Loops and branches -> nodes: their bodies are blocks of nodes within one node.

What a loop carries starts as a copy of its operand, or takes over the operand's memory; what it reads of xs is read
through the index maps of the operands, with the number of the iteration as one more index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gradxform.backend.nodes import SMALL_ELEMENTS, Arm, Carry, Choice, Loop, Node, Record
from gradxform.dtypes import int64
from gradxform.ir import ArrayType, Atom, Equation, Program, Var
from gradxform.loopir.expression import (
    ONE,
    ZERO,
    Apply,
    Expression,
    Index,
    Load,
    Symbol,
    index_add,
    index_mul,
    integer,
    loads,
)
from gradxform.loopir.loops import TYPICAL_ITERATIONS
from gradxform.loopir.lowering import Branch, Repeat, While

if TYPE_CHECKING:
    from gradxform.backend.node_lowering import Lowering, Reader

_COUNT = ArrayType(int64, ())


def place_repeat(lowering: Lowering, repeat: Repeat, operands: Sequence[Reader], results: Sequence[Var]) -> None:
    """A loop whose number of iterations is known when it starts."""
    dynamic = repeat.length < 0
    end: Expression = operands[0](()) if dynamic else integer(repeat.length)
    given = operands[1:] if dynamic else operands
    symbol = Symbol(f"step{lowering.number()}", int64, repeat.length)
    position: Expression = symbol
    if repeat.reverse:
        position = index_add(index_add(index_mul(symbol, -1), end), integer(-1))
    body = _copy(lowering, repeat.body)
    first_x = repeat.constants + repeat.carries
    starts = given[repeat.constants:first_x]
    with lowering.inner_block() as nodes:
        carried = body.inputs[repeat.constants:first_x]
        _bind(lowering, body.inputs[: repeat.constants], given)
        for var, operand in zip(body.inputs[first_x:], given[first_x:], strict=True):
            lowering.readers[var] = _element(operand, position)
            lowering.journal.where(var, "view", operand.atom, "an element for each iteration")
        loop = Loop(nodes, [], [], symbol, end, iterations=TYPICAL_ITERATIONS if dynamic else repeat.length)
        _fill(lowering, loop, body, carried, results, position)
    _finish(lowering, loop, starts, results)


def place_while(lowering: Lowering, loop: While, operands: Sequence[Reader], results: Sequence[Var]) -> None:
    """A loop that decides before each iteration whether to go on; if recorded, it counts them."""
    condition, body = _copy(lowering, loop.condition), _copy(lowering, loop.body)
    constants = loop.condition_constants + loop.body_constants
    starts = list(operands[constants:])
    carried = list(body.inputs[loop.body_constants:])
    with lowering.inner_block() as head:
        _bind(lowering, condition.inputs[: loop.condition_constants], operands)
        for var, own in zip(condition.inputs[loop.condition_constants:], carried, strict=True):
            lowering.readers[var] = lowering.reader(own).read
            lowering.journal.where(var, "view", own, "what the loop carries")
        for equation in condition.equations:
            lowering.lower(equation)
        test = lowering.reader(condition.outputs[0])(())
        lowering.settle([load.buffer for load in loads(test)])
    with lowering.inner_block() as nodes:
        _bind(lowering, body.inputs[: loop.body_constants], operands[loop.condition_constants:])
        made = Loop(nodes, [], [], head=head, condition=test)
        if not loop.recorded:
            _fill(lowering, made, body, carried, results, ZERO)
        else:
            count = Var(_COUNT)
            number = Load(count, (), int64)
            outer = [*results[: len(carried)], *results[len(carried) + 1:]]
            _fill(lowering, made, body, carried, outer, number)
            made.carries.append(Carry(count, results[len(carried)], (), ZERO, Apply("add", (number, ONE), int64), None, None))
    _finish(lowering, made, starts, results)


def place_branch(lowering: Lowering, branch: Branch, operands: Sequence[Reader], results: Sequence[Var]) -> None:
    """One of several programs, chosen when it runs; results that update an operand may do so in its memory."""
    index, given = operands[0](()), operands[1:]
    roots = [_updated(branch.branches, position) for position in range(len(results))]
    bases: list[tuple[Var, Var]] = []
    taken: dict[int, int] = {}
    for position, root in enumerate(roots):
        if root is not None and root not in taken and results[position].type.size > SMALL_ELEMENTS:
            taken[root] = position
            bases.append((results[position], _memory(lowering, given[root])))
    axes = [lowering.axes_for(var.type.shape) for var in results]
    arms: list[Arm] = []
    for program in branch.branches:
        body = _copy(lowering, program)
        with lowering.inner_block() as nodes:
            _bind(lowering, body.inputs, given)
            held: dict[Var, Var] = {}
            for root, position in taken.items():
                del lowering.readers[body.inputs[root]]
                lowering.hold(body.inputs[root])
                held[results[position]] = body.inputs[root]
            for equation in body.equations:
                lowering.lower(equation)
            sources = _distinct(lowering, body.outputs, list(held.values()))
            values = [lowering.reader(atom)(index) for atom, index in zip(sources, axes, strict=True)]
            lowering.settle([load.buffer for value in values for load in loads(value)],
                            {x: held[var] for x, var in zip(sources, results, strict=True)
                             if isinstance(x, Var) and var in held})
        arms.append(Arm(nodes, values, [x if isinstance(x, Var) and x in lowering.stored else None for x in sources], held))
    if not results:  # only effects: a result that nobody reads stands for the node
        results, axes = [Var(_COUNT)], [()]
        for arm in arms:
            arm.values.append(ZERO)
            arm.sources.append(None)
    node = Node(results[0], "choice", (), index, choice=Choice(index, arms, axes), bases=bases, results=tuple(results))
    node.reads += _outer_reads([n for arm in arms for n in arm.body], [v for arm in arms for v in arm.values],
                               [var for arm in arms for var in arm.held.values()])
    lowering.add(node)


def _bind(lowering: Lowering, inputs: Sequence[Var], operands: Sequence[Reader]) -> None:
    for var, operand in zip(inputs, operands, strict=False):
        lowering.readers[var] = operand.read
        lowering.journal.where(var, "view", operand.atom, "what stands outside")


def _element(operand: Reader, position: Expression) -> Callable[[Index], Expression]:
    def read(index: Index) -> Expression:
        return operand((position, *index))

    return read


def _fill(
    lowering: Lowering, loop: Loop, body: Program, carried: Sequence[Var], results: Sequence[Var], position: Expression
) -> None:
    """Lower ``body`` into the block of ``loop``; ``results`` are those of the carries, then of what is recorded."""
    for var in carried:
        lowering.hold(var)
    for equation in body.equations:
        lowering.lower(equation)
    count = len(carried)
    following = _distinct(lowering, body.outputs[:count], carried)
    recorded = _distinct(lowering, body.outputs[count:], carried, whole=True)
    for var, atom, result in zip(carried, following, results, strict=False):
        axes = lowering.axes_for(var.type.shape)
        value = lowering.reader(atom)(axes)
        source = atom if isinstance(atom, Var) and (atom in lowering.stored or atom is var) else None
        loop.carries.append(Carry(var, result, axes, ZERO, value, source, None))
    for atom, result in zip(recorded, results[count:], strict=True):
        assert isinstance(atom, Var)
        loop.records.append(Record(atom, result, position))
    lowering.settle([load.buffer for carry in loop.carries for load in loads(carry.following)]
                    + [record.element for record in loop.records],
                    {carry.source: carry.variable for carry in loop.carries
                     if carry.source is not None and carry.source in lowering.stored and carry.source not in recorded})


def _distinct(
    lowering: Lowering, atoms: Sequence[Atom], carried: Sequence[Var], whole: bool = False
) -> list[Atom]:
    """Outputs of a block such that each can be stored where it belongs: those that are not computed there once are copied.

    A carry at its own place stays. With ``whole`` even scalars must be values of the block, and none may be in memory
    that it has taken over.
    """
    seen: set[Var] = set()
    result: list[Atom] = []
    for place, atom in enumerate(atoms):
        fixed = isinstance(atom, Var) and not whole and place < len(carried) and atom is carried[place]
        scalar = not atom.type.shape and not whole and not (isinstance(atom, Var) and atom in carried)
        own = isinstance(atom, Var) and atom not in seen and lowering.may_take_over(atom) and atom in lowering.stored
        if whole and own and lowering.stored[atom].bases:  # type: ignore[index]
            own = False
        if not (fixed or scalar or own):
            atom = lowering.copied(lowering.reader(atom), "copied, to be handed on")
        if isinstance(atom, Var):
            seen.add(atom)
        result.append(atom)
    return result


def _finish(lowering: Lowering, loop: Loop, starts: Sequence[Reader], results: Sequence[Var]) -> None:
    """Add the node of ``loop``, whose carries start as ``starts``."""
    bases: list[tuple[Var, Var]] = []
    for carry, start in zip(loop.carries, starts, strict=False):
        if carry.variable.type.size > SMALL_ELEMENTS:
            carry.base = _memory(lowering, start)
            bases.append((carry.result, carry.base))
        else:
            carry.start = start(carry.axes)
    node = Node(results[0] if results else Var(_COUNT), "loop", (), loop.end, loop=loop, bases=bases, results=tuple(results))
    expressions = [loop.condition, *(c.following for c in loop.carries), *(r.position for r in loop.records)]
    node.reads += _outer_reads([*loop.head, *loop.body], expressions, [c.variable for c in loop.carries])
    node.reads += [load for carry in loop.carries for load in loads(carry.start)]
    lowering.add(node)


def _memory(lowering: Lowering, operand: Reader) -> Var:
    """A stored value of the block that a loop may update in place, if nothing reads it later: the operand, or a copy."""
    axes = lowering.axes_for(operand.type.shape)
    value = operand(axes)
    whole = isinstance(value, Load) and value.buffer.type.shape == operand.type.shape and all(
        part is a for part, a in zip(value.index, axes, strict=True))
    if isinstance(value, Load) and whole and lowering.may_take_over(value.buffer):
        return value.buffer  # type: ignore[no-any-return]
    return lowering.copied(operand, "copied, since a loop or branch updates it")


def _outer_reads(nodes: Sequence[Node], expressions: Sequence[Expression], own: Sequence[Var]) -> list[Load]:
    """Reads of values that are neither ``own`` nor computed by ``nodes``, one of each."""
    inside = {var for node in nodes for var in node.results} | set(own)
    found: dict[Var, Load] = {}
    for load in [*(load for node in nodes for load in node.reads), *(load for e in expressions for load in loads(e))]:
        if load.buffer not in inside:
            found.setdefault(load.buffer, load)
    for node in nodes:
        for _, base in node.bases:
            assert base in inside, "memory of an outer block is taken over"
    return list(found.values())


def _copy(lowering: Lowering, program: Program) -> Program:
    """``program`` with variables of its own: one program may be the body of several equations."""
    names: dict[Atom, Atom] = {var: Var(var.type) for var in program.inputs}
    equations = []
    for equation in program.equations:
        outputs = tuple([Var(var.type) for var in equation.outputs])
        inputs = tuple([names.get(x, x) for x in equation.inputs])
        equations.append(Equation(equation.operation, inputs, equation.params, outputs, equation.source))
        names.update(zip(equation.outputs, outputs, strict=True))
    for original, copy in names.items():
        lowering.journal.stands_for(copy, original)  # type: ignore[arg-type]
    inputs = tuple([names[var] for var in program.inputs])
    return Program(inputs, tuple(equations), tuple([names.get(x, x) for x in program.outputs]), program.name)  # type: ignore[arg-type]


def _updated(branches: Sequence[Program], position: int) -> int | None:
    """The number of the operand of which result ``position`` is an update, or the operand itself, in all branches."""
    found = {_root(program, program.outputs[position]) for program in branches}
    return found.pop() if len(found) == 1 else None


def _root(program: Program, atom: Atom) -> int | None:
    defining = {var: equation for equation in program.equations for var in equation.outputs}
    while isinstance(atom, Var):
        if atom in program.inputs:
            return program.inputs.index(atom)
        equation = defining[atom]
        params = dict(equation.params)
        if equation.operation.name == "scatter":
            atom = equation.inputs[0]
        elif equation.operation.name in ("scan", "while") and equation.outputs.index(atom) < _carry_count(equation):
            atom = equation.inputs[_first_carry(params) + equation.outputs.index(atom)]
        else:
            return None
    return None


def _carry_count(equation: Equation) -> int:
    params = dict(equation.params)
    if "carries" in params:
        return int(params["carries"])
    return len(equation.inputs) - _first_carry(params)


def _first_carry(params: dict[str, object]) -> int:
    if "constants" in params:
        return int(params["constants"]) + (params["length"] == -1)  # type: ignore[call-overload,no-any-return]
    return int(params["condition_constants"]) + int(params["body_constants"])  # type: ignore[call-overload,no-any-return]
