"""Probability distributions with SciPy's names, parameters and methods, differentiable in every argument.

Each distribution is an object with ``logpdf``, ``pdf``, ``cdf``, ``logcdf``, ``sf``, ``logsf``, ``ppf`` and ``isf``, those of
whole numbers with ``logpmf``, ``pmf``, ``cdf``, ``logcdf``, ``sf`` and ``logsf``. Shape parameters come behind the point, then
``loc`` and ``scale``; called with parameters a distribution is a frozen one. Outside of the support densities are 0, logarithms
-inf, and derivatives 0; for parameters that are not admissible all is NaN.

>>> from gradxform.scipy import stats
>>> import gradxform as gx
>>> gx.grad(stats.norm.logpdf, argnums=(0, 1, 2))(1.0, 0.0, 2.0)
(np.float64(-0.25), np.float64(0.25), np.float64(-0.375))
>>> gx.grad(stats.gamma(2.0, scale=3.0).logpdf)(-1.0)
np.float64(0.0)
"""

from __future__ import annotations

from gradxform.scipy.stats.continuous import (
    beta,
    cauchy,
    chi2,
    expon,
    f,
    gamma,
    gennorm,
    gumbel_l,
    gumbel_r,
    halfnorm,
    invgamma,
    laplace,
    logistic,
    lognorm,
    norm,
    pareto,
    rayleigh,
    skewnorm,
    t,
    truncnorm,
    uniform,
    vonmises,
    weibull_min,
)
from gradxform.scipy.stats.discrete import bernoulli, betabinom, binom, geom, nbinom, poisson
from gradxform.scipy.stats.multivariate import dirichlet, gaussian_kde, multinomial, multivariate_normal
from gradxform.scipy.stats.summary import entropy, sem, zscore

__all__ = [
    "bernoulli", "beta", "betabinom", "binom", "cauchy", "chi2", "dirichlet", "entropy", "expon", "f", "gamma",
    "gaussian_kde", "gennorm", "geom", "gumbel_l", "gumbel_r", "halfnorm", "invgamma", "laplace", "logistic",
    "lognorm", "multinomial", "multivariate_normal", "nbinom", "norm", "pareto", "poisson", "rayleigh", "sem",
    "skewnorm", "t", "truncnorm", "uniform", "vonmises", "weibull_min", "zscore",
]
