"""How a function of this face is called: SciPy's own while nothing is recorded, the staged one inside a transform."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from gradxform.core import current_builder
from gradxform.dtypes import inexact
from gradxform.numpy.dispatch import SPECIAL, as_inexact, call_staged
from gradxform.operands import broadcast_operands, lift, promote_operands

Function = TypeVar("Function", bound=Callable[..., Any])


def traced(staged: Function) -> Function:
    """The face of SciPy's function of that name, which is imported when it is first called."""
    name = staged.__name__

    @functools.wraps(staged)
    def function(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is None:
            import scipy.special

            return getattr(scipy.special, name)(*args, **kwargs)
        return call_staged(staged, args, kwargs)

    SPECIAL[name] = staged
    return cast(Function, function)


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
