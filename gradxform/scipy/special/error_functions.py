"""Error functions and the normal distribution."""

from __future__ import annotations

import math
from typing import Any

from gradxform.numpy.dispatch import as_inexact
from gradxform.operands import lift
from gradxform.primitives import integrals, special
from gradxform.scipy.special.calls import elementwise, traced


@traced
def erf(z: Any, /, out: None = None) -> Any:
    """The error function, DLMF 7.2.1."""
    return lift("erf", special.erf(as_inexact("erf", z)))


@traced
def erfc(x: Any, /, out: None = None) -> Any:
    """1 - erf(x), accurate where that is small; DLMF 7.2.2."""
    return lift("erfc", special.erfc(as_inexact("erfc", x)))


@traced
def erfcx(x: Any, /, out: None = None) -> Any:
    """exp(x**2) erfc(x), without underflow."""
    return elementwise("erfcx", integrals.erfcx, x)


@traced
def erfi(z: Any, /, out: None = None) -> Any:
    """The imaginary error function -i erf(i z)."""
    return elementwise("erfi", integrals.erfi, z)


@traced
def dawsn(x: Any, /, out: None = None) -> Any:
    """Dawson's integral, DLMF 7.2.5."""
    return elementwise("dawsn", integrals.dawsn, x)


@traced
def erfinv(y: Any, /, out: None = None) -> Any:
    """The inverse of erf: infinite at -1 and 1, NaN beyond."""
    return lift("erfinv", special.erfinv(as_inexact("erfinv", y)))


@traced
def erfcinv(y: Any, /, out: None = None) -> Any:
    """The inverse of erfc on (0, 2)."""
    return elementwise("erfcinv", integrals.erfcinv, y)


@traced
def ndtr(x: Any, /, out: None = None) -> Any:
    """The distribution function of the standard normal distribution."""
    operand = lift("ndtr", as_inexact("ndtr", x))
    return 0.5 * lift("ndtr", special.erfc(-math.sqrt(0.5) * operand))


@traced
def log_ndtr(x: Any, /, out: None = None) -> Any:
    """The logarithm of ``ndtr``, also where that underflows."""
    return elementwise("log_ndtr", integrals.log_ndtr, x)


@traced
def ndtri(y: Any, /, out: None = None) -> Any:
    """The inverse of ``ndtr``."""
    return elementwise("ndtri", integrals.ndtri, y)


@traced
def ndtri_exp(y: Any, /, out: None = None) -> Any:
    """The inverse of ``log_ndtr``."""
    return elementwise("ndtri_exp", integrals.ndtri_exp, y)


@traced
def owens_t(h: Any, a: Any, /, out: None = None) -> Any:
    """Owen's T function."""
    return elementwise("owens_t", integrals.owens_t, h, a)
