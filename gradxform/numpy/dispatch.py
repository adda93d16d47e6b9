"""How a function of the face is called: NumPy's own while nothing is recorded, the staged one inside a transform."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from gradxform import tree
from gradxform.api.disabling import jit_disabled
from gradxform.api.stepping import steppable
from gradxform.core import Tracer, current_builder
from gradxform.core.source import user_line
from gradxform.dtypes import inexact
from gradxform.errors import ArgumentError, DTypeError, ReadOnlyError
from gradxform.operands import as_operand, lift, supported_dtype
from gradxform.operands import cast as cast_operand
from gradxform.primitives.logic import convert

Function = TypeVar("Function", bound=Callable[..., Any])

#: NumPy's functions and ufuncs, each with what is recorded in its place.
STAGED: dict[Any, Callable[..., Any]] = {}
#: The same for functions of scipy.special, by name: SciPy is imported only when it is called.
SPECIAL: dict[str, Callable[..., Any]] = {}


def traced(*references: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a staged function the face of NumPy's function ``references[0]``; the others are NumPy's aliases of it."""

    def decorate(staged: Function) -> Function:
        reference = references[0]

        @functools.wraps(staged)
        def function(*args: Any, **kwargs: Any) -> Any:
            if current_builder() is None:
                result = reference(*args, **kwargs)
                return tree.map_leaves(steppable, result) if jit_disabled() else result
            return call_staged(staged, args, kwargs)

        for alias in references:
            STAGED[alias] = staged
        return cast(Function, function)

    return decorate


def call_staged(staged: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``staged(*args, **kwargs)``, which takes no ``out`` but None."""
    out = kwargs.get("out")
    if out is not None and not (isinstance(out, tuple) and all(part is None for part in out)):
        raise cannot_write(staged.__name__)
    result = staged(*args, **{key: value for key, value in kwargs.items() if key != "out"})
    return type(result)(map(_strong, result)) if type(result) in (tuple, list) else _strong(result)


def _strong(result: Any) -> Any:
    """NumPy's functions give arrays and NumPy scalars also of Python scalars; only operators give those back."""
    if isinstance(result, Tracer) and result.type.weak:
        return convert(result, result.type.dtype)
    return result


def cannot_write(name: str) -> ReadOnlyError:
    return ReadOnlyError(
        f"{name}: out= (and an operator such as a += x on an ndarray a) cannot receive traced values: "
        f"use the result, a = a + x{user_line()}")


def refuse_out(name: str, out: Any) -> None:
    """Refuses an ``out`` that came by position."""
    if out is not None:
        raise cannot_write(name)


def refuse_unless(name: str, argument: str, value: Any, *accepted: Any) -> None:
    """Raises ArgumentError unless ``value`` is one of those that staged code can honour."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in accepted):
        listed = " or ".join(map(repr, accepted))
        raise ArgumentError(
            f"{name}: {argument}={value!r} is not supported on traced arrays, only {listed}{user_line()}")


def as_inexact(name: str, value: Any) -> Any:
    """An operand in the float dtype in which NumPy evaluates an elementary function of it."""
    operand = lift(name, value)
    found = operand.type
    try:
        target = inexact(found.dtype)
    except DTypeError as error:
        raise DTypeError(f"{name}: {error}{user_line()}") from None
    return cast_operand(operand, target, found.weak)


def operand_in(name: str, value: Any, dtype: Any) -> Any:
    """An operand in ``dtype`` if that is given."""
    operand = as_operand(name, value)
    return operand if dtype is None else cast_operand(operand, supported_dtype(name, dtype))
