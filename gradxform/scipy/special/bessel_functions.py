"""Bessel functions and their kin: Struve's, Airy's, the spherical ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradxform.numpy.dispatch import as_inexact
from gradxform.numpy.indexing import where
from gradxform.operands import lift
from gradxform.primitives import bessel
from gradxform.scipy.special.calls import elementwise, operands_of, traced


@traced
def j0(x: Any, /, out: None = None) -> Any:
    """The Bessel function of the first kind of order 0, DLMF 10.2.2."""
    return elementwise("j0", bessel.j0, x)


@traced
def j1(x: Any, /, out: None = None) -> Any:
    """The Bessel function of the first kind of order 1."""
    return elementwise("j1", bessel.j1, x)


@traced
def y0(x: Any, /, out: None = None) -> Any:
    """The Bessel function of the second kind of order 0, DLMF 10.2.3."""
    return elementwise("y0", bessel.y0, x)


@traced
def y1(x: Any, /, out: None = None) -> Any:
    """The Bessel function of the second kind of order 1."""
    return elementwise("y1", bessel.y1, x)


@traced
def jv(v: Any, z: Any, /, out: None = None) -> Any:
    """The Bessel function of the first kind of real order, DLMF 10.2.2; not differentiable in the order."""
    return elementwise("jv", bessel.jv, v, z)


@traced
def jn(v: Any, z: Any, /, out: None = None) -> Any:
    """The Bessel function of the first kind: another name of ``jv``."""
    return elementwise("jn", bessel.jv, v, z)


@traced
def jve(v: Any, z: Any, /, out: None = None) -> Any:
    """``jv`` scaled by exp(-abs(imag(z))), which is 1 for real z."""
    return elementwise("jve", bessel.jve, v, z)


@traced
def yn(n: Any, x: Any, /, out: None = None) -> Any:
    """The Bessel function of the second kind of whole order."""
    return elementwise("yn", bessel.yn, n, x)


@traced
def yv(v: Any, z: Any, /, out: None = None) -> Any:
    """The Bessel function of the second kind of real order, DLMF 10.2.3; not differentiable in the order."""
    return elementwise("yv", bessel.yv, v, z)


@traced
def yve(v: Any, z: Any, /, out: None = None) -> Any:
    """``yv`` scaled by exp(-abs(imag(z))), which is 1 for real z."""
    return elementwise("yve", bessel.yve, v, z)


@traced
def i0(x: Any, /, out: None = None) -> Any:
    """The modified Bessel function of the first kind of order 0, DLMF 10.25.2."""
    return elementwise("i0", bessel.i0, x)


@traced
def i0e(x: Any, /, out: None = None) -> Any:
    """exp(-abs(x)) i0(x)."""
    return elementwise("i0e", bessel.i0e, x)


@traced
def i1(x: Any, /, out: None = None) -> Any:
    """The modified Bessel function of the first kind of order 1."""
    return elementwise("i1", bessel.i1, x)


@traced
def i1e(x: Any, /, out: None = None) -> Any:
    """exp(-abs(x)) i1(x)."""
    return elementwise("i1e", bessel.i1e, x)


@traced
def k0(x: Any, /, out: None = None) -> Any:
    """The modified Bessel function of the second kind of order 0, DLMF 10.25.3."""
    return elementwise("k0", bessel.k0, x)


@traced
def k0e(x: Any, /, out: None = None) -> Any:
    """exp(x) k0(x)."""
    return elementwise("k0e", bessel.k0e, x)


@traced
def k1(x: Any, /, out: None = None) -> Any:
    """The modified Bessel function of the second kind of order 1."""
    return elementwise("k1", bessel.k1, x)


@traced
def k1e(x: Any, /, out: None = None) -> Any:
    """exp(x) k1(x)."""
    return elementwise("k1e", bessel.k1e, x)


@traced
def iv(v: Any, z: Any, /, out: None = None) -> Any:
    """The modified Bessel function of the first kind of real order; not differentiable in the order."""
    return elementwise("iv", bessel.iv, v, z)


@traced
def ive(v: Any, z: Any, /, out: None = None) -> Any:
    """exp(-abs(z)) iv(v, z)."""
    return elementwise("ive", bessel.ive, v, z)


@traced
def kn(n: Any, x: Any, /, out: None = None) -> Any:
    """The modified Bessel function of the second kind of whole order."""
    return elementwise("kn", bessel.kn, n, x)


@traced
def kv(v: Any, z: Any, /, out: None = None) -> Any:
    """The modified Bessel function of the second kind of real order, DLMF 10.25.3; differentiable in the order too."""
    return elementwise("kv", bessel.kv, v, z)


@traced
def kve(v: Any, z: Any, /, out: None = None) -> Any:
    """exp(z) kv(v, z); differentiable in the order too."""
    return elementwise("kve", bessel.kve, v, z)


def _spherical(name: str, constructor: Callable[..., Any], n: Any, z: Any, derivative: bool) -> Any:
    order, x = operands_of(name, n, z)
    if not derivative:
        return lift(name, constructor(order, x))
    above = lift(name, constructor(order + 1, x))
    below = lift(name, constructor(where(order > 0, order - 1, 0.0), x))
    return (order * below - (order + 1) * above) / (2 * order + 1)


@traced
def spherical_jn(n: Any, z: Any, derivative: bool = False) -> Any:
    """The spherical Bessel function of the first kind of whole order, DLMF 10.47.3, or its derivative."""
    return _spherical("spherical_jn", bessel.spherical_jn, n, z, derivative)


@traced
def spherical_yn(n: Any, z: Any, derivative: bool = False) -> Any:
    """The spherical Bessel function of the second kind of whole order, DLMF 10.47.4, or its derivative."""
    return _spherical("spherical_yn", bessel.spherical_yn, n, z, derivative)


@traced
def struve(v: Any, x: Any, /, out: None = None) -> Any:
    """Struve's function H of real order, DLMF 11.2.1; not differentiable in the order."""
    return elementwise("struve", bessel.struve, v, x)


@traced
def modstruve(v: Any, x: Any, /, out: None = None) -> Any:
    """The modified Struve function L of real order, DLMF 11.2.2; not differentiable in the order."""
    return elementwise("modstruve", bessel.modstruve, v, x)


@traced
def airy(z: Any, out: None = None) -> Any:
    """Airy's functions and their derivatives, a tuple Ai, Ai', Bi, Bi', DLMF 9.2."""
    x = as_inexact("airy", z)
    return tuple([lift("airy", part(x)) for part in (bessel.airy_ai, bessel.airy_aip, bessel.airy_bi, bessel.airy_bip)])
