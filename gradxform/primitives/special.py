"""Special functions on floats: error functions, the gamma family, sigmoid and logaddexp."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform.core import Primitive, bind
from gradxform.errors import ArgumentError
from gradxform.ir import ArrayType
from gradxform.linear import batch_elementwise
from gradxform.loopir.expression import Apply, Expression, Index
from gradxform.loopir.expression import constant as loop_constant
from gradxform.loopir.lowering import Map, Operand
from gradxform.loopir.operations import OPERATIONS
from gradxform.primitives.arithmetic import mul, square, sub
from gradxform.primitives.elementary import exp
from gradxform.primitives.logic import equal, isinf, logical_and, select
from gradxform.primitives.rules import FLOATS, binary, check_kind, constant, not_linear, same_dtype, unary

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def _scipy(name: str) -> Callable[[Any], Any]:
    def evaluate(x: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(x)

    return evaluate


# ------------------------------------------------------------------------------------------------- error functions


def erf(x: Any) -> Any:
    """The error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x (DLMF 7.2.1)."""
    return bind(erf_p, x)


def erfc(x: Any) -> Any:
    """1 - erf(x), accurate where that is small (DLMF 7.2.2)."""
    return bind(erfc_p, x)


def gaussian(x: Any) -> Any:
    """exp(-x*x) with the square not rounded; but for a factor the derivative of erf, with which it shares its work."""
    return bind(gaussian_p, x)


def erfinv(x: Any) -> Any:
    """The inverse of erf; infinite at -1 and 1, as is its derivative; NaN outside of [-1, 1]."""
    return bind(erfinv_p, x)


def _bell(x: Any, factor: float) -> Any:
    return mul(gaussian(x), constant(factor, x))


gaussian_p = unary("gaussian", gaussian, evaluate=OPERATIONS["gaussian"],
                   tangent=lambda t, x, y: mul(t, mul(y, mul(x, constant(-2, x)))))
erf_p = unary("erf", erf, evaluate=_scipy("erf"), tangent=lambda t, x, y: mul(t, _bell(x, _TWO_OVER_ROOT_PI)))
erfc_p = unary("erfc", erfc, evaluate=_scipy("erfc"), tangent=lambda t, x, y: mul(t, _bell(x, -_TWO_OVER_ROOT_PI)))
erfinv_p = unary("erfinv", erfinv, evaluate=_scipy("erfinv"),
                 tangent=lambda t, x, y: mul(t, mul(exp(square(y)), constant(1 / _TWO_OVER_ROOT_PI, x))))

# ------------------------------------------------------------------------------------------------ the gamma family


def lgamma(x: Any) -> Any:
    """log(abs(gamma(x))) (DLMF 5.2.1); infinite at 0, -1, -2, ..."""
    return bind(lgamma_p, x)


def digamma(x: Any) -> Any:
    """The derivative of log(gamma(x)) (DLMF 5.2.2); NaN at the poles -1, -2, ..., -inf at 0 and inf at -0.0."""
    return bind(digamma_p, x)


def polygamma(x: Any, order: int) -> Any:
    """The derivative of ``order`` >= 1 of digamma at x (DLMF 5.15.1).

    Computed as (-1)**(order + 1) * order! * zeta(order + 1, x) with Hurwitz's zeta function; infinite at the poles
    0, -1, -2, ...
    """
    return bind(polygamma_p, x, order=order)


def _polygamma_type(x: ArrayType, *, order: int) -> ArrayType:
    check_kind("polygamma", x.dtype, FLOATS)
    if order < 1:
        raise ArgumentError(f"polygamma: expected an order of at least 1, got {order}; order 0 is digamma")
    return x


def _polygamma_factor(order: int) -> float:
    # gamma, not factorial: beyond order 170 it is infinite, as the derivative is almost everywhere.
    magnitude = math.gamma(order + 1) if order <= 170 else math.inf
    return magnitude if order % 2 else -magnitude


def _polygamma_evaluate(x: Any, *, order: int) -> Any:
    import scipy.special

    return np.multiply(scipy.special.zeta(x.dtype.type(order + 1), x), x.dtype.type(_polygamma_factor(order)))


def _polygamma_lower(operands: Sequence[Operand], result: ArrayType, *, order: int) -> Map:
    (x,) = operands
    dtype = result.dtype

    def read(index: Index) -> Expression:
        zeta = Apply("zeta", (loop_constant(order + 1, dtype), x(index)), dtype)
        return Apply("mul", (zeta, loop_constant(_polygamma_factor(order), dtype)), dtype)

    return Map(read)


def _polygamma_jvp(primals: Sequence[Any], tangents: Sequence[Any], output: Any, *, order: int) -> Any:
    return None if tangents[0] is None else mul(tangents[0], polygamma(primals[0], order + 1))


lgamma_p = unary("lgamma", lgamma, evaluate=_scipy("gammaln"), tangent=lambda t, x, y: mul(t, digamma(x)))
digamma_p = unary("digamma", digamma, evaluate=_scipy("digamma"), tangent=lambda t, x, y: mul(t, polygamma(x, 1)))
polygamma_p = Primitive(
    "polygamma",
    type=_polygamma_type,
    evaluate=_polygamma_evaluate,
    jvp=_polygamma_jvp,
    transpose=not_linear("polygamma"),
    batch=batch_elementwise(polygamma),
    lower=_polygamma_lower,
)

# ------------------------------------------------------------------------------------------- sigmoid and logaddexp


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow; its derivative is s * (1 - s)."""
    return bind(sigmoid_p, x)


def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), without overflow; the derivatives are the shares of the two terms, also at infinities."""
    return bind(logaddexp_p, *same_dtype(x, y))


def _share(x: Any, y: Any) -> Any:
    # inf - inf alone is replaced, so that a tie of finite operands still differentiates.
    both_infinite = logical_and(equal(x, y), isinf(x))
    return sigmoid(select(both_infinite, constant(0, x), sub(x, y)))


sigmoid_p = unary("sigmoid", sigmoid, evaluate=_scipy("expit"),
                  tangent=lambda t, x, y: mul(t, mul(y, sub(constant(1, y), y))))
logaddexp_p = binary("logaddexp", logaddexp, evaluate=np.logaddexp,
                     tangents=(lambda t, x, y, z: mul(t, _share(x, y)), lambda t, x, y, z: mul(t, _share(y, x))))

PRIMITIVES = (gaussian_p, erf_p, erfc_p, erfinv_p, lgamma_p, digamma_p, polygamma_p, sigmoid_p, logaddexp_p)
