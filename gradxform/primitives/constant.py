"""Arrays that a rule of the user's brings into a program, where they cannot become inputs any more.

Tracing makes inputs of the arrays that a function closes over. The rules of a custom derivative are traced later, when
a transform meets the function, so that theirs stand in the program itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, Refuses, bind
from gradxform.ir import ArrayType, Opaque, Program
from gradxform.linear import broadcast
from gradxform.loopir.lowering import Expands, Operand
from gradxform.primitives.rules import no_tangent
from gradxform.primitives.shape import concatenate, reshape


class Constant(Opaque):
    """An array as a parameter, printed by the hash of its bytes."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = np.array(array)  # a copy: the caller's array may change later
        self.array.flags.writeable = False
        digest = hashlib.sha256(np.ascontiguousarray(self.array).tobytes()).hexdigest()[:32]
        super().__init__(f"{ArrayType(self.array.dtype, self.array.shape)}:{digest}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.label == other.label

    def __hash__(self) -> int:
        return hash(self.label)


def _lower(operands: Sequence[Operand], result: ArrayType, *, value: Constant) -> Expands:
    def build() -> Any:
        elements = list(value.array.reshape(-1))
        if not elements:
            return broadcast(result.dtype.type(0), result.shape, ())
        return reshape(concatenate([broadcast(x, (1,), ()) for x in elements], 0), result.shape)

    return Expands(build)


def hoist_constants(program: Program, captures: list[Any]) -> tuple[Program, list[Any]]:
    """``program`` with its own constants made further inputs, as arrays are that a function closes over."""
    constants = [e for e in program.equations if e.operation is constant_p]
    if not constants:
        return program, captures
    inputs = (*program.inputs, *(e.outputs[0] for e in constants))
    equations = tuple([e for e in program.equations if e.operation is not constant_p])
    arrays = [dict(e.params)["value"].array for e in constants]
    return Program(inputs, equations, program.outputs, program.name), [*captures, *arrays]


def constant_array(array: Any) -> Any:
    """``array``, of rank 1 or more, as an equation without operands."""
    return bind(constant_p, value=Constant(array))


constant_p = Primitive(
    "constant",
    type=lambda *, value: ArrayType(value.array.dtype, value.array.shape),
    evaluate=lambda *, value: value.array,
    jvp=no_tangent,
    transpose=Refuses("constant has no operands"),
    batch=Refuses("constant has no operands"),
    lower=_lower,
)

PRIMITIVES = (constant_p,)
