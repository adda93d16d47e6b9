"""What the functions of this face have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.core import current_builder
from gradxform.dtypes import inexact
from gradxform.numpy.dispatch import SPECIAL, as_inexact
from gradxform.operands import broadcast_operands, lift, promote_operands
from gradxform.scipy.facing import faces_of

#: Makes a staged function the face of SciPy's.
traced = faces_of("scipy.special", SPECIAL)


def float_operands(name: str, *values: Any) -> list[Any]:
    """The values as operands of one float dtype, each in its own shape, traced where something is recorded."""
    operands = promote_operands(name, *values)
    if current_builder() is None:
        return [np.asarray(part, inexact(np.asarray(part).dtype))[()] for part in operands]
    return [lift(name, as_inexact(name, part)) for part in operands]


def operands_of(name: str, *values: Any) -> list[Any]:
    """The values as operands of one float dtype whose shapes are equal or of rank 0."""
    operands = broadcast_operands(name, float_operands(name, *values))
    return operands if current_builder() is None else [lift(name, operand) for operand in operands]


def elementwise(name: str, constructor: Callable[..., Any], *values: Any) -> Any:
    """A primitive of promoted and broadcast values."""
    return lift(name, constructor(*operands_of(name, *values)))
