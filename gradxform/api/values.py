"""What users hand to transforms: leaves of pytrees as values of programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Tracer, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import canonical, python_scalar_dtype
from gradxform.errors import ArgumentTypeError
from gradxform.ir import ArrayType


def name_of(function: Any) -> str:
    """A function's name for programs and messages."""
    return getattr(function, "__name__", None) or type(function).__name__


def as_value(leaf: Any, what: str) -> Any:
    """A leaf as a tracer, Python scalar, NumPy scalar or native-endian array; ArgumentTypeError otherwise."""
    if type(leaf) is int and not -(1 << 63) <= leaf < 1 << 63:
        raise OverflowError(f"{what}: Python integer {leaf} does not fit int64{user_line()}")
    if isinstance(leaf, Tracer):
        return leaf.snapshot()  # the caller may assign to the array it gave
    if python_scalar_dtype(leaf) is not None:
        return leaf
    if isinstance(leaf, (np.ndarray, np.generic)):
        dtype = canonical(leaf.dtype)
        if type(leaf) is np.ndarray or isinstance(leaf, np.generic):
            return leaf if leaf.dtype == dtype and leaf.dtype.isnative else leaf.astype(dtype)
        if isinstance(leaf, np.ma.MaskedArray):
            raise ArgumentTypeError(f"{what}: masked arrays are not supported, got {leaf!r}: pass .filled(value){user_line()}")
        return np.asarray(leaf, dtype=dtype)
    if hasattr(leaf, "__array__") and not isinstance(leaf, type):
        return as_value(np.asarray(leaf), what)
    hint = ": make it a pytree with gradxform.tree.register_dataclass" if dataclasses.is_dataclass(leaf) else ""
    raise ArgumentTypeError(
        f"{what} must be an array or a number (or a pytree of them), got {leaf!r} of type {type(leaf).__name__}{hint}"
        f"{user_line()}")


def as_values(leaves: Sequence[Any], what: str) -> list[Any]:
    """`as_value` of each leaf."""
    return [as_value(leaf, what) for leaf in leaves]


def types_of(values: Sequence[Any]) -> list[ArrayType]:
    """The types of leaves."""
    return [type_of(value) for value in values]
