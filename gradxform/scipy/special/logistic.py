"""Logistic functions, logarithms with a factor, entropies and losses, Box and Cox's transformations."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.numpy.dispatch import as_inexact
from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import absolute, exp, expm1, isnan, log, log1p
from gradxform.operands import lift
from gradxform.primitives import integrals, special
from gradxform.scipy.special.calls import elementwise, operands_of, traced


@traced
def expit(x: Any, /, out: None = None) -> Any:
    """The logistic function 1 / (1 + exp(-x))."""
    return lift("expit", special.sigmoid(as_inexact("expit", x)))


@traced
def log_expit(x: Any, /, out: None = None) -> Any:
    """The logarithm of the logistic function, accurate for large ``x`` of either sign."""
    operand = as_inexact("log_expit", x)
    return lift("log_expit", -special.logaddexp(-operand, operand.dtype.type(0)))


@traced
def logit(x: Any, /, out: None = None) -> Any:
    """log(x / (1 - x)), the inverse of ``expit``; infinite at 0 and 1, NaN beyond."""
    operand = as_inexact("logit", x)
    return log(operand) - log1p(-operand)


@traced
def xlogy(x: Any, y: Any, /, out: None = None) -> Any:
    """x * log(y), 0 where x is 0 unless y is NaN; at x = y = 0 the derivative in both is taken as 0."""
    left, right = operands_of("xlogy", x, y)
    # The logarithm of a 1 in place of y keeps value and derivative finite where 0 * log(y) is not.
    return left * log(where((left == 0) & ~((right > 0) & (right < np.inf)) & ~isnan(right), 1.0, right))


@traced
def xlog1py(x: Any, y: Any, /, out: None = None) -> Any:
    """x * log1p(y), 0 where x is 0 unless y is NaN; at x = 0, y = -1 the derivative in both is taken as 0."""
    left, right = operands_of("xlog1py", x, y)
    return left * log1p(where((left == 0) & ~((right > -1) & (right < np.inf)) & ~isnan(right), 0.0, right))


@traced
def entr(x: Any, /, out: None = None) -> Any:
    """-x * log(x), 0 at 0 and -inf below; at 0 its derivative is infinite."""
    operand = as_inexact("entr", x)
    positive = operand > 0
    inside = -operand * log(where(positive, operand, 1.0))
    # sqrt stands in at 0 for its value 0 and its infinite derivative.
    edge = where(operand == 0, where(operand == 0, operand, 1.0) ** 0.5, -np.inf)
    return where(positive | isnan(operand), where(isnan(operand), operand, inside), edge)


@traced
def rel_entr(x: Any, y: Any, /, out: None = None) -> Any:
    """x * log(x / y) for positive x and y, 0 for x = 0 <= y, infinite elsewhere."""
    left, right = operands_of("rel_entr", x, y)
    inside, empty = (left > 0) & (right > 0), (left == 0) & (right >= 0)
    value = left * log(where(inside, left, 1.0) / where(inside, right, 1.0))
    result = where(inside, value, where(empty, 0.0 * left, np.inf))
    return where(isnan(left) | isnan(right), np.nan, result)


@traced
def softplus(x: Any, /, out: None = None) -> Any:
    """log(1 + exp(x)), without overflow."""
    operand = as_inexact("softplus", x)
    return lift("softplus", special.logaddexp(operand, lift("softplus", operand).dtype.type(0)))


@traced
def kl_div(x: Any, y: Any, /, out: None = None) -> Any:
    """x * log(x / y) - x + y for positive x and y, y for x = 0 <= y, infinite elsewhere."""
    left, right = operands_of("kl_div", x, y)
    inside, empty = (left > 0) & (right > 0), (left == 0) & (right >= 0)
    value = left * log(where(inside, left, 1.0) / where(inside, right, 1.0)) - left + right
    result = where(inside, value, where(empty, right + 0.0 * left, np.inf))
    return where(isnan(left) | isnan(right), np.nan, result)


@traced
def huber(delta: Any, r: Any, /, out: None = None) -> Any:
    """Huber's loss: r**2 / 2 for abs(r) <= delta, delta * (abs(r) - delta / 2) beyond; infinite for delta < 0."""
    threshold, rest = operands_of("huber", delta, r)
    size = absolute(rest)
    value = where(size <= threshold, 0.5 * rest * rest, threshold * (size - 0.5 * threshold))
    return where(threshold < 0, np.inf, value)


@traced
def pseudo_huber(delta: Any, r: Any, /, out: None = None) -> Any:
    """delta**2 * (sqrt(1 + (r / delta)**2) - 1), a smooth relative of ``huber``; infinite for delta < 0."""
    threshold, rest = operands_of("pseudo_huber", delta, r)
    flat = threshold == 0
    safe = where(flat, 1.0, threshold)
    ratio = rest / safe
    value = safe * safe * expm1(0.5 * log1p(ratio * ratio))
    return where(threshold < 0, np.inf, where(flat, 0.0 * rest, value))


def _box_cox(logarithm: Any, power: Any) -> Any:
    """expm1(power * logarithm) / power, also where power is 0."""
    relative = elementwise("boxcox", integrals.exprel, where(logarithm == -np.inf, 0.0, power * logarithm))
    edge = where(power > 0, -1 / where(power > 0, power, 1.0), -np.inf)
    return where(logarithm == -np.inf, edge, where(logarithm == -np.inf, 0.0, logarithm) * relative)


@traced
def boxcox(x: Any, lmbda: Any, /, out: None = None) -> Any:
    """(x**lmbda - 1) / lmbda, log(x) for lmbda = 0, where it is as smooth as elsewhere."""
    operand, power = operands_of("boxcox", x, lmbda)
    return _box_cox(log(operand), power)


@traced
def boxcox1p(x: Any, lmbda: Any, /, out: None = None) -> Any:
    """((1 + x)**lmbda - 1) / lmbda, log1p(x) for lmbda = 0."""
    operand, power = operands_of("boxcox1p", x, lmbda)
    return _box_cox(log1p(operand), power)


def _inverse_box_cox(y: Any, power: Any) -> Any:
    relative = elementwise("inv_boxcox", integrals.log1prel_derivative, power * y, y.dtype.type(0))
    return y * relative


@traced
def inv_boxcox(y: Any, lmbda: Any, /, out: None = None) -> Any:
    """The inverse of ``boxcox`` in x: (1 + lmbda * y)**(1 / lmbda), exp(y) for lmbda = 0."""
    return exp(_inverse_box_cox(*operands_of("inv_boxcox", y, lmbda)))


@traced
def inv_boxcox1p(y: Any, lmbda: Any, /, out: None = None) -> Any:
    """The inverse of ``boxcox1p`` in x."""
    return expm1(_inverse_box_cox(*operands_of("inv_boxcox1p", y, lmbda)))
