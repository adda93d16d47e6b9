"""Elementwise functions: arithmetic, powers, trigonometry, comparisons, logic, bits, rounding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import pi
from typing import Any

import numpy as np

from gradxform import operators
from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import bool_, complex128, float64, int8, is_complex, is_differentiable
from gradxform.errors import DTypeError
from gradxform.numpy.dispatch import as_inexact
from gradxform.numpy.ufunc_faces import float_pair as _float_pair
from gradxform.numpy.ufunc_faces import ufunc
from gradxform.operands import as_operand, binary, broadcast_operands, cast, lift, promote_operands
from gradxform.primitives import arithmetic, complex_numbers, elementary, logic, special

Apply = Callable[..., Any]
_ufunc = partial(ufunc, __name__)


# ------------------------------------------------------------------------------------------------------- makers


def _float(name: str, constructor: Apply) -> Apply:
    return lambda x: constructor(as_inexact(name, x))


def _elementary(reference: np.ufunc, constructor: Apply, sentence: str) -> Any:
    return _ufunc(reference, _float(reference.__name__, constructor), sentence)


def _on_integers(name: str, constructor: Apply, otherwise: Apply = lambda x: x) -> Apply:
    """``constructor`` on floats and ``otherwise`` on integers and booleans, which most roundings leave alone."""

    def apply(x: Any) -> Any:
        operand = as_operand(name, x)
        return constructor(operand) if is_differentiable(dtype_of(operand)) else otherwise(operand)

    return apply


def _numbers(name: str, constructor: Apply) -> Apply:
    def apply(x: Any) -> Any:
        operand = as_operand(name, x)
        if dtype_of(operand) == bool_:
            raise DTypeError(f"ufunc '{name}' is not defined for booleans{user_line()}")
        return constructor(operand)

    return apply


def truth(name: str, x: Any) -> Any:
    """An operand as booleans: whether it is not zero."""
    operand = as_operand(name, x)
    dtype = dtype_of(operand)
    return operand if dtype == bool_ else logic.not_equal(operand, dtype.type(0))


def _logical(name: str, constructor: Apply) -> Apply:
    def apply(*operands: Any) -> Any:
        return constructor(*broadcast_operands(name, [truth(name, x) for x in operands]))

    return apply


def _scaled(name: str, factor: float) -> Apply:
    def apply(x: Any) -> Any:
        operand = as_inexact(name, x)
        return _of_reals(name, lambda angle: arithmetic.mul(angle, dtype_of(angle).type(factor)))(operand)

    return apply


def _of_reals(name: str, constructor: Apply) -> Apply:
    """``constructor``, which would take complex numbers too, for a ufunc that does not."""

    def apply(x: Any) -> Any:
        _refuse_complex(name, x)
        return constructor(x)

    return apply


def _refuse_complex(name: str, x: Any) -> None:
    if is_complex(dtype_of(x)):
        raise DTypeError(f"ufunc '{name}' is not defined for complex numbers: take x.real, x.imag or abs(x){user_line()}")


def _rint(x: Any) -> Any:
    """Complex numbers part by part."""
    if is_complex(dtype_of(x)):
        return complex_numbers.complex(*(arithmetic.rint(part(x)) for part in (complex_numbers.real, complex_numbers.imag)))
    return arithmetic.rint(x)


# --------------------------------------------------------------------------------------------------- arithmetic

add = _ufunc(np.add, operators.add, "x + y; on booleans \"or\".")
subtract = _ufunc(np.subtract, operators.subtract, "x - y; refuses booleans.")
multiply = _ufunc(np.multiply, operators.multiply, "x * y; on booleans \"and\".")
divide = true_divide = _ufunc(np.divide, operators.divide, "x / y; integers are divided as float64.")
floor_divide = _ufunc(np.floor_divide, operators.floor_divide, "The floor of x / y; its derivative is zero.")
remainder = mod = _ufunc(
    np.remainder, operators.remainder,
    "x - floor(x / y) * y, with the sign of y; derivative 1 in x, -floor(x / y) in y.")
divmod = _ufunc(np.divmod, operators.divmod_, "``(floor_divide(x, y), remainder(x, y))``.")
negative = _ufunc(np.negative, operators.negative, "-x; refuses booleans.")
positive = _ufunc(np.positive, operators.positive, "+x; refuses booleans.")
absolute = abs = _ufunc(np.absolute, operators.absolute, "The magnitude of x; its derivative at 0 is 0.")
fabs = _elementary(np.fabs, _of_reals("fabs", arithmetic.abs), "The magnitude of x as a float; its derivative at 0 is 0.")
sign = _ufunc(
    np.sign, _numbers("sign", arithmetic.sign), "-1, 0 or 1, NaN for NaN, with derivative zero; x / abs(x) for complex x.")
square = _ufunc(
    np.square, lambda x: arithmetic.square(cast(x, int8) if dtype_of(x) == bool_ else x), "x * x; booleans give int8.")


def _integer_reciprocal(x: Any) -> Any:
    """1 / x without its fraction: x itself for -1 and 1, otherwise 0 (which NumPy leaves open at 0)."""
    operand = cast(x, int8) if dtype_of(x) == bool_ else x
    dtype = dtype_of(operand)
    least = dtype.type(-1 if dtype.kind == "i" else 0)
    near = arithmetic.minimum(arithmetic.maximum(operand, least), dtype.type(1))
    return logic.select(logic.equal(near, operand), operand, dtype.type(0))


reciprocal = _ufunc(
    np.reciprocal, _on_integers("reciprocal", arithmetic.reciprocal, _integer_reciprocal),
    "1 / x, of integers without its fraction.")
conjugate = conj = _ufunc(np.conjugate, operators.conjugate, "The complex conjugate: x itself, for real x.")
maximum = _ufunc(
    np.maximum, binary("maximum", arithmetic.maximum),
    "The larger of x and y, NaN if either is; ties share the derivative.")
minimum = _ufunc(
    np.minimum, binary("minimum", arithmetic.minimum),
    "The smaller of x and y, NaN if either is; ties share the derivative.")


def _ignoring_nan(name: str, extremum: Apply) -> Apply:
    def apply(x: Any, y: Any) -> Any:
        x, y = broadcast_operands(name, promote_operands(name, x, y))
        result = extremum(x, y)
        if not is_differentiable(dtype_of(x)):
            return result
        return logic.select(logic.isnan(x), y, logic.select(logic.isnan(y), x, result))

    return apply


fmax = _ufunc(np.fmax, _ignoring_nan("fmax", arithmetic.maximum), "The larger of x and y, or the one that is no NaN.")
fmin = _ufunc(np.fmin, _ignoring_nan("fmin", arithmetic.minimum), "The smaller of x and y, or the one that is no NaN.")


def _fmod(x: Any, y: Any) -> Any:
    """By the magnitudes, with the sign of x: exact, where x - trunc(x / y) * y would round."""
    x, y = promote_operands("fmod", x, y)
    if dtype_of(x).kind not in "if":
        return operators.remainder(x, y)
    signs = _unit(x) if dtype_of(x).kind == "f" else arithmetic.sign(x)
    return operators.multiply(operators.remainder(operators.multiply(x, signs), operators.absolute(y)), signs)


def _unit(x: Any) -> Any:
    """1 with the sign of x. Multiplying by it twice keeps the sign of zeros, and the derivative of x at 0."""
    return arithmetic.copysign(dtype_of(x).type(1), x)


fmod = _ufunc(np.fmod, _fmod, "The remainder of x / y with the sign of x; derivative 1 in x, -trunc(x / y) in y.")

# ---------------------------------------------------------------------------------------- powers and logarithms

power = pow = _ufunc(np.power, operators.power, "x ** y; d/dx 0**2 = 0, and the derivative in y at x = 0 < y is 0.")


def _float_power(x: Any, y: Any) -> Any:
    operands = [as_operand("float_power", operand) for operand in (x, y)]
    target = complex128 if any(is_complex(dtype_of(operand)) for operand in operands) else float64
    return operators.power(*(cast(operand, target, True) for operand in operands))


float_power = _ufunc(np.float_power, _float_power, "x ** y in float64, complex operands in complex128.")
sqrt = _elementary(np.sqrt, arithmetic.sqrt, "The square root, NaN below 0; its derivative at 0 is infinite.")
cbrt = _elementary(np.cbrt, arithmetic.cbrt, "The real cube root; its derivative at 0 is infinite.")
exp = _elementary(np.exp, elementary.exp, "e ** x.")
exp2 = _elementary(np.exp2, elementary.exp2, "2 ** x.")
expm1 = _elementary(np.expm1, elementary.expm1, "exp(x) - 1, accurate near 0.")
log = _elementary(np.log, elementary.log, "The natural logarithm; -inf at 0, NaN below.")
log2 = _elementary(np.log2, elementary.log2, "The logarithm to base 2.")
log10 = _elementary(np.log10, elementary.log10, "The logarithm to base 10.")
log1p = _elementary(np.log1p, elementary.log1p, "log(1 + x), accurate near 0.")
logaddexp = _ufunc(np.logaddexp, _float_pair("logaddexp", special.logaddexp), "log(exp(x) + exp(y)) without overflow.")


def _logaddexp2(x: Any, y: Any) -> Any:
    kind = dtype_of(x).type
    natural = special.logaddexp(arithmetic.mul(x, kind(np.log(2.0))), arithmetic.mul(y, kind(np.log(2.0))))
    return arithmetic.mul(natural, kind(1.0 / np.log(2.0)))


logaddexp2 = _ufunc(np.logaddexp2, _float_pair("logaddexp2", _logaddexp2), "log2(2**x + 2**y) without overflow.")

# ------------------------------------------------------------------------------------------------- trigonometry

sin = _elementary(np.sin, elementary.sin, "The sine of x, an angle in radians.")
cos = _elementary(np.cos, elementary.cos, "The cosine of x, an angle in radians.")
tan = _elementary(np.tan, elementary.tan, "The tangent of x, an angle in radians.")
arcsin = asin = _elementary(np.arcsin, elementary.arcsin, "The angle in [-pi/2, pi/2] whose sine is x.")
arccos = acos = _elementary(np.arccos, elementary.arccos, "The angle in [0, pi] whose cosine is x.")
arctan = atan = _elementary(np.arctan, elementary.arctan, "The angle in [-pi/2, pi/2] whose tangent is x.")
arctan2 = atan2 = _ufunc(
    np.arctan2, _float_pair("arctan2", elementary.arctan2), "The angle of the point (x, y) = (x2, x1).")
hypot = _ufunc(
    np.hypot, _float_pair("hypot", elementary.hypot), "sqrt(x**2 + y**2) without overflow; derivative 0 at the origin.")
sinh = _elementary(np.sinh, elementary.sinh, "The hyperbolic sine.")
cosh = _elementary(np.cosh, elementary.cosh, "The hyperbolic cosine.")
tanh = _elementary(np.tanh, elementary.tanh, "The hyperbolic tangent.")
arcsinh = asinh = _elementary(np.arcsinh, elementary.arcsinh, "The inverse of sinh.")
arccosh = acosh = _elementary(np.arccosh, elementary.arccosh, "The inverse of cosh; NaN below 1.")
arctanh = atanh = _elementary(np.arctanh, elementary.arctanh, "The inverse of tanh; NaN outside [-1, 1].")
deg2rad = _ufunc(np.deg2rad, _scaled("deg2rad", pi / 180.0), "Degrees to radians.")
radians = _ufunc(np.radians, _scaled("radians", pi / 180.0), "Degrees to radians.")
rad2deg = _ufunc(np.rad2deg, _scaled("rad2deg", 180.0 / pi), "Radians to degrees.")
degrees = _ufunc(np.degrees, _scaled("degrees", 180.0 / pi), "Radians to degrees.")

# ---------------------------------------------------------------------------------------- comparisons and logic

less = _ufunc(np.less, operators.less, "x < y.")
less_equal = _ufunc(np.less_equal, operators.less_equal, "x <= y.")
greater = _ufunc(np.greater, operators.greater, "x > y.")
greater_equal = _ufunc(np.greater_equal, operators.greater_equal, "x >= y.")
equal = _ufunc(np.equal, operators.equal, "x == y.")
not_equal = _ufunc(np.not_equal, operators.not_equal, "x != y.")
logical_and = _ufunc(np.logical_and, _logical("logical_and", logic.logical_and), "Whether neither x nor y is zero.")
logical_or = _ufunc(np.logical_or, _logical("logical_or", logic.logical_or), "Whether x or y is not zero.")
logical_xor = _ufunc(
    np.logical_xor, _logical("logical_xor", logic.logical_xor), "Whether exactly one of x and y is not zero.")
logical_not = _ufunc(np.logical_not, _logical("logical_not", logic.logical_not), "Whether x is zero.")
bitwise_and = _ufunc(np.bitwise_and, operators.bitwise_and, "x & y on integers and booleans.")
bitwise_or = _ufunc(np.bitwise_or, operators.bitwise_or, "x | y on integers and booleans.")
bitwise_xor = _ufunc(np.bitwise_xor, operators.bitwise_xor, "x ^ y on integers and booleans.")
invert = bitwise_not = bitwise_invert = _ufunc(np.invert, operators.invert, "~x on integers and booleans.")
left_shift = bitwise_left_shift = _ufunc(np.left_shift, operators.left_shift, "x << y on integers.")
right_shift = bitwise_right_shift = _ufunc(np.right_shift, operators.right_shift, "x >> y on integers.")


def _classified(name: str, constructor: Apply, integers: bool) -> Apply:
    return _on_integers(name, constructor, lambda x: (logic.equal if integers else logic.not_equal)(x, x))


isnan = _ufunc(np.isnan, _classified("isnan", logic.isnan, False), "Whether x is NaN.")
isinf = _ufunc(np.isinf, _classified("isinf", logic.isinf, False), "Whether x is infinite.")
isfinite = _ufunc(np.isfinite, _classified("isfinite", logic.isfinite, True), "Whether x is neither NaN nor infinite.")


copysign = _ufunc(np.copysign, _float_pair("copysign", arithmetic.copysign), "The magnitude of x with the sign of y.")


def _heaviside(x: Any, y: Any) -> Any:
    _refuse_complex("heaviside", x)
    zero = dtype_of(x).type(0)
    step = arithmetic.maximum(arithmetic.sign(x), zero)
    return logic.select(*broadcast_operands("heaviside", [logic.equal(x, zero), y, step]))


heaviside = _ufunc(np.heaviside, _float_pair("heaviside", _heaviside), "0 below 0, y at 0, 1 above; derivative 0 in x.")

# ---------------------------------------------------------------------------------------------------- rounding

floor = _ufunc(np.floor, _on_integers("floor", arithmetic.floor), "The largest integer not above x; derivative zero.")
ceil = _ufunc(np.ceil, _on_integers("ceil", arithmetic.ceil), "The smallest integer not below x; derivative zero.")
trunc = _ufunc(np.trunc, _on_integers("trunc", arithmetic.trunc), "The integer part of x; derivative zero.")
rint = _elementary(np.rint, _rint, "The nearest integer as a float, halves to the even one; derivative zero.")


def _modf(x: Any) -> tuple[Any, Any]:
    x = as_inexact("modf", x)
    whole, signs = arithmetic.trunc(x), _unit(x)
    magnitude = arithmetic.sub(arithmetic.mul(x, signs), arithmetic.mul(whole, signs))
    fraction = logic.select(logic.isinf(x), dtype_of(x).type(0), magnitude)
    return lift("modf", arithmetic.mul(fraction, signs)), lift("modf", whole)


modf = _ufunc(np.modf, _modf, "The fractional and the integer part of x; the derivative is that of the fraction.")
