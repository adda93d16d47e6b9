"""NumPy's protocols: what ``np.sin(x)``, ``np.add.reduce(x)`` and ``np.concatenate([x, y])`` do on a traced array."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.core import Tracer
from gradxform.core.source import user_line
from gradxform.errors import ArgumentTypeError
from gradxform.numpy.dispatch import SPECIAL, STAGED, call_staged
from gradxform.numpy.ufunc_methods import apply_method


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``ufunc`` or one of its methods, recorded."""
    if method == "__call__":
        return call_staged(_staged_ufunc(ufunc), inputs, kwargs)
    return apply_method(ufunc, method, inputs, kwargs)


def _staged_ufunc(ufunc: np.ufunc) -> Callable[..., Any]:
    found = STAGED.get(ufunc)
    if found is not None:
        return found
    # SciPy's special functions are ufuncs too; if one is here, its module has been imported already.
    special = sys.modules.get("scipy.special")
    if special is not None and getattr(special, ufunc.__name__, None) is ufunc:
        import gradxform.scipy.special  # noqa: F401  (it fills the table)

        staged = SPECIAL.get(ufunc.__name__)
        if staged is not None:
            return staged
    raise _unsupported(f"ufunc {ufunc.__name__}")


def apply_function(function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
    """A NumPy function other than a ufunc, recorded."""
    if not all(issubclass(kind, (Tracer, np.ndarray)) for kind in types):
        return NotImplemented
    staged = STAGED.get(function)
    if staged is None:
        raise _unsupported(f"{function.__module__}.{function.__name__}")
    return call_staged(staged, args, kwargs)


def _unsupported(what: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{what} is not supported on traced arrays: express it with functions of gradxform.numpy{user_line()}")
