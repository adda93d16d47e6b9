"""The special functions that compiled code calls one number at a time, by name, with how many numbers they take.

A name is that of a primitive, of an operation of the loop IR and of a symbol, ``gx.special.NAME``. Behind the first table
stand the functions of ``scipy.special.cython_special``, behind the second the programs of ``loopir/scalar``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: SciPy's functions of float64 numbers.
SCIPY_FUNCTIONS: Mapping[str, int] = MappingProxyType({
    # the gamma family
    "gamma": 1, "rgamma": 1, "gammasgn": 1, "beta": 2, "binom": 2, "poch": 2,
    "gammainc": 2, "gammaincc": 2, "gammaincinv": 2, "gammainccinv": 2,
    "betainc": 3, "betaincc": 3, "betaincinv": 3, "betainccinv": 3,
    # Bessel, Struve and Airy functions
    "j0": 1, "j1": 1, "y0": 1, "y1": 1, "i0": 1, "i0e": 1, "i1": 1, "i1e": 1, "k0": 1, "k0e": 1, "k1": 1, "k1e": 1,
    "jv": 2, "jve": 2, "yv": 2, "yve": 2, "iv": 2, "ive": 2, "kv": 2, "kve": 2, "yn": 2, "kn": 2, "struve": 2, "modstruve": 2,
    # error functions
    "erfcx": 1, "erfi": 1, "dawsn": 1, "erfcinv": 1, "log_ndtr": 1, "ndtri": 1, "ndtri_exp": 1,
    # integrals of exponentials, elliptic integrals, hypergeometric functions
    "exp1": 1, "expi": 1, "expn": 2, "spence": 1, "exprel": 1, "cosm1": 1,
    "ellipk": 1, "ellipkm1": 1, "ellipe": 1, "ellipkinc": 2, "ellipeinc": 2,
    "hyp1f1": 3, "hyperu": 3, "hyp2f1": 4,
    "zetac": 1, "owens_t": 2,
})

#: Functions of our own: mostly derivatives of those above, in arguments in which SciPy has none.
OWN_FUNCTIONS: Mapping[str, int] = MappingProxyType({
    "betaln": 2, "gamma_density": 2, "gammainc_a": 2, "gammainc_aa": 2,
    "beta_density": 3, "betainc_a": 3, "betainc_b": 3, "betainc_aa": 3, "betainc_ab": 3, "betainc_bb": 3,
    "digamma_rise": 2, "hurwitz_zeta": 3,
    "kve_order": 3, "ive_slope": 2, "kve_slope": 2, "spherical_jn": 2, "spherical_yn": 2,
    "airy_ai": 1, "airy_aip": 1, "airy_bi": 1, "airy_bip": 1,
    "erfcx_derivative": 2, "dawsn_derivative": 2, "exprel_derivative": 2, "log1prel_derivative": 2, "lambertw_real": 2,
    "sine_integral": 1, "cosine_integral": 1, "hyperbolic_sine_integral": 1, "hyperbolic_cosine_integral": 1,
    "fresnel_sine": 1, "fresnel_cosine": 1, "ellipk_m": 1, "ellipe_m": 1, "ellipkinc_m": 2, "ellipeinc_m": 2,
})

#: All of them.
SPECIAL_FUNCTIONS: Mapping[str, int] = MappingProxyType({**SCIPY_FUNCTIONS, **OWN_FUNCTIONS})
