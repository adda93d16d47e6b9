"""Loops and branches that are none: their equations stand for themselves.

    { b = cond[branches=({ ... }, { lambda x . let y = sin x in (y) })] 1 a in (b) }  ->  { b = sin a in (b) }
    { b c = scan[length=1 body={ lambda s x . let t = add s x in (t, s) }] 0.0 a in (b, c) }
      ->  { x = reshape a ; b = add 0.0 x ; c = broadcast 0.0 in (b, c) }

A cond whose index is a literal, or that has one branch, is the branch; a scan of no iteration gives its first carries,
one of a single iteration is its body; a while loop whose condition is False does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.ir.inlining import copy_equations
from gradxform.passes.loop_forms import Scan, While, branches_of
from gradxform.passes.rewriting import Rewriter, Vocabulary, literal


def unroll(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` without loops of at most one iteration and without known choices; the same object if there are none."""
    if not any(equation.operation.name in _RULES for equation in program.equations):
        return program
    rewriter = Rewriter(vocabulary, {})
    environment = rewriter.environment
    changed = False
    for equation in program.equations:
        inputs = tuple([environment.get(x, x) for x in equation.inputs]) if environment else equation.inputs
        if inputs != equation.inputs:
            equation = Equation(equation.operation, inputs, equation.params, equation.outputs, equation.source)
        rule = _RULES.get(equation.operation.name)
        rewriter.source = equation.source
        results = None if rule is None else rule(rewriter, equation)
        if results is None:
            rewriter.equations.append(equation)
            continue
        changed = True
        environment.update(zip(equation.outputs, results, strict=True))
    if not changed:
        return program
    return Program(program.inputs, tuple(rewriter.equations), tuple([environment.get(x, x) for x in program.outputs]),
                   program.name)


def _copied(rewriter: Rewriter, program: Program, arguments: Sequence[Atom]) -> list[Atom]:
    environment: dict[Atom, Atom] = dict(zip(program.inputs, arguments, strict=True))
    copy_equations(program, environment, rewriter.equations, rewriter.source, {}, fresh=True)
    return [environment.get(x, x) for x in program.outputs]


def _scan(rewriter: Rewriter, equation: Equation) -> list[Atom] | None:
    scan = Scan.of(equation)
    if isinstance(scan.count, Literal) and scan.count.value <= 0 and not scan.ys:
        return list(scan.carries)
    if scan.length == 0:
        return [*scan.carries, *(rewriter.full(0, y.type) for y in scan.ys)]
    if scan.length != 1:
        return None
    elements = [rewriter.emit("reshape", x, shape=x.type.shape[1:]) for x in scan.xs]
    results = _copied(rewriter, scan.body, [*scan.constants, *scan.carries, *elements])
    count = len(scan.carries)
    return [*results[:count], *(_stack_of_one(rewriter, y, result) for y, result in zip(results[count:], scan.ys, strict=True))]


def _stack_of_one(rewriter: Rewriter, y: Atom, result: Var) -> Atom:
    shape = result.type.shape
    return rewriter.emit("reshape", y, shape=shape) if y.type.shape else rewriter.shaped(y, shape)


def _while(rewriter: Rewriter, equation: Equation) -> list[Atom] | None:
    loop = While.of(equation)
    (holds,) = loop.condition.outputs
    if not isinstance(holds, Literal) or holds.value or loop.tapes:
        return None
    return [*loop.carries, *([] if loop.count is None else [literal(0, np.dtype(np.int64))])]


def _cond(rewriter: Rewriter, equation: Equation) -> list[Atom] | None:
    branches, (index, *operands) = branches_of(equation), equation.inputs
    if len(branches) > 1 and not isinstance(index, Literal):
        return None
    number = min(max(int(index.value), 0), len(branches) - 1) if isinstance(index, Literal) else 0
    return _copied(rewriter, branches[number], operands)


_RULES: dict[str, Callable[[Rewriter, Equation], list[Atom] | None]] = {"scan": _scan, "while": _while, "cond": _cond}
