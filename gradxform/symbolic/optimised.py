"""The optimised program of a function as expressions again, to be printed and walked through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.api.lowered import optimised
from gradxform.api.tracing import trace
from gradxform.dtypes import canonical
from gradxform.errors import GradxformError
from gradxform.ir import ArrayType, Program
from gradxform.ir.printer import param_text
from gradxform.ir.program import Literal
from gradxform.symbolic.graph import Apply, Operation, TensorType
from gradxform.symbolic.variables import Constant, Variable

__all__ = ["Graph", "Number", "ProgramOperation"]

#: Extents that are tried for unknown ones, while a function was not called yet.
_EXTENTS = (12, 1, 2, 3, 4)


class Number(Constant):
    """A number in an optimised program."""


class ProgramOperation(Operation):
    """An operation of an optimised program. ``params`` are its parameters as text."""

    def __init__(self, name: str, params: tuple[tuple[str, Any], ...]) -> None:
        self.name = name
        self.values = dict(params)
        self.params = ", ".join([f"{key}={param_text(value)}" for key, value in params])


class Graph:
    """What is compiled: ``inputs`` and optimised ``outputs``, and the ``program`` itself."""

    def __init__(self, run: Callable[..., Any], arguments: Sequence[Any], plan: Callable[[], Any]) -> None:
        self._run = run
        self._arguments = arguments
        self._plan = plan

    def _traced(self) -> Any:
        plan, shapes = self._plan()
        if shapes is not None:
            return self._trace(plan, shapes)
        failure: GradxformError | None = None
        for extent in _EXTENTS:
            taken = [tuple([extent if n is None else n for n in node.type.shape]) for node in self._arguments]
            try:
                return self._trace(plan, taken)
            except GradxformError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _trace(self, plan: Any, shapes: Sequence[tuple[int, ...]]) -> Any:
        types = [ArrayType(canonical(node.type.dtype), shape) for node, shape in zip(self._arguments, shapes, strict=True)]
        return trace(self._run, [None] * len(types), types, lambda leaves: ((plan, *leaves), {}), "function", known=False)

    @property
    def program(self) -> Program:
        """The optimised program."""
        return optimised(self._traced().program)

    @property
    def inputs(self) -> list[Any]:
        return list(self._arguments)

    @property
    def outputs(self) -> list[Any]:
        """The outputs as expressions of the inputs, after optimisation."""
        traced = self._traced()
        program = optimised(traced.program)
        captured = [Constant(np.asarray(value)) for value in traced.captures]
        values: dict[Any, Any] = dict(zip(program.inputs, [*self._arguments, *captured], strict=True))

        def variable(atom: Any) -> Any:
            return Number(atom.value) if isinstance(atom, Literal) else values[atom]

        for equation in program.equations:
            operation = ProgramOperation(equation.operation.name, equation.params)
            apply = Apply(operation, [variable(atom) for atom in equation.inputs])
            apply.outputs = [Variable(TensorType(var.type.dtype.name, var.type.shape), None, apply, index)
                             for index, var in enumerate(equation.outputs)]
            values.update(zip(equation.outputs, apply.outputs, strict=True))
        return [variable(atom) for atom in program.outputs]
