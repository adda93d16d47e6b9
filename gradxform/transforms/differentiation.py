"""Forward mode.

    jvp : (a -> b)  ->  (a, Ta) -> (b, Tb)

Zero tangents are symbolic: an input without a tangent, or an output that does not depend on any, has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform.core import Builder, bind_all
from gradxform.dtypes import is_float
from gradxform.ir import Equation, Literal, Program, Var


def jvp(program: Program, nonzero: Sequence[bool]) -> tuple[Program, tuple[bool, ...]]:
    """The program of values and tangents.

    Its inputs are those of ``program``, then a tangent for each input that is ``nonzero``; its outputs are those of
    ``program``, then a tangent for each output whose flag in the second result is set.
    """
    builder = Builder("jvp")
    with builder:
        primals = [builder.add_input(var.type) for var in program.inputs]
        tangents = [builder.add_input(var.type.strong()) if flag else None
                    for var, flag in zip(program.inputs, nonzero, strict=True)]
        values, derivatives = push_forward(builder, program, primals, tangents)
        depends = tuple(t is not None for t in derivatives)
        result, captures = builder.finish([*values, *(t for t in derivatives if t is not None)])
    assert not captures, "a derivative rule captured an array"
    return result, depends


def push_forward(
    builder: Builder, program: Program, primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """Record ``program`` and its tangents into ``builder``; tangents are None where they are zero."""
    values: dict[Var, Any] = dict(zip(program.inputs, primals, strict=True))
    derivatives: dict[Var, Any] = {v: t for v, t in zip(program.inputs, tangents, strict=True) if t is not None}
    outer_source = builder.source
    for equation in program.equations:
        builder.source = outer_source or equation.source
        operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
        incoming = [None if isinstance(x, Literal) else derivatives.get(x) for x in equation.inputs]
        params = dict(equation.params)
        results = bind_all(equation.operation, operands, params)
        values.update(zip(equation.outputs, results, strict=True))
        if any(t is not None for t in incoming) and any(is_float(v.type.dtype) for v in equation.outputs):
            for var, tangent in zip(equation.outputs, _tangents(equation, operands, incoming, results, params),
                                    strict=True):
                if tangent is not None and is_float(var.type.dtype):
                    derivatives[var] = tangent
    builder.source = outer_source
    outputs = [x.value if isinstance(x, Literal) else values[x] for x in program.outputs]
    return outputs, [None if isinstance(x, Literal) else derivatives.get(x) for x in program.outputs]


def _tangents(
    equation: Equation, operands: Sequence[Any], incoming: Sequence[Any], results: Sequence[Any], params: dict[str, Any]
) -> Sequence[Any]:
    operation = equation.operation
    if operation.multiple:
        return operation.jvp(operands, incoming, results, **params)  # type: ignore[no-any-return]
    return (operation.jvp(operands, incoming, results[0], **params),)
