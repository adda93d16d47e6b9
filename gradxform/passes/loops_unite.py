"""Carries that are equal in every iteration become one.

    { b c = scan[body={ lambda s u x . let t = mul s x ; v = mul u x in (t, v) }] 1.0 1.0 a in (b, c) }
      ->  { b = scan[body={ lambda s x . let t = mul s x in (t) }] 1.0 a in (b, b) }

They are if they start equal, and if their next values are equal whenever they are themselves. Derivatives of second
order carry tangents twice, once for each way to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.passes.cse import share
from gradxform.passes.loop_forms import Scan, While, renamed
from gradxform.passes.rewriting import Vocabulary


def unite(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with carries of its loops that are equal united; the same object if there are none."""
    if not any(equation.operation.name in _RULES for equation in program.equations):
        return program
    environment: dict[Atom, Atom] = {}
    equations: list[Equation] = []
    for equation in program.equations:
        inputs = tuple([environment.get(x, x) for x in equation.inputs]) if environment else equation.inputs
        if inputs != equation.inputs:
            equation = replace(equation, inputs=inputs)
        rule = _RULES.get(equation.operation.name)
        equations.append(equation if rule is None else rule(equation, environment, vocabulary))
    if not environment:
        return program
    return Program(program.inputs, tuple(equations), tuple([environment.get(x, x) for x in program.outputs]), program.name)


def _leaders(body: Program, carries: Sequence[Var], starts: Sequence[Atom], vocabulary: Vocabulary) -> list[int]:
    """For each carry the first one that it is always equal to."""
    first: dict[object, int] = {}
    leaders = [first.setdefault((_key(x), v.type.dtype), i) for i, (v, x) in enumerate(zip(carries, starts, strict=True))]
    while any(leader != i for i, leader in enumerate(leaders)):
        assumed: dict[Atom, Atom] = {v: carries[leader] for v, leader in zip(carries, leaders, strict=True)}
        outputs = share(renamed(body, assumed, body.inputs), vocabulary).outputs
        first = {}
        found = [first.setdefault((leader, _key(outputs[i])), i) for i, leader in enumerate(leaders)]
        if found == leaders:
            break
        leaders = found
    return leaders


def _key(atom: Atom) -> object:
    return (atom.type.dtype.str, atom.value.tobytes()) if isinstance(atom, Literal) else atom


def _scan(equation: Equation, environment: dict[Atom, Atom], vocabulary: Vocabulary) -> Equation:
    scan = Scan.of(equation)
    _, carries, _ = scan.inputs_of_body()
    leaders = _leaders(scan.body, carries, scan.carries, vocabulary)
    kept = [i for i, leader in enumerate(leaders) if leader == i]
    if len(kept) == len(leaders):
        return equation
    environment.update((v, scan.finals[leader]) for v, leader in zip(scan.finals, leaders, strict=True) if v is not
                       scan.finals[leader])
    body = _united(scan.body, carries, leaders)
    return replace(scan, body=body, carries=tuple([scan.carries[i] for i in kept]),
                   finals=tuple([scan.finals[i] for i in kept])).build()


def _while(equation: Equation, environment: dict[Atom, Atom], vocabulary: Vocabulary) -> Equation:
    loop = While.of(equation)
    _, carries = loop.inputs_of_body()
    leaders = _leaders(loop.body, carries, loop.carries, vocabulary)
    kept = [i for i, leader in enumerate(leaders) if leader == i]
    if len(kept) == len(leaders):
        return equation
    environment.update((v, loop.finals[leader]) for v, leader in zip(loop.finals, leaders, strict=True) if v is not
                       loop.finals[leader])
    constants, asked = loop.inputs_of_condition()
    condition = renamed(loop.condition, {asked[i]: asked[leader] for i, leader in enumerate(leaders)},
                        [*constants, *(asked[i] for i in kept)])
    return replace(loop, condition=condition, body=_united(loop.body, carries, leaders),
                   carries=tuple([loop.carries[i] for i in kept]), finals=tuple([loop.finals[i] for i in kept])).build()


def _united(body: Program, carries: Sequence[Var], leaders: Sequence[int]) -> Program:
    gone: dict[Atom, Atom] = {carries[i]: carries[leader] for i, leader in enumerate(leaders) if i != leader}
    outputs = [x for i, x in enumerate(body.outputs) if i >= len(leaders) or leaders[i] == i]
    return renamed(Program(body.inputs, body.equations, tuple(outputs), body.name), gone,
                   [v for v in body.inputs if v not in gone])


_RULES: dict[str, Callable[[Equation, dict[Atom, Atom], Vocabulary], Equation]] = {"scan": _scan, "while": _while}
