"""Batching.

    batch : (a -> b)  ->  [a] -> [b]        law: batch(f)(xs) = stack of f(x)

Batch axes are always axis 0: moving them there and back are views and cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform.core import Builder, replay
from gradxform.ir import ArrayType, Literal, Program, Var


def batch(program: Program, batched: Sequence[bool], size: int) -> tuple[Program, tuple[bool, ...]]:
    """The program over ``size`` lanes; inputs flagged ``batched`` gain a leading axis.

    The second result flags the outputs that have one; the others are the same for all lanes.
    """
    builder = Builder("vmap")
    with builder:
        arguments = [
            builder.add_input(ArrayType(v.type.dtype, (size, *v.type.shape)) if flag else v.type)
            for v, flag in zip(program.inputs, batched, strict=True)
        ]
        outputs, flags = record_batched(builder, program, arguments, batched, size)
        result, captures = builder.finish(outputs)
    assert not captures, "a batching rule captured an array"
    return result, tuple(flags)


def record_batched(
    builder: Builder, program: Program, arguments: Sequence[Any], batched: Sequence[bool], size: int
) -> tuple[list[Any], list[bool]]:
    """Record the batched ``program`` into ``builder``."""
    values: dict[Var, Any] = dict(zip(program.inputs, arguments, strict=True))
    lanes: dict[Var, bool] = dict(zip(program.inputs, batched, strict=True))
    outer_source = builder.source
    for equation in program.equations:
        builder.source = outer_source or equation.source
        operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
        flags = [isinstance(x, Var) and lanes[x] for x in equation.inputs]
        params = dict(equation.params)
        operation = equation.operation
        if not any(flags):
            results: Sequence[Any] = replay(equation, operands)
            out_flags: Sequence[bool] = [False] * len(equation.outputs)
        elif operation.multiple:
            results, out_flags = operation.batch(operands, flags, size, **params)
        else:
            result, out_flag = operation.batch(operands, flags, size, **params)
            results, out_flags = [result], [out_flag]
        values.update(zip(equation.outputs, results, strict=True))
        lanes.update(zip(equation.outputs, out_flags, strict=True))
    builder.source = outer_source
    outputs = [x.value if isinstance(x, Literal) else values[x] for x in program.outputs]
    return outputs, [isinstance(x, Var) and lanes[x] for x in program.outputs]
