"""Polynomials, given by their coefficients, the highest first."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import Tracer
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.linear import full
from gradxform.numpy.creation import diag, vander, zeros
from gradxform.numpy.dispatch import as_inexact, refuse_unless, traced
from gradxform.numpy.manipulation import atleast_1d, concatenate, reshape, static_integers
from gradxform.numpy.numerical import convolve
from gradxform.numpy.products import outer
from gradxform.numpy.reductions import sum
from gradxform.numpy.ufuncs import sqrt
from gradxform.operands import known_value, lift, promote_operands


def _coefficients(name: str, p: Any) -> Any:
    x = atleast_1d(lift(name, p))
    if x.ndim != 1:
        raise ShapeError(f"{name}: expected a vector of coefficients, got shape {x.shape}{user_line()}")
    return x


@traced(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients ``p``, the highest first, at ``x``, by Horner's rule."""
    coefficients, at = (lift("polyval", part) for part in promote_operands("polyval", p, x))
    result = at * 0
    for coefficient in coefficients:
        result = result * at + coefficient
    return result


@traced(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    """The coefficients of the ``m``-th derivative of a polynomial."""
    x = lift("polyder", p)
    for _ in range(*_order("polyder", m)):
        degree = x.size - 1
        x = x[:-1] * np.arange(degree, 0, -1) if degree > 0 else x[:0]
    return x


def _order(name: str, m: Any) -> tuple[int]:
    (order,) = static_integers(name, m)
    if order < 0:
        raise ArgumentError(f"{name}: the order must not be negative, got {order}{user_line()}")
    return (order,)


@traced(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The coefficients of the ``m``-th integral of a polynomial, with integration constants ``k``, by default 0."""
    (order,) = _order("polyint", m)
    constants = [0.0] * order if k is None else list(atleast_1d(lift("polyint", k)))
    if len(constants) == 1:
        constants *= order
    if len(constants) < order:
        raise ArgumentError(
            f"polyint: k must be a scalar or a rank-1 array of length 1 or >{order}, got {len(constants)}{user_line()}")
    x = as_inexact("polyint", p)
    for constant in constants[:order]:
        parts = promote_operands("polyint", x / np.arange(x.size, 0, -1), reshape(lift("polyint", constant), (1,)))
        x = concatenate(parts)
    return x


@traced(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """The coefficients of the polynomial that has these zeros, or of a matrix's characteristic polynomial.

    Complex zeros give complex coefficients, also where they come in conjugate pairs: that would depend on values.
    """
    x = atleast_1d(lift("poly", seq_of_zeros))
    if x.ndim == 2 and x.shape[0] == x.shape[1] and x.shape[0]:
        from gradxform.numpy.linalg import eigvals  # stands on this module's floor

        x = eigvals(x)
    elif x.ndim != 1:
        raise ShapeError(f"poly: input must be 1d or non-empty square 2d array, got shape {x.shape}{user_line()}")
    if not x.size:
        return lift("poly", 1.0)
    x = as_inexact("poly", x)
    result = lift("poly", full((1,), 1, x.dtype))
    for zero in x:
        shifted = concatenate([result[:1] * 0, result * zero])
        result = concatenate([result, result[:1] * 0]) - shifted
    return result


def _aligned(name: str, a1: Any, a2: Any) -> tuple[Any, Any]:
    x, y = (_coefficients(name, part) for part in promote_operands(name, a1, a2))
    count = max(x.size, y.size)

    def padded(part: Any) -> Any:
        return concatenate([full((count - part.size,), 0, part.dtype), part]) if part.size < count else part

    return padded(x), padded(y)


@traced(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    """The coefficients of the sum of two polynomials."""
    x, y = _aligned("polyadd", a1, a2)
    return x + y


@traced(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    """The coefficients of the difference of two polynomials."""
    x, y = _aligned("polysub", a1, a2)
    return x - y


@traced(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    """The coefficients of the product of two polynomials; leading zeros stay, for they would decide the length."""
    return convolve(_coefficients("polymul", a1), _coefficients("polymul", a2))


@traced(np.polydiv)
def polydiv(u: Any, v: Any) -> tuple[Any, Any]:
    """The coefficients of quotient and remainder; the remainder keeps leading zeros, which would decide its length."""
    x, y = (_coefficients("polydiv", as_inexact("polydiv", part)) for part in promote_operands("polydiv", u, v))
    degree = x.size - y.size
    if degree < 0:
        return lift("polydiv", full((1,), 0, x.dtype)), x
    scale = 1.0 / y[0]
    quotient, rest = [], x
    for k in range(degree + 1):
        factor = scale * rest[k]
        quotient.append(factor)
        rest = rest.at[k:k + y.size].add(-factor * y)
    return concatenate([reshape(factor, (1,)) for factor in quotient]), rest[degree + 1:] if y.size > 1 else rest[-1:]


@traced(np.polyfit)
def polyfit(x: Any, y: Any, deg: Any, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    """The coefficients of the polynomial of degree ``deg`` that fits points (x, y) best in the sense of least squares.

    ``w`` weighs the residuals; ``cov`` gives the coefficients' covariance too, ``full`` what `linalg.lstsq` says of the fit.
    """
    from gradxform.numpy.linalg import inv, lstsq  # stands on this module's floor

    (degree,) = static_integers("polyfit", deg)
    at, values = (lift("polyfit", as_inexact("polyfit", part)) for part in promote_operands("polyfit", x, y))
    if degree < 0:
        raise ArgumentError(f"polyfit: expected deg >= 0, got {degree}{user_line()}")
    if at.ndim != 1 or not at.size or values.ndim not in (1, 2) or values.shape[0] != at.size:
        raise ShapeError(
            f"polyfit: expected a vector x that is not empty and as many rows of y, got shapes {at.shape} and "
            f"{values.shape}{user_line()}")
    tolerance = at.size * np.finfo(at.dtype).eps if rcond is None else rcond
    left, right = vander(at, degree + 1), values
    if w is not None:
        weights = lift("polyfit", w)
        if weights.shape != at.shape:
            raise ShapeError(f"polyfit: expected a weight for each point, got shape {weights.shape}{user_line()}")
        left = left * weights[:, None]
        right = right * (weights[:, None] if values.ndim == 2 else weights)
    # Columns of length 1, which is better for the condition of the problem.
    scale = sqrt(sum(left * left, 0))
    solution, residuals, rank, singular_values = lstsq(left / scale, right, tolerance)
    fitted = (solution.T / scale).T
    if full:
        return fitted, residuals, rank, singular_values, tolerance
    if not cov:
        return fitted
    base = inv((left / scale).T @ (left / scale)) / outer(scale, scale)
    if not (isinstance(cov, str) and cov == "unscaled"):
        if at.size <= degree + 1:
            raise ArgumentError(
                "polyfit: the number of data points must exceed order to scale the covariance matrix, got "
                f"{at.size} and {degree + 1}{user_line()}")
        spread = sum((left @ fitted - right) ** 2, 0) / (at.size - (degree + 1))
        base = base * spread if values.ndim == 1 else base[:, :, None] * spread
    return fitted, base


@traced(np.roots)
def roots(p: Any) -> Any:
    """The zeros of a polynomial, complex, as eigenvalues of its companion matrix.

    Leading and trailing coefficients that are zero are left out where values are known; elsewhere none may be zero.

    >>> roots(np.array([1.0, -3.0, 2.0]))
    array([2., 1.])
    """
    from gradxform.numpy.linalg import eigvals  # stands on this module's floor

    x = as_inexact("roots", _coefficients("roots", p))
    found = known_value(x) if isinstance(x, Tracer) else x
    zeros_behind = 0
    if found is not None:
        nonzero = np.flatnonzero(found)
        if not nonzero.size:
            return zeros((0,), x.dtype)
        zeros_behind = x.size - 1 - int(nonzero[-1])
        x = x[int(nonzero[0]):int(nonzero[-1]) + 1]
    if x.size < 2:
        return zeros((zeros_behind,), x.dtype)
    companion = diag(lift("roots", full((x.size - 2,), 1, x.dtype)), -1)
    found_roots = eigvals(companion.at[0, :].set(-x[1:] / x[0]))
    if not zeros_behind:
        return found_roots
    return concatenate([found_roots, zeros((zeros_behind,), found_roots.dtype)])


@traced(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """``filt`` without the zeros in front (f), behind (b) or both, along ``axis`` or all; its values must be known."""
    x = lift("trim_zeros", filt)
    known = known_value(x) if isinstance(x, Tracer) else x
    if known is None:
        raise ArgumentTypeError(
            "trim_zeros: how many zeros there are decides the length of the result, so the values of a traced array "
            f"must be known{user_line()}")
    letters = trim.lower()
    refuse_unless("trim_zeros", "trim", letters, "f", "b", "fb", "bf")
    axes = range(x.ndim) if axis is None else [axis % x.ndim for axis in (axis if isinstance(axis, tuple) else (axis,))]
    where = np.nonzero(np.asarray(known))
    cuts = []
    for k in range(x.ndim):
        low, high = (int(where[k].min()), int(where[k].max()) + 1) if where[k].size else (x.shape[k], x.shape[k])
        both = slice(low if "f" in letters else 0, high if "b" in letters else x.shape[k])
        cuts.append(both if k in axes else slice(None))
    return x[tuple(cuts)]


