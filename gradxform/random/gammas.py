"""The gamma distribution, and those made of it: beta, Dirichlet, Student's t, chi-square, F.

Samples are differentiable in their parameters by implicit reparameterisation (M. Figurnov, S. Mohamed, A. Mnih, "Implicit
reparameterization gradients", NeurIPS 2018): the derivative at a fixed value of the distribution function F(x; a) is
dx/da = -(dF/da) / (dF/dx), whatever the sampler did to find x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform import numpy as gnp
from gradxform.core import dtype_of
from gradxform.dtypes import DType
from gradxform.operands import cast
from gradxform.primitives.random_bits import threefry2x32
from gradxform.random.calling import checked_key, compiled, float_dtype, parameters, rows_of
from gradxform.random.continuous import exponential_of
from gradxform.random.gamma_derivative import gamma_derivative
from gradxform.random.rejection import over_lanes, repeated, sampled
from gradxform.random.streams import Shape, bell, counters, first_bits, fraction, pack, standard_normal, subkeys

# ---------------------------------------------------------------------------------------------------- one gamma number

# G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000) 363: for a >= 1,
# d = a - 1/3, c = 1/sqrt(9 d), a normal x gives v = (1 + c x)^3, and d v is accepted if log(u) < x^2/2 + d - d v + d log(v).
# A gamma number of a < 1 is one of a + 1, times u^(1/a). The keys are split as JAX does, so that the numbers are JAX's.


def _scales(alpha: Any) -> tuple[Any, Any]:
    """d and c."""
    one = dtype_of(alpha).type(1)
    third = dtype_of(alpha).type(1 / 3)
    d = gnp.where(alpha >= one, alpha, alpha + one) - third
    return d, third / gnp.sqrt(d)


def _start(key: Any, alpha: Any) -> tuple[Any, ...]:
    """Pending; whether the last number was rejected, rather than only its normal one; key, keys of both numbers; v cubed."""
    fresh = threefry2x32(key, np.uint64(0))
    return np.True_, np.True_, fresh, fresh, fresh, alpha


def _attempt(state: tuple[Any, ...], key: Any, alpha: Any) -> tuple[Any, ...]:
    _, renew, chain, normal_key, uniform_key, _ = state
    dtype = dtype_of(alpha)
    one, half = dtype.type(1), dtype.type(0.5)
    d, c = _scales(alpha)
    following = subkeys(chain, 3)
    chain, normal_key, uniform_key = (
        gnp.where(renew, new, old) for new, old in zip(following, (chain, normal_key, uniform_key), strict=True))
    normal_key, subkey = subkeys(normal_key, 2)
    x = bell(fraction(first_bits(subkey), dtype))
    v = one + x * c
    outside = v <= 0
    square, cube = x * x, (v * v) * v
    u = fraction(first_bits(uniform_key), dtype)
    # The logarithms are only needed where the first, cheap bound does not hold.
    rejected = (u >= one - dtype.type(0.0331) * (square * square)) & (
        gnp.log(u) >= square * half + d * ((one - cube) + gnp.log(gnp.where(outside, one, cube))))
    return outside | rejected, ~outside, chain, normal_key, uniform_key, cube


def _cubes(key: Any, alpha: Any) -> Any:
    return repeated(_start, _attempt, lambda state: state[5], (key, alpha))


def _gamma_rows(key: Any, alpha: Any) -> Any:
    one = dtype_of(alpha).type(1)
    d, _ = _scales(alpha)
    boost = (one - fraction(first_bits(_boost_key(key)), dtype_of(alpha))) ** (one / alpha)
    return (d * _cubes(key, alpha)) * gnp.where(alpha >= one, one, boost)


def _boost_key(key: Any) -> Any:
    return threefry2x32(key, np.uint64(1))


def _loggamma_rows(key: Any, alpha: Any) -> Any:
    one, zero = (dtype_of(alpha).type(n) for n in (1, 0))
    d, _ = _scales(alpha)
    logarithm = -exponential_of(fraction(first_bits(_boost_key(key)), dtype_of(alpha)))
    boost = gnp.where((alpha >= one) | (logarithm == 0), zero, logarithm * (one / alpha))
    return (gnp.log(d) + gnp.log(_cubes(key, alpha))) + boost


def _gamma_jvp(primals: Any, tangents: Any) -> Any:
    key, alpha = primals
    found = gamma_rows(key, alpha)
    return found, gamma_derivative(alpha, found) * tangents[1]


def _loggamma_jvp(primals: Any, tangents: Any) -> Any:
    key, alpha = primals
    found = loggamma_rows(key, alpha)
    return found, gamma_derivative(alpha, found, logarithmic=True) * tangents[1]


#: Gamma numbers, or their logarithms, for rows of packed keys and of parameters.
gamma_rows = over_lanes(_gamma_rows, _gamma_jvp)
loggamma_rows = over_lanes(_loggamma_rows, _loggamma_jvp)


def gamma_numbers(key: Any, alpha: Any, shape: Shape) -> Any:
    """Gamma numbers of one packed key."""
    return sampled(gamma_rows, shape, threefry2x32(key, counters(shape)), alpha)


def loggamma_numbers(key: Any, alpha: Any, shape: Shape) -> Any:
    """The logarithms of `gamma_numbers`, also where those underflow."""
    return sampled(loggamma_rows, shape, threefry2x32(key, counters(shape)), alpha)


def _two_loggamma_numbers(keys: tuple[Any, Any], alphas: tuple[Any, Any], shape: Shape) -> Any:
    """`loggamma_numbers` of two keys and two parameters, by one loop over both."""
    streams = gnp.stack([threefry2x32(key, counters(shape)) for key in keys])
    return sampled(loggamma_rows, (2, *shape), streams, gnp.stack([gnp.broadcast_to(a, shape) for a in alphas]))


# ------------------------------------------------------------------------------------------------------------ samplers


@compiled(static=2)
def _gamma(key: Any, a: Any, shape: Shape, dtype: DType) -> Any:
    return gamma_numbers(pack(key), cast(a, dtype), shape)


@compiled(static=2)
def _loggamma(key: Any, a: Any, shape: Shape, dtype: DType) -> Any:
    return loggamma_numbers(pack(key), cast(a, dtype), shape)


def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Gamma numbers, density x**(a - 1) * exp(-x) / Gamma(a) for x >= 0.

    Differentiable in ``a``, by implicit reparameterisation. NaN for a < 0; 0 for a = 0. For small ``a`` the numbers
    underflow: see `loggamma`.

    Args:
        key: a key.
        a: the shape parameter of the distribution.
        shape: the shape of the samples; that of ``a`` if None.
        dtype: a float dtype; float64 if None.

    >>> from gradxform import grad
    >>> from gradxform.random import key
    >>> round(gamma(key(0), 2.0), 6), round(grad(lambda a: gamma(key(0), a))(2.0), 6)
    (np.float64(1.352031), np.float64(0.886262))
    """
    found, (wanted, (a,)) = float_dtype("gamma", dtype), parameters("gamma", shape, a)
    return _gamma(checked_key("gamma", key), a, wanted, found)


def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Any:
    """The logarithms of gamma numbers, also where those underflow. Differentiable in ``a``.

    Args: as of `gamma`.
    """
    found, (wanted, (a,)) = float_dtype("loggamma", dtype), parameters("loggamma", shape, a)
    return _loggamma(checked_key("loggamma", key), a, wanted, found)


@compiled(static=2)
def _beta(key: Any, a: Any, b: Any, shape: Shape, dtype: DType) -> Any:
    first, second = subkeys(pack(key), 2)
    left, right = _two_loggamma_numbers((first, second), (cast(a, dtype), cast(b, dtype)), shape)
    # x / (x + y) without underflow.
    top = gnp.maximum(left, right)
    x, y = gnp.exp(left - top), gnp.exp(right - top)
    return x / (x + y)


def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Beta numbers, density proportional to x**(a - 1) * (1 - x)**(b - 1) in [0, 1].

    Differentiable in ``a`` and ``b``, as a function of two gamma numbers that are.

    Args:
        key: a key.
        a, b: the parameters, which broadcast.
        shape: the shape of the samples; that of the parameters if None.
        dtype: a float dtype; float64 if None.
    """
    found, (wanted, values) = float_dtype("beta", dtype), parameters("beta", shape, a, b)
    return _beta(checked_key("beta", key), *values, wanted, found)


@compiled(static=2)
def _t(key: Any, df: Any, shape: Shape, dtype: DType) -> Any:
    first, second = subkeys(pack(key), 2)
    half = cast(df, dtype) / dtype.type(2)
    return standard_normal(first, shape, dtype) * gnp.sqrt(half / gamma_numbers(second, half, shape))


def t(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Student's t numbers with ``df`` degrees of freedom. Differentiable in ``df``.

    Args:
        key: a key.
        df: the degrees of freedom.
        shape: the shape of the samples; that of ``df`` if None.
        dtype: a float dtype; float64 if None.
    """
    found, (wanted, (df,)) = float_dtype("t", dtype), parameters("t", shape, df)
    return _t(checked_key("t", key), df, wanted, found)


@compiled(static=2)
def _chisquare(key: Any, df: Any, shape: Shape, dtype: DType) -> Any:
    two = dtype.type(2)
    return gnp.exp(loggamma_numbers(pack(key), cast(df, dtype) / two, shape)) * two


def chisquare(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Chi-square numbers: the sum of the squares of ``df`` normal numbers, which need not be whole. Differentiable."""
    found, (wanted, (df,)) = float_dtype("chisquare", dtype), parameters("chisquare", shape, df)
    return _chisquare(checked_key("chisquare", key), df, wanted, found)


@compiled(static=2)
def _f(key: Any, dfnum: Any, dfden: Any, shape: Shape, dtype: DType) -> Any:
    below, above = subkeys(pack(key), 2)
    halves = tuple(cast(df, dtype) / dtype.type(2) for df in (dfnum, dfden))
    numerator, denominator = _two_loggamma_numbers((above, below), (halves[0], halves[1]), shape)
    return (gnp.exp(numerator) / halves[0]) / (gnp.exp(denominator) / halves[1])


def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = None) -> Any:
    """F numbers: the ratio of two chi-square numbers, each over its degrees of freedom. Differentiable in both."""
    found, (wanted, values) = float_dtype("f", dtype), parameters("f", shape, dfnum, dfden)
    return _f(checked_key("f", key), *values, wanted, found)


@compiled(static=2)
def _dirichlet(key: Any, alpha: Any, shape: Shape, dtype: DType) -> Any:
    logarithms = loggamma_numbers(pack(key), cast(alpha, dtype), shape)
    powers = gnp.exp(logarithms - gnp.max(logarithms, axis=-1, keepdims=True))
    return powers / gnp.sum(powers, axis=-1, keepdims=True)


def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Points of a simplex, density proportional to the product of x[i]**(alpha[i] - 1).

    Differentiable in ``alpha``.

    Args:
        key: a key.
        alpha: the parameters, along the last axis.
        shape: the shape of the samples without that axis; that of ``alpha`` without it if None.
        dtype: a float dtype; float64 if None.

    >>> import numpy as np
    >>> from gradxform.random import key
    >>> dirichlet(key(0), np.array([1.0, 2.0, 3.0])).sum()
    np.float64(1.0)
    """
    found = float_dtype("dirichlet", dtype)
    wanted, alpha = rows_of("dirichlet", shape, alpha)
    return _dirichlet(checked_key("dirichlet", key), alpha, wanted, found)
