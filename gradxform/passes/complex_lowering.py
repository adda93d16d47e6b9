"""Operations whose rule for complex numbers follows from the way in which they are lowered.

A composition of other operations is taken apart; a native routine takes complex numbers as they lie in memory, and so does
an operation that has a sibling named ``..._parts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from gradxform.core import Builder, Primitive, Refuses
from gradxform.data_class import data_class
from gradxform.dtypes import complex_dtype, is_complex
from gradxform.errors import CompileError, NotDifferentiableError
from gradxform.ir import ArrayType, Equation, Var
from gradxform.loopir.lowering import Expands, Native
from gradxform.passes.complex_values import Real
from gradxform.passes.complex_writer import Rule, Writer, part_type
from gradxform.passes.rewriting import Vocabulary


@data_class(frozen=True, slots=True, eq=False)
class _Operand:
    """What a lowering rule may know of an operand before there are loops: its type."""

    type: ArrayType

    def __call__(self, index: Any) -> Any:
        raise AssertionError("an operand is read before there are loops")


def rule(vocabulary: Vocabulary, equation: Equation) -> Rule | None:
    """The rule that follows, or None."""
    operation = equation.operation
    sibling = vocabulary.get(f"{operation.name}_parts")
    if sibling is not None:
        return lambda writer, equation: _on_memory(writer, equation, sibling, {})
    types = [x.type for x in equation.outputs]
    try:
        lowered = operation.lower(
            [_Operand(x.type) for x in equation.inputs], types if operation.multiple else types[0], **dict(equation.params))
    except NotDifferentiableError:  # what Refuses to be lowered
        return None
    if isinstance(lowered, Native):
        paired = tuple([is_complex(x.type.dtype) for x in equation.inputs])
        return lambda writer, equation: _on_memory(writer, equation, in_memory(operation), {"paired": paired})
    if isinstance(lowered, Expands):
        return lambda writer, equation: _expand(writer, equation, lowered)
    return None


def _expand(writer: Writer, equation: Equation, lowered: Expands) -> None:
    builder = Builder("lowering")
    builder.source = equation.source
    with builder:
        built = lowered.build(*[builder.add_input(x.type) for x in equation.inputs])
        program, captures = builder.finish(built if equation.operation.multiple else [built])
    if captures:
        raise CompileError(f"{equation.operation.name}: its expansion captured an array")
    for var, x in zip(program.inputs, equation.inputs, strict=True):
        writer.bind(var, x)
    for var, x in zip(equation.outputs, writer.write(program), strict=True):
        writer.bind(var, x)


def _on_memory(writer: Writer, equation: Equation, operation: Primitive, more: dict[str, Any]) -> None:
    """The equation with operands and results as they lie in memory."""
    params = {**dict(equation.params), **more}
    operands = tuple([writer.memory(x) for x in equation.inputs])
    results = [Var(t) for t in operation.result_types(tuple([x.type for x in operands]), params)]
    writer.rewriter.equations.append(Equation(
        operation, operands, tuple(sorted(params.items())), tuple(results), equation.source))
    for var, memory in zip(equation.outputs, results, strict=True):
        writer.define(var, writer.separated(memory) if is_complex(var.type.dtype) else Real(memory, writer.rewriter))


@cache
def in_memory(operation: Primitive) -> Primitive:
    """An operation that is a native routine, on numbers as they lie in memory.

    ``paired`` tells which operands are complex numbers, given as real arrays of shape S + (2,); so are complex results.
    """

    def of(types: Sequence[ArrayType], paired: Sequence[bool]) -> tuple[ArrayType, ...]:
        return tuple([ArrayType(complex_dtype(t.dtype), t.shape[:-1]) if flag else t
                      for t, flag in zip(types, paired, strict=True)])

    def type_rule(*operands: ArrayType, paired: tuple[bool, ...], **params: Any) -> Any:
        types = tuple(map(_memory_type, operation.result_types(of(operands, paired), params)))
        return types if operation.multiple else types[0]

    def evaluate(*operands: Any, paired: tuple[bool, ...], **params: Any) -> Any:
        found = operation.evaluate(*complex_operands(operands, paired), **params)
        return tuple(map(_as_memory, found)) if operation.multiple else _as_memory(found)

    def lower(operands: Sequence[Any], results: Any, *, paired: tuple[bool, ...], **params: Any) -> Native:
        types = of([x.type for x in operands], paired)
        given = operation.result_types(types, params)
        native = operation.lower(list(map(_Operand, types)), given if operation.multiple else given[0], **params)
        reference = native.routine.reference

        def on_parts(*values: Any) -> list[Any]:
            return [_as_memory(np.asarray(x)) for x in reference(*complex_operands(values, paired))]

        return Native(replace(native.routine, reference=on_parts), native.batch)

    refused = Refuses(f"{operation.name} of parts stands in compiled programs only")
    return Primitive(f"{operation.name}_parts", type=type_rule, evaluate=evaluate, jvp=refused, transpose=refused,
                     batch=refused, lower=lower, multiple=operation.multiple)


def _memory_type(array_type: ArrayType) -> ArrayType:
    if not is_complex(array_type.dtype):
        return array_type
    return part_type(array_type).with_shape((*array_type.shape, 2))


def complex_operands(values: Sequence[Any], paired: Sequence[bool]) -> list[Any]:
    """Operands, those that are ``paired`` as complex arrays."""
    return [as_complex(value) if flag else value for value, flag in zip(values, paired, strict=True)]


def _as_memory(value: Any) -> Any:
    return as_parts(value) if is_complex(value.dtype) else value


def as_complex(value: Any) -> Any:
    """An array of parts as the complex one of the same memory; a NumPy scalar for rank 0."""
    parts = np.ascontiguousarray(value)
    found = parts.view(complex_dtype(parts.dtype))[..., 0]
    found.flags.writeable = False
    return found if found.ndim else found[()]


def as_parts(value: Any) -> Any:
    """A complex array or number as an array of parts."""
    array = np.asarray(value)
    return np.stack([array.real, array.imag], -1)
