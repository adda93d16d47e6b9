"""Running a program: with NumPy, equation by equation, or into the builder that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core.tracing import Tracer, current_builder, evaluate, fresh, replay, type_of
from gradxform.errors import CheckError
from gradxform.ir import Literal, Program, Var


def _interpret(program: Program, arguments: Sequence[Any]) -> list[Any]:
    values: dict[Var, Any] = {}
    for var, argument in zip(program.inputs, arguments, strict=True):
        values[var] = np.asarray(argument, dtype=type_of(argument).dtype)
    for equation in program.equations:
        operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
        results = evaluate(equation.operation, operands, dict(equation.params), equation.source)
        values.update(zip(equation.outputs, results, strict=True))
    return [fresh(x.value if isinstance(x, Literal) else values[x], arguments) for x in program.outputs]


def run(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The outputs of ``program``.

    With no builder open this is the NumPy interpreter, the oracle for compiled code; inside one, the program's
    equations are recorded again (inlined) with their own sources.
    """
    if len(arguments) != len(program.inputs):
        raise CheckError(f"program takes {len(program.inputs)} inputs, got {len(arguments)}")
    values: dict[Var, Any] = dict(zip(program.inputs, arguments, strict=True))
    builder = current_builder()
    if builder is None and not any(isinstance(x, Tracer) for x in arguments):
        return _interpret(program, arguments)
    outer_source = builder.source if builder is not None else None
    try:
        for equation in program.equations:
            operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
            if builder is not None:
                builder.source = equation.source or outer_source
            values.update(zip(equation.outputs, replay(equation, operands), strict=True))
    finally:
        if builder is not None:
            builder.source = outer_source
    return [x.value if isinstance(x, Literal) else values[x] for x in program.outputs]
