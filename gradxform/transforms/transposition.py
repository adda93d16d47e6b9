"""Reverse mode, by transposing the linear part.

    transpose : ((r, Ta) -o Tb)  ->  (r, Tb) -o Ta
    vjp       : (a -> b)  ->  (a, Tb) -> (b, Ta)        = jvp, split, transpose
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gradxform.core import Builder, Undefined, replay, run
from gradxform.data_class import data_class
from gradxform.dtypes import is_differentiable
from gradxform.errors import NotDifferentiableError
from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.ir.barriers import separated
from gradxform.linear import add, zeros
from gradxform.transforms.splitting import linearize


def shared(program: Program, linear: Sequence[bool]) -> Program:
    """``program`` with equal linear equations as one, so that what flows back through them is added up in front of them.

    A loss that says ``x @ w`` twice pulls back one product with ``x``, not two.
    """
    dependent: dict[Atom, None] = {v: None for v, flag in zip(program.inputs, linear, strict=True) if flag}
    found: dict[tuple[Any, ...], Equation] = {}
    same: dict[Atom, Atom] = {}
    equations: list[Equation] = []
    for equation in program.equations:
        inputs = tuple([same.get(x, x) for x in equation.inputs])
        if same and inputs != equation.inputs:
            equation = replace(equation, inputs=inputs)
        if any(x in dependent for x in inputs):
            dependent.update(dict.fromkeys(equation.outputs))
            if not equation.operation.multiple:
                earlier = found.setdefault((equation.operation, *inputs), equation)
                if earlier is not equation and _alike(earlier.params, equation.params):
                    same[equation.outputs[0]] = earlier.outputs[0]
                    continue
        equations.append(equation)
    if not same:
        return program
    return replace(program, equations=tuple(equations), outputs=tuple([same.get(x, x) for x in program.outputs]))


def _alike(left: Any, right: Any) -> bool:
    # Numbers that are equal need not be the same: 0.0 and -0.0, 1 and True.
    return bool(left == right) and repr(left) == repr(right)


def backward(builder: Builder, program: Program, arguments: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """Record the transpose of a linear program into ``builder``.

    ``arguments`` holds values for the known inputs and Undefined for the linear ones; ``cotangents`` one per output,
    None for zero. Returns a cotangent (or None) per linear input, in order.
    """
    program = separated(program, [isinstance(x, Undefined) for x in arguments])
    program = shared(program, [isinstance(x, Undefined) for x in arguments])
    values: dict[Var, Any] = dict(zip(program.inputs, arguments, strict=True))
    linear: dict[Var, None] = {v: None for v, x in values.items() if isinstance(x, Undefined)}
    outer_source = builder.source
    deferred = []
    for equation in program.equations:
        if any(x in linear for x in equation.inputs if isinstance(x, Var)):
            linear.update(dict.fromkeys(equation.outputs))
            deferred.append(equation)
        else:  # known values computed inside a linear program
            operands = [x.value if isinstance(x, Literal) else values[x] for x in equation.inputs]
            values.update(zip(equation.outputs, replay(equation, operands), strict=True))
    pulled: dict[Var, Any] = {}

    def accumulate(atom: Any, ct: Any) -> None:
        if ct is not None and isinstance(atom, Var) and atom in linear:
            earlier = pulled.get(atom)
            pulled[atom] = ct if earlier is None else add(earlier, ct)

    for atom, ct in zip(program.outputs, cotangents, strict=True):
        accumulate(atom, ct)
    for equation in reversed(deferred):
        incoming = [pulled.pop(v, None) for v in equation.outputs]
        if all(ct is None for ct in incoming):
            continue
        builder.source = outer_source or equation.source
        operands = [
            x.value if isinstance(x, Literal) else Undefined(x.type.strong()) if x in linear else values[x]
            for x in equation.inputs
        ]
        operation = equation.operation
        ct = incoming if operation.multiple else incoming[0]
        outgoing = operation.transpose(ct, operands, **dict(equation.params))
        for atom, ct in zip(equation.inputs, outgoing, strict=True):
            accumulate(atom, ct)
    builder.source = outer_source
    return [pulled.get(v) for v, x in zip(program.inputs, arguments, strict=True) if isinstance(x, Undefined)]


def transpose(program: Program, linear_inputs: Sequence[bool]) -> Program:
    """The transposed program: known inputs, then one cotangent per output, give one cotangent per linear input.

    Raises NotDifferentiableError if an output does not depend linearly on the linear inputs.
    """
    builder = Builder("transpose")
    with builder:
        arguments: list[Any] = []
        for var, is_linear in zip(program.inputs, linear_inputs, strict=True):
            arguments.append(Undefined(var.type.strong()) if is_linear else builder.add_input(var.type))
        cotangents = [builder.add_input(atom.type.strong()) for atom in program.outputs]
        results = backward(builder, program, arguments, cotangents)
        linear_types = [x.type for x in arguments if isinstance(x, Undefined)]
        complete = [zeros(t) if ct is None else ct for t, ct in zip(linear_types, results, strict=True)]
        transposed, captures = builder.finish(complete)
    assert not captures, "a transpose rule captured an array"
    return transposed


@data_class(frozen=True, slots=True, eq=False)
class Pullback:
    """``program`` takes the inputs of the original, then a cotangent for each output that ``depends`` on a wanted
    input; it gives the original's outputs, then a cotangent per wanted input, zeros where that is not ``connected``.
    """

    program: Program
    depends: tuple[bool, ...]
    connected: tuple[bool, ...]


def vjp(program: Program, wanted: Sequence[bool]) -> tuple[Program, tuple[bool, ...]]:
    """The program and the ``depends`` flags of `pull_back`."""
    pulled = pull_back(program, wanted)
    return pulled.program, pulled.depends


def pull_back(program: Program, wanted: Sequence[bool]) -> Pullback:
    """One program for the values and the cotangents of the ``wanted`` inputs."""
    for var, flag in zip(program.inputs, wanted, strict=True):
        if flag and not is_differentiable(var.type.dtype):
            raise NotDifferentiableError(f"vjp: an input of type {var.type} has no derivative: cast it to a float dtype")
    parts, depends = linearize(program, wanted)
    builder = Builder("vjp")
    with builder:
        primals = [builder.add_input(var.type) for var in program.inputs]
        cotangents = [builder.add_input(atom.type.strong())
                      for atom, flag in zip(program.outputs, depends, strict=True) if flag]
        known = run(parts.known, primals)
        values, residuals = known[: len(program.outputs)], known[len(program.outputs):]
        linear_types = [v.type.strong() for v, flag in zip(program.inputs, wanted, strict=True) if flag]
        pulled = backward(builder, parts.rest, [*residuals, *map(Undefined, linear_types)], cotangents)
        complete = [zeros(t) if ct is None else ct for t, ct in zip(linear_types, pulled, strict=True)]
        result, captures = builder.finish([*values, *complete])
    assert not captures, "a derivative rule captured an array"
    return Pullback(result, depends, tuple(ct is not None for ct in pulled))
