"""Exponential, trigonometric, elliptic and other integrals, hypergeometric functions, Lambert's W."""

from __future__ import annotations

from typing import Any

from gradxform.core import current_builder
from gradxform.numpy.dispatch import as_inexact, call_staged, refuse_unless
from gradxform.operands import lift
from gradxform.primitives import integrals
from gradxform.scipy.special.calls import elementwise, float_operands, traced


@traced
def exp1(z: Any, /, out: None = None) -> Any:
    """The exponential integral E1, DLMF 6.2.1."""
    return elementwise("exp1", integrals.exp1, z)


@traced
def expi(x: Any, /, out: None = None) -> Any:
    """The exponential integral Ei, DLMF 6.2.5."""
    return elementwise("expi", integrals.expi, x)


@traced
def expn(n: Any, x: Any, /, out: None = None) -> Any:
    """The exponential integral of whole order n, DLMF 8.19.2; differentiable in x."""
    return elementwise("expn", integrals.expn, n, x)


@traced
def sici(x: Any, out: None = None) -> Any:
    """The sine and cosine integrals, a tuple Si, Ci, DLMF 6.2."""
    operand = as_inexact("sici", x)
    return lift("sici", integrals.sine_integral(operand)), lift("sici", integrals.cosine_integral(operand))


@traced
def shichi(x: Any, out: None = None) -> Any:
    """The hyperbolic sine and cosine integrals, a tuple Shi, Chi, DLMF 6.2."""
    operand = as_inexact("shichi", x)
    return (lift("shichi", integrals.hyperbolic_sine_integral(operand)),
            lift("shichi", integrals.hyperbolic_cosine_integral(operand)))


@traced
def fresnel(z: Any, out: None = None) -> Any:
    """Fresnel's integrals, a tuple S, C, DLMF 7.2."""
    operand = as_inexact("fresnel", z)
    return lift("fresnel", integrals.fresnel_sine(operand)), lift("fresnel", integrals.fresnel_cosine(operand))


@traced
def spence(z: Any, /, out: None = None) -> Any:
    """Spence's function: minus the integral of log(t) / (t - 1) from 1 to z, the dilogarithm of 1 - z."""
    return elementwise("spence", integrals.spence, z)


@traced
def exprel(x: Any, /, out: None = None) -> Any:
    """expm1(x) / x, 1 at 0."""
    return elementwise("exprel", integrals.exprel, x)


@traced
def cosm1(x: Any, /, out: None = None) -> Any:
    """cos(x) - 1, accurate near 0."""
    return elementwise("cosm1", integrals.cosm1, x)


@traced
def ellipk(m: Any, /, out: None = None) -> Any:
    """The complete elliptic integral of the first kind of the parameter m, DLMF 19.2.8."""
    return elementwise("ellipk", integrals.ellipk, m)


@traced
def ellipkm1(p: Any, /, out: None = None) -> Any:
    """ellipk(1 - p), accurate near p = 0."""
    return elementwise("ellipkm1", integrals.ellipkm1, p)


@traced
def ellipe(m: Any, /, out: None = None) -> Any:
    """The complete elliptic integral of the second kind of the parameter m, DLMF 19.2.8."""
    return elementwise("ellipe", integrals.ellipe, m)


@traced
def ellipkinc(phi: Any, m: Any, /, out: None = None) -> Any:
    """The incomplete elliptic integral of the first kind, DLMF 19.2.4; differentiable in both arguments."""
    return elementwise("ellipkinc", integrals.ellipkinc, phi, m)


@traced
def ellipeinc(phi: Any, m: Any, /, out: None = None) -> Any:
    """The incomplete elliptic integral of the second kind, DLMF 19.2.5; differentiable in both arguments."""
    return elementwise("ellipeinc", integrals.ellipeinc, phi, m)


@traced
def hyp1f1(a: Any, b: Any, x: Any, /, out: None = None) -> Any:
    """Kummer's confluent hypergeometric function M(a, b, x), DLMF 13.2.2; differentiable in x."""
    return elementwise("hyp1f1", integrals.hyp1f1, a, b, x)


@traced
def hyperu(a: Any, b: Any, x: Any, /, out: None = None) -> Any:
    """Tricomi's confluent hypergeometric function U(a, b, x), DLMF 13.2.6; differentiable in x."""
    return elementwise("hyperu", integrals.hyperu, a, b, x)


@traced
def hyp2f1(a: Any, b: Any, c: Any, z: Any, /, out: None = None) -> Any:
    """Gauss's hypergeometric function for real z < 1, DLMF 15.2.1; differentiable in z."""
    return elementwise("hyp2f1", integrals.hyp2f1, a, b, c, z)


def _lambertw(z: Any, k: int = 0, tol: float = 1e-8) -> Any:
    refuse_unless("lambertw", "k", k, 0, -1)
    (operand,) = float_operands("lambertw", z)
    return lift("lambertw", integrals.lambertw_real(operand, operand.dtype.type(k)))


def lambertw(z: Any, k: int = 0, tol: float = 1e-8) -> Any:
    """The real solution w of w exp(w) = z, of branch 0 or -1; NaN where there is none, and real where SciPy's is complex.

    Branch 0 is defined for z >= -1/e and has w >= -1, branch -1 for -1/e <= z < 0 and has w <= -1. The derivative at the
    branch point is infinite. ``tol`` does not matter: the solution has all its digits.
    """
    return _lambertw(z, k, tol) if current_builder() is None else call_staged(_lambertw, (z, k, tol), {})
