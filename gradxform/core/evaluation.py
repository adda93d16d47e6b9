"""Running a program: with NumPy, equation by equation, or into the builder that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform.core.tracing import bind_all, current_builder
from gradxform.errors import CheckError
from gradxform.ir import Literal, Program, Var


def run(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program``.

    With no builder open this is the NumPy interpreter, the oracle for compiled code; inside one, the program's
    equations are recorded again (inlined) with their own sources.
    """
    if len(arguments) != len(program.inputs):
        raise CheckError(f"program takes {len(program.inputs)} inputs, got {len(arguments)}")
    values: dict[Var, Any] = dict(zip(program.inputs, arguments, strict=True))
    builder = current_builder()
    outer_source = builder.source if builder is not None else None
    try:
        for equation in program.equations:
            operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
            if builder is not None:
                builder.source = outer_source or equation.source
            values.update(
                zip(equation.outputs, bind_all(equation.operation, operands, dict(equation.params)), strict=True))
    finally:
        if builder is not None:
            builder.source = outer_source
    return [x.value if isinstance(x, Literal) else values[x] for x in program.outputs]
