"""Values that users hand to functions and shared variables, as arrays of a variable's type."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.errors import ArgumentTypeError, ShapeError
from gradxform.symbolic.graph import TensorType

__all__ = ["converted"]


def converted(what: str, wanted: TensorType, value: Any, copy: bool = False, downcast: bool | None = None) -> Any:
    """``value`` as an array of type ``wanted``.

    As in Theano, an array may be of a dtype that ``wanted`` holds safely; numbers and lists may be of any dtype if their
    values stay the same; with ``downcast`` all may, and without it (None) Python floats may become float32.
    """
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise ArgumentTypeError(f"{what} must be an array or a number, got {value!r}: {error}{user_line()}") from None
    dtype = np.dtype(wanted.dtype)
    if found.dtype.kind not in "biufc":
        raise ArgumentTypeError(f"{what} must be an array or a number of dtype {dtype}, got {value!r} of type "
                                f"{type(value).__name__}{user_line()}")
    if found.dtype != dtype and not _fits(value, found, dtype, downcast):
        raise ArgumentTypeError(
            f"{what} is of dtype {found.dtype} and does not fit {dtype} without loss: pass value.astype('{dtype}'), "
            f"allow_input_downcast=True, or declare the variable in {found.dtype}{user_line()}")
    if found.ndim != wanted.ndim:
        raise ArgumentTypeError(
            f"{what} must have {wanted.ndim} axes, as {wanted} has, got shape {found.shape}{user_line()}")
    for axis, (extent, expected) in enumerate(zip(found.shape, wanted.shape, strict=True)):
        if expected not in (None, extent):
            raise ShapeError(f"{what}: axis {axis} has extent {expected} in {wanted}, got shape {found.shape}{user_line()}")
    return np.array(found, dtype=dtype, order="C") if copy else np.asarray(found, dtype=dtype)


def _fits(value: Any, found: Any, dtype: Any, downcast: bool | None) -> bool:
    if found.dtype.kind == "c" and dtype.kind != "c":
        return False
    if downcast or np.can_cast(found.dtype, dtype, "safe"):
        return True
    if isinstance(value, (np.ndarray, np.generic)):
        return False
    if downcast is None and type(value) is float and dtype.kind == "f":
        return True
    with np.errstate(all="ignore"):
        return np.array_equal(found.astype(dtype), found, equal_nan=found.dtype.kind == "f")
