"""The arithmetic behind Python's operators on traced arrays, with NumPy's dtype rules.

Everything here is staged; the functions that users see, which leave plain arrays to NumPy, are in ``gradxform.numpy``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform import linear
from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import PYTHON_SCALARS, DType, bool_, float64, int8, int64, is_complex, is_differentiable, promote
from gradxform.errors import ArgumentError, DTypeError, ShapeError
from gradxform.operands import (
    as_operand,
    binary,
    broadcast_operands,
    broadcast_shapes,
    broadcast_to,
    cast,
    promote_operands,
)
from gradxform.primitives import arithmetic, complex_numbers, elementary, logic
from gradxform.primitives.contraction import dot_general

Binary = Callable[[Any, Any], Any]

# ---------------------------------------------------------------------------------------------------- arithmetic


def _prepared(name: str, x: Any, y: Any) -> tuple[list[Any], DType]:
    operands = broadcast_operands(name, promote_operands(name, x, y))
    return operands, dtype_of(operands[0])


def _all_cast(operands: list[Any], dtype: DType) -> list[Any]:
    weak = all(type(x) in PYTHON_SCALARS for x in operands)
    return [cast(x, dtype, weak) for x in operands]


def add(x: Any, y: Any) -> Any:
    operands, dtype = _prepared("add", x, y)
    return logic.logical_or(*operands) if dtype == bool_ else linear.add(*operands)


def subtract(x: Any, y: Any) -> Any:
    operands, dtype = _prepared("subtract", x, y)
    if dtype == bool_:
        raise DTypeError(
            "numpy boolean subtract, the `-` operator, is not supported, use the bitwise_xor, the `^` operator, "
            f"or the logical_xor function instead{user_line()}")
    return arithmetic.sub(*operands)


multiply = binary("multiply", arithmetic.mul)


def divide(x: Any, y: Any) -> Any:
    """True division: integers and booleans are divided as float64."""
    operands, dtype = _prepared("divide", x, y)
    return arithmetic.div(*(operands if is_differentiable(dtype) else _to_float64(operands)))


def _to_float64(operands: list[Any]) -> list[Any]:
    return [float(x) if type(x) in (bool, int) else cast(x, float64, weak=True) for x in operands]


def _counting(name: str, constructor: Binary) -> Binary:
    """An operation for which NumPy turns booleans into int8."""

    def function(x: Any, y: Any) -> Any:
        operands, dtype = _prepared(name, x, y)
        return constructor(*(_all_cast(operands, int8) if dtype == bool_ else operands))

    function.__name__ = name
    return function


floor_divide = _counting("floor_divide", arithmetic.floor_divide)
remainder = _counting("remainder", arithmetic.remainder)
_plain_power = _counting("power", elementary.pow)


def power(x: Any, y: Any) -> Any:
    """x ** y. A Python integer y gives ``integer_pow`` for every dtype; 0.5 gives ``sqrt`` as NumPy's operator does."""
    base = as_operand("power", x)
    if type(y) is int:
        dtype = promote((dtype_of(base), type(base) in PYTHON_SCALARS), (int64, True))[0]
        if dtype.kind in "iu" and y < 0:
            raise ArgumentError(f"power: Integers to negative integer powers are not allowed.{user_line()}")
        if dtype == dtype_of(base):
            return arithmetic.integer_pow(base, y)
    elif type(y) is float and is_differentiable(dtype_of(base)):
        if y == 0.5:
            return arithmetic.sqrt(base)
        if y in (-1.0, 1.0, 2.0):
            return arithmetic.integer_pow(base, int(y))
    return _plain_power(base, y)


def divmod_(x: Any, y: Any) -> tuple[Any, Any]:
    return floor_divide(x, y), remainder(x, y)


def negative(x: Any) -> Any:
    x = as_operand("negative", x)
    if dtype_of(x) == bool_:
        raise DTypeError(
            "The numpy boolean negative, the `-` operator, is not supported, use the `~` operator "
            f"or the logical_not function instead.{user_line()}")
    return arithmetic.neg(x)


def positive(x: Any) -> Any:
    x = as_operand("positive", x)
    if dtype_of(x) == bool_:
        raise DTypeError(f"positive: the `+` operator is not defined for booleans{user_line()}")
    return x


def absolute(x: Any) -> Any:
    x = as_operand("absolute", x)
    return x if dtype_of(x) == bool_ else arithmetic.abs(x)


# ------------------------------------------------------------------------------------------------------- complex


def real(x: Any) -> Any:
    x = as_operand("real", x)
    return complex_numbers.real(x) if is_complex(dtype_of(x)) else x


def imag(x: Any) -> Any:
    x = as_operand("imag", x)
    return complex_numbers.imag(x) if is_complex(dtype_of(x)) else linear.full(shape_of(x), 0, dtype_of(x))


def conjugate(x: Any) -> Any:
    x = as_operand("conjugate", x)
    return complex_numbers.conj(x) if is_complex(dtype_of(x)) else x


# --------------------------------------------------------------------------------------------------- comparisons


def _comparison(name: str, constructor: Binary) -> Binary:
    def function(x: Any, y: Any) -> Any:
        return constructor(*broadcast_operands(name, promote_operands(name, _widened(x, y), _widened(y, x))))

    function.__name__ = name
    return function


def _widened(x: Any, other: Any) -> Any:
    """An integer array as int64 if the Python integer beside it does not fit its dtype: comparing is still defined."""
    if type(other) is int and hasattr(x, "dtype") and x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        if not limits.min <= other <= limits.max:
            return cast(as_operand("compare", x), int64 if x.dtype.itemsize < 8 else float64)
    return x


less = _comparison("less", logic.less)
less_equal = _comparison("less_equal", logic.less_equal)
greater = _comparison("greater", logic.greater)
greater_equal = _comparison("greater_equal", logic.greater_equal)
equal = _comparison("equal", logic.equal)
not_equal = _comparison("not_equal", logic.not_equal)

# ---------------------------------------------------------------------------------------------------------- bits


def _bitwise(name: str, constructor: Binary, kinds: str = "biu") -> Binary:
    def function(x: Any, y: Any) -> Any:
        operands, dtype = _prepared(name, x, y)
        if dtype.kind not in "biu":
            raise _no_bits(name, dtype)
        return constructor(*(_all_cast(operands, int8) if dtype.kind not in kinds else operands))

    function.__name__ = name
    return function


def _no_bits(name: str, dtype: DType) -> DTypeError:
    return DTypeError(
        f"ufunc '{name}' not supported for the input types: it takes integers or booleans, got {dtype}{user_line()}")


bitwise_and = _bitwise("bitwise_and", logic.bitwise_and)
bitwise_or = _bitwise("bitwise_or", logic.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", logic.bitwise_xor)
left_shift = _bitwise("left_shift", logic.left_shift, "iu")
right_shift = _bitwise("right_shift", logic.right_shift, "iu")


def invert(x: Any) -> Any:
    x = as_operand("invert", x)
    if dtype_of(x).kind not in "biu":
        raise _no_bits("invert", dtype_of(x))
    return logic.bitwise_not(x)


# -------------------------------------------------------------------------------------------------------- matmul


def matmul(x: Any, y: Any) -> Any:
    """x @ y: vectors, matrices, and stacks of matrices that broadcast."""
    x, y = promote_operands("matmul", x, y)
    left, right = shape_of(x), shape_of(y)
    if not left or not right:
        raise ShapeError(
            f"matmul: input operand {0 if not left else 1} does not have enough dimensions (it is a scalar): "
            f"use * to scale{user_line()}")
    inner = right[0] if len(right) == 1 else right[-2]
    if left[-1] != inner:
        raise ShapeError(
            f"matmul: mismatch in core dimension, shapes {left} and {right}: {left[-1]} is different from {inner}"
            f"{user_line()}")
    last = len(left) - 1
    if len(right) == 1:
        return dot_general(x, y, ((last,), (0,)))
    if len(right) == 2:
        return dot_general(x, y, ((last,), (0,)))
    if len(left) <= 2:
        result = dot_general(x, y, ((last,), (len(right) - 2,)))
        # The rows of x stand first; they belong behind the stack.
        return result if len(left) == 1 else linear.move_axis(result, 0, len(right) - 2)
    stack = broadcast_shapes("matmul", left[:-2], right[:-2])
    x, y = broadcast_to("matmul", x, (*stack, *left[-2:])), broadcast_to("matmul", y, (*stack, *right[-2:]))
    lanes = tuple(range(len(stack)))
    rank = len(stack) + 2
    return dot_general(x, y, ((rank - 1,), (rank - 2,)), (lanes, lanes))
