"""The machine that rewriting passes share: one sweep over the equations, with a table of rules by operation name.

A rule looks at an equation through the definitions of its operands, which are already rewritten, and answers with the
atom that stands for its result, emitting new equations as it needs; or with None, and the equation stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive
from gradxform.dtypes import DType
from gradxform.ir import ArrayType, Atom, Equation, Literal, Program, Source, Var
from gradxform.ir.families import ELEMENTWISE as ELEMENTWISE

Vocabulary = Mapping[str, Primitive]
Params = tuple[tuple[str, Any], ...]
Rule = Callable[["Rewriter", tuple[Atom, ...], Params, ArrayType], "Atom | None"]


def literal(value: Any, dtype: DType) -> Literal:
    """A strong literal."""
    return Literal(dtype.type(value), ArrayType(dtype, ()))


def same_bits(left: Atom, right: Atom) -> bool:
    """One variable, or literals of the same dtype and bit pattern (so 0.0 is not -0.0, and NaN is NaN)."""
    if left is right:
        return True
    return (isinstance(left, Literal) and isinstance(right, Literal) and left.type.dtype == right.type.dtype
            and left.value.tobytes() == right.value.tobytes())


def fold(operation: Primitive, inputs: Sequence[Atom], params: Params, result: ArrayType) -> Literal | None:
    """The literal result of an operation on literals, or None if there is a variable, an axis or a sub-program."""
    if result.shape or not inputs or operation.multiple:
        return None
    for x in inputs:
        if not isinstance(x, Literal):
            return None
    for _, value in params:
        if isinstance(value, (Program, tuple)):
            return None
    with np.errstate(all="ignore"):
        value = operation.evaluate(*[np.asarray(x.value) for x in inputs if isinstance(x, Literal)], **dict(params))
    return Literal(result.dtype.type(value), result)


class Rewriter:
    """The program being written."""

    __slots__ = ("defined", "environment", "equations", "rules", "source", "vocabulary")

    def __init__(self, vocabulary: Vocabulary, rules: Mapping[str, Rule]) -> None:
        self.vocabulary = vocabulary
        self.rules = rules
        self.equations: list[Equation] = []
        self.defined: dict[Atom, Equation] = {}
        self.environment: dict[Atom, Atom] = {}
        self.source: Source | None = None

    def definition(self, atom: Atom, name: str) -> Equation | None:
        """The equation that defines ``atom`` if it applies the operation ``name``."""
        equation = self.defined.get(atom)
        return equation if equation is not None and equation.operation.name == name else None

    def scalar(self, atom: Atom) -> Atom | None:
        """The rank-0 atom of which all elements of ``atom`` are copies, if it is known to be one."""
        if not atom.type.shape:
            return atom
        equation = self.definition(atom, "broadcast")
        return equation.inputs[0] if equation is not None and not equation.inputs[0].type.shape else None

    def constant(self, atom: Atom) -> Any:
        """The NumPy scalar that all elements of ``atom`` are, or None if that is not known."""
        found = self.scalar(atom)
        return found.value if isinstance(found, Literal) else None

    def emit(self, name: str, *inputs: Atom, **params: Any) -> Atom:
        """The result of an operation, simplified if a rule knows how, else of a new equation."""
        operation = self.vocabulary[name]
        ordered = tuple(sorted(params.items()))
        (result,) = operation.result_types(tuple([x.type for x in inputs]), params)
        return self.apply(operation, inputs, ordered, result)

    def apply(self, operation: Primitive, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Atom:
        """As ``emit``, for a result type that is known already."""
        found = self.simplified(operation, inputs, params, result)
        return self.append(operation, inputs, params, result) if found is None else found

    def append(self, operation: Primitive, inputs: tuple[Atom, ...], params: Params, result: ArrayType) -> Var:
        """The result of a new equation."""
        var = Var(result)
        equation = Equation(operation, inputs, params, (var,), self.source)
        self.equations.append(equation)
        self.defined[var] = equation
        return var

    def simplified(
        self, operation: Primitive, inputs: tuple[Atom, ...], params: Params, result: ArrayType
    ) -> Atom | None:
        """What a rule says of this application, or None."""
        folded = fold(operation, inputs, params, result)
        if folded is not None:
            return folded
        rule = self.rules.get(operation.name)
        return None if rule is None else rule(self, inputs, params, result)

    def shaped(self, atom: Atom, shape: tuple[int, ...]) -> Atom:
        """``atom``, if it is of rank 0, repeated to ``shape``."""
        return atom if atom.type.shape == shape else self.emit("broadcast", atom, shape=shape, axes=())

    def full(self, value: Any, result: ArrayType) -> Atom:
        """A literal repeated to the shape of ``result``."""
        return self.shaped(literal(value, result.dtype), result.shape)

    def run(self, program: Program) -> Program:
        """``program`` rewritten; the same object if no rule applied."""
        environment, defined, equations = self.environment, self.defined, self.equations
        changed = False
        for equation in program.equations:
            inputs = equation.inputs
            if environment:
                renamed = tuple([environment.get(x, x) for x in inputs])
                if renamed != inputs:
                    equation = Equation(equation.operation, renamed, equation.params, equation.outputs, equation.source)
                    inputs = renamed
            outputs = equation.outputs
            if len(outputs) == 1:
                self.source = equation.source
                found = self.simplified(equation.operation, inputs, equation.params, outputs[0].type)
                if found is not None:
                    environment[outputs[0]] = found
                    changed = True
                    continue
                defined[outputs[0]] = equation
            equations.append(equation)
        if not changed:
            return program
        return Program(program.inputs, tuple(equations), tuple([environment.get(x, x) for x in program.outputs]),
                       program.name)
