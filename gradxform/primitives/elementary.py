"""Exponentials, logarithms, powers, trigonometric and hyperbolic functions, on floats and complex numbers.

Derivatives are written so that they neither overflow nor cancel where the derivative itself does not. Those of complex
functions are the derivatives of the branch that NumPy (as C99) takes, on the cuts too, where the sign of a zero tells the
sides apart: what leads to a root there keeps the signs of zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind, dtype_of
from gradxform.dtypes import is_complex
from gradxform.linear import add
from gradxform.primitives.arithmetic import div, mul, neg, reciprocal, rsqrt, square, sub
from gradxform.primitives.complex import turned
from gradxform.primitives.logic import equal, greater_equal, logical_and, select
from gradxform.primitives.rules import INEXACT, NUMBERS, Tangent, binary, constant, same_dtype, unary


def _function(
    name: str, constructor: Callable[[Any], Any], *, evaluate: Callable[..., Any], tangent: Tangent
) -> Primitive:
    return unary(name, constructor, evaluate=evaluate, tangent=tangent, kinds=INEXACT)


# -------------------------------------------------------------------------------------- exponentials and logarithms


def exp(x: Any) -> Any:
    """e to the power x."""
    return bind(exp_p, x)


def exp2(x: Any) -> Any:
    """2 to the power x."""
    return bind(exp2_p, x)


def expm1(x: Any) -> Any:
    """exp(x) - 1, accurate near 0."""
    return bind(expm1_p, x)


def log(x: Any) -> Any:
    """The natural logarithm; -inf at 0, NaN below."""
    return bind(log_p, x)


def log2(x: Any) -> Any:
    """The logarithm to base 2; -inf at 0, NaN below."""
    return bind(log2_p, x)


def log10(x: Any) -> Any:
    """The logarithm to base 10; -inf at 0, NaN below."""
    return bind(log10_p, x)


def log1p(x: Any) -> Any:
    """log(1 + x), accurate near 0; -inf at -1, NaN below."""
    return bind(log1p_p, x)


def _expm1_evaluate(x: Any) -> Any:
    """NumPy's; where a complex one overflows or is not finite, exp(x) - 1, as compiled: NumPy's has infinity times 0 there."""
    result = np.expm1(x)
    if dtype_of(x).kind != "c":
        return result
    finite = np.isfinite(x) & np.isfinite(result)
    if finite.all():
        return result
    limit = np.array(np.exp(x))
    limit.real -= 1
    return np.where(finite, result, limit)


exp_p = _function("exp", exp, evaluate=np.exp, tangent=lambda t, x, y: mul(t, y))
exp2_p = _function("exp2", exp2, evaluate=np.exp2, tangent=lambda t, x, y: mul(t, mul(y, constant(math.log(2), x))))
# exp(x) rather than y + 1, which has no correct digits for very negative x.
expm1_p = _function("expm1", expm1, evaluate=_expm1_evaluate, tangent=lambda t, x, y: mul(t, exp(x)))
log_p = _function("log", log, evaluate=np.log, tangent=lambda t, x, y: mul(t, reciprocal(x)))
log2_p = _function("log2", log2, evaluate=np.log2,
                   tangent=lambda t, x, y: mul(t, mul(constant(1 / math.log(2), x), reciprocal(x))))
log10_p = _function("log10", log10, evaluate=np.log10,
                    tangent=lambda t, x, y: mul(t, mul(constant(1 / math.log(10), x), reciprocal(x))))
log1p_p = _function("log1p", log1p, evaluate=np.log1p,
                    tangent=lambda t, x, y: mul(t, reciprocal(add(x, constant(1, x)))))

# ---------------------------------------------------------------------------------------------------------- powers


def pow(x: Any, y: Any) -> Any:  # noqa: A001
    """x to the power y, of floats or of integers (then y >= 0, and results wrap around).

    pow(x, 0) = 1 for every x. The derivative in x is y * pow(x, y - 1), which is 0 at x = y = 0. The derivative in y
    is log(x) * pow(x, y): NaN for x < 0, and at x = 0 it is 0 for y >= 0 and -inf for y < 0.
    """
    return bind(pow_p, *same_dtype(x, y))


def _pow_tangent_x(t: Any, x: Any, y: Any, z: Any) -> Any:
    if isinstance(y, np.generic):
        # A known exponent: polynomials end, so that no higher derivative meets 0 * inf at x = 0.
        if y == 0:
            return None
        if y == 1:
            return t
        return mul(t, mul(x if y == 2 else pow(x, y - constant(1, y)), y))
    # 0 * 0**-1 is the only NaN to avoid; elsewhere the formula stands as it is, so that it differentiates in y too.
    both_zero = logical_and(equal(x, constant(0, x)), equal(y, constant(0, y)))
    base = select(both_zero, constant(1, x), x)
    return mul(t, mul(y, pow(base, sub(y, constant(1, y)))))


def _pow_tangent_y(t: Any, x: Any, y: Any, z: Any) -> Any:
    flat = logical_and(equal(x, constant(0, x)), greater_equal(y, constant(0, y)))
    return mul(t, mul(z, log(select(flat, constant(1, x), x))))


pow_p = binary("pow", pow, evaluate=np.power, tangents=(_pow_tangent_x, _pow_tangent_y), kinds=NUMBERS)

# --------------------------------------------------------------------------------------------------- trigonometry


def sin(x: Any) -> Any:
    """The sine of x in radians; NaN for infinities."""
    return bind(sin_p, x)


def cos(x: Any) -> Any:
    """The cosine of x in radians; NaN for infinities."""
    return bind(cos_p, x)


def tan(x: Any) -> Any:
    """The tangent of x in radians; NaN for infinities."""
    return bind(tan_p, x)


def arcsin(x: Any) -> Any:
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside of [-1, 1]. Its derivative at -1 and 1 is infinite."""
    return bind(arcsin_p, x)


def arccos(x: Any) -> Any:
    """The angle in [0, pi] whose cosine is x; NaN outside of [-1, 1]. Its derivative at -1 and 1 is -inf."""
    return bind(arccos_p, x)


def arctan(x: Any) -> Any:
    """The angle in [-pi/2, pi/2] whose tangent is x."""
    return bind(arctan_p, x)


def arctan2(y: Any, x: Any) -> Any:
    """The angle in [-pi, pi] of the point (x, y); the sign of a zero tells the sides of the branch cut apart.

    The derivative at the origin, where there is none, is NaN.
    """
    return bind(arctan2_p, *same_dtype(y, x))


def hypot(x: Any, y: Any) -> Any:
    """sqrt(x*x + y*y) without overflow; infinite if either is, even beside NaN. The derivative at the origin is 0."""
    return bind(hypot_p, *same_dtype(x, y))


def _one_minus_square(x: Any) -> Any:
    # The product keeps its digits near |x| = 1, where 1 - x*x cancels.
    one = constant(1, x)
    return mul(sub(one, x), add(x, constant(1, x)))


def _one_plus(x: Any) -> Any:
    # Adding to a complex x would make an imaginary part of -0 one of +0, on the other side of a cut.
    return sub(x, constant(-1, x)) if is_complex(dtype_of(x)) else add(x, constant(1, x))


def _over_one_minus_square(x: Any) -> Any:
    """1 / (1 - x*x), the derivative of arctanh; of complex x by two reciprocals, for inf - inf is NaN in their product."""
    if not is_complex(dtype_of(x)):
        return reciprocal(_one_minus_square(x))
    return mul(reciprocal(sub(constant(1, x), x)), reciprocal(add(x, constant(1, x))))


def _over_root(x: Any) -> Any:
    """1 / sqrt(1 - x*x), the derivative of arcsin.

    Of complex x two roots are taken, for that of the product may be on the wrong side. 1 - x is written as -(x - 1),
    which keeps the sign of an imaginary part of 0.
    """
    if not is_complex(dtype_of(x)):
        return rsqrt(_one_minus_square(x))
    return mul(rsqrt(neg(sub(x, constant(1, x)))), rsqrt(_one_plus(x)))


def _over_hypot(x: Any, h: Any) -> Any:
    return div(x, select(equal(h, constant(0, h)), constant(math.inf, h), h))


sin_p = _function("sin", sin, evaluate=np.sin, tangent=lambda t, x, y: mul(t, cos(x)))
cos_p = _function("cos", cos, evaluate=np.cos, tangent=lambda t, x, y: mul(t, neg(sin(x))))
tan_p = _function("tan", tan, evaluate=np.tan, tangent=lambda t, x, y: mul(t, add(square(y), constant(1, x))))
arcsin_p = _function("arcsin", arcsin, evaluate=np.arcsin, tangent=lambda t, x, y: mul(t, _over_root(x)))
arccos_p = _function("arccos", arccos, evaluate=np.arccos,
                     tangent=lambda t, x, y: mul(t, neg(_over_root(x))))
# arctan(x) = -i arctanh(i x).
arctan_p = _function("arctan", arctan, evaluate=np.arctan, tangent=lambda t, x, y: mul(
    t, _over_one_minus_square(turned(x)) if is_complex(dtype_of(x)) else reciprocal(add(square(x), constant(1, x)))))
# Divided by the radius twice: its square would overflow.
arctan2_p = binary("arctan2", arctan2, evaluate=np.arctan2,
                   tangents=(lambda t, y, x, z: mul(t, div(div(x, hypot(x, y)), hypot(x, y))),
                             lambda t, y, x, z: mul(t, neg(div(div(y, hypot(x, y)), hypot(x, y))))))
hypot_p = binary("hypot", hypot, evaluate=np.hypot,
                 tangents=(lambda t, x, y, z: mul(t, _over_hypot(x, z)), lambda t, x, y, z: mul(t, _over_hypot(y, z))))

# ---------------------------------------------------------------------------------------------- hyperbolic functions


def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    return bind(sinh_p, x)


def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    return bind(cosh_p, x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent; its derivative is 1 - tanh(x)**2."""
    return bind(tanh_p, x)


def arcsinh(x: Any) -> Any:
    """The inverse of sinh."""
    return bind(arcsinh_p, x)


def arccosh(x: Any) -> Any:
    """The inverse of cosh on x >= 1; NaN below. Its derivative at 1 is infinite."""
    return bind(arccosh_p, x)


def arctanh(x: Any) -> Any:
    """The inverse of tanh; infinite at -1 and 1, NaN outside of [-1, 1]."""
    return bind(arctanh_p, x)


sinh_p = _function("sinh", sinh, evaluate=np.sinh, tangent=lambda t, x, y: mul(t, cosh(x)))
cosh_p = _function("cosh", cosh, evaluate=np.cosh, tangent=lambda t, x, y: mul(t, sinh(x)))
tanh_p = _function("tanh", tanh, evaluate=np.tanh, tangent=lambda t, x, y: mul(t, sub(constant(1, x), square(y))))
# arcsinh(x) = -i arcsin(i x).
arcsinh_p = _function("arcsinh", arcsinh, evaluate=np.arcsinh, tangent=lambda t, x, y: mul(
    t, _over_root(turned(x)) if is_complex(dtype_of(x)) else reciprocal(hypot(x, constant(1, x)))))
# Two roots: the square of x would overflow, and x*x - 1 cancels near 1.
arccosh_p = _function("arccosh", arccosh, evaluate=np.arccosh,
                      tangent=lambda t, x, y: mul(t, mul(rsqrt(sub(x, constant(1, x))), rsqrt(_one_plus(x)))))
arctanh_p = _function("arctanh", arctanh, evaluate=np.arctanh,
                      tangent=lambda t, x, y: mul(t, _over_one_minus_square(x)))

PRIMITIVES = (
    exp_p, exp2_p, expm1_p, log_p, log2_p, log10_p, log1p_p, pow_p,
    sin_p, cos_p, tan_p, arcsin_p, arccos_p, arctan_p, arctan2_p, hypot_p,
    sinh_p, cosh_p, tanh_p, arcsinh_p, arccosh_p, arctanh_p,
)
