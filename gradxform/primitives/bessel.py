"""Bessel functions and their kin: Struve's, Airy's, the spherical ones."""

from __future__ import annotations

import math
from collections.abc import Callable

from gradxform.primitives.terms import Term, choose, exp, named, power, sign, special_function

_ORDER = ("there is no formula for it that holds on the whole domain (kv and kve have one); "
          "keep the order out of what is differentiated")
_WHOLE = "it is a whole number"
# The functions that rules name.
(_airy_ai, _airy_aip, _airy_bi, _airy_bip, _i0, _i1, _iv, _ive_slope, _j0, _j1, _jv, _k0, _k1, _kv, _kve_order,
 _kve_slope, _rgamma, _y0, _y1, _yv, _spherical_jn, _spherical_yn, _modstruve, _struve) = named(
    "airy_ai", "airy_aip", "airy_bi", "airy_bip", "i0", "i1", "iv", "ive_slope", "j0", "j1", "jv", "k0", "k1", "kv",
    "kve_order", "kve_slope", "rgamma", "y0", "y1", "yv", "spherical_jn", "spherical_yn", "modstruve", "struve")


def _neighbours(function: Callable[..., Term]) -> tuple[Callable[..., Term], Callable[..., Term]]:
    """Half the difference and half the sum of the functions of the orders below and above."""
    return (lambda v, x, *_: 0.5 * (function(v - 1, x) - function(v + 1, x)),
            lambda v, x, *_: 0.5 * (function(v - 1, x) + function(v + 1, x)))


# ------------------------------------------------------------------------------------- first and second kind, DLMF 10.6

_jv_slope, _yv_slope = _neighbours(_jv)[0], _neighbours(_yv)[0]
jv, jv_p = special_function("jv", _ORDER, lambda v, x, y: _jv_slope(v, x))
yv, yv_p = special_function("yv", _ORDER, lambda v, x, y: _yv_slope(v, x))
yn, yn_p = special_function("yn", _WHOLE, lambda n, x, y: _yv_slope(n, x))
# jve(v, x) is jv(v, x) for real x.
jve, jve_p = special_function(
    "jve", _ORDER, lambda v, x, y: _jv_slope(v, x))
yve, yve_p = special_function(
    "yve", _ORDER, lambda v, x, y: _yv_slope(v, x))
j1, j1_p = special_function("j1", lambda x, y: 0.5 * (_j0(x) - _jv(2, x)))
j0, j0_p = special_function("j0", lambda x, y: -_j1(x))
y1, y1_p = special_function("y1", lambda x, y: _y0(x) - y / x)
y0, y0_p = special_function("y0", lambda x, y: -_y1(x))

# --------------------------------------------------------------------------------------------- modified, DLMF 10.29

iv, iv_p = special_function("iv", _ORDER, lambda v, x, y: _neighbours(_iv)[1](v, x))
ive_slope, ive_slope_p = special_function(
    "ive_slope", _ORDER,
    lambda v, x, y: _neighbours(_ive_slope)[1](v, x) - sign(x) * y)
ive, ive_p = special_function("ive", _ORDER, lambda v, x, y: _ive_slope(v, x))
i1, i1_p = special_function("i1", lambda x, y: 0.5 * (_i0(x) + _iv(2, x)))
i0, i0_p = special_function("i0", lambda x, y: _i1(x))
i0e, i0e_p = special_function("i0e", lambda x, y: _ive_slope(0, x))
i1e, i1e_p = special_function("i1e", lambda x, y: _ive_slope(1, x))

# exp(x) times derivatives of kv in the order; their derivatives in x by the recurrence, which holds for each of them.
kve_order, kve_order_p = special_function(
    "kve_order", lambda v, x, n, y: _kve_order(v, x, n + 1),
    lambda v, x, n, y: y - 0.5 * (_kve_order(v - 1, x, n) + _kve_order(v + 1, x, n)), _WHOLE)
kve_slope, kve_slope_p = special_function(
    "kve_slope", lambda v, x, y: _kve_order(v, x, 1) - 0.5 * (_kve_order(v - 1, x, 1) + _kve_order(v + 1, x, 1)),
    lambda v, x, y: y - 0.5 * (_kve_slope(v - 1, x) + _kve_slope(v + 1, x)))
kve, kve_p = special_function(
    "kve", lambda v, x, y: _kve_order(v, x, 1), lambda v, x, y: _kve_slope(v, x))
kv, kv_p = special_function(
    "kv", lambda v, x, y: exp(-x) * _kve_order(v, x, 1),
    lambda v, x, y: -0.5 * (_kv(v - 1, x) + _kv(v + 1, x)))
kn, kn_p = special_function(
    "kn", _WHOLE, lambda n, x, y: -0.5 * (_kv(n - 1, x) + _kv(n + 1, x)))
k1, k1_p = special_function("k1", lambda x, y: -_k0(x) - y / x)
k0, k0_p = special_function("k0", lambda x, y: -_k1(x))
k0e, k0e_p = special_function("k0e", lambda x, y: _kve_slope(0, x))
k1e, k1e_p = special_function("k1e", lambda x, y: _kve_slope(1, x))

# --------------------------------------------------------------------------------- spherical, DLMF 10.51; Struve; Airy


def _spherical(function: Callable[..., Term], n: Term, x: Term) -> Term:
    below = function(choose(n > 0, n - 1, 0), x)
    return (n * below - (n + 1) * function(n + 1, x)) / (2 * n + 1)


spherical_jn, spherical_jn_p = special_function(
    "spherical_jn", _WHOLE, lambda n, x, y: _spherical(_spherical_jn, n, x))
spherical_yn, spherical_yn_p = special_function(
    "spherical_yn", _WHOLE, lambda n, x, y: _spherical(_spherical_yn, n, x))


def _struve_slope(function: Callable[..., Term], sign_above: float) -> Callable[..., Term]:
    """DLMF 11.4.25, 11.4.26 and 11.4.29 to 11.4.30, which agree at 0."""
    def slope(v: Term, x: Term, y: Term) -> Term:
        extra = power(0.5 * x, v) * (_rgamma(v + 1.5) * (0.5 / math.sqrt(math.pi)))
        return 0.5 * (function(v - 1, x) + sign_above * function(v + 1, x)) + extra

    return slope


struve, struve_p = special_function(
    "struve", _ORDER, lambda v, x, y: _struve_slope(_struve, -1.0)(v, x, y))
modstruve, modstruve_p = special_function(
    "modstruve", _ORDER, lambda v, x, y: _struve_slope(_modstruve, 1.0)(v, x, y))

airy_aip, airy_aip_p = special_function(
    "airy_aip", lambda x, y: x * _airy_ai(x))
airy_ai, airy_ai_p = special_function("airy_ai", lambda x, y: _airy_aip(x))
airy_bip, airy_bip_p = special_function(
    "airy_bip", lambda x, y: x * _airy_bi(x))
airy_bi, airy_bi_p = special_function("airy_bi", lambda x, y: _airy_bip(x))

PRIMITIVES = (
    jv_p, yv_p, yn_p, jve_p, yve_p, j1_p, j0_p, y1_p, y0_p, iv_p, ive_slope_p, ive_p, i1_p, i0_p, i0e_p, i1e_p,
    kve_order_p, kve_slope_p, kve_p, kv_p, kn_p, k1_p, k0_p, k0e_p, k1e_p, spherical_jn_p, spherical_yn_p,
    struve_p, modstruve_p, airy_aip_p, airy_ai_p, airy_bip_p, airy_bi_p,
)
