"""How a function of these faces is called: SciPy's own while nothing is recorded, the staged one inside a transform."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

from gradxform.numpy.dispatch import face_of

Function = TypeVar("Function", bound=Callable[..., Any])


def faces_of(module: str, table: dict[str, Callable[..., Any]] | None = None) -> Callable[[Function], Function]:
    """Makes a staged function the face of the function of its name in ``module``, which is imported when it is first called.

    ``table`` gets the staged functions by name.
    """

    def traced(staged: Function) -> Function:
        name = staged.__name__
        if table is not None:
            table[name] = staged
        return cast(Function, face_of(lambda: getattr(import_module(module), name), staged))

    return traced
