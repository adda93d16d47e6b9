"""Programs put in the places of the equations that hold them."""

from __future__ import annotations

from collections.abc import Mapping

from gradxform.ir.program import Atom, Equation, Literal, Program, Source, Var

#: The parameter that holds the program for which an equation stands, by operation.
CALLS: Mapping[str, str] = {"call": "program"}


def inline_calls(program: Program, called: Mapping[str, str] = CALLS) -> Program:
    """``program`` with the equations of ``called`` programs in the places of the calls, at every depth.

    Inlined equations keep their own source, or take that of the call. The same object if nothing is called.
    """
    if not any(equation.operation.name in called for equation in program.equations):
        return program
    equations: list[Equation] = []
    environment: dict[Atom, Atom] = {}
    copy_equations(program, environment, equations, None, called, fresh=False)
    outputs = tuple([environment.get(x, x) for x in program.outputs])
    return Program(program.inputs, tuple(equations), outputs, program.name)


def copy_equations(
    program: Program, environment: dict[Atom, Atom], equations: list[Equation], source: Source | None,
    called: Mapping[str, str] = CALLS, *, fresh: bool,
) -> None:
    """Append the equations of ``program``, its variables renamed by ``environment``, its calls inlined.

    With ``fresh`` they define new variables, which ``environment`` then names: a program may stand in several places.
    """
    for equation in program.equations:
        inputs = tuple([environment.get(x, x) for x in equation.inputs])
        name = equation.operation.name
        held: Program | None = dict(equation.params)[called[name]] if name in called else None
        if held is not None:
            inner: dict[Atom, Atom] = dict(zip(held.inputs, inputs, strict=True))
            copy_equations(held, inner, equations, equation.source or source, called, fresh=True)
            for var, result in zip(equation.outputs, held.outputs, strict=True):
                environment[var] = result if isinstance(result, Literal) else inner.get(result, result)
            continue
        outputs = equation.outputs
        if fresh:
            outputs = tuple([Var(var.type) for var in outputs])
            environment.update(zip(equation.outputs, outputs, strict=True))
        equations.append(Equation(equation.operation, inputs, equation.params, outputs, equation.source or source))
