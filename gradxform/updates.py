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
from gradxform.operands import as_operand, broadcast_to, cast, known_value, lift
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


class Update:
    """``x.at[index]``: updated copies of ``x``, with values that broadcast to ``x[index]`` and are cast to its dtype.

    Where an index is repeated, all its updates count, in order (``set``: the last one stands, and has the derivative).
    An index out of range raises IndexRangeError, also in compiled code.
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array = array
        self.index = index

    def _update(self, method: str, values: Any, operation: str) -> Any:
        name = f"at[...].{method}"
        return update(name, self.array, self.index, self._values(name, values), operation)

    def _values(self, name: str, values: Any) -> Any:
        operand = as_operand(name, values)
        found, target = type_of(operand), self.array.dtype
        weak_fits = found.weak and found.dtype.kind in "bi" and target.kind in "iuf"
        if not weak_fits and not np.can_cast(found.dtype, target, "same_kind"):
            raise DTypeError(
                f"{name}: values of dtype {found.dtype} do not fit an array of dtype {target}: "
                f"cast one of them with .astype{user_line()}")
        return cast(operand, target)

    def get(self) -> Any:
        """``x[index]``."""
        return get(self.array, self.index)

    def set(self, values: Any) -> Any:
        """``x`` with ``x[index] = values``; with a mask whose values are not known if ``values`` is a single one."""
        mask = self.index
        if isinstance(mask, Tracer) and mask.type.dtype.kind == "b" and known_value(mask) is None:
            return self._set_by_mask(mask, self._values("at[mask].set", values))
        return self._update("set", values, "set")

    def _set_by_mask(self, mask: Any, values: Any) -> Any:
        if mask.shape != self.array.shape[: mask.ndim]:
            raise IndexRangeError(
                f"boolean index of shape {mask.shape} did not match indexed array of shape {self.array.shape}"
                f"{user_line()}")
        if shape_of(values) not in ((), (1,)):
            raise ShapeError(
                "at[mask].set: a mask whose values are not known takes a single value, for the number of elements is "
                f"not known: use np.where(mask, values, x){user_line()}")
        trailing = (1,) * (self.array.ndim - mask.ndim)
        chosen = broadcast_to("at[mask].set", reshape(mask, (*mask.shape, *trailing)), self.array.shape)
        return select(chosen, reshape(values, ()), self.array)

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
        return self.set(operators.divide(self.get(), self._joined("at[...].divide", values)))

    def power(self, values: Any) -> Any:
        """``x`` raised to ``values`` at ``index``; to their product where the index is repeated."""
        return self.set(operators.power(self.get(), self._joined("at[...].power", values)))

    def apply(self, function: Callable[[Any], Any]) -> Any:
        """``x`` with ``function(x[index])`` at ``index``."""
        return self.set(function(self.get()))

    def _joined(self, name: str, values: Any) -> Any:
        """The product of the updates of each position, at ``index``."""
        ones = lift(name, full(self.array.shape, 1, self.array.dtype))
        return Update(Update(ones, self.index)._update(name, values, "mul"), self.index).get()
