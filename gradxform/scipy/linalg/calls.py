"""How a function of this face is called: SciPy's own while nothing is recorded, the staged one inside a transform."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from gradxform.core import current_builder
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError
from gradxform.numpy.dispatch import call_staged

Function = TypeVar("Function", bound=Callable[..., Any])


def traced(staged: Function) -> Function:
    """The face of SciPy's function of that name, which is imported when it is first called."""
    name = staged.__name__

    @functools.wraps(staged)
    def function(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is None:
            import scipy.linalg

            return getattr(scipy.linalg, name)(*args, **kwargs)
        return call_staged(staged, args, kwargs)

    return cast(Function, function)


def refuse(name: str, **arguments: tuple[Any, Any]) -> None:
    """Raises ArgumentError for arguments, each with the one value that staged code can honour."""
    for argument, (found, only) in arguments.items():
        if found is not only and not (isinstance(found, str) and found == only):
            raise ArgumentError(f"{name}: {argument}={found!r} is not supported on traced arrays, only {only!r}{user_line()}")
