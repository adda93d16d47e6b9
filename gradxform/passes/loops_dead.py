"""Dead code of loops and branches: results that nobody uses, and what only they need.

    { b c d = scan[carries=2 body={ lambda s r x . let t = add s x ; u = sin r ; v = mul t x in (t, u, v) }] 0.0 1.0 a in (b) }
      ->  { b = scan[carries=1 body={ lambda s x . let t = add s x in (t) }] 0.0 a in (b) }

A carry is needed if its last value is, or if something needed in an iteration reads it. Constants, arrays to scan over
and operands of branches go with what has read them; a recorded while loop records only what is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gradxform.ir import Atom, Equation, Program, Var
from gradxform.passes.loop_forms import Scan, While, branches_of, has_effect, with_branches
from gradxform.passes.sorts_dead import narrow_sort

#: ``program`` without equations that its outputs do not need.
Sweep = Callable[[Program], Program]


def _reached(program: Program, atoms: Iterable[Atom], feedback: dict[Atom, Atom]) -> dict[Atom, None]:
    """The variables that ``atoms`` and effects depend on; needing a key of ``feedback`` means to need its value."""
    defined = {v: e for e in program.equations for v in e.outputs}
    reached: dict[Atom, None] = {}
    stack = list(atoms)
    for equation in program.equations:
        if has_effect(equation):
            stack.extend(equation.inputs)
    while stack:
        atom = stack.pop()
        if atom in reached:
            continue
        reached[atom] = None
        equation_or_none = defined.get(atom) if isinstance(atom, Var) else None
        if equation_or_none is not None:
            stack.extend(equation_or_none.inputs)
        elif atom in feedback:
            stack.append(feedback[atom])
    return reached


def _chosen(items: Sequence[Any], flags: Sequence[bool]) -> tuple[Any, ...]:
    return tuple([item for item, flag in zip(items, flags, strict=True) if flag])


def narrow(equation: Equation, needed: set[Atom], sweep: Sweep) -> Equation:
    """``equation`` without results that are not ``needed``; the same object if all is needed."""
    rule = _RULES.get(equation.operation.name)
    return equation if rule is None else rule(equation, needed, sweep)


def _narrow_scan(equation: Equation, needed: set[Atom], sweep: Sweep) -> Equation:
    scan = Scan.of(equation)
    constants, carries, elements = scan.inputs_of_body()
    body = sweep(scan.body)
    count = len(carries)
    ys = [v in needed for v in scan.ys]
    wanted = [body.outputs[i] for i, v in enumerate(scan.finals) if v in needed]
    wanted += _chosen(body.outputs[count:], ys)
    # A final value that is needed needs the carry itself too: there may be no iteration.
    starts: list[Atom] = [carries[i] for i, v in enumerate(scan.finals) if v in needed]
    reached = _reached(body, [*wanted, *starts], dict(zip(carries, body.outputs[:count], strict=True)))
    live = [v in reached for v in carries]
    kept_constants, kept_elements = [v in reached for v in constants], [v in reached for v in elements]
    if body is scan.body and all(live) and all(ys) and all(kept_constants) and all(kept_elements):
        return equation
    inputs = _chosen((*constants, *carries, *elements), [*kept_constants, *live, *kept_elements])
    narrowed = sweep(Program(inputs, body.equations, _chosen(body.outputs, [*live, *ys]), body.name))
    return replace(
        scan, body=narrowed, constants=_chosen(scan.constants, kept_constants), carries=_chosen(scan.carries, live),
        xs=_chosen(scan.xs, kept_elements), finals=_chosen(scan.finals, live), ys=_chosen(scan.ys, ys)).build()


def _narrow_while(equation: Equation, needed: set[Atom], sweep: Sweep) -> Equation:
    loop = While.of(equation)
    constants, carries = loop.inputs_of_body()
    condition_constants, condition_carries = loop.inputs_of_condition()
    body, condition = sweep(loop.body), sweep(loop.condition)
    count = len(carries)
    tapes = [v in needed for v in loop.tapes]
    counted = loop.count is not None and (loop.count in needed or any(tapes))
    asked = _reached(condition, condition.outputs, {})
    starts: list[Atom] = [carry for carry, final, own in zip(carries, loop.finals, condition_carries, strict=True)
                          if final in needed or own in asked]
    reached = _reached(body, [*starts, *_chosen(body.outputs[count:], tapes)],
                       dict(zip(carries, body.outputs[:count], strict=True)))
    live = [v in reached for v in carries]
    kept, kept_by_condition = [v in reached for v in constants], [v in asked for v in condition_constants]
    if (body is loop.body and condition is loop.condition and counted == (loop.count is not None)
            and all(live) and all(tapes) and all(kept) and all(kept_by_condition)):
        return equation
    narrowed = sweep(Program(_chosen((*constants, *carries), [*kept, *live]), body.equations,
                             _chosen(body.outputs, [*live, *tapes]), body.name))
    asking = Program(_chosen((*condition_constants, *condition_carries), [*kept_by_condition, *live]), condition.equations,
                     condition.outputs, condition.name)
    return replace(
        loop, condition=asking, body=narrowed, condition_constants=_chosen(loop.condition_constants, kept_by_condition),
        constants=_chosen(loop.constants, kept), carries=_chosen(loop.carries, live), finals=_chosen(loop.finals, live),
        count=loop.count if counted else None, tapes=_chosen(loop.tapes, tapes)).build()


def _narrow_cond(equation: Equation, needed: set[Atom], sweep: Sweep) -> Equation:
    branches = branches_of(equation)
    results = [v in needed for v in equation.outputs]
    narrowed = tuple([
        sweep(branch if all(results) else Program(branch.inputs, branch.equations, _chosen(branch.outputs, results),
                                                  branch.name))
        for branch in branches])
    operands = [False] * (len(equation.inputs) - 1)
    for branch in narrowed:
        reached = _reached(branch, branch.outputs, {})
        operands = [flag or v in reached for flag, v in zip(operands, branch.inputs, strict=True)]
    if all(results) and all(operands) and all(a is b for a, b in zip(narrowed, branches, strict=True)):
        return equation
    return with_branches(
        equation,
        tuple([Program(_chosen(b.inputs, operands), b.equations, b.outputs, b.name) for b in narrowed]),
        _chosen(equation.inputs[1:], operands), _chosen(equation.outputs, results))


_RULES: dict[str, Callable[[Equation, set[Atom], Sweep], Equation]] = {
    "scan": _narrow_scan, "while": _narrow_while, "cond": _narrow_cond, "sort": narrow_sort,
}
