"""Random numbers as functions of keys, with JAX's names and parameters, and for the most part its numbers.

There is no hidden state: a sampler is a function of its key, so that it may be jitted, batched, differentiated and repeated.
A key that is used twice gives the same numbers twice; `split` makes new ones.

>>> from gradxform import random
>>> for_noise, for_order = random.split(random.key(42))
>>> random.normal(for_noise, (2,))
array([-0.72030073, -0.26062233])
>>> random.permutation(for_order, 4)
array([2, 0, 3, 1])
"""

from gradxform.random.continuous import (
    cauchy,
    double_sided_maxwell,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    maxwell,
    normal,
    pareto,
    rayleigh,
    triangular,
    truncated_normal,
    wald,
    weibull_min,
)
from gradxform.random.counts import binomial, geometric, multinomial, poisson
from gradxform.random.gammas import beta, chisquare, dirichlet, f, gamma, loggamma, t
from gradxform.random.keys import PRNGKey, clone, fold_in, key, key_data, key_impl, split, wrap_key_data
from gradxform.random.selection import categorical, choice, permutation
from gradxform.random.uniforms import bernoulli, bits, rademacher, randint, uniform
from gradxform.random.vectors import ball, generalized_normal, multivariate_normal, orthogonal

__all__ = [
    "PRNGKey", "ball", "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy", "chisquare", "choice", "clone",
    "dirichlet", "double_sided_maxwell", "exponential", "f", "fold_in", "gamma", "generalized_normal", "geometric",
    "gumbel", "key", "key_data", "key_impl", "laplace", "loggamma", "logistic", "lognormal", "maxwell", "multinomial",
    "multivariate_normal", "normal", "orthogonal", "pareto", "permutation", "poisson", "rademacher", "randint", "rayleigh",
    "split", "t", "triangular", "truncated_normal", "uniform", "wald", "weibull_min", "wrap_key_data",
]
