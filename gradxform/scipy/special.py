"""Special functions with SciPy's names and signatures: SciPy's own on plain arrays, recorded inside a transform."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from gradxform.core import current_builder
from gradxform.numpy.dispatch import SPECIAL, as_inexact, call_staged
from gradxform.numpy.indexing import where
from gradxform.numpy.reductions import max, sum
from gradxform.numpy.ufuncs import absolute, exp, isfinite, isnan, log, log1p, sign
from gradxform.operands import broadcast_operands, broadcast_shapes, lift, promote_operands
from gradxform.operands import broadcast_to as broadcast_operand
from gradxform.primitives import special
from gradxform.primitives.logic import stop_gradient

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "expit", "gammaln", "log_expit", "log_softmax", "logit", "logsumexp",
    "polygamma", "psi", "rel_entr", "softmax", "xlog1py", "xlogy",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def _traced(staged: Function) -> Function:
    """The face of SciPy's function of that name, which is imported when it is first called."""
    name = staged.__name__

    @functools.wraps(staged)
    def function(*args: Any, **kwargs: Any) -> Any:
        if current_builder() is None:
            import scipy.special

            return getattr(scipy.special, name)(*args, **kwargs)
        return call_staged(staged, args, kwargs)

    SPECIAL[name] = staged
    return cast(Function, function)


def _pair(name: str, x: Any, y: Any) -> tuple[Any, Any]:
    left, right = broadcast_operands(name, [as_inexact(name, part) for part in promote_operands(name, x, y)])
    return lift(name, left), lift(name, right)


# -------------------------------------------------------------------------------------------- error and gamma


@_traced
def erf(z: Any, /, out: None = None) -> Any:
    """The error function, DLMF 7.2.1."""
    return lift("erf", special.erf(as_inexact("erf", z)))


@_traced
def erfc(x: Any, /, out: None = None) -> Any:
    """1 - erf(x), accurate where that is small; DLMF 7.2.2."""
    return lift("erfc", special.erfc(as_inexact("erfc", x)))


@_traced
def erfinv(y: Any, /, out: None = None) -> Any:
    """The inverse of erf: infinite at -1 and 1, NaN beyond."""
    return lift("erfinv", special.erfinv(as_inexact("erfinv", y)))


@_traced
def gammaln(x: Any, /, out: None = None) -> Any:
    """The logarithm of the magnitude of the gamma function, DLMF 5.2.1."""
    return lift("gammaln", special.lgamma(as_inexact("gammaln", x)))


@_traced
def digamma(z: Any, /, out: None = None) -> Any:
    """The derivative of ``gammaln``, DLMF 5.2.2."""
    return lift("digamma", special.digamma(as_inexact("digamma", z)))


@_traced
def psi(z: Any, /, out: None = None) -> Any:
    """The derivative of ``gammaln``: another name of ``digamma``."""
    return lift("psi", special.digamma(as_inexact("psi", z)))


@_traced
def polygamma(n: int, x: Any) -> Any:
    """The ``n``-th derivative of ``digamma`` for a known integer ``n``, DLMF 5.15."""
    operand = as_inexact("polygamma", x)
    return lift("polygamma", special.polygamma(operand, n) if n else special.digamma(operand))


# ------------------------------------------------------------------------------------- logistic and entropies


@_traced
def expit(x: Any, /, out: None = None) -> Any:
    """The logistic function 1 / (1 + exp(-x))."""
    return lift("expit", special.sigmoid(as_inexact("expit", x)))


@_traced
def log_expit(x: Any, /, out: None = None) -> Any:
    """The logarithm of the logistic function, accurate for large ``x`` of either sign."""
    operand = as_inexact("log_expit", x)
    return lift("log_expit", -special.logaddexp(-operand, operand.dtype.type(0)))


@_traced
def logit(x: Any, /, out: None = None) -> Any:
    """log(x / (1 - x)), the inverse of ``expit``; infinite at 0 and 1, NaN beyond."""
    operand = as_inexact("logit", x)
    return log(operand) - log1p(-operand)


@_traced
def xlogy(x: Any, y: Any, /, out: None = None) -> Any:
    """x * log(y), 0 where x is 0 unless y is NaN; at x = y = 0 the derivative in both is taken as 0."""
    left, right = _pair("xlogy", x, y)
    # The logarithm of a 1 in place of y keeps value and derivative finite where 0 * log(y) is not.
    return left * log(where((left == 0) & ~((right > 0) & (right < np.inf)) & ~isnan(right), 1.0, right))


@_traced
def xlog1py(x: Any, y: Any, /, out: None = None) -> Any:
    """x * log1p(y), 0 where x is 0 unless y is NaN; at x = 0, y = -1 the derivative in both is taken as 0."""
    left, right = _pair("xlog1py", x, y)
    return left * log1p(where((left == 0) & ~((right > -1) & (right < np.inf)) & ~isnan(right), 0.0, right))


@_traced
def entr(x: Any, /, out: None = None) -> Any:
    """-x * log(x), 0 at 0 and -inf below; at 0 its derivative is infinite."""
    operand = as_inexact("entr", x)
    positive = operand > 0
    inside = -operand * log(where(positive, operand, 1.0))
    # sqrt stands in at 0 for its value 0 and its infinite derivative.
    edge = where(operand == 0, where(operand == 0, operand, 1.0) ** 0.5, -np.inf)
    return where(positive | isnan(operand), where(isnan(operand), operand, inside), edge)


@_traced
def rel_entr(x: Any, y: Any, /, out: None = None) -> Any:
    """x * log(x / y) for positive x and y, 0 for x = 0 <= y, infinite elsewhere."""
    left, right = _pair("rel_entr", x, y)
    inside, empty = (left > 0) & (right > 0), (left == 0) & (right >= 0)
    value = left * log(where(inside, left, 1.0) / where(inside, right, 1.0))
    result = where(inside, value, where(empty, 0.0 * left, np.inf))
    return where(isnan(left) | isnan(right), np.nan, result)


# ------------------------------------------------------------------------------------------------ exponentials


def _finite_maximum(x: Any, axis: Any) -> Any:
    """The maximum to subtract before exp: it only scales, so it carries no derivative; 0 where it is infinite."""
    largest = stop_gradient(max(x, axis=axis, keepdims=True))
    return where(isfinite(largest), largest, 0.0)


@_traced
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b * exp(a))) along ``axis`` without overflow; with ``return_sign`` of the magnitude, and the sign.

    Its derivative are the weights of ``softmax``. Where all of ``a`` is -inf the result is -inf with derivative 0;
    elements of +inf make the result +inf and share its derivative evenly.
    """
    x = as_inexact("logsumexp", a)
    weights = None
    if b is not None:
        x, weights = _pair("logsumexp", x, b)
        shape = broadcast_shapes("logsumexp", x.shape, weights.shape)
        x, weights = (lift("logsumexp", broadcast_operand("logsumexp", part, shape)) for part in (x, weights))
        x = where(weights == 0, -np.inf, x)
    top = max(x, axis=axis, keepdims=True)
    unbounded = top == np.inf
    base = where(isfinite(top), stop_gradient(top), 0.0)
    among_tops = where(x == top, x.dtype.type(0), x.dtype.type(-np.inf))
    terms = exp(where(unbounded, among_tops, where(unbounded, 0.0, x - base)))
    total = sum(terms if weights is None else weights * where(weights == 0, 0.0, terms), axis=axis, keepdims=True)
    none = total == 0
    magnitude = log(absolute(where(none, 1.0, total))) + where(unbounded, top, base)
    result = where(none, -np.inf, magnitude)
    signs = sign(total)
    if not return_sign and weights is not None:
        result = where(signs < 0, np.nan, result)
    if not keepdims:
        result, signs = (sum(part, axis=axis) for part in (result, signs))
    return (result, signs) if return_sign else result


@_traced
def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along ``axis``, without overflow; NaN where all is -inf, as in SciPy."""
    operand = as_inexact("softmax", x)
    powers = exp(operand - stop_gradient(max(operand, axis=axis, keepdims=True)))
    return powers / sum(powers, axis=axis, keepdims=True)


@_traced
def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of ``softmax``, accurate where that is small."""
    shifted = as_inexact("log_softmax", x)
    shifted = shifted - _finite_maximum(shifted, axis)
    return shifted - log(sum(exp(shifted), axis=axis, keepdims=True))
