"""Questions about arrays and dtypes whose answers are plain Python values; constants and dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import (
    bool_,
    can_cast,
    complex64,
    complex128,
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

from gradxform import operators
from gradxform.core import Tracer, dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import PYTHON_SCALARS, is_complex, promote
from gradxform.errors import ArgumentTypeError
from gradxform.numpy.dispatch import traced
from gradxform.numpy.ufuncs import arctan2, equal, not_equal
from gradxform.operands import as_operand, cast, lift
from gradxform.selections import Chosen

__all__ = [
    "bool_", "can_cast", "complex128", "complex64", "dtype", "e", "euler_gamma", "finfo", "float32", "float64", "iinfo",
    "inf", "int16", "int32", "int64", "int8", "isscalar", "issubdtype", "nan", "ndarray", "newaxis", "pi",
    "promote_types", "uint16", "uint32", "uint64", "uint8",
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
        elif type(part) is Chosen:
            found.append((part.dtype, False))
        elif type(part) in PYTHON_SCALARS:
            found.append((dtype_of(part), True))
        else:
            found.append((np.result_type(part), False))
    return promote(*found)[0]


@traced(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether ``x`` is of a complex dtype."""
    return is_complex(dtype_of(as_operand("iscomplexobj", x)))


@traced(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether ``x`` is not of a complex dtype."""
    return not is_complex(dtype_of(as_operand("isrealobj", x)))


@traced(np.real)
def real(val: Any) -> Any:
    """The real part: ``val`` itself if that is real."""
    return lift("real", operators.real(val))


@traced(np.imag)
def imag(val: Any) -> Any:
    """The imaginary part: zeros if ``val`` is real."""
    return lift("imag", operators.imag(val))


@traced(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """The angle of a complex ``z`` in (-pi, pi], in degrees if ``deg``; 0 or pi for a real one."""
    x = lift("angle", z)
    if is_complex(x.dtype):
        found = arctan2(x.imag, x.real)
    else:
        found = arctan2(cast(np.int64(0), x.dtype), x)
    return found * (180 / np.pi) if deg else found


@traced(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Where ``x`` has an imaginary part that is not zero."""
    operand = lift("iscomplex", x)
    return not_equal(operand.imag, cast(np.int64(0), operand.imag.dtype))


@traced(np.isreal)
def isreal(x: Any) -> Any:
    """Where ``x`` has no imaginary part, or one of zero."""
    operand = lift("isreal", x)
    return equal(operand.imag, cast(np.int64(0), operand.imag.dtype))


@traced(np.real_if_close)
def real_if_close(a: Any, tol: Any = 100) -> Any:
    """The real part of ``a`` if it is real already. What to do with a complex one depends on values: that is refused."""
    x = lift("real_if_close", a)
    if is_complex(x.dtype):
        raise ArgumentTypeError(
            "real_if_close: whether the result is real or complex would depend on the values of a traced array: take "
            f"x.real, or np.where(np.isclose(x.imag, 0), x.real, x){user_line()}")
    return x


@traced(np.common_type)
def common_type(*arrays: Any) -> Any:
    """The float or complex scalar type that holds what ``arrays`` hold, float64 for integers."""
    dtypes = [dtype_of(as_operand("common_type", x)) for x in arrays]
    return np.common_type(*(np.empty(0, found) for found in dtypes))


@traced(np.array_repr)
def array_repr(arr: Any, max_line_width: Any = None, precision: Any = None, suppress_small: Any = None) -> str:
    """The text of an array; of a traced one its type, and its values if they are known."""
    return repr(arr)


@traced(np.array_str)
def array_str(a: Any, max_line_width: Any = None, precision: Any = None, suppress_small: Any = None) -> str:
    """``array_repr`` of a traced array."""
    return str(a)


@traced(np.array2string)
def array2string(a: Any, *args: Any, **kwargs: Any) -> str:
    """``array_repr`` of a traced array; how numbers are to be written does not matter to it."""
    return repr(a)


@traced(np.may_share_memory)
def may_share_memory(a: Any, b: Any, /, max_work: Any = 0) -> bool:
    """Whether a change of one array could be seen in the other: never of traced ones, for they do not change."""
    return False


@traced(np.shares_memory)
def shares_memory(a: Any, b: Any, /, max_work: Any = -1) -> bool:
    """Whether a change of one array can be seen in the other: never of traced ones, for they do not change."""
    return False
