"""The record of a primitive operation: its name and all its rules, each of them required.

The conventions (``x`` are operands as traced values or arrays, ``t`` tangents, ``ct`` cotangents):

    type      (*ArrayType, **params) -> ArrayType                      a tuple of them if ``multiple``
    evaluate  (*ndarray, **params) -> ndarray                          the NumPy reference
    jvp       (primals, tangents, output, **params) -> tangent         None stands for a zero tangent, both ways
    transpose (ct, operands, **params) -> cotangents                   one per operand; linear operands come as
                                                                       Undefined, None stands for zero
    batch     (operands, batched, size, **params) -> (outputs, batched) batch axes are always axis 0
    lower     (operands, result_type, **params) -> Lowered             see loopir.lowering

``ct`` and batch outputs of a primitive with one result are that one value, not a tuple. A primitive with ``multiple``
results holds programs, whose values and tangents are best computed together: there the rule is
``jvp(primals, tangents, **params) -> (outputs, tangents)`` and stands in the place of the equation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from gradxform.data_class import data_class
from gradxform.errors import NotDifferentiableError
from gradxform.ir import ArrayType


@data_class(frozen=True, slots=True)
class Undefined:
    """Stands for a linear operand in a transpose rule: only its type is known."""

    type: ArrayType


@data_class(frozen=True, slots=True)
class Refuses:
    """A rule that cannot exist, with the reason that its caller is told."""

    reason: str

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotDifferentiableError(self.reason)


@data_class(frozen=True, slots=True, eq=False)
class Primitive:
    """One operation with all its rules. Leaving a rule out is a TypeError at import."""

    name: str
    type: Callable[..., Any]
    evaluate: Callable[..., Any]
    jvp: Callable[..., Any]
    transpose: Callable[..., Any]
    batch: Callable[..., Any]
    lower: Callable[..., Any]
    multiple: bool = False

    def result_types(self, operands: tuple[ArrayType, ...], params: dict[str, Any]) -> tuple[ArrayType, ...]:
        result = self.type(*operands, **params)
        return result if self.multiple else (result,)

    def __str__(self) -> str:
        return self.name
