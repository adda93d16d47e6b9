"""How a function of these faces is called: SciPy's own while nothing is recorded, the staged one inside a transform."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

from gradxform.core import current_builder
from gradxform.numpy.dispatch import call_staged

Function = TypeVar("Function", bound=Callable[..., Any])


def faces_of(module: str, table: dict[str, Callable[..., Any]] | None = None) -> Callable[[Function], Function]:
    """Makes a staged function the face of the function of its name in ``module``, which is imported when it is first called.

    ``table`` gets the staged functions by name.
    """

    def traced(staged: Function) -> Function:
        name = staged.__name__

        @functools.wraps(staged)
        def function(*args: Any, **kwargs: Any) -> Any:
            if current_builder() is None:
                return getattr(import_module(module), name)(*args, **kwargs)
            return call_staged(staged, args, kwargs)

        if table is not None:
            table[name] = staged
        return cast(Function, function)

    return traced
