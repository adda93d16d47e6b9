"""Functions of Hermitian matrices, with derivatives that are exact at equal eigenvalues.

With A = V w V^H, f(A) = V f(w) V^H. In the basis V the derivative in the direction E is f[w_i, w_j] E_ij, with divided
differences of f, which are slopes where arguments are equal: Yu. L. Daleckii and S. G. Krein (1951); N. J. Higham, "Functions
of Matrices" (2008), section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradxform.api.custom import custom_jvp
from gradxform.api.derivatives import jvp
from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.errors import LinAlgError
from gradxform.primitives import linalg, linalg_spectral
from gradxform.primitives.matrices import adjoint

Function = Callable[[Any], Any]


def funm_hermitian(function: Function, a: Any, *, derivative: Function | None = None, lower: bool = True) -> Any:
    """f(A) = V f(w) V^H for Hermitian matrices A = V w V^H, with exact derivatives at equal eigenvalues.

    Args:
        function: an elementwise function of a real array, as ``np.log`` is.
        a: (..., n, n), of which one triangle is read.
        derivative: that of ``function``; found by differentiation if not given.
        lower: whether the lower triangle is read.

    Raises:
        LinAlgError: matrices are not square.

    The first derivative is exact everywhere. Further ones are exact where eigenvalues are apart. Where they are equal, that of
    second order is right to some 8 digits, and of third order to some 5, see `gradxform.numpy.linalg.eigh`; where several
    vanish it is a LinAlgError: take f(A + c I - c). `expm` and `sqrtm` have exact derivatives of all orders.

    >>> import gradxform as gx
    >>> log = lambda a: gx.scipy.linalg.funm_hermitian(np.log, a)
    >>> gx.jvp(log, (2 * np.eye(2),), (np.array([[0.0, 1.0], [1.0, 0.0]]),))[1]
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    shape = np.shape(a)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise LinAlgError(f"funm_hermitian: Last 2 dimensions of the array must be square, got {shape}{user_line()}")
    x = a if not isinstance(a, (list, tuple)) else np.asarray(a)
    whole = linalg.hermitian(x if lower else adjoint(x))
    slope = _slope_of(function) if derivative is None else derivative
    return _function(function, slope)(whole)


def _slope_of(function: Function) -> Function:
    return lambda w: jvp(function, (w,), (np.ones_like(w),))[1]


def _function(function: Function, slope: Function) -> Any:
    @custom_jvp
    def spectral(x: Any) -> Any:
        w, v = linalg_spectral.eigh(x)
        return (v * function(w)[..., None, :]) @ adjoint(v)

    def rule(primals: Any, tangents: Any) -> Any:
        # Differentiated once more, what vectors do not tell is an error, not zero.
        w, v = linalg_spectral.eigh(primals[0], strict=True)
        inner = _divided(function, slope, w) * (adjoint(v) @ tangents[0] @ v)
        return spectral(primals[0]), v @ inner @ adjoint(v)

    spectral.defjvp(rule)
    return spectral


def _divided(function: Function, slope: Function, w: Any) -> Any:
    """The divided differences f[w_i, w_j]."""
    rows, columns, values = w[..., :, None], w[..., None, :], function(w)
    gaps = columns - rows
    # So near, a difference is less accurate than the slope in the middle.
    unit = 4 * max(w.shape[-1], 1) * float(np.finfo(dtype_of(w)).eps)
    close = abs(gaps) <= unit ** (1 / 3) * abs(w).max(axis=-1, keepdims=True)[..., None]
    differences = (values[..., None, :] - values[..., :, None]) / np.where(close, 1, gaps)
    return np.where(close, slope((rows + columns) / 2), differences)
