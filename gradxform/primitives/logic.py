"""Comparisons, logic, bits, classification of floats and conversion; the choice, `select`, is of the linear kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind, type_of
from gradxform.dtypes import DType, bool_, canonical, is_complex, is_differentiable
from gradxform.ir import ArrayType
from gradxform.linear import batch_elementwise
from gradxform.linear import select as select
from gradxform.loopir.lowering import View, elementwise
from gradxform.primitives.rules import (
    ANY,
    BITS,
    BOOLEAN,
    INEXACT,
    INTEGERS,
    binary,
    no_tangent,
    not_linear,
    same_dtype,
    unary,
)

# -------------------------------------------------------------------------------------------------- comparisons


def less(x: Any, y: Any) -> Any:
    """x < y; false where either is NaN. Complex numbers by their real parts, and by the imaginary ones if those are equal."""
    return bind(less_p, *same_dtype(x, y))


def less_equal(x: Any, y: Any) -> Any:
    """x <= y; false where either is NaN."""
    return bind(less_equal_p, *same_dtype(x, y))


def greater(x: Any, y: Any) -> Any:
    """x > y; false where either is NaN."""
    return bind(greater_p, *same_dtype(x, y))


def greater_equal(x: Any, y: Any) -> Any:
    """x >= y; false where either is NaN."""
    return bind(greater_equal_p, *same_dtype(x, y))


def equal(x: Any, y: Any) -> Any:
    """x == y; false where either is NaN."""
    return bind(equal_p, *same_dtype(x, y))


def not_equal(x: Any, y: Any) -> Any:
    """x != y; true where either is NaN."""
    return bind(not_equal_p, *same_dtype(x, y))


less_p = binary("less", less, evaluate=np.less, tangents=None, kinds=ANY, result=bool_)
less_equal_p = binary("less_equal", less_equal, evaluate=np.less_equal, tangents=None, kinds=ANY, result=bool_)
greater_p = binary("greater", greater, evaluate=np.greater, tangents=None, kinds=ANY, result=bool_)
greater_equal_p = binary("greater_equal", greater_equal, evaluate=np.greater_equal, tangents=None, kinds=ANY,
                         result=bool_)
equal_p = binary("equal", equal, evaluate=np.equal, tangents=None, kinds=ANY, result=bool_)
not_equal_p = binary("not_equal", not_equal, evaluate=np.not_equal, tangents=None, kinds=ANY, result=bool_)

# ------------------------------------------------------------------------------------------------ logic and bits


def logical_and(x: Any, y: Any) -> Any:
    """x and y, on booleans."""
    return bind(logical_and_p, *same_dtype(x, y))


def logical_or(x: Any, y: Any) -> Any:
    """x or y, on booleans."""
    return bind(logical_or_p, *same_dtype(x, y))


def logical_xor(x: Any, y: Any) -> Any:
    """Exactly one of x and y, on booleans."""
    return bind(logical_xor_p, *same_dtype(x, y))


def logical_not(x: Any) -> Any:
    """not x, on booleans."""
    return bind(logical_not_p, x)


def bitwise_and(x: Any, y: Any) -> Any:
    """x & y, on booleans and integers."""
    return bind(bitwise_and_p, *same_dtype(x, y))


def bitwise_or(x: Any, y: Any) -> Any:
    """x | y, on booleans and integers."""
    return bind(bitwise_or_p, *same_dtype(x, y))


def bitwise_xor(x: Any, y: Any) -> Any:
    """x ^ y, on booleans and integers."""
    return bind(bitwise_xor_p, *same_dtype(x, y))


def bitwise_not(x: Any) -> Any:
    """~x, on booleans and integers."""
    return bind(bitwise_not_p, x)


def left_shift(x: Any, y: Any) -> Any:
    """x << y on integers; 0 where y is negative or at least the number of bits."""
    return bind(left_shift_p, *same_dtype(x, y))


def right_shift(x: Any, y: Any) -> Any:
    """x >> y on integers, keeping the sign; 0 or -1 where y is negative or at least the number of bits."""
    return bind(right_shift_p, *same_dtype(x, y))


logical_and_p = binary("logical_and", logical_and, evaluate=np.logical_and, tangents=None, kinds=BOOLEAN)
logical_or_p = binary("logical_or", logical_or, evaluate=np.logical_or, tangents=None, kinds=BOOLEAN)
logical_xor_p = binary("logical_xor", logical_xor, evaluate=np.logical_xor, tangents=None, kinds=BOOLEAN)
logical_not_p = unary("logical_not", logical_not, evaluate=np.logical_not, tangent=None, kinds=BOOLEAN)
bitwise_and_p = binary("bitwise_and", bitwise_and, evaluate=np.bitwise_and, tangents=None, kinds=BITS)
bitwise_or_p = binary("bitwise_or", bitwise_or, evaluate=np.bitwise_or, tangents=None, kinds=BITS)
bitwise_xor_p = binary("bitwise_xor", bitwise_xor, evaluate=np.bitwise_xor, tangents=None, kinds=BITS)
bitwise_not_p = unary("bitwise_not", bitwise_not, evaluate=np.bitwise_not, tangent=None, kinds=BITS)
left_shift_p = binary("left_shift", left_shift, evaluate=np.left_shift, tangents=None, kinds=INTEGERS)
right_shift_p = binary("right_shift", right_shift, evaluate=np.right_shift, tangents=None, kinds=INTEGERS)

# ---------------------------------------------------------------------------------------------- kinds of floats


def isnan(x: Any) -> Any:
    """Whether x, or a part of a complex x, is NaN."""
    return bind(isnan_p, x)


def isinf(x: Any) -> Any:
    """Whether x, or a part of a complex x, is an infinity of either sign."""
    return bind(isinf_p, x)


def isfinite(x: Any) -> Any:
    """Whether neither x nor a part of a complex x is NaN or infinite."""
    return bind(isfinite_p, x)


isnan_p = unary("isnan", isnan, evaluate=np.isnan, tangent=None, kinds=INEXACT, result=bool_)
isinf_p = unary("isinf", isinf, evaluate=np.isinf, tangent=None, kinds=INEXACT, result=bool_)
isfinite_p = unary("isfinite", isfinite, evaluate=np.isfinite, tangent=None, kinds=INEXACT, result=bool_)

# ------------------------------------------------------------------------------------------------------- convert


def convert(x: Any, dtype: DType, weak: bool = False) -> Any:
    """x in another dtype; ``weak`` says whether the result promotes as a Python scalar does.

    Floats become integers by truncation. A value outside of the integer type's range, and NaN, gives what the machine
    gives, as in C and NumPy: an unspecified number. Integers become narrower integers modulo their range. Anything but
    zero becomes True. Complex numbers become real ones by losing their imaginary part. The derivative is that of the
    identity, or of the real part, between floats and complex numbers, and zero otherwise.
    """
    dtype = canonical(dtype)
    found = type_of(x)
    return x if found.dtype == dtype and found.weak == weak else bind(convert_p, x, dtype=dtype, weak=weak)


def _convert_jvp(primals: Any, tangents: Sequence[Any], output: Any, *, dtype: DType, weak: bool) -> Any:
    (t,) = tangents
    return None if t is None or not is_differentiable(dtype) else convert(t, dtype)


def _convert_evaluate(x: Any, *, dtype: DType, weak: bool) -> Any:
    # NumPy warns when imaginary parts are dropped; whoever calls `convert` has said so.
    return (x.real if is_complex(x.dtype) and dtype.kind not in "bc" else x).astype(dtype)


convert_p = Primitive(
    "convert",
    type=lambda x, *, dtype, weak: ArrayType(dtype, x.shape, weak),
    evaluate=_convert_evaluate,
    jvp=_convert_jvp,
    transpose=lambda ct, operands, *, dtype, weak: (convert(ct, operands[0].type.dtype),),
    batch=batch_elementwise(convert),
    lower=elementwise("convert"),
)

# ------------------------------------------------------------------------------------------------- stop_gradient


def stop_gradient(x: Any) -> Any:
    """x itself, with derivative zero."""
    return bind(stop_gradient_p, x)


stop_gradient_p = Primitive(
    "stop_gradient",
    type=lambda x: x,
    evaluate=lambda x: x,
    jvp=no_tangent,
    transpose=not_linear("stop_gradient"),
    batch=batch_elementwise(stop_gradient),
    lower=lambda operands, result: View(operands[0]),
)

PRIMITIVES = (
    less_p, less_equal_p, greater_p, greater_equal_p, equal_p, not_equal_p,
    logical_and_p, logical_or_p, logical_xor_p, logical_not_p,
    bitwise_and_p, bitwise_or_p, bitwise_xor_p, bitwise_not_p, left_shift_p, right_shift_p,
    isnan_p, isinf_p, isfinite_p, convert_p, stop_gradient_p,
)
