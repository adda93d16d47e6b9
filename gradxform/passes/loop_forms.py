"""The equations of loops and branches taken apart, and put together again.

    count:i64[], constants, carries, xs  ->  scan   ->  carries, ys
    condition and body constants, carries  ->  while  ->  carries [, count, tapes]
    index, operands  ->  cond  ->  results

Passes know these operations by name and by their parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gradxform.data_class import data_class
from gradxform.ir import Atom, Equation, Program, Var, programs_in
from gradxform.ir.callback import has_effect, may_fail

__all__ = ["Scan", "While", "branches_of", "has_effect", "may_fail", "programs_in", "renamed", "with_branches"]


@data_class(frozen=True, slots=True, eq=False)
class Scan:
    """A scan. ``count`` is the number of iterations as an operand, of which ``length`` is -1, or None."""

    equation: Equation
    body: Program
    count: Atom | None
    length: int
    reverse: bool
    checkpoint: int | str | None
    constants: tuple[Atom, ...]
    carries: tuple[Atom, ...]
    xs: tuple[Atom, ...]
    #: The results.
    finals: tuple[Var, ...]
    ys: tuple[Var, ...]

    @staticmethod
    def of(equation: Equation) -> Scan:
        params = dict(equation.params)
        first = 1 if params["length"] < 0 else 0
        second = first + params["constants"]
        third = second + params["carries"]
        operands, results = equation.inputs, equation.outputs
        return Scan(
            equation, params["body"], operands[0] if first else None, params["length"], params["reverse"],
            params["checkpoint"], operands[first:second], operands[second:third], operands[third:],
            results[:params["carries"]], results[params["carries"]:])

    @property
    def runs(self) -> bool:
        """Whether there is an iteration for sure."""
        return self.length > 0

    def inputs_of_body(self) -> tuple[tuple[Var, ...], tuple[Var, ...], tuple[Var, ...]]:
        """The body's inputs: constants, carries, elements of xs."""
        first, second = len(self.constants), len(self.constants) + len(self.carries)
        inputs = self.body.inputs
        return inputs[:first], inputs[first:second], inputs[second:]

    def build(self) -> Equation:
        """The equation of these parts."""
        params: dict[str, Any] = {
            "body": self.body, "carries": len(self.carries), "checkpoint": self.checkpoint,
            "constants": len(self.constants), "length": self.length, "reverse": self.reverse,
        }
        count = () if self.count is None else (self.count,)
        return Equation(self.equation.operation, (*count, *self.constants, *self.carries, *self.xs),
                        tuple(sorted(params.items())), (*self.finals, *self.ys), self.equation.source)


@data_class(frozen=True, slots=True, eq=False)
class While:
    """A while loop; ``count`` and ``tapes`` are results of a recorded one, else None and ()."""

    equation: Equation
    condition: Program
    body: Program
    condition_constants: tuple[Atom, ...]
    constants: tuple[Atom, ...]
    carries: tuple[Atom, ...]
    finals: tuple[Var, ...]
    count: Var | None
    tapes: tuple[Var, ...]

    @staticmethod
    def of(equation: Equation) -> While:
        params = dict(equation.params)
        first = params["condition_constants"]
        second = first + params["body_constants"]
        operands, results = equation.inputs, equation.outputs
        carries = len(operands) - second
        recorded = params["recorded"]
        return While(
            equation, params["condition"], params["body"], operands[:first], operands[first:second], operands[second:],
            results[:carries], results[carries] if recorded else None, results[carries + 1:])

    def inputs_of_body(self) -> tuple[tuple[Var, ...], tuple[Var, ...]]:
        """The body's inputs: constants, carries."""
        count = len(self.constants)
        return self.body.inputs[:count], self.body.inputs[count:]

    def inputs_of_condition(self) -> tuple[tuple[Var, ...], tuple[Var, ...]]:
        """The condition's inputs: constants, carries."""
        count = len(self.condition_constants)
        return self.condition.inputs[:count], self.condition.inputs[count:]

    def build(self) -> Equation:
        """The equation of these parts."""
        params: dict[str, Any] = {
            "body": self.body, "body_constants": len(self.constants), "condition": self.condition,
            "condition_constants": len(self.condition_constants), "recorded": self.count is not None,
        }
        counted = () if self.count is None else (self.count, *self.tapes)
        return Equation(self.equation.operation, (*self.condition_constants, *self.constants, *self.carries),
                        tuple(sorted(params.items())), (*self.finals, *counted), self.equation.source)


def branches_of(equation: Equation) -> tuple[Program, ...]:
    """The branches of a cond."""
    found: tuple[Program, ...] = dict(equation.params)["branches"]
    return found


def with_branches(
    equation: Equation, branches: tuple[Program, ...], operands: Sequence[Atom], results: Sequence[Var]
) -> Equation:
    """A cond with the same index."""
    return Equation(equation.operation, (equation.inputs[0], *operands), (("branches", branches),), tuple(results),
                    equation.source)


def renamed(program: Program, environment: dict[Atom, Atom], inputs: Sequence[Var]) -> Program:
    """``program`` with other ``inputs``, its atoms renamed by ``environment``."""
    equations = []
    for equation in program.equations:
        operands = tuple([environment.get(x, x) for x in equation.inputs])
        if operands != equation.inputs:
            equation = replace(equation, inputs=operands)
        equations.append(equation)
    return Program(tuple(inputs), tuple(equations), tuple([environment.get(x, x) for x in program.outputs]), program.name)
