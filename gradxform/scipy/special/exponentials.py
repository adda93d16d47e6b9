"""Sums of exponentials, and exponentials and logarithms by SciPy's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.numpy import ufuncs
from gradxform.numpy.dispatch import as_inexact
from gradxform.numpy.indexing import where
from gradxform.numpy.numerical import sinc as numerical_sinc
from gradxform.numpy.reductions import max, sum
from gradxform.numpy.ufuncs import absolute, exp, isfinite, log, sign
from gradxform.operands import broadcast_shapes, lift
from gradxform.operands import broadcast_to as broadcast_operand
from gradxform.primitives.logic import stop_gradient
from gradxform.scipy.special.calls import operands_of, traced


def _finite_maximum(x: Any, axis: Any) -> Any:
    """The maximum to subtract before exp: it only scales, so it carries no derivative; 0 where it is infinite."""
    largest = stop_gradient(max(x, axis=axis, keepdims=True))
    return where(isfinite(largest), largest, 0.0)


@traced
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b * exp(a))) along ``axis`` without overflow; with ``return_sign`` of the magnitude, and the sign.

    Its derivative are the weights of ``softmax``. Where all of ``a`` is -inf the result is -inf with derivative 0;
    elements of +inf make the result +inf and share its derivative evenly. Of complex numbers it is the principal logarithm;
    the sign is of magnitude 1.
    """
    x = as_inexact("logsumexp", a)
    if np.iscomplexobj(x) or (b is not None and np.iscomplexobj(b)):
        return _complex_logsumexp(x, axis, b, keepdims, return_sign)
    weights = None
    if b is not None:
        x, weights = operands_of("logsumexp", x, b)
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


def _complex_logsumexp(a: Any, axis: Any, b: Any, keepdims: bool, return_sign: bool) -> Any:
    """`logsumexp` of complex numbers: what is subtracted before exp is the largest real part."""
    x, weights = operands_of("logsumexp", a, 1.0 if b is None else b)
    base = _finite_maximum(x.real, axis)
    total = sum(weights * exp(x - base), axis=axis, keepdims=True)
    none = total == 0
    safe = where(none, 1.0, total)
    magnitude = absolute(safe)
    found = log(magnitude) + base if return_sign else log(safe) + base
    result, signs = where(none, -np.inf, found), where(none, 0.0, safe / magnitude)
    if not keepdims:
        result, signs = (sum(part, axis=axis) for part in (result, signs))
    return (result, signs) if return_sign else result


@traced
def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along ``axis``, without overflow; NaN where all is -inf, as in SciPy."""
    operand = as_inexact("softmax", x)
    powers = exp(operand - stop_gradient(max(operand, axis=axis, keepdims=True)))
    return powers / sum(powers, axis=axis, keepdims=True)


@traced
def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of ``softmax``, accurate where that is small."""
    shifted = as_inexact("log_softmax", x)
    shifted = shifted - _finite_maximum(shifted, axis)
    return shifted - log(sum(exp(shifted), axis=axis, keepdims=True))


@traced
def exp2(x: Any, /, out: None = None) -> Any:
    """2**x."""
    return ufuncs.exp2(x)


@traced
def exp10(x: Any, /, out: None = None) -> Any:
    """10**x."""
    return ufuncs.power(10.0, as_inexact("exp10", x))


@traced
def expm1(x: Any, /, out: None = None) -> Any:
    """exp(x) - 1, accurate near 0."""
    return ufuncs.expm1(x)


@traced
def log1p(x: Any, /, out: None = None) -> Any:
    """log(1 + x), accurate near 0."""
    return ufuncs.log1p(x)


@traced
def cbrt(x: Any, /, out: None = None) -> Any:
    """The real cube root."""
    return ufuncs.cbrt(x)


@traced
def powm1(x: Any, y: Any, /, out: None = None) -> Any:
    """x**y - 1, accurate where x**y is near 1."""
    base, power = operands_of("powm1", x, y)
    positive = base > 0
    direct = ufuncs.power(where(positive, 1.0, base), power) - 1
    return where(positive, ufuncs.expm1(power * log(where(positive, base, 1.0))), direct)


@traced
def sinc(x: Any, /) -> Any:
    """sin(pi x) / (pi x), 1 at 0."""
    return numerical_sinc(x)
