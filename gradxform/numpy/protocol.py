"""NumPy's protocols: what ``np.sin(x)``, ``np.add.reduce(x)`` and ``np.concatenate([x, y])`` do on a traced array."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import gradxform.numpy as face
from gradxform.core import Tracer
from gradxform.core.source import user_line
from gradxform.errors import ArgumentTypeError, ReadOnlyError
from gradxform.numpy.dispatch import SPECIAL, STAGED, call_staged, cannot_write
from gradxform.numpy.reductions import accumulate_extremum
from gradxform.operands import lift

_REDUCE = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min", np.logical_and: "all",
           np.logical_or: "any"}
_ACCUMULATE = {np.add: "cumsum", np.multiply: "cumprod"}


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``ufunc`` or one of its methods, recorded."""
    name = ufunc.__name__
    if method == "__call__":
        return call_staged(_staged_ufunc(ufunc), inputs, kwargs)
    out = kwargs.pop("out", None)
    if out is not None and any(part is not None for part in out):
        raise cannot_write(f"{name}.{method}")
    if method == "reduce" and ufunc in _REDUCE:
        axis = kwargs.pop("axis", 0)
        return getattr(face, _REDUCE[ufunc])(*inputs, axis=axis, **kwargs)
    if method == "accumulate" and ufunc in _ACCUMULATE:
        return getattr(face, _ACCUMULATE[ufunc])(inputs[0], axis=kwargs.pop("axis", 0), **kwargs)
    if method == "accumulate" and ufunc in (np.maximum, np.minimum):
        return accumulate_extremum(name, inputs[0], kwargs.pop("axis", 0))
    if method == "outer" and len(inputs) == 2:
        left, right = (lift(f"{name}.outer", x) for x in inputs)
        return _staged_ufunc(ufunc)(left.reshape(*left.shape, *(1,) * right.ndim), right, **kwargs)
    if method == "at":
        raise ReadOnlyError(f"{name}.at writes into its argument: use x.at[index].add(values) and its kin{user_line()}")
    raise ArgumentTypeError(f"{name}.{method} is not supported on traced arrays{user_line()}")


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
