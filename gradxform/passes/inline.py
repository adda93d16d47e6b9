"""Inlining of calls.

    { b = call[program={ lambda x . let y = sin x in (y) }] a in (b) }  ->  { b = sin a in (b) }
"""

from __future__ import annotations

from gradxform.ir import Atom, Equation, Literal, Program, Source, Var
from gradxform.passes.rewriting import Vocabulary


def inline(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with the equations of called programs in the places of the calls, at every depth.

    Inlined equations keep their own source, or take that of the call. The same object if nothing is called.
    """
    if not any(equation.operation.name == "call" for equation in program.equations):
        return program
    equations: list[Equation] = []
    environment: dict[Atom, Atom] = {}
    _copy(program, environment, equations, None, fresh=False)
    outputs = tuple([environment.get(x, x) for x in program.outputs])
    return Program(program.inputs, tuple(equations), outputs, program.name)


def _copy(
    program: Program, environment: dict[Atom, Atom], equations: list[Equation], source: Source | None, *, fresh: bool
) -> None:
    """Append the equations of ``program``; with ``fresh`` outputs, since a program may be called more than once."""
    for equation in program.equations:
        inputs = tuple([environment.get(x, x) for x in equation.inputs])
        if equation.operation.name == "call":
            called: Program = dict(equation.params)["program"]
            inner: dict[Atom, Atom] = dict(zip(called.inputs, inputs, strict=True))
            _copy(called, inner, equations, equation.source or source, fresh=True)
            for var, result in zip(equation.outputs, called.outputs, strict=True):
                environment[var] = result if isinstance(result, Literal) else inner.get(result, result)
            continue
        outputs = equation.outputs
        if fresh:
            outputs = tuple([Var(var.type) for var in outputs])
            environment.update(zip(equation.outputs, outputs, strict=True))
        equations.append(Equation(equation.operation, inputs, equation.params, outputs, equation.source or source))
