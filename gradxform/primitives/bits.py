"""Numbers as patterns of bits: reading floats as integers and back, counting ones, and the common divisor of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import Primitive, bind, dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import DType, canonical, uint8
from gradxform.errors import DTypeError
from gradxform.ir import ArrayType
from gradxform.linear import batch_elementwise
from gradxform.loopir.lowering import elementwise
from gradxform.primitives.rules import INTEGERS, binary, no_tangent, not_linear, same_dtype, unary

_PATTERNS = "iuf"


def bitcast(x: Any, dtype: DType) -> Any:
    """The number of ``dtype`` that has the bits of x; both of integer or float dtypes of one size. Derivative zero.

    Raises DTypeError for dtypes of other kinds or of different sizes.
    """
    dtype = canonical(dtype)
    found = dtype_of(x)
    if found.kind not in _PATTERNS or dtype.kind not in _PATTERNS or found.itemsize != dtype.itemsize:
        raise DTypeError(f"bitcast: expected two dtypes of numbers of one size, got {found} and {dtype}{user_line()}")
    return x if found == dtype else bind(bitcast_p, x, dtype=dtype)


def population_count(x: Any) -> Any:
    """How many bits of an integer are ones, as uint8; of a negative one, in two's complement."""
    return bind(population_count_p, x)


def greatest_common_divisor(x: Any, y: Any) -> Any:
    """The largest integer that divides both; that of the magnitudes, and 0 of two zeros."""
    return bind(greatest_common_divisor_p, *same_dtype(x, y))


bitcast_p = Primitive(
    "bitcast",
    type=lambda x, *, dtype: ArrayType(dtype, x.shape),
    evaluate=lambda x, *, dtype: np.asarray(x).view(dtype)[()],
    jvp=no_tangent,
    transpose=not_linear("bitcast"),
    batch=batch_elementwise(bitcast),
    lower=elementwise("bitcast"),
)


def _population_count(x: Any) -> Any:
    # NumPy counts the bits of the magnitude.
    return np.bitwise_count(np.asarray(x).view(f"u{x.dtype.itemsize}"))[()]


population_count_p = unary(
    "population_count", population_count, evaluate=_population_count, tangent=None, kinds=INTEGERS, result=uint8)
greatest_common_divisor_p = binary(
    "greatest_common_divisor", greatest_common_divisor, evaluate=np.gcd, tangents=None, kinds=INTEGERS)

PRIMITIVES = (bitcast_p, population_count_p, greatest_common_divisor_p)
