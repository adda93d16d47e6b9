"""Forward mode.

    jvp : (a -> b)  ->  (a, Ta) -> (b, Tb)

Zero tangents are symbolic: an input without a tangent, or an output that does not depend on any, has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform.core import Builder, replay
from gradxform.dtypes import is_differentiable
from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.transforms.conditions import Masked, Masks, find_masks


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
    """Record ``program`` and its tangents into ``builder``; tangents are None where they are zero.

    Tangents that enter the branches of a select are masked where these could turn zeros into NaN; see `conditions`.
    """
    masked = find_masks(program, [t is not None for t in tangents])
    if masked is not None:
        return _push_masked(builder, masked, primals, tangents)
    values: dict[Var, Any] = dict(zip(program.inputs, primals, strict=True))
    derivatives: dict[Var, Any] = {v: t for v, t in zip(program.inputs, tangents, strict=True) if t is not None}
    outer_source = builder.source
    for equation in program.equations:
        builder.source = outer_source or equation.source
        operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
        incoming = [None if isinstance(x, Literal) else derivatives.get(x) for x in equation.inputs]
        results, outgoing = _pushed(equation, operands, incoming, dict(equation.params))
        values.update(zip(equation.outputs, results, strict=True))
        for var, tangent in zip(equation.outputs, outgoing, strict=True):
            if tangent is not None and is_differentiable(var.type.dtype):
                derivatives[var] = tangent
    builder.source = outer_source
    outputs = [x.value if isinstance(x, Literal) else values[x] for x in program.outputs]
    return outputs, [None if isinstance(x, Literal) else derivatives.get(x) for x in program.outputs]


def _push_masked(
    builder: Builder, masked: Masked, primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """`push_forward` with masks. Their predicates may be computed late, so tangents wait as long as they can."""
    program = masked.program
    values: dict[Var, Any] = dict(zip(program.inputs, primals, strict=True))
    derivatives: dict[Var, Any] = {v: t for v, t in zip(program.inputs, tangents, strict=True) if t is not None}
    masks = Masks(program, values)
    waiting: list[Equation] = []
    outer_source = builder.source

    def incoming(equation: Equation) -> list[Any]:
        found = [None if isinstance(x, Literal) else derivatives.get(x) for x in equation.inputs]
        for position, mask in enumerate(masked.masks.get(equation, ())):
            if mask is not None and found[position] is not None:
                found[position] = masks.apply(equation.inputs[position], found[position], mask)
        return found

    def operands(equation: Equation) -> list[Any]:
        return [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]

    def keep(equation: Equation, outgoing: Sequence[Any]) -> None:
        for var, tangent in zip(equation.outputs, outgoing, strict=True):
            if tangent is not None and is_differentiable(var.type.dtype):
                derivatives[var] = tangent

    def push(equations: Sequence[Equation]) -> None:
        for equation in equations:
            tangents_in = incoming(equation)
            if any(t is not None for t in tangents_in):
                builder.source = outer_source or equation.source
                tangent = equation.operation.jvp(
                    operands(equation), tangents_in, values[equation.outputs[0]], **dict(equation.params))
                keep(equation, (tangent,))

    for equation in program.equations:
        varies = any(v in masked.varying for v in equation.outputs)
        found: list[Any] = []
        if equation.operation.multiple and varies:
            now, waiting = _leading_to(equation.inputs, waiting)
            push(now)
            found = incoming(equation)
        elif varies:
            waiting.append(equation)
        builder.source = outer_source or equation.source
        params = dict(equation.params)
        if any(t is not None for t in found):
            results, outgoing = equation.operation.jvp(operands(equation), found, **params)
            keep(equation, outgoing)
        else:
            results = replay(equation, operands(equation))
        values.update(zip(equation.outputs, results, strict=True))
    push(waiting)
    builder.source = outer_source
    outputs = [x.value if isinstance(x, Literal) else values[x] for x in program.outputs]
    return outputs, [None if isinstance(x, Literal) else derivatives.get(x) for x in program.outputs]


def _leading_to(atoms: Sequence[Atom], equations: Sequence[Equation]) -> tuple[list[Equation], list[Equation]]:
    """The ``equations`` that ``atoms`` depend on, and the others, each in their order."""
    needed: dict[Atom, None] = dict.fromkeys(atoms)
    leading: list[Equation] = []
    others: list[Equation] = []
    for equation in reversed(equations):
        if any(v in needed for v in equation.outputs):
            needed.update(dict.fromkeys(equation.inputs))
            leading.append(equation)
        else:
            others.append(equation)
    return leading[::-1], others[::-1]


def _pushed(
    equation: Equation, operands: Sequence[Any], incoming: Sequence[Any], params: dict[str, Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The results of an equation and their tangents."""
    operation = equation.operation
    varies = any(t is not None for t in incoming) and any(is_differentiable(v.type.dtype) for v in equation.outputs)
    if varies and operation.multiple:
        return operation.jvp(operands, incoming, **params)  # type: ignore[no-any-return]
    results = replay(equation, operands)
    if not varies:
        return results, [None] * len(results)
    return results, (operation.jvp(operands, incoming, results[0], **params),)
