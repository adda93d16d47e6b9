"""What is the same in every iteration of a loop, computed once before it.

    { b = scan[constants=1 body={ lambda k s x . let l = sin k ; t = mul l s in (t) }] a 1.0 c in (b) }
      ->  { d = sin a ; b = scan[constants=1 body={ lambda l s x . let t = mul l s in (t) }] d 1.0 c in (b) }

And what comes into and out of loops and branches that needs no loop:

- a constant that is a literal stands as one in the body; a constant or array that is passed twice is passed once;
- a carry that is handed through is a constant, and its last value its first one;
- an array to scan over that repeats one element is a constant;
- results that are the same in each iteration, elements of xs or each other need not be stored;
- the last value of a carry that each iteration sets to a constant, or to its element of xs, is that one.

What is moved out must not do harm where a loop has no iteration: it neither fails nor has an effect, unless there is one
iteration for sure. Views and arrays known by their index stay inside, where they are free; so does cheap arithmetic
whose result is larger than what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.ir.families import CHEAP, FREE
from gradxform.ir.inlining import copy_equations
from gradxform.passes.loop_forms import Scan, While, branches_of, has_effect, may_fail, renamed, with_branches
from gradxform.passes.rewriting import Rewriter, Vocabulary, same_bits

#: Results of so few elements are worth no thought.
SMALL = 64


def hoist(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with what does not change in loops in front of them; the same object if there is nothing to move."""
    if not any(equation.operation.name in _RULES for equation in program.equations):
        return program
    rewriter = Rewriter(vocabulary, {})
    environment = rewriter.environment
    used = dict.fromkeys([x for equation in program.equations for x in equation.inputs])
    used.update(dict.fromkeys(program.outputs))
    changed = False
    for equation in program.equations:
        inputs = tuple([environment.get(x, x) for x in equation.inputs]) if environment else equation.inputs
        if inputs != equation.inputs:
            equation = replace(equation, inputs=inputs)
        rule = _RULES.get(equation.operation.name)
        if rule is not None:
            rewriter.source = equation.source
            before = equation
            if equation.operation.name == "scan":
                changed = _known_finals(rewriter, Scan.of(equation), used) or changed
            equation = rule(rewriter, equation)
            changed = changed or equation is not before
        rewriter.equations.append(equation)
        rewriter.defined.update((v, equation) for v in equation.outputs)
    if not changed:
        return program
    return Program(program.inputs, tuple(rewriter.equations), tuple([environment.get(x, x) for x in program.outputs]),
                   program.name)


# --------------------------------------------------------------------------------------------- what is moved out


def _moved_out(
    rewriter: Rewriter, program: Program, outside: dict[Atom, Atom], runs: bool
) -> tuple[Program, list[Var], list[Atom]]:
    """``program`` without what depends only on inputs that ``outside`` has, the inputs gained for it, and their values.

    The inputs of the program are left as they are; those gained are not among them yet.
    """
    movable, kept_inside = _movable(program, outside, runs)
    if not movable:
        return program, [], []
    wanted: dict[Atom, None] = dict.fromkeys(program.outputs)
    for equation in program.equations:
        if equation not in movable and equation not in kept_inside:
            wanted.update(dict.fromkeys(equation.inputs))
    inner: list[Equation] = []
    for equation in reversed(program.equations):
        if equation in movable:
            continue
        # A view that only what moves has read goes with that.
        if equation not in kept_inside or any(v in wanted for v in equation.outputs):
            wanted.update(dict.fromkeys(equation.inputs))
            inner.append(equation)
    gained = [v for e in program.equations if e in movable for v in e.outputs if v in wanted]
    if not gained:
        return program, [], []
    needed: dict[Atom, None] = dict.fromkeys(gained)
    outer: list[Equation] = []
    for equation in reversed(program.equations):
        if (equation in movable or equation in kept_inside) and any(v in needed for v in equation.outputs):
            needed.update(dict.fromkeys(equation.inputs))
            outer.append(equation)
    environment = dict(outside)
    copied: list[Equation] = []
    copy_equations(Program((), tuple(reversed(outer)), ()), environment, copied, None, {}, fresh=True)
    rewriter.equations += copied
    rewriter.defined.update((v, e) for e in copied for v in e.outputs)
    # The variables become inputs under their own names; the equations in front of the loop define new ones.
    left = Program(program.inputs, tuple(reversed(inner)), program.outputs, program.name)
    return left, gained, [environment[v] for v in gained]


def _movable(
    program: Program, outside: dict[Atom, Atom], runs: bool
) -> tuple[dict[Equation, None], dict[Equation, None]]:
    """The equations to move, and those that depend on constants too but stay."""
    movable: dict[Equation, None] = {}
    kept: dict[Equation, None] = {}
    # The stored values that an invariant variable is read from.
    leaves: dict[Atom, dict[Atom, None]] = {v: {v: None} for v in program.inputs if v in outside}
    for equation in program.equations:
        operands = [x for x in equation.inputs if isinstance(x, Var)]
        if not all(x in leaves for x in operands) or has_effect(equation) or (may_fail(equation) and not runs):
            continue
        if not equation.outputs or any(v.type.is_tape for v in equation.outputs):
            continue
        read = {leaf: None for x in operands for leaf in leaves[x]}
        name = equation.operation.name
        size = max(v.type.size for v in equation.outputs)
        small = size <= max(SMALL, sum([leaf.type.size for leaf in read])) and bool(read)
        if name in FREE or (name in CHEAP and not small):
            kept[equation] = None
            leaves.update((v, read) for v in equation.outputs)
        else:
            movable[equation] = None
            leaves.update((v, {v: None}) for v in equation.outputs)
    return movable, kept


# ---------------------------------------------------------------------------------------------------- scan


def _scan(rewriter: Rewriter, equation: Equation) -> Equation:
    scan = Scan.of(equation)
    for step in (_scan_constants, _scan_results, _scan_hoisted):
        scan = step(rewriter, scan)
    return equation if scan.equation is equation else scan.equation


def _known_finals(rewriter: Rewriter, scan: Scan, used: dict[Atom, None]) -> bool:
    """Whether last values of carries were found outside: each iteration gives a constant, or its element of an array."""
    if not scan.runs:
        return False
    constants, carries, elements = scan.inputs_of_body()
    known: dict[Atom, Atom] = dict(zip(constants, scan.constants, strict=True))
    stacks: dict[Atom, Atom] = dict(zip(elements, scan.xs, strict=True))
    last = 0 if scan.reverse else scan.length - 1
    found = False
    for final, atom in zip(scan.finals, scan.body.outputs[: len(carries)], strict=True):
        if final not in used or not (isinstance(atom, Literal) or atom in known or atom in stacks):
            continue
        if atom in stacks:
            shape = stacks[atom].type.shape
            row = rewriter.emit("slice", stacks[atom], start=(last, *(0,) * (len(shape) - 1)), limit=(last + 1, *shape[1:]),
                                strides=(1,) * len(shape))
            rewriter.environment[final] = rewriter.emit("reshape", row, shape=shape[1:])
        else:
            rewriter.environment[final] = known.get(atom, atom)
        found = True
    return found


def _rebuilt(scan: Scan) -> Scan:
    return Scan.of(scan.build())


def _scan_constants(rewriter: Rewriter, scan: Scan) -> Scan:
    """Literals, carries that are handed through and arrays that repeat one element; operands that are passed twice."""
    constants, carries, elements = scan.inputs_of_body()
    inside: dict[Atom, Atom] = {}
    extra: list[Equation] = []
    count = len(carries)
    still = [scan.body.outputs[i] is carries[i] for i in range(count)]
    new_constants = list(zip(constants, scan.constants, strict=True))
    new_constants += [(v, x) for v, x, flag in zip(carries, scan.carries, still, strict=True) if flag]
    new_elements: list[tuple[Var, Atom]] = []
    for v, x in zip(elements, scan.xs, strict=True):
        repeated = _repeated(rewriter, v, x)
        if repeated is None:
            new_elements.append((v, x))
        else:
            source, equations = repeated
            new_constants.append(source)
            extra += equations
    kept_constants = _distinct(new_constants, inside)
    kept_elements = _distinct(new_elements, inside)
    if len(kept_constants) == len(constants) and len(kept_elements) == len(elements) and not any(still):
        return scan
    kept_carries = [(v, x) for v, x, flag in zip(carries, scan.carries, still, strict=True) if not flag]
    for final, start, flag in zip(scan.finals, scan.carries, still, strict=True):
        if flag:
            rewriter.environment[final] = start
    body = Program(scan.body.inputs, (*extra, *scan.body.equations),
                   tuple([x for i, x in enumerate(scan.body.outputs) if i >= count or not still[i]]), scan.body.name)
    body = renamed(body, inside, [v for v, _ in (*kept_constants, *kept_carries, *kept_elements)])
    return _rebuilt(replace(
        scan, body=body, constants=tuple([x for _, x in kept_constants]), carries=tuple([x for _, x in kept_carries]),
        xs=tuple([x for _, x in kept_elements]),
        finals=tuple([v for v, flag in zip(scan.finals, still, strict=True) if not flag])))


def _distinct(pairs: Sequence[tuple[Var, Atom]], inside: dict[Atom, Atom]) -> list[tuple[Var, Atom]]:
    """The inputs with their values, literals and repeated ones left out; ``inside`` says what stands for those."""
    first: dict[Atom, Var] = {}
    for v, x in pairs:
        if isinstance(x, Literal):
            inside[v] = x
        elif first.setdefault(x, v) is not v:
            inside[v] = first[x]
    return [(v, x) for x, v in first.items()]


def _repeated(rewriter: Rewriter, element: Var, xs: Atom) -> tuple[tuple[Var, Atom], list[Equation]] | None:
    """If ``xs`` repeats one element: that as a constant, and the equations that lay it out as the ``element``."""
    equation = rewriter.definition(xs, "broadcast")
    if equation is None or xs.type.is_tape:
        return None
    source, axes = equation.inputs[0], dict(equation.params)["axes"]
    if 0 in axes:
        return None
    constant = Var(source.type)
    laid = tuple([a - 1 for a in axes])
    shape = element.type.shape
    if source.type.shape == shape:
        return (element, source), []
    params = (("axes", laid), ("shape", shape))
    return (constant, source), [Equation(equation.operation, (constant,), params, (element,), equation.source)]


def _scan_results(rewriter: Rewriter, scan: Scan) -> Scan:
    """Results that need not be stored."""
    constants, carries, elements = scan.inputs_of_body()
    count = len(carries)
    outside: dict[Atom, Atom] = {
        **dict(zip(constants, scan.constants, strict=True)), **dict(zip(elements, scan.xs, strict=True))}
    constant = dict.fromkeys(constants)
    first: dict[Atom, Var] = {}
    kept: list[bool] = []
    for y, result in zip(scan.body.outputs[count:], scan.ys, strict=True):
        found: Atom | None = None
        if isinstance(y, Literal) or y in constant:
            source = y if isinstance(y, Literal) else outside[y]
            if not result.type.is_tape:
                axes = tuple(range(1, result.type.rank))
                found = rewriter.emit("broadcast", source, shape=result.type.shape, axes=axes)
        else:
            found = outside.get(y, first.get(y))
            first.setdefault(y, result)
        kept.append(found is None)
        if found is not None:
            rewriter.environment[result] = found
    if all(kept):
        return scan
    outputs = [y for y, flag in zip(scan.body.outputs[count:], kept, strict=True) if flag]
    body = Program(scan.body.inputs, scan.body.equations, (*scan.body.outputs[:count], *outputs), scan.body.name)
    return _rebuilt(replace(scan, body=body, ys=tuple([v for v, flag in zip(scan.ys, kept, strict=True) if flag])))


def _scan_hoisted(rewriter: Rewriter, scan: Scan) -> Scan:
    constants, carries, elements = scan.inputs_of_body()
    body, gained, values = _moved_out(
        rewriter, scan.body, dict(zip(constants, scan.constants, strict=True)), scan.runs)
    if not gained:
        return scan
    body = Program((*constants, *gained, *carries, *elements), body.equations, body.outputs, body.name)
    return _rebuilt(replace(scan, body=body, constants=(*scan.constants, *values)))


# --------------------------------------------------------------------------------------------------- while, cond


def _while(rewriter: Rewriter, equation: Equation) -> Equation:
    loop = While.of(equation)
    for step in (_while_constants, _while_results, _while_hoisted):
        loop = step(rewriter, loop)
    return equation if loop.equation is equation else loop.equation


def _while_constants(rewriter: Rewriter, loop: While) -> While:
    constants, carries = loop.inputs_of_body()
    condition_constants, condition_carries = loop.inputs_of_condition()
    count = len(carries)
    still = [loop.body.outputs[i] is carries[i] for i in range(count)]
    inside: dict[Atom, Atom] = {}
    asked: dict[Atom, Atom] = {}
    kept = _distinct([*zip(constants, loop.constants, strict=True),
                      *((v, x) for v, x, flag in zip(carries, loop.carries, still, strict=True) if flag)], inside)
    kept_by_condition = _distinct(
        [*zip(condition_constants, loop.condition_constants, strict=True),
         *((v, x) for v, x, flag in zip(condition_carries, loop.carries, still, strict=True) if flag)], asked)
    if not any(still) and len(kept) == len(constants) and len(kept_by_condition) == len(condition_constants):
        return loop
    for final, start, flag in zip(loop.finals, loop.carries, still, strict=True):
        if flag:
            rewriter.environment[final] = start
    moving = [i for i in range(count) if not still[i]]
    body = Program(loop.body.inputs, loop.body.equations,
                   tuple([x for i, x in enumerate(loop.body.outputs) if i >= count or not still[i]]), loop.body.name)
    return While.of(replace(
        loop, body=renamed(body, inside, [*(v for v, _ in kept), *(carries[i] for i in moving)]),
        condition=renamed(loop.condition, asked, [*(v for v, _ in kept_by_condition),
                                                  *(condition_carries[i] for i in moving)]),
        constants=tuple([x for _, x in kept]), condition_constants=tuple([x for _, x in kept_by_condition]),
        carries=tuple([loop.carries[i] for i in moving]), finals=tuple([loop.finals[i] for i in moving])).build())


def _while_results(rewriter: Rewriter, loop: While) -> While:
    """Tapes that are equal are recorded once."""
    count = len(loop.carries)
    first: dict[Atom, Var] = {}
    kept: list[int] = []
    for position, (y, tape) in enumerate(zip(loop.body.outputs[count:], loop.tapes, strict=True)):
        if isinstance(y, Var) and y in first:
            rewriter.environment[tape] = first[y]
        else:
            first.setdefault(y, tape)
            kept.append(position)
    if len(kept) == len(loop.tapes):
        return loop
    body = Program(loop.body.inputs, loop.body.equations,
                   (*loop.body.outputs[:count], *(loop.body.outputs[count + i] for i in kept)), loop.body.name)
    return While.of(replace(loop, body=body, tapes=tuple([loop.tapes[i] for i in kept])).build())


def _while_hoisted(rewriter: Rewriter, loop: While) -> While:
    constants, carries = loop.inputs_of_body()
    condition_constants, condition_carries = loop.inputs_of_condition()
    body, gained, values = _moved_out(rewriter, loop.body, dict(zip(constants, loop.constants, strict=True)), False)
    # The condition is asked at least once.
    condition, asked, answers = _moved_out(
        rewriter, loop.condition, dict(zip(condition_constants, loop.condition_constants, strict=True)), True)
    if not gained and not asked:
        return loop
    body = Program((*constants, *gained, *carries), body.equations, body.outputs, body.name)
    condition = Program((*condition_constants, *asked, *condition_carries), condition.equations, condition.outputs,
                        condition.name)
    return While.of(replace(
        loop, body=body, condition=condition, constants=(*loop.constants, *values),
        condition_constants=(*loop.condition_constants, *answers)).build())


def _cond(rewriter: Rewriter, equation: Equation) -> Equation:
    """Literals among the operands, operands that are passed twice, results that are the same in all branches."""
    branches = branches_of(equation)
    operands = equation.inputs[1:]
    kept_results: list[int] = []
    for position, result in enumerate(equation.outputs):
        found = _same_result(branches, position, operands)
        if found is None:
            kept_results.append(position)
        else:
            rewriter.environment[result] = found
    environments: list[dict[Atom, Atom]] = [{} for _ in branches]
    kept: list[list[tuple[Var, Atom]]] = [
        _distinct(list(zip(branch.inputs, operands, strict=True)), inside)
        for branch, inside in zip(branches, environments, strict=True)]
    if len(kept_results) == len(equation.outputs) and len(kept[0]) == len(operands):
        return equation
    renewed = tuple([
        renamed(Program(branch.inputs, branch.equations, tuple([branch.outputs[i] for i in kept_results]), branch.name),
                inside, [v for v, _ in pairs])
        for branch, inside, pairs in zip(branches, environments, kept, strict=True)])
    return with_branches(equation, renewed, [x for _, x in kept[0]], [equation.outputs[i] for i in kept_results])


def _same_result(branches: Sequence[Program], position: int, operands: Sequence[Atom]) -> Atom | None:
    """The operand or literal that is the result at ``position`` in all branches."""
    values: list[Atom] = []
    for branch in branches:
        atom = branch.outputs[position]
        if isinstance(atom, Literal):
            values.append(atom)
        elif atom in branch.inputs:
            values.append(operands[branch.inputs.index(atom)])
        else:
            return None
    return values[0] if all(same_bits(values[0], value) for value in values[1:]) else None


_RULES: dict[str, Callable[[Rewriter, Equation], Equation]] = {"scan": _scan, "while": _while, "cond": _cond}
