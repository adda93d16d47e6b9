"""The arrays of functions that run in Python under `disable_jit`: NumPy's, with what traced arrays have besides."""

from __future__ import annotations

from collections.abc import Callable
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


def _rebinding(operator: np.ufunc) -> Callable[[Any, Any], Any]:
    """``x += y`` as for traced arrays: the name is bound anew, and the array stays as it is."""
    return lambda self, other: operator(self, other)


class SteppedArray(np.ndarray[Any, Any]):
    """A NumPy array with ``.at``, whose augmented assignments bind anew, so that functions of traced arrays run on it."""

    __slots__ = ()

    @property
    def at(self) -> Updates:
        """Updated copies, as of a traced array."""
        return _StepUpdates(self)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))

    __iadd__ = _rebinding(np.add)
    __isub__ = _rebinding(np.subtract)
    __imul__ = _rebinding(np.multiply)
    __itruediv__ = _rebinding(np.divide)
    __ifloordiv__ = _rebinding(np.floor_divide)
    __imod__ = _rebinding(np.remainder)
    __ipow__ = _rebinding(np.power)
    __imatmul__ = _rebinding(np.matmul)
    __iand__ = _rebinding(np.bitwise_and)
    __ior__ = _rebinding(np.bitwise_or)
    __ixor__ = _rebinding(np.bitwise_xor)


def steppable(value: Any) -> Any:
    """``value``; a view of it with ``.at`` if it is an array."""
    return value.view(SteppedArray) if type(value) is np.ndarray else value


def stepping_arguments(arguments: Any) -> Any:
    """The arguments of a function that is not compiled, arrays copied: what it writes into does not reach the caller."""
    return tree.map_leaves(lambda x: steppable(np.array(x)) if type(x) is np.ndarray else x, arguments)
