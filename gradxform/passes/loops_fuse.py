"""Two loops that walk together made one.

    { b c = scan[body={ lambda s x . let t = mul s x in (t, s) }] 1.0 a
      d = scan[body={ lambda s x . let t = add s x in (t) }] 0.0 c in (b, d) }
      ->  { b c d = scan[carries=2 body={ lambda s u x . let t = mul s x ; v = add u s in (t, v, s) }] 1.0 0.0 a in (b, d) }

The second loop may read what the first one gives in each iteration, at the same position, and nothing else of it. So
what passes between them need not be stored. In forward mode a loop and its tangents are such a pair: a scan and a scan,
or a recorded while loop and a scan over its tapes. Two loops that do not depend on each other are fused if they read
the same array, or if they start from the same value with the same constants: then the second one may compute the same as
the first one, and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradxform.ir import Atom, Equation, Program, Var
from gradxform.ir.inlining import copy_equations
from gradxform.passes.loop_forms import Scan, While, has_effect
from gradxform.passes.rewriting import Vocabulary

#: Of loops that do not depend on each other, how many are tried.
NEIGHBOURS = 2


def fuse(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with its loops fused where they walk together; the same object if none do."""
    equations = list(program.equations)
    position = 0
    changed = False
    while position < len(equations):
        equation = equations[position]
        if equation.operation.name == "scan":
            for first in _candidates(equations, position):
                fused = _fused(equations, first, position)
                if fused is not None:
                    equations, position = fused
                    changed = True
                    break
        position += 1
    return replace(program, equations=tuple(equations)) if changed else program


def _candidates(equations: Sequence[Equation], position: int) -> list[int]:
    """Positions of loops with which the scan at ``position`` may be fused, those that it reads first."""
    scan = Scan.of(equations[position])
    xs = dict.fromkeys(x for x in (*scan.xs, scan.count) if isinstance(x, Var))
    giving: list[int] = []
    sharing: list[int] = []
    for earlier in range(position - 1, -1, -1):
        equation = equations[earlier]
        name = equation.operation.name
        if name not in ("scan", "while"):
            continue
        if any(v in xs for v in equation.outputs):
            giving.append(earlier)
        elif name == "scan" and len(sharing) < NEIGHBOURS:
            other = Scan.of(equation)
            if any(x in xs for x in other.xs) or _start_alike(other, scan):
                sharing.append(earlier)
    return giving + sharing


def _start_alike(first: Scan, second: Scan) -> bool:
    """Whether a carry starts from the same value, and the second loop has the constants of the first one."""
    constants = dict.fromkeys(second.constants)
    starts = dict.fromkeys(x for x in second.carries if isinstance(x, Var))
    return any(x in starts for x in first.carries) and all(
        x in constants for x in first.constants if isinstance(x, Var))


def _fused(equations: list[Equation], first: int, second: int) -> tuple[list[Equation], int] | None:
    """The equations with two loops fused, and the position of the loop; None if they do not walk together."""
    leading, following = equations[first], Scan.of(equations[second])
    if has_effect(leading) or has_effect(following.equation):
        return None
    given = _given(leading, following)
    if given is None:
        return None
    # What depends on the first loop must not lead to the second one, but for what this reads in step.
    dependent: dict[Atom, None] = dict.fromkeys(leading.outputs)
    for equation in equations[first + 1: second]:
        if any(x in dependent for x in equation.inputs):
            dependent.update(dict.fromkeys(equation.outputs))
    if any(x in dependent for x in (*following.constants, *following.carries)):
        return None
    if any(x in dependent and x not in given for x in following.xs):
        return None
    if leading.operation.name == "while" and any(x not in given for x in following.xs):
        return None
    needed: dict[Atom, None] = dict.fromkeys((*following.constants, *following.carries, *following.xs))
    before: list[Equation] = []
    after: list[Equation] = []
    for equation in reversed(equations[first + 1: second]):
        if any(v in needed for v in equation.outputs) and not any(x in dependent for x in equation.outputs):
            if has_effect(equation):
                return None
            needed.update(dict.fromkeys(equation.inputs))
            before.append(equation)
        else:
            after.append(equation)
    joined = (_joined_scans(Scan.of(leading), following, given) if leading.operation.name == "scan"
              else _joined_while(While.of(leading), following, given))
    start = [*equations[:first], *reversed(before)]
    return [*start, joined, *reversed(after), *equations[second + 1:]], len(start)


def _given(leading: Equation, following: Scan) -> dict[Atom, Atom] | None:
    """What the first loop's body gives in each iteration, by the stack of it; None if the loops do not walk together."""
    if leading.operation.name == "while":
        loop = While.of(leading)
        if loop.count is None or following.count is not loop.count or following.reverse:
            return None
        return dict(zip(loop.tapes, loop.body.outputs[len(loop.carries):], strict=True))
    scan = Scan.of(leading)
    if (scan.length, scan.reverse) != (following.length, following.reverse) or scan.count is not following.count:
        return None
    return dict(zip(scan.ys, scan.body.outputs[len(scan.carries):], strict=True))


def _following_body(
    following: Scan, equations: list[Equation], elements: dict[Atom, Atom]
) -> tuple[list[Var], list[Var], list[tuple[Var, Atom]], list[Atom], list[Atom]]:
    """Append the second loop's body, with variables of its own.

    ``elements`` are the elements of stacks that the first loop has or gives. The result: inputs for its constants and
    carries, further elements with their stacks, new carries, elements of ys.
    """
    constants, carries, own = following.inputs_of_body()
    environment: dict[Atom, Atom] = {}
    new_constants, new_carries = [Var(v.type) for v in constants], [Var(v.type) for v in carries]
    environment.update(zip(constants, new_constants, strict=True))
    environment.update(zip(carries, new_carries, strict=True))
    further: list[tuple[Var, Atom]] = []
    for v, xs in zip(own, following.xs, strict=True):
        if xs in elements:
            environment[v] = elements[xs]
        else:
            new = Var(v.type)
            environment[v] = new
            further.append((new, xs))
    copy_equations(following.body, environment, equations, None, {}, fresh=True)
    outputs = [environment.get(x, x) for x in following.body.outputs]
    return new_constants, new_carries, further, outputs[:len(carries)], outputs[len(carries):]


def _joined_scans(leading: Scan, following: Scan, given: dict[Atom, Atom]) -> Equation:
    constants, carries, elements = leading.inputs_of_body()
    equations = list(leading.body.equations)
    known: dict[Atom, Atom] = {**dict(zip(leading.xs, elements, strict=True)), **given}
    more_constants, more_carries, further, outputs, ys = _following_body(following, equations, known)
    count = len(carries)
    body = Program(
        (*constants, *more_constants, *carries, *more_carries, *elements, *(v for v, _ in further)), tuple(equations),
        (*leading.body.outputs[:count], *outputs, *leading.body.outputs[count:], *ys), leading.body.name)
    return replace(
        leading, body=body, checkpoint=None, constants=(*leading.constants, *following.constants),
        carries=(*leading.carries, *following.carries), xs=(*leading.xs, *(x for _, x in further)),
        finals=(*leading.finals, *following.finals), ys=(*leading.ys, *following.ys)).build()


def _joined_while(leading: While, following: Scan, given: dict[Atom, Atom]) -> Equation:
    constants, carries = leading.inputs_of_body()
    condition_constants, condition_carries = leading.inputs_of_condition()
    equations = list(leading.body.equations)
    more_constants, more_carries, further, outputs, ys = _following_body(following, equations, given)
    assert not further, "a while loop has nothing to scan over"
    count = len(carries)
    body = Program(
        (*constants, *more_constants, *carries, *more_carries), tuple(equations),
        (*leading.body.outputs[:count], *outputs, *leading.body.outputs[count:], *ys), leading.body.name)
    asking = Program(
        (*condition_constants, *condition_carries, *(Var(v.type) for v in more_carries)), leading.condition.equations,
        leading.condition.outputs, leading.condition.name)
    return replace(
        leading, condition=asking, body=body, constants=(*leading.constants, *following.constants),
        carries=(*leading.carries, *following.carries), finals=(*leading.finals, *following.finals),
        tapes=(*leading.tapes, *following.ys)).build()
