"""Probabilities of Von Mises's distribution, which have no closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradxform.numpy.indexing import where
from gradxform.numpy.ufuncs import arcsin, exp, minimum, sin, sqrt
from gradxform.primitives import bessel
from gradxform.primitives.logic import stop_gradient
from gradxform.scipy.special.calls import elementwise

# Gauss and Legendre's rule of 32 nodes, those above 0 of [-1, 1] and their weights.
_ABOVE = np.array([
    0.04830766568773832, 0.1444719615827965, 0.23928736225213706, 0.33186860228212767, 0.42135127613063533,
    0.5068999089322294, 0.5877157572407623, 0.6630442669302152, 0.7321821187402897, 0.7944837959679424, 0.84936761373257,
    0.8963211557660521, 0.9349060759377397, 0.9647622555875064, 0.9856115115452684, 0.9972638618494816,
])
_WEIGHTS_ABOVE = np.array([
    0.0965400885147278, 0.09563872007927486, 0.09384439908080457, 0.09117387869576389, 0.08765209300440381,
    0.08331192422694675, 0.07819389578707031, 0.0723457941088485, 0.06582222277636185, 0.058684093478535544,
    0.050998059262376175, 0.04283589802222668, 0.03427386291302143, 0.02539206530926206, 0.01627439473090567,
    0.007018610009470096,
])
_NODES = 0.5 * (1 + np.concatenate([-_ABOVE[::-1], _ABOVE]))
_WEIGHTS = 0.5 * np.concatenate([_WEIGHTS_ABOVE[::-1], _WEIGHTS_ABOVE])
#: What lies beyond the point where the density is exp(-2 * _REACH) of that at the end of the tail is left out.
_REACH = 18.0


def von_mises_tail(x: Any, kappa: Any) -> Any:
    """The probability of angles between ``x`` and pi, for x in [0, pi]: relatively accurate however small it is.

    The density is exp(-2 kappa sin(t / 2)^2) / (2 pi i0e(kappa)), which is integrated over the part that matters.
    """
    near = sin(0.5 * x)
    # Where the integral is cut off is arbitrary and has no derivative.
    end = stop_gradient(2 * arcsin(minimum(1.0, sqrt(near * near + _REACH / kappa))))
    width = end - x
    t = x[..., None] + width[..., None] * _NODES.astype(x.dtype)
    s = sin(0.5 * t)
    mean = (exp(-2 * kappa[..., None] * s * s) * _WEIGHTS.astype(x.dtype)).sum(axis=-1)
    return width * mean / (2 * math.pi * elementwise("i0e", bessel.i0e, kappa))


def von_mises_parts(z: Any, kappa: Any) -> tuple[Any, Any, Any]:
    """Full turns in ``z``, whether the rest of it is positive, and the tail that is cut off there."""
    turns = stop_gradient(np.rint(z / (2 * math.pi)))
    rest = z - 2 * math.pi * turns
    positive = rest > 0
    return turns, positive, von_mises_tail(where(positive, rest, -rest), kappa)


__all__ = ["von_mises_parts", "von_mises_tail"]
