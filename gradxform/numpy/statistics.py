"""Covariance and correlation."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.dtypes import float64
from gradxform.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradxform.numpy.dispatch import traced
from gradxform.numpy.indexing import where
from gradxform.numpy.manipulation import concatenate, reshape
from gradxform.numpy.reductions import average
from gradxform.numpy.reductions import sum as total_of
from gradxform.numpy.ufuncs import conjugate, sqrt
from gradxform.operands import known_value, lift, promoted_type, supported_dtype
from gradxform.primitives import arithmetic


def _observations(name: str, x: Any, dtype: Any, turned: bool) -> Any:
    """Variables in rows."""
    x = x.astype(dtype)
    x = reshape(x, (1, x.size)) if x.ndim < 2 else x
    return x.T if turned else x


def _weights(name: str, which: str, given: Any, count: int) -> Any:
    w = lift(name, given).astype(float64)
    if w.ndim > 1:
        raise ShapeError(f"{name}: cannot handle multidimensional {which}, got shape {w.shape}{user_line()}")
    if w.shape != (count,):
        raise ShapeError(
            f"{name}: incompatible numbers of samples and {which}: {count} and {w.shape}{user_line()}")
    known = known_value(w)
    if known is not None:
        if which == "fweights" and np.any(known != np.around(known)):
            raise ArgumentTypeError(f"{name}: fweights must be integer{user_line()}")
        if np.any(known < 0):
            raise ArgumentError(f"{name}: {which} cannot be negative{user_line()}")
    return w


@traced(np.cov)
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
        aweights: Any = None, *, dtype: Any = None) -> Any:
    """The covariance matrix of variables in rows (or columns, if not ``rowvar``), of which observations may have weights.

    ``fweights`` say how often an observation occurs, ``aweights`` how much it counts.
    """
    if ddof is not None and ddof != int(ddof):
        raise ArgumentError(f"cov: ddof must be integer, got {ddof!r}{user_line()}")
    blocks = [lift("cov", part) for part in (m, y) if part is not None]
    for name, part in zip("my", blocks, strict=False):
        if part.ndim > 2:
            raise ShapeError(f"cov: {name} has more than 2 dimensions, got shape {part.shape}{user_line()}")
    if dtype is None:
        dtype = promoted_type("cov", [*blocks, np.float64(0)])[0]
    else:
        dtype = supported_dtype("cov", dtype)
    x = _observations("cov", blocks[0], dtype, not rowvar and blocks[0].ndim != 1 and blocks[0].ndim != 0)
    if not x.shape[0]:
        return lift("cov", np.zeros((0, 0)))
    if y is not None:
        other = _observations("cov", blocks[1], dtype, False)
        x = concatenate([x, other.T if not rowvar and other.shape[0] != 1 else other], 0)
    if ddof is None:
        ddof = 0 if bias else 1
    count = x.shape[1]
    w: Any = None
    if fweights is not None:
        w = _weights("cov", "fweights", fweights, count)
    if aweights is not None:
        a = _weights("cov", "aweights", aweights, count)
        w = a if w is None else w * a
    centre = average(x, 1, w)
    deviations = x - centre[:, None]
    weighted = deviations
    divisor: Any
    if w is None:
        divisor = float(np.maximum(count - ddof, 0))
    else:
        weighted = deviations * w
        weight = total_of(w)
        if ddof == 0:
            divisor = weight
        else:
            divisor = weight - ddof * (1.0 if aweights is None else total_of(w * a) / weight)
        divisor = where(divisor <= 0, 0.0, divisor)
    return ((deviations @ conjugate(weighted).T) / divisor).squeeze()


@traced(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The correlation matrix of variables in rows (or columns, if not ``rowvar``)."""
    covariance = cov(x, y, rowvar, dtype=dtype)
    if covariance.ndim == 0:
        return covariance / covariance
    deviations = sqrt(covariance.diagonal().real)
    ratio = covariance / deviations[:, None] / deviations[None, :]
    if ratio.dtype.kind != "c":
        return _limited(ratio)
    from gradxform.primitives.complex import complex as from_parts

    return lift("corrcoef", from_parts(_limited(ratio.real), _limited(ratio.imag)))


def _limited(x: Any) -> Any:
    return arithmetic.clamp(x.dtype.type(-1), x, x.dtype.type(1))
