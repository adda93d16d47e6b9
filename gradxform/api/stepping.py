"""The arrays of functions that run in Python under `disable_jit`: NumPy's, with what traced arrays have besides."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform import tree
from gradxform.updates import Update, Updates


class _StepUpdate(Update):
    __slots__ = ()

    def _update(self, method: str, values: Any, operation: str) -> Any:
        return steppable(super()._update(method, values, operation))


class _StepUpdates(Updates):
    __slots__ = ()

    def __getitem__(self, index: Any) -> Update:
        return _StepUpdate(self.array, index)


class SteppedArray(np.ndarray[Any, Any]):
    """A NumPy array with ``.at``, so that functions of traced arrays run on it."""

    __slots__ = ()

    @property
    def at(self) -> Updates:
        """Updated copies, as of a traced array."""
        return _StepUpdates(self)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


def steppable(value: Any) -> Any:
    """``value``; a view of it with ``.at`` if it is an array."""
    return value.view(SteppedArray) if type(value) is np.ndarray else value


def given(value: Any) -> Any:
    """``value`` as an argument of a function: a read-only view if it is an array, as traced arguments are read-only."""
    if not isinstance(value, np.ndarray):
        return value
    view = value.view(SteppedArray)
    view.flags.writeable = False
    return view


def stepping_arguments(arguments: Any) -> Any:
    """The arguments of a function that is not compiled."""
    return tree.map_leaves(lambda x: given(np.array(x)) if type(x) is np.ndarray else x, arguments)
