"""The dtypes that programs know, and NumPy 2's promotion between them.

A *weak* type is that of a Python scalar: it takes part in promotion by its kind only (NEP 50), so that
``x + 1.0`` keeps the dtype of a float32 ``x``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from gradxform.errors import DTypeError

DType = np.dtype[Any]

bool_ = np.dtype(np.bool_)
int8, int16, int32, int64 = (np.dtype(t) for t in (np.int8, np.int16, np.int32, np.int64))
uint8, uint16, uint32, uint64 = (np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64))
float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
complex64, complex128 = np.dtype(np.complex64), np.dtype(np.complex128)

#: What compiled code holds; a complex number is a pair of floats there.
REAL: tuple[DType, ...] = (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)
COMPLEX: tuple[DType, ...] = (complex64, complex128)
SUPPORTED: tuple[DType, ...] = REAL + COMPLEX
_CANONICAL: dict[DType, DType] = {dtype: dtype for dtype in SUPPORTED}

#: dtype of derivatives with respect to integers and booleans, as in JAX: it holds nothing.
float0: DType = np.dtype([("float0", np.void, 0)])

SHORT_NAMES: dict[DType, str] = {
    dtype: ("bool" if dtype == bool_ else f"{dtype.kind}{8 * dtype.itemsize}") for dtype in SUPPORTED
}
_PYTHON_DTYPES: dict[type, DType] = {bool: bool_, int: int64, float: float64, complex: complex128}
_WEAK_STANDINS: dict[str, Any] = {"b": True, "i": 1, "u": 1, "f": 1.0, "c": 1j}

#: The kinds of dtype, as ``np.dtype.kind`` writes them, each before those that it promotes to.
KINDS = "biufc"
#: Python's numbers, in the same order, and the one that stands for a weak value of a kind.
PYTHON_SCALARS: tuple[type, ...] = (bool, int, float, complex)
PYTHON_SCALAR_OF: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float, "c": complex}

_PARTS: dict[DType, DType] = {complex64: float32, complex128: float64}
_OF_PARTS: dict[DType, DType] = {part: whole for whole, part in _PARTS.items()}


def canonical(dtype: Any) -> DType:
    """The supported dtype that ``dtype`` stands for.

    Raises DTypeError for float16, longdouble, datetime, string and object dtypes.
    """
    # One object per dtype: NumPy makes a view of an array asked for in an equal dtype that is another object.
    given = np.dtype(dtype)
    found = _CANONICAL.get(given if given.isnative else given.newbyteorder("="))
    if found is None:
        names = ", ".join(d.name for d in SUPPORTED)
        raise DTypeError(f"dtype {given} is not supported; expected one of {names}: cast with .astype first")
    return found


def is_supported(dtype: DType) -> bool:
    """Whether programs can hold arrays of ``dtype``."""
    return dtype in _CANONICAL


def is_float(dtype: DType) -> bool:
    """Whether ``dtype`` is a real floating type."""
    return dtype.kind == "f"


def is_complex(dtype: DType) -> bool:
    """Whether ``dtype`` is a complex type."""
    return dtype.kind == "c"


def is_differentiable(dtype: DType) -> bool:
    """Whether ``dtype`` is a floating type, real or complex: those carry derivatives."""
    return dtype.kind in "fc"


def part_dtype(dtype: DType) -> DType:
    """The dtype of the real and of the imaginary part: float64 for complex128; a real dtype is its own."""
    return _PARTS.get(dtype, dtype)


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype whose parts are of the float ``dtype``; a complex one is its own."""
    return _OF_PARTS.get(dtype, dtype)


def is_integer(dtype: DType) -> bool:
    """Whether ``dtype`` is a signed or unsigned integer (bool is not)."""
    return dtype.kind in "iu"


def holds_weak(dtype: DType, weak: DType) -> bool:
    """Whether an array of ``dtype`` can take a Python scalar of dtype ``weak`` without losing its kind."""
    return KINDS.index(weak.kind) <= KINDS.index(dtype.kind)


def python_scalar_dtype(value: Any) -> DType | None:
    """The dtype a Python scalar takes on its own, or None if ``value`` is not exactly a Python scalar."""
    return _PYTHON_DTYPES.get(type(value))


@cache
def promote(*operands: tuple[DType, bool]) -> tuple[DType, bool]:
    """Promote (dtype, weak) pairs as NumPy 2 does; the result is weak only if all operands are.

    >>> promote((float32, False), (float64, True))
    (dtype('float32'), False)
    >>> promote((int64, True), (float32, False))
    (dtype('float32'), False)
    """
    strong = [dtype for dtype, weak in operands if not weak]
    if not strong:
        return max((dtype for dtype, _ in operands), key=lambda d: KINDS.index(d.kind)), True
    standins = [_WEAK_STANDINS[dtype.kind] for dtype, weak in operands if weak]
    result = np.result_type(*strong, *standins)
    if result not in _CANONICAL:
        raise DTypeError(f"promotion gives dtype {result}, which is not supported: cast the operands with .astype first")
    return result, False


@cache
def inexact(dtype: DType) -> DType:
    """The float or complex dtype in which NumPy evaluates an elementary function of ``dtype`` (int64 -> float64).

    NumPy uses float16 for bool, int8 and uint8; that is not supported and raises DTypeError.
    """
    if dtype.kind in "fc":
        return dtype
    if dtype.itemsize == 1:
        raise DTypeError(
            f"NumPy evaluates this function of {dtype} in float16, which is not supported: "
            "cast the argument with .astype(np.float64) first"
        )
    return float32 if dtype.itemsize == 2 else float64


def check_same(name: str, dtypes: Iterable[DType]) -> DType:
    """The one dtype that all operands of primitive ``name`` have."""
    found = tuple(dtypes)
    for dtype in found[1:]:
        if dtype != found[0]:
            listed = ", ".join(str(d) for d in found)
            raise DTypeError(f"{name}: operands must have one dtype, got {listed}: cast with .astype")
    return found[0]
