"""The gamma family beyond ``lgamma`` and ``digamma``: gamma and beta functions, complete, incomplete and inverted; zeta.

Derivatives in the shape parameters of the incomplete functions are functions of their own (see ``loopir/scalar``), which are
differentiated once more; a third derivative in shape parameters alone is refused.
"""

from __future__ import annotations

import math

from gradxform.primitives import special
from gradxform.primitives.terms import Term, choose, cos, formula, log, log1p, named, rint, special_function

_digamma = formula(special.digamma)
# The functions that rules name.
(_aa, _ab, _bb, _beta_density, _betainc_a, _betainc_b, _gamma, _gamma_density, _gammainc_a, _gammainc_aa, _hurwitz,
 _rise) = named(
    "betainc_aa", "betainc_ab", "betainc_bb", "beta_density", "betainc_a", "betainc_b", "gamma", "gamma_density",
    "gammainc_a", "gammainc_aa", "hurwitz_zeta", "digamma_rise")


def _trigamma(x: Term) -> Term:
    return Term(special.polygamma(x.value, 1))


def _times(y: Term, factor: Term) -> Term:
    """y * factor, 0 where y is 0 although the factor is infinite there."""
    flat = y.is_(0)
    return choose(flat, 0, y) * choose(flat, 0, factor)


_THIRD = "third derivatives in the shape parameters of an incomplete gamma or beta function are not available"

# -------------------------------------------------------------------------------------------------- complete functions

gamma, gamma_p = special_function("gamma", lambda x, y: y * _digamma(x))


def _rgamma_slope(x: Term, y: Term) -> Term:
    # By reflection for x < 1/2: it has no poles there, and cos(pi x) is taken of what is left of the next even number.
    left = x < 0.5
    mirrored = 1 - choose(left, x, 0)
    turned = x - 2 * rint(0.5 * x)
    below = cos(math.pi * turned) * _gamma(mirrored) - y * _digamma(mirrored)
    return choose(left, below, -(y * _digamma(choose(left, 1, x))))


rgamma, rgamma_p = special_function("rgamma", _rgamma_slope)
gammasgn, gammasgn_p = special_function("gammasgn", None)

digamma_rise, digamma_rise_p = special_function(
    "digamma_rise",
    lambda a, h, y: _trigamma(a + h) - _trigamma(a),
    lambda a, h, y: _trigamma(a + h))

beta, beta_p = special_function(
    "beta", lambda a, b, y: -(y * _rise(a, b)), lambda a, b, y: -(y * _rise(b, a)))
betaln, betaln_p = special_function(
    "betaln", lambda a, b, y: -_rise(a, b), lambda a, b, y: -_rise(b, a))
binom, binom_p = special_function(
    "binom",
    lambda n, k, y: y * _rise(n - k + 1, k),
    lambda n, k, y: y * (_digamma(n - k + 1) - _digamma(k + 1)))
poch, poch_p = special_function(
    "poch", lambda z, m, y: y * _rise(z, m), lambda z, m, y: y * _digamma(z + m))

hurwitz_zeta, hurwitz_zeta_p = special_function(
    "hurwitz_zeta",
    lambda s, x, order, y: _hurwitz(s, x, order + 1),
    # The derivatives in s of -s zeta(s + 1, x), which is the derivative in x.
    lambda s, x, order, y: -(s * _hurwitz(s + 1, x, order))
    - order * _hurwitz(s + 1, x, choose(order > 0, order - 1, 0)),
    "it is a whole number")

zetac, zetac_p = special_function("zetac", lambda x, y: _hurwitz(x, 1, 1))

# ------------------------------------------------------------------------------------------- incomplete gamma function

gamma_density, gamma_density_p = special_function(
    "gamma_density",
    lambda a, x, y: _times(y, log(x) - _digamma(a)),
    lambda a, x, y: _gamma_density(a - 1, x) - y)


def _density_in_shape(a: Term, x: Term) -> Term:
    return _times(_gamma_density(a, x), log(x) - _digamma(a))


gammainc_aa, gammainc_aa_p = special_function(
    "gammainc_aa", _THIRD,
    lambda a, x, y: _times(_gamma_density(a, x), (log(x) - _digamma(a)) * (log(x) - _digamma(a)) - _trigamma(a)))
gammainc_a, gammainc_a_p = special_function(
    "gammainc_a", lambda a, x, y: _gammainc_aa(a, x), lambda a, x, y: _density_in_shape(a, x))

gammainc, gammainc_p = special_function(
    "gammainc", lambda a, x, y: _gammainc_a(a, x), lambda a, x, y: _gamma_density(a, x))
gammaincc, gammaincc_p = special_function(
    "gammaincc", lambda a, x, y: -_gammainc_a(a, x), lambda a, x, y: -_gamma_density(a, x))
# The inverses by the implicit function theorem.
gammaincinv, gammaincinv_p = special_function(
    "gammaincinv", lambda a, p, x: -(_gammainc_a(a, x) / _gamma_density(a, x)), lambda a, p, x: 1 / _gamma_density(a, x))
gammainccinv, gammainccinv_p = special_function(
    "gammainccinv", lambda a, p, x: -(_gammainc_a(a, x) / _gamma_density(a, x)), lambda a, p, x: -1 / _gamma_density(a, x))

# -------------------------------------------------------------------------------------------- incomplete beta function


def _in_a(a: Term, b: Term, x: Term) -> Term:
    """The derivative of the logarithm of the density in a."""
    return log(x) + _rise(a, b)


def _in_b(a: Term, b: Term, x: Term) -> Term:
    return log1p(-x) + _rise(b, a)


def _density_slope(a: Term, b: Term, x: Term, y: Term) -> Term:
    return _times(y, (a - 1) / x - (b - 1) / (1 - x))


beta_density, beta_density_p = special_function(
    "beta_density",
    lambda a, b, x, y: _times(y, _in_a(a, b, x)),
    lambda a, b, x, y: _times(y, _in_b(a, b, x)),
    _density_slope)

betainc_aa, betainc_aa_p = special_function(
    "betainc_aa", _THIRD, _THIRD,
    lambda a, b, x, y: _times(_beta_density(a, b, x),
                              _in_a(a, b, x) * _in_a(a, b, x) + (_trigamma(a + b) - _trigamma(a))))
betainc_ab, betainc_ab_p = special_function(
    "betainc_ab", _THIRD, _THIRD,
    lambda a, b, x, y: _times(_beta_density(a, b, x), _in_a(a, b, x) * _in_b(a, b, x) + _trigamma(a + b)))
betainc_bb, betainc_bb_p = special_function(
    "betainc_bb", _THIRD, _THIRD,
    lambda a, b, x, y: _times(_beta_density(a, b, x),
                              _in_b(a, b, x) * _in_b(a, b, x) + (_trigamma(a + b) - _trigamma(b))))
betainc_a, betainc_a_p = special_function(
    "betainc_a", lambda a, b, x, y: _aa(a, b, x), lambda a, b, x, y: _ab(a, b, x),
    lambda a, b, x, y: _times(_beta_density(a, b, x), _in_a(a, b, x)))
betainc_b, betainc_b_p = special_function(
    "betainc_b", lambda a, b, x, y: _ab(a, b, x), lambda a, b, x, y: _bb(a, b, x),
    lambda a, b, x, y: _times(_beta_density(a, b, x), _in_b(a, b, x)))

betainc, betainc_p = special_function(
    "betainc", lambda a, b, x, y: _betainc_a(a, b, x), lambda a, b, x, y: _betainc_b(a, b, x),
    lambda a, b, x, y: _beta_density(a, b, x))
betaincc, betaincc_p = special_function(
    "betaincc", lambda a, b, x, y: -_betainc_a(a, b, x), lambda a, b, x, y: -_betainc_b(a, b, x),
    lambda a, b, x, y: -_beta_density(a, b, x))
betaincinv, betaincinv_p = special_function(
    "betaincinv", lambda a, b, p, x: -(_betainc_a(a, b, x) / _beta_density(a, b, x)),
    lambda a, b, p, x: -(_betainc_b(a, b, x) / _beta_density(a, b, x)),
    lambda a, b, p, x: 1 / _beta_density(a, b, x))
betainccinv, betainccinv_p = special_function(
    "betainccinv", lambda a, b, p, x: -(_betainc_a(a, b, x) / _beta_density(a, b, x)),
    lambda a, b, p, x: -(_betainc_b(a, b, x) / _beta_density(a, b, x)),
    lambda a, b, p, x: -1 / _beta_density(a, b, x))

PRIMITIVES = (
    gamma_p, rgamma_p, gammasgn_p, digamma_rise_p, beta_p, betaln_p, binom_p, poch_p, hurwitz_zeta_p, zetac_p,
    gamma_density_p, gammainc_aa_p, gammainc_a_p, gammainc_p, gammaincc_p, gammaincinv_p, gammainccinv_p,
    beta_density_p, betainc_aa_p, betainc_ab_p, betainc_bb_p, betainc_a_p, betainc_b_p, betainc_p, betaincc_p,
    betaincinv_p, betainccinv_p,
)
