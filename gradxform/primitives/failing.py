"""Failures that compiled code finds out by itself.

Passes write an equation where a routine that they have replaced would have failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from gradxform.core import Primitive, Refuses
from gradxform.errors import LinAlgError
from gradxform.ir import ArrayType
from gradxform.loopir.lowering import Native, Operand
from gradxform.loopir.routine import Routine


def _type(condition: ArrayType, *, message: str) -> tuple[ArrayType, ...]:
    return ()


def _evaluate(condition: Any, *, message: str) -> tuple[Any, ...]:
    if condition:
        raise LinAlgError(message)
    return ()


def _reference(condition: Any, message: str) -> tuple[Any, ...]:
    if condition:
        raise np.linalg.LinAlgError(message)
    return ()


def _lower(operands: Sequence[Operand], results: Sequence[ArrayType], *, message: str) -> Native:
    routine = Routine("fail.when", (), lambda condition: _reference(condition, message), (message,))
    return Native(routine, (), effect=True)


def _batch(operands: Sequence[Any], batched: Sequence[bool], size: int, *, message: str) -> NoReturn:
    raise AssertionError("fail_when stands in compiled programs only")


#: A LinAlgError with the message if the condition, a boolean of rank 0, holds; it has no results.
fail_when_p = Primitive(
    "fail_when",
    type=_type,
    evaluate=_evaluate,
    jvp=Refuses("fail_when stands in compiled programs only"),
    transpose=Refuses("fail_when stands in compiled programs only"),
    batch=_batch,
    lower=_lower,
    multiple=True,
)

PRIMITIVES = (fail_when_p,)
