"""Questions about arrays and dtypes whose answers are plain Python values; constants and dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import (
    bool_,
    can_cast,
    dtype,
    e,
    euler_gamma,
    finfo,
    float32,
    float64,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    isscalar,
    issubdtype,
    nan,
    ndarray,
    newaxis,
    pi,
    promote_types,
    uint8,
    uint16,
    uint32,
    uint64,
)

from gradxform.core import Tracer, dtype_of, shape_of
from gradxform.dtypes import promote
from gradxform.numpy.dispatch import traced
from gradxform.operands import as_operand, lift

__all__ = [
    "bool_", "can_cast", "dtype", "e", "euler_gamma", "finfo", "float32", "float64", "iinfo", "inf", "int16", "int32",
    "int64", "int8", "isscalar", "issubdtype", "nan", "ndarray", "newaxis", "pi", "promote_types", "uint16", "uint32",
    "uint64", "uint8",
]


@traced(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    """The extents of ``a``."""
    return shape_of(as_operand("shape", a))


@traced(np.ndim)
def ndim(a: Any) -> int:
    """The number of axes of ``a``."""
    return len(shape(a))


@traced(np.size)
def size(a: Any, axis: Any = None) -> int:
    """The number of elements of ``a``, or its extent along ``axis``."""
    x = lift("size", a)
    if axis is None:
        return int(x.size)
    extent = 1
    for position in axis if isinstance(axis, tuple) else (axis,):
        extent *= x.shape[position]
    return extent


@traced(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that arrays and dtypes promote to."""
    found = []
    for part in arrays_and_dtypes:
        if isinstance(part, Tracer):
            found.append((part.type.dtype, part.type.weak))
        elif type(part) in (bool, int, float):
            found.append((dtype_of(part), True))
        else:
            found.append((np.result_type(part), False))
    return promote(*found)[0]


@traced(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether ``x`` is of a complex dtype; traced arrays never are."""
    return False


@traced(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether ``x`` is not of a complex dtype; traced arrays never are."""
    return True


@traced(np.real)
def real(val: Any) -> Any:
    """The real part: ``val`` itself."""
    return lift("real", val)


@traced(np.imag)
def imag(val: Any) -> Any:
    """The imaginary part: zeros."""
    return lift("imag", val).imag
