"""Arithmetic: sums, products, integer powers, roots, division with remainder, rounding, extrema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind, dtype_of
from gradxform.dtypes import check_same, is_complex, is_differentiable, part_dtype
from gradxform.errors import ArgumentError, NotDifferentiableError
from gradxform.ir import ArrayType
from gradxform.linear import batch_elementwise, elementwise_shape
from gradxform.loopir.expression import Apply, Expression, Index
from gradxform.loopir.expression import constant as loop_constant
from gradxform.loopir.lowering import Map, Operand, elementwise
from gradxform.primitives.complex import conj, from_real, imag, real, turned
from gradxform.primitives.logic import equal, greater_equal, less_equal, select
from gradxform.primitives.rules import (
    ANY,
    INEXACT,
    NUMBERS,
    REALS,
    binary,
    check_kind,
    constant,
    is_linear,
    linear_operand,
    not_linear,
    same_dtype,
    sum_of_tangents,
    unary,
)

# -------------------------------------------------------------------------------------- differences and products


def neg(x: Any) -> Any:
    """-x; unsigned integers wrap around."""
    return bind(neg_p, x)


def sub(x: Any, y: Any) -> Any:
    """x - y; integers wrap around."""
    return bind(sub_p, *same_dtype(x, y))


def mul(x: Any, y: Any) -> Any:
    """x * y; integers wrap around, on booleans it is "and"."""
    return bind(mul_p, *same_dtype(x, y))


def div(x: Any, y: Any) -> Any:
    """x / y on floats and complex numbers; infinities and NaN at y = 0."""
    return bind(div_p, *same_dtype(x, y))


def square(x: Any) -> Any:
    """x * x."""
    return bind(square_p, x)


def reciprocal(x: Any) -> Any:
    """1 / x on floats and complex numbers."""
    return bind(reciprocal_p, x)


def _mul_transpose(ct: Any, operands: Sequence[Any]) -> tuple[Any, ...]:
    x, y = operands
    if is_linear(x) and is_linear(y):
        raise NotDifferentiableError("mul is linear in each operand, but not in both together")
    return (linear_operand(mul(ct, y), x) if is_linear(x) else None,
            linear_operand(mul(ct, x), y) if is_linear(y) else None)


def _div_transpose(ct: Any, operands: Sequence[Any]) -> tuple[Any, ...]:
    x, y = operands
    if is_linear(y):
        raise NotDifferentiableError("div is not linear in its divisor")
    return linear_operand(div(ct, y), x), None


neg_p = unary("neg", neg, evaluate=np.negative, tangent=lambda t, x, y: neg(t), kinds=NUMBERS,
              transpose=lambda ct, operands: (neg(ct),))
sub_p = binary("sub", sub, evaluate=np.subtract, tangents=(lambda t, x, y, z: t, lambda t, x, y, z: neg(t)),
               kinds=NUMBERS,
               transpose=lambda ct, operands: (
                   linear_operand(ct, operands[0]),
                   linear_operand(neg(ct), operands[1]) if is_linear(operands[1]) else None))
mul_p = binary("mul", mul, evaluate=np.multiply, tangents=(lambda t, x, y, z: mul(t, y), lambda t, x, y, z: mul(t, x)),
               kinds=ANY, transpose=_mul_transpose)
def _divisor_tangent(t: Any, x: Any, y: Any, z: Any) -> Any:
    """-t x / y^2, where z = x / y; that is -t z^2 for x = 1."""
    one = isinstance(x, (float, np.inexact)) and x == 1
    return mul(t, neg(square(z) if one else mul(z, reciprocal(y))))


# 1 / y is a factor of both tangents and of those of higher order: one division for all of them, and none where y is known.
div_p = binary("div", div, evaluate=np.divide,
               tangents=(lambda t, x, y, z: mul(t, reciprocal(y)), _divisor_tangent), kinds=INEXACT,
               transpose=_div_transpose)
square_p = unary("square", square, evaluate=np.square, tangent=lambda t, x, y: mul(t, mul(x, constant(2, x))),
                 kinds=NUMBERS)
reciprocal_p = unary("reciprocal", reciprocal, evaluate=np.reciprocal, kinds=INEXACT,
                     tangent=lambda t, x, y: mul(t, neg(square(y))))

# ------------------------------------------------------------------------------------------------- integer powers

#: Up to this exponent a float power is a product; beyond, its rounding errors would grow and ``pow`` is better.
_LARGEST_PRODUCT = 16


def integer_pow(x: Any, exponent: int) -> Any:
    """x to a fixed integer power, x**0 = 1 for every x.

    Integers wrap around and refuse a negative exponent (ArgumentError). Other numbers are multiplied by repeated squaring up
    to an exponent of 16, a negative power is the reciprocal of the positive one.
    """
    return bind(integer_pow_p, x, exponent=exponent)


def _integer_pow_type(x: ArrayType, *, exponent: int) -> ArrayType:
    check_kind("integer_pow", x.dtype, NUMBERS)
    if exponent < 0 and x.dtype.kind in "iu":
        raise ArgumentError(f"integer_pow: integers to negative powers are not integers, got {x} to the power "
                            f"{exponent}: cast with .astype(float)")
    return x


def _product(x: Any, exponent: int, multiply: Callable[[Any, Any], Any]) -> Any:
    """x to the power exponent >= 1 by repeated squaring."""
    result = None
    while True:
        if exponent & 1:
            result = x if result is None else multiply(result, x)
        exponent >>= 1
        if not exponent:
            return result
        x = multiply(x, x)


def _is_product(dtype: Any, exponent: int) -> bool:
    return not is_differentiable(dtype) or -_LARGEST_PRODUCT <= exponent <= _LARGEST_PRODUCT


def _integer_pow_evaluate(x: Any, *, exponent: int) -> Any:
    if exponent == 0:
        return np.ones_like(x)
    if not _is_product(x.dtype, exponent):
        return np.power(x, x.dtype.type(exponent))
    product = _product(x, exponent if exponent > 0 else -exponent, np.multiply)
    return product if exponent > 0 else np.reciprocal(product)


def _integer_pow_lower(operands: Sequence[Operand], result: ArrayType, *, exponent: int) -> Map:
    (x,) = operands
    dtype = result.dtype

    def read(index: Index) -> Expression:
        if exponent == 0:
            return loop_constant(1, dtype)
        base = x(index)
        if not _is_product(dtype, exponent):
            return Apply("pow", (base, loop_constant(exponent, dtype)), dtype)
        count = exponent if exponent > 0 else -exponent
        product: Expression = _product(base, count, lambda a, b: Apply("mul", (a, b), dtype))
        return product if exponent > 0 else Apply("reciprocal", (product,), dtype)

    return Map(read)


def _integer_pow_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, exponent: int) -> Any:
    (x,), (t,) = primals, tangents
    if t is None or exponent == 0:
        return None
    if exponent == 1:
        return t
    factor = x if exponent == 2 else integer_pow(x, exponent - 1)
    return mul(t, mul(factor, constant(exponent, x)))


integer_pow_p = Primitive(
    "integer_pow",
    type=_integer_pow_type,
    evaluate=_integer_pow_evaluate,
    jvp=_integer_pow_jvp,
    transpose=not_linear("integer_pow"),
    batch=batch_elementwise(integer_pow),
    lower=_integer_pow_lower,
)

# ---------------------------------------------------------------------------------------------------------- roots


def sqrt(x: Any) -> Any:
    """The square root; NaN below 0, its derivative at 0 is infinite. Complex: with a real part that is not negative."""
    return bind(sqrt_p, x)


def cbrt(x: Any) -> Any:
    """The real cube root; its derivative at 0 is infinite."""
    return bind(cbrt_p, x)


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return bind(rsqrt_p, x)


sqrt_p = unary("sqrt", sqrt, evaluate=np.sqrt, kinds=INEXACT,
               tangent=lambda t, x, y: mul(t, mul(constant(0.5, x), reciprocal(y))))
cbrt_p = unary("cbrt", cbrt, evaluate=np.cbrt,
               tangent=lambda t, x, y: mul(t, mul(constant(1 / 3, x), reciprocal(square(y)))))
rsqrt_p = unary("rsqrt", rsqrt, evaluate=lambda x: np.reciprocal(np.sqrt(x)), kinds=INEXACT,
                tangent=lambda t, x, y: mul(t, mul(mul(y, reciprocal(x)), constant(-0.5, x))))

# ----------------------------------------------------------------------------------------- division with remainder


def floor_divide(x: Any, y: Any) -> Any:
    """The floor of x / y, as NumPy's: integers by zero give 0 and the smallest integer by -1 wraps around.

    On floats it is exact for the two given numbers; x / 0 gives what division gives. The derivative is zero.
    """
    return bind(floor_divide_p, *same_dtype(x, y))


def remainder(x: Any, y: Any) -> Any:
    """x - floor_divide(x, y) * y, exact, with the sign of y; integers by zero give 0, floats NaN.

    The derivative is 1 in x and -floor_divide(x, y) in y, also where the remainder jumps.
    """
    return bind(remainder_p, *same_dtype(x, y))


floor_divide_p = binary("floor_divide", floor_divide, evaluate=np.floor_divide, tangents=None, kinds=REALS)
remainder_p = binary("remainder", remainder, evaluate=np.remainder, kinds=REALS,
                     tangents=(lambda t, x, y, z: t, lambda t, x, y, z: mul(t, neg(floor_divide(x, y)))))

# ------------------------------------------------------------------------------------------------ sign and rounding


def abs(x: Any) -> Any:  # noqa: A001
    """The magnitude, real; its derivative at 0 is 0. The smallest signed integer stays as it is."""
    return bind(abs_p, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1, NaN for NaN; the derivative is zero. Of a complex z it is z / abs(z), and its derivative at 0 is 0."""
    return bind(sign_p, x)


def copysign(x: Any, y: Any) -> Any:
    """The magnitude of x with the sign (bit) of y; the derivative in x at 0 is 0."""
    return bind(copysign_p, *same_dtype(x, y))


def floor(x: Any) -> Any:
    """The largest integer not above x, as a float; the derivative is zero."""
    return bind(floor_p, x)


def ceil(x: Any) -> Any:
    """The smallest integer not below x, as a float; the derivative is zero."""
    return bind(ceil_p, x)


def rint(x: Any) -> Any:
    """The nearest integer, as a float; halves go to the even one. The derivative is zero."""
    return bind(rint_p, x)


def trunc(x: Any) -> Any:
    """The integer part of x, as a float; the derivative is zero."""
    return bind(trunc_p, x)


def _abs_tangent(t: Any, x: Any, y: Any) -> Any:
    """The part of t along x."""
    return real(mul(t, conj(sign(x)))) if is_complex(dtype_of(x)) else mul(t, sign(x))


def _sign_tangent(t: Any, x: Any, y: Any) -> Any:
    """A turn: the part of t across x moves the direction of x, by its share of the radius."""
    if not is_complex(dtype_of(x)):
        return None
    radius = abs(x)
    # Nothing is divided by a radius of 0: there the derivative is 0, as that of the radius is.
    turn = div(imag(mul(t, conj(y))), select(equal(radius, constant(0, radius)), constant(np.inf, radius), radius))
    return mul(turned(y), from_real(turn))


abs_p = unary("abs", abs, evaluate=np.abs, tangent=_abs_tangent, kinds=NUMBERS, result=part_dtype)
sign_p = unary("sign", sign, evaluate=np.sign, tangent=_sign_tangent, kinds=NUMBERS)
copysign_p = binary("copysign", copysign, evaluate=np.copysign,
                    tangents=(lambda t, x, y, z: mul(t, mul(sign(x), copysign(constant(1, x), y))), None))
floor_p = unary("floor", floor, evaluate=np.floor, tangent=None)
ceil_p = unary("ceil", ceil, evaluate=np.ceil, tangent=None)
rint_p = unary("rint", rint, evaluate=np.rint, tangent=None)
trunc_p = unary("trunc", trunc, evaluate=np.trunc, tangent=None)

# --------------------------------------------------------------------------------------------------------- extrema


def maximum(x: Any, y: Any) -> Any:
    """The larger one; NaN if either is NaN, on booleans "or". Where they are equal each gets half of the derivative.

    Complex numbers are compared by their real parts, those of equal real parts by their imaginary ones.
    """
    return bind(maximum_p, *same_dtype(x, y))


def minimum(x: Any, y: Any) -> Any:
    """The smaller one; NaN if either is NaN, on booleans "and". Where they are equal each gets half the derivative.

    Complex numbers are compared as by `maximum`.
    """
    return bind(minimum_p, *same_dtype(x, y))


def clamp(low: Any, x: Any, high: Any) -> Any:
    """minimum(maximum(x, low), high), with that composition's derivative: at a bound it is shared evenly."""
    low, x, high = same_dtype(low, x, high)
    return bind(clamp_p, low, x, high)


def _share(t: Any, holds: Any, x: Any, y: Any) -> Any:
    """``t`` where its operand wins, half of it at a tie, else zero.

    Zero is chosen, not multiplied: where its operand loses, an infinite t must not count.
    """
    weight = select(equal(x, y), constant(0.5, t), constant(1, t))
    return select(holds, mul(t, weight), constant(0, t))


def _clamp_type(low: ArrayType, x: ArrayType, high: ArrayType) -> ArrayType:
    dtype = check_same("clamp", (low.dtype, x.dtype, high.dtype))
    check_kind("clamp", dtype, ANY)
    return ArrayType(dtype, elementwise_shape("clamp", (low, x, high)), low.weak and x.weak and high.weak)


def _clamp_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any) -> Any:
    (low, x, high), (low_t, x_t, high_t) = primals, tangents
    inner = maximum(x, low)
    inner_t = _maximum_jvp((x, low), (x_t, low_t), inner)
    return _minimum_jvp((inner, high), (inner_t, high_t), output)


_maximum_tangents = (lambda t, x, y, z: _share(t, greater_equal(x, y), x, y),
                     lambda t, x, y, z: _share(t, less_equal(x, y), x, y))
_minimum_tangents = (lambda t, x, y, z: _share(t, less_equal(x, y), x, y),
                     lambda t, x, y, z: _share(t, greater_equal(x, y), x, y))
_maximum_jvp, _minimum_jvp = sum_of_tangents(_maximum_tangents), sum_of_tangents(_minimum_tangents)

maximum_p = binary("maximum", maximum, evaluate=np.maximum, tangents=_maximum_tangents, kinds=ANY)
minimum_p = binary("minimum", minimum, evaluate=np.minimum, tangents=_minimum_tangents, kinds=ANY)
clamp_p = Primitive(
    "clamp",
    type=_clamp_type,
    evaluate=lambda low, x, high: np.minimum(np.maximum(x, low), high),
    jvp=_clamp_jvp,
    transpose=not_linear("clamp"),
    batch=batch_elementwise(clamp),
    lower=elementwise("clamp"),
)

PRIMITIVES = (
    neg_p, sub_p, mul_p, div_p, square_p, reciprocal_p, integer_pow_p, sqrt_p, cbrt_p, rsqrt_p,
    floor_divide_p, remainder_p, abs_p, sign_p, copysign_p, floor_p, ceil_p, rint_p, trunc_p,
    maximum_p, minimum_p, clamp_p,
)
