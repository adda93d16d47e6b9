"""``x.at[index]``: updated copies of a traced array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from gradxform import operators
from gradxform.core import Tracer, shape_of, type_of
from gradxform.core.source import user_line
from gradxform.errors import DTypeError, IndexRangeError, ReadOnlyError, ShapeError
from gradxform.indexing import get, update
from gradxform.linear import full
from gradxform.operands import as_operand, binary, broadcast_to, cast, known_value, lift
from gradxform.primitives.arithmetic import maximum, minimum
from gradxform.primitives.logic import select
from gradxform.primitives.shape import reshape


class Updates:
    """``x.at``: indexed, it offers updated copies of ``x``."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> Update:
        return Update(self.array, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ReadOnlyError(f"x.at[...] is not assigned to: write x = x.at[index].set(value){user_line()}")

    def __repr__(self) -> str:
        return f"{self.array!r}.at"


#: What each operation of an update makes of an element and a number.
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda x, value: broadcast_to("at[mask].set", value, shape_of(x)),
    "add": operators.add,
    "mul": operators.multiply,
    "min": binary("minimum", minimum),
    "max": binary("maximum", maximum),
}


class Update:
    """``x.at[index]``: updated copies of ``x``, with values that broadcast to ``x[index]`` and are cast to its dtype.

    A mask may be unknown while tracing if one number updates all that it chooses.
    Where an index is repeated, all its updates count, in order (``set``: the last one stands, and has the derivative).
    An index out of range raises IndexRangeError, also in compiled code.
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array = array
        self.index = index

    def _update(self, method: str, values: Any, operation: str) -> Any:
        name = f"at[...].{method}"
        updates = self._values(name, values)
        if self._is_unknown_mask():
            return self._by_mask(method, lambda x: _OPERATIONS[operation](x, self._single(method, updates)))
        return update(name, self.array, self.index, updates, operation)

    def _is_unknown_mask(self) -> bool:
        mask = self.index
        return isinstance(mask, Tracer) and mask.type.dtype.kind == "b" and known_value(mask) is None

    def _by_mask(self, method: str, function: Callable[[Any], Any]) -> Any:
        """``x`` where the mask is false, ``function(x)`` where it is true; the shape does not depend on the mask."""
        mask, x = self.index, self.array
        if mask.shape != x.shape[: mask.ndim]:
            raise IndexRangeError(
                f"boolean index of shape {mask.shape} did not match indexed array of shape {x.shape}{user_line()}")
        chosen = broadcast_to(f"at[mask].{method}", reshape(mask, (*mask.shape, *(1,) * (x.ndim - mask.ndim))), x.shape)
        value = self._values(f"at[mask].{method}", function(x))
        return lift(f"at[mask].{method}", select(chosen, value, x))

    def _single(self, method: str, values: Any) -> Any:
        """The one number by which an unknown number of elements is updated."""
        if shape_of(values) not in ((), (1,)):
            raise ShapeError(
                f"at[mask].{method}: a mask whose values are not known takes a single value, for the number of elements is "
                f"not known: use np.where(mask, values, x){user_line()}")
        return reshape(values, ())

    def _values(self, name: str, values: Any) -> Any:
        operand = as_operand(name, values)
        found, target = type_of(operand), self.array.dtype
        weak_fits = found.weak and found.dtype.kind in "bi" and target.kind in "iufc"
        if not weak_fits and not np.can_cast(found.dtype, target, "same_kind"):
            raise DTypeError(
                f"{name}: values of dtype {found.dtype} do not fit an array of dtype {target}: "
                f"cast one of them with .astype{user_line()}")
        return cast(operand, target)

    def get(self) -> Any:
        """``x[index]``."""
        return get(self.array, self.index)

    def set(self, values: Any) -> Any:
        """``x`` with ``x[index] = values``."""
        return self._update("set", values, "set")

    def add(self, values: Any) -> Any:
        """``x`` with ``values`` added at ``index``."""
        return self._update("add", values, "add")

    def subtract(self, values: Any) -> Any:
        """``x`` with ``values`` subtracted at ``index``."""
        return self._update("subtract", operators.negative(self._values("at[...].subtract", values)), "add")

    def multiply(self, values: Any) -> Any:
        """``x`` multiplied by ``values`` at ``index``."""
        return self._update("multiply", values, "mul")

    def min(self, values: Any) -> Any:
        """``x`` with the minimum of itself and ``values`` at ``index``; ties share the derivative evenly."""
        return self._update("min", values, "min")

    def max(self, values: Any) -> Any:
        """``x`` with the maximum of itself and ``values`` at ``index``; ties share the derivative evenly."""
        return self._update("max", values, "max")

    def divide(self, values: Any) -> Any:
        """``x`` divided by ``values`` at ``index``; by all of them where the index is repeated."""
        return self._replaced("divide", operators.divide, values)

    def power(self, values: Any) -> Any:
        """``x`` raised to ``values`` at ``index``; to their product where the index is repeated."""
        return self._replaced("power", operators.power, values)

    def _replaced(self, method: str, operate: Callable[[Any, Any], Any], values: Any) -> Any:
        if self._is_unknown_mask():
            number = self._single(method, self._values(f"at[...].{method}", values))
            return self._by_mask(method, lambda x: operate(x, number))
        return self.set(operate(self.get(), self._joined(f"at[...].{method}", values)))

    def apply(self, function: Callable[[Any], Any]) -> Any:
        """``x`` with ``function(x[index])`` at ``index``; with a mask whose values are not known it is given all of x."""
        if self._is_unknown_mask():
            return self._by_mask("apply", function)
        return self.set(function(self.get()))

    def _joined(self, name: str, values: Any) -> Any:
        """The product of the updates of each position, at ``index``."""
        ones = lift(name, full(self.array.shape, 1, self.array.dtype))
        return Update(Update(ones, self.index)._update(name, values, "mul"), self.index).get()
