"""Error functions beyond erf, exponential, elliptic and other integrals, hypergeometric functions, Lambert's W."""

from __future__ import annotations

import math

from gradxform.primitives.special import erf, gaussian
from gradxform.primitives.terms import Term, choose, cos, cosh, exp, formula, named, sin, special_function, sqrt, square

_WHOLE = "it is a whole number"
_PARAMETER = "a hypergeometric function is differentiated in its last argument only; keep its parameters out of it"
_MODULUS = "second derivatives in the parameter m of an incomplete elliptic integral are not available"
_ROOT_HALF = math.sqrt(0.5)
# The functions that rules name.
(_dawsn_derivative, _ellipe, _ellipe_m, _ellipeinc_m, _ellipk, _ellipk_m, _ellipkinc_m, _erfcx, _erfcx_derivative,
 _expn, _exprel, _exprel_derivative, _hyp1f1, _hyp2f1, _hyperu, _log1prel_derivative, _spherical_jn) = named(
    "dawsn_derivative", "ellipe", "ellipe_m", "ellipeinc_m", "ellipk", "ellipk_m", "ellipkinc_m", "erfcx",
    "erfcx_derivative", "expn", "exprel", "exprel_derivative", "hyp1f1", "hyp2f1", "hyperu",
    "log1prel_derivative", "spherical_jn")
_erf, _gaussian = formula(erf), formula(gaussian)

# ---------------------------------------------------------------------------------------------------- error functions

erfcx_derivative, erfcx_derivative_p = special_function(
    "erfcx_derivative", lambda x, n, y: _erfcx_derivative(x, n + 1), _WHOLE)
erfcx, erfcx_p = special_function("erfcx", lambda x, y: _erfcx_derivative(x, 1))
erfi, erfi_p = special_function(
    "erfi", lambda x, y: exp(square(x)) * (2 / math.sqrt(math.pi)))
dawsn_derivative, dawsn_derivative_p = special_function(
    "dawsn_derivative", lambda x, n, y: _dawsn_derivative(x, n + 1), _WHOLE)
dawsn, dawsn_p = special_function("dawsn", lambda x, y: _dawsn_derivative(x, 1))
erfcinv, erfcinv_p = special_function(
    "erfcinv", lambda p, x: exp(square(x)) * (-0.5 * math.sqrt(math.pi)))
# The density over the distribution function, without underflow of either.
log_ndtr, log_ndtr_p = special_function(
    "log_ndtr", lambda x, y: math.sqrt(2 / math.pi) / _erfcx(-_ROOT_HALF * x))
ndtri, ndtri_p = special_function(
    "ndtri", lambda p, x: exp(0.5 * square(x)) * math.sqrt(2 * math.pi))
ndtri_exp, ndtri_exp_p = special_function(
    "ndtri_exp", lambda y, x: _erfcx(-_ROOT_HALF * x) * math.sqrt(0.5 * math.pi))
owens_t, owens_t_p = special_function(
    "owens_t",
    lambda h, a, y: (-1 / math.sqrt(8 * math.pi)) * _gaussian(_ROOT_HALF * h) * _erf(_ROOT_HALF * (a * h)),
    lambda h, a, y: _gaussian(_ROOT_HALF * h) * _gaussian(_ROOT_HALF * h * a) * (0.5 / math.pi) / (1 + square(a)))

# ------------------------------------------------------------------------------------- exponential and other integrals

exprel_derivative, exprel_derivative_p = special_function(
    "exprel_derivative", lambda x, n, y: _exprel_derivative(x, n + 1), _WHOLE)
exprel, exprel_p = special_function("exprel", lambda x, y: _exprel_derivative(x, 1))
log1prel_derivative, log1prel_derivative_p = special_function(
    "log1prel_derivative", lambda x, n, y: _log1prel_derivative(x, n + 1), _WHOLE)
cosm1, cosm1_p = special_function("cosm1", lambda x, y: -sin(x))
exp1, exp1_p = special_function("exp1", lambda x, y: -(exp(-x) / x))
expi, expi_p = special_function("expi", lambda x, y: exp(x) / x)
expn, expn_p = special_function(
    "expn", _WHOLE,
    # Of order 0 it is exp(-x) / x.
    lambda n, x, y: choose(n.is_(0), -(y * (1 + 1 / x)), -_expn(choose(n.is_(0), 0, n - 1), x)))
spence, spence_p = special_function("spence", lambda z, y: -_log1prel_derivative(z - 1, 0))
sine_integral, sine_integral_p = special_function(
    "sine_integral", lambda x, y: _spherical_jn(0, x))
cosine_integral, cosine_integral_p = special_function(
    "cosine_integral", lambda x, y: cos(x) / x)
hyperbolic_sine_integral, hyperbolic_sine_integral_p = special_function(
    "hyperbolic_sine_integral", lambda x, y: 0.5 * (_exprel(x) + _exprel(-x)))
hyperbolic_cosine_integral, hyperbolic_cosine_integral_p = special_function(
    "hyperbolic_cosine_integral", lambda x, y: cosh(x) / x)
fresnel_sine, fresnel_sine_p = special_function(
    "fresnel_sine", lambda x, y: sin((0.5 * math.pi) * square(x)))
fresnel_cosine, fresnel_cosine_p = special_function(
    "fresnel_cosine", lambda x, y: cos((0.5 * math.pi) * square(x)))
lambertw_real, lambertw_real_p = special_function(
    "lambertw_real", lambda z, k, w: exp(-w) / (1 + w), _WHOLE)

# ----------------------------------------------------------------------------------------- elliptic integrals, DLMF 19.4


def _second(first: Term, m: Term, numerator: Term, near: Term) -> Term:
    """The second derivative from the differential equation; near m = 0, where that cancels, from the series."""
    small = m.is_(m) & (m < 0.125) & ((-m) < 0.125)
    return choose(small, near, numerator / choose(small, 1, m * (1 - m)))


def _hyp2f1_near_zero(a: float, b: float, c: float, m: Term) -> Term:
    small = (m < 0.125) & ((-m) < 0.125)
    return _hyp2f1(a, b, c, choose(small, m, 0))


ellipk_m, ellipk_m_p = special_function(
    "ellipk_m",
    lambda m, y: _second(y, m, 0.25 * _ellipk(m) - (1 - 2 * m) * y,
                         _hyp2f1_near_zero(2.5, 2.5, 3.0, m) * (9 * math.pi / 64)))
ellipe_m, ellipe_m_p = special_function(
    "ellipe_m",
    lambda m, y: _second(y, m, -(0.25 * _ellipe(m) + (1 - m) * y),
                         _hyp2f1_near_zero(1.5, 2.5, 3.0, m) * (-3 * math.pi / 64)))
ellipk, ellipk_p = special_function("ellipk", lambda m, y: _ellipk_m(m))
ellipkm1, ellipkm1_p = special_function(
    "ellipkm1", lambda p, y: -_ellipk_m(1 - p))
ellipe, ellipe_p = special_function("ellipe", lambda m, y: _ellipe_m(m))


def _delta(phi: Term, m: Term) -> Term:
    return 1 - m * square(sin(phi))


ellipkinc_m, ellipkinc_m_p = special_function(
    "ellipkinc_m", lambda phi, m, y: 0.5 * square(sin(phi)) / (_delta(phi, m) * sqrt(_delta(phi, m))), _MODULUS)
ellipeinc_m, ellipeinc_m_p = special_function(
    "ellipeinc_m", lambda phi, m, y: -0.5 * square(sin(phi)) / sqrt(_delta(phi, m)), _MODULUS)
ellipkinc, ellipkinc_p = special_function(
    "ellipkinc", lambda phi, m, y: 1 / sqrt(_delta(phi, m)), lambda phi, m, y: _ellipkinc_m(phi, m))
ellipeinc, ellipeinc_p = special_function(
    "ellipeinc", lambda phi, m, y: sqrt(_delta(phi, m)), lambda phi, m, y: _ellipeinc_m(phi, m))

# ------------------------------------------------------------------------------ hypergeometric functions, DLMF 15.5, 13.3

hyp1f1, hyp1f1_p = special_function(
    "hyp1f1", _PARAMETER, _PARAMETER, lambda a, b, z, y: a / b * _hyp1f1(a + 1, b + 1, z))
hyperu, hyperu_p = special_function(
    "hyperu", _PARAMETER, _PARAMETER, lambda a, b, z, y: -a * _hyperu(a + 1, b + 1, z))
hyp2f1, hyp2f1_p = special_function(
    "hyp2f1", _PARAMETER, _PARAMETER, _PARAMETER,
    lambda a, b, c, z, y: a * b / c * _hyp2f1(a + 1, b + 1, c + 1, z))

PRIMITIVES = (
    erfcx_derivative_p, erfcx_p, erfi_p, dawsn_derivative_p, dawsn_p, erfcinv_p, log_ndtr_p, ndtri_p, ndtri_exp_p, owens_t_p,
    exprel_derivative_p, exprel_p, log1prel_derivative_p, cosm1_p, exp1_p, expi_p, expn_p, spence_p,
    sine_integral_p, cosine_integral_p, hyperbolic_sine_integral_p, hyperbolic_cosine_integral_p,
    fresnel_sine_p, fresnel_cosine_p, lambertw_real_p,
    ellipk_m_p, ellipe_m_p, ellipk_p, ellipkm1_p, ellipe_p, ellipkinc_m_p, ellipeinc_m_p, ellipkinc_p, ellipeinc_p,
    hyp1f1_p, hyperu_p, hyp2f1_p,
)
