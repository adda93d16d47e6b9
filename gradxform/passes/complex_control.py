"""Rules for complex numbers in control flow and in calls into Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradxform.dtypes import complex_dtype, is_complex, part_dtype
from gradxform.ir import ArrayType, Equation, Var
from gradxform.ir.callback import Callback, Results
from gradxform.passes.complex_lowering import as_parts, complex_operands
from gradxform.passes.complex_writer import Writer, changed


def scan(writer: Writer, equation: Equation) -> None:
    params = dict(equation.params)
    first = 1 if params["length"] < 0 else 0
    second = first + params["constants"]
    third = second + params["carries"]
    inputs = equation.inputs
    writer.append(equation, tuple(writer.flat(inputs)), changed(
        equation, body=writer.inner(params["body"]), constants=writer.count(inputs[first:second]),
        carries=writer.count(inputs[second:third])), writer.results(equation.outputs))


def while_loop(writer: Writer, equation: Equation) -> None:
    params = dict(equation.params)
    first = params["condition_constants"]
    second = first + params["body_constants"]
    inputs = equation.inputs
    writer.append(equation, tuple(writer.flat(inputs)), changed(
        equation, condition=writer.inner(params["condition"]), body=writer.inner(params["body"]),
        condition_constants=writer.count(inputs[:first]), body_constants=writer.count(inputs[first:second])),
        writer.results(equation.outputs))


def cond(writer: Writer, equation: Equation) -> None:
    branches = tuple([writer.inner(branch) for branch in dict(equation.params)["branches"]])
    writer.append(equation, tuple(writer.flat(equation.inputs)), changed(equation, branches=branches),
                  writer.results(equation.outputs))


def callback(writer: Writer, equation: Equation) -> None:
    """Python takes and gives complex arrays: whole ones, as they lie in memory."""
    params = dict(equation.params)
    flags = tuple([is_complex(x.type.dtype) for x in equation.inputs])
    operands = [writer.memory(x) for x in equation.inputs]
    results: Results = tuple([
        (part_dtype(dtype), (*shape, 2)) if is_complex(dtype) else (dtype, shape) for dtype, shape in params["results"]])
    of_results = tuple([is_complex(dtype) for dtype, _ in params["results"]])
    outputs = [Var(ArrayType(dtype, shape)) if flag else var
               for var, flag, (dtype, shape) in zip(equation.outputs, of_results, results, strict=True)]
    writer.append(equation, operands, changed(
        equation, callback=interleaving(params["callback"], flags, of_results), results=results), outputs)
    for var, memory, flag in zip(equation.outputs, outputs, of_results, strict=True):
        if flag:
            writer.pairs[var] = writer.separated(memory)


def interleaving(callback: Callback, operands: tuple[bool, ...], results: tuple[bool, ...]) -> Callback:
    """The same callback for complex operands and results given as real arrays of shape S + (2,)."""

    def call(values: Sequence[Any], types: Results) -> list[Any]:
        given = complex_operands(values, operands)
        wanted = tuple([(complex_dtype(dtype), shape[:-1]) if flag else (dtype, shape)
                        for (dtype, shape), flag in zip(types, results, strict=True)])
        found = callback.call(given, wanted)
        return [as_parts(value) if flag else value for value, flag in zip(found, results, strict=True)]

    return Callback(callback.name, call, callback.identity, (operands, results), callback.around)


def custom_linear(writer: Writer, equation: Equation) -> None:
    # One without a forward direction, or it had been inlined: lowering it says why that is an error.
    equation.operation.lower((), (), **dict(equation.params))
