"""What is explained or profiled: a function that is jitted if it is not yet, and the arguments of its call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradxform.api.jit import Jitted, jit
from gradxform.api.values import name_of
from gradxform.core.source import user_line
from gradxform.data_class import data_class
from gradxform.errors import ArgumentTypeError


@data_class(frozen=True, slots=True)
class Subject:
    """``jitted(*args, **kwargs)``. ``names`` are those of its arguments that are not static, if it cannot tell them itself."""

    jitted: Jitted
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    name: str
    names: tuple[str, ...] | None = None


def subject_of(purpose: str, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Subject:
    """The subject that ``f`` is with these arguments.

    A callable object that hands its work to a jitted function says so by a method ``jitted_call(args, kwargs)``, which gives
    that function, its arguments, and the names of those that are not static: a function of `gradxform.symbolic`, say.
    """
    if not callable(f):
        raise ArgumentTypeError(f"{purpose}: expected a function and the arguments of a call, got {f!r} of type "
                                f"{type(f).__name__} in the function's place{user_line()}")
    handed_on = getattr(f, "jitted_call", None)
    if handed_on is not None:
        jitted, own, names = handed_on(args, kwargs)
        return Subject(jitted, own, {}, getattr(f, "name", None) or "function", names)
    jitted = f if isinstance(f, Jitted) else jit(f)
    return Subject(jitted, args, kwargs, name_of(getattr(jitted, "__wrapped__", f)))
