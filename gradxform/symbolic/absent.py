"""Variables that a derivative is taken with respect to, and whose values it does not need: ``Lop(dot(x, W), W, v)``.

They need not be inputs of a function. Their extents follow from those of the inputs: they are those for which the expression
can be computed, and that it is not needed is seen in its optimised program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from gradxform.api.lowered import optimised
from gradxform.api.tracing import trace
from gradxform.core.source import user_line
from gradxform.dtypes import canonical
from gradxform.errors import GradxformError
from gradxform.ir import ArrayType
from gradxform.symbolic.failures import MissingInputError
from gradxform.symbolic.graph import Node

__all__ = ["Absent"]

_MOST = 400
#: Extents that nothing has by chance, a prime and one with many divisors: if they will do, an extent is not determined.
_STRANGE = (1009, 5040)
_USUAL = 12

_UNDETERMINED = ", whose shape does not follow from those of the inputs"

Shapes = tuple[tuple[int, ...], ...]


class Absent:
    """The ``missing`` variables of a function ``run(plan, *values, *missing values)``, and their extents."""

    def __init__(self, missing: Sequence[Node], present: Sequence[Node], run: Callable[..., Any]) -> None:
        self.missing = tuple(missing)
        self._present = tuple(present)
        self._run = run
        self._found: dict[Any, Shapes] = {}

    def _program(self, plan: Any, shapes: Sequence[tuple[int, ...]]) -> Any:
        nodes = [*self._present, *self.missing]
        types = [ArrayType(canonical(node.type.dtype), shape) for node, shape in zip(nodes, shapes, strict=True)]
        traced = trace(self._run, [None] * len(types), types, lambda leaves: ((plan, *leaves), {}), "function", known=False)
        return traced.program

    def _fits(self, plan: Any, shapes: Sequence[tuple[int, ...]]) -> bool:
        try:
            self._program(plan, shapes)
        except (GradxformError, ValueError, IndexError):
            return False
        return True

    def _refuse(self, nodes: Sequence[Node], why: str) -> MissingInputError:
        listed = ", ".join(map(str, nodes))
        return MissingInputError(f"function: the outputs need {listed}{why}: add to the inputs, or give values with givens"
                                 f"{user_line()}")

    def check(self, plan: Any) -> None:
        """Raises MissingInputError if a value is needed, as far as that is seen before shapes are known."""
        shapes = [tuple([_USUAL if n is None else n for n in node.type.shape]) for node in (*self._present, *self.missing)]
        if self._fits(plan, shapes):
            self._check_unused(plan, shapes)

    def _check_unused(self, plan: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        program = optimised(self._program(plan, shapes))
        used = {atom for equation in program.equations for atom in equation.inputs} | set(program.outputs)
        start = len(self._present)
        needed = [node for position, node in enumerate(self.missing) if program.inputs[start + position] in used]
        if needed:
            raise self._refuse(needed, ", which is no input")

    def shapes(self, plan: Any, given: Sequence[tuple[int, ...]]) -> Shapes:
        """The extents of the missing variables for inputs of these shapes."""
        key = plan, tuple(given)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._determined(plan, given)
            self._check_unused(plan, [*given, *found])
        return found

    def _determined(self, plan: Any, given: Sequence[tuple[int, ...]]) -> Shapes:
        unknown = [(k, axis) for k, node in enumerate(self.missing) for axis, n in enumerate(node.type.shape) if n is None]
        # The largest first: an extent of 1 would be repeated wherever another one fits.
        extents = sorted({n for shape in given for n in shape}, reverse=True)
        found: tuple[int, ...] | None = None
        for chosen in itertools.islice(itertools.product(extents, repeat=len(unknown)), _MOST):
            repeated = found is not None and all(n in (1, m) for n, m in zip(chosen, found, strict=True))
            if repeated or not self._fits(plan, [*given, *self._filled(dict(zip(unknown, chosen, strict=True)))]):
                continue
            if found is not None:
                raise self._refuse(self.missing, _UNDETERMINED)
            found = chosen
        if found is None:
            raise self._refuse(self.missing, ", whose shape is not found")
        best = dict(zip(unknown, found, strict=True))
        for place, extent in itertools.product(unknown, _STRANGE):
            if self._fits(plan, [*given, *self._filled(best | {place: extent})]):
                raise self._refuse([self.missing[place[0]]], _UNDETERMINED)
        return self._filled(best)

    def _filled(self, extents: dict[tuple[int, int], int]) -> Shapes:
        return tuple([tuple([extents.get((k, axis), 0) if n is None else n for axis, n in enumerate(node.type.shape)])
                      for k, node in enumerate(self.missing)])
