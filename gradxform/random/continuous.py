"""Continuous distributions that are functions of a few uniform numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradxform import numpy as gnp
from gradxform.core import dtype_of
from gradxform.dtypes import DType
from gradxform.operands import cast
from gradxform.primitives.logic import stop_gradient
from gradxform.primitives.special import erf, erfinv
from gradxform.random.calling import checked_key, choice_of, compiled, extents, float_dtype, parameters, sample_dtype
from gradxform.random.streams import Shape, between, pack, standard_normal, subkeys, unit


def _from(key: Any, low: float, shape: Shape, dtype: DType) -> Any:
    """Uniform in [low, 1)."""
    return between(unit(key, shape, dtype), dtype.type(low), dtype.type(1))


def _arguments(name: str, key: Any, shape: Any, dtype: Any) -> tuple[Any, Shape, DType]:
    return checked_key(name, key), extents(name, shape), float_dtype(name, dtype)


# ------------------------------------------------------------------------------------------ distributions of one shape


@compiled(static=2)
def _normal(key: Any, shape: Shape, dtype: DType) -> Any:
    packed = pack(key)
    if dtype.kind == "f":
        return standard_normal(packed, shape, dtype)
    part = np.dtype(f"f{dtype.itemsize // 2}")
    real, imaginary = (cast(standard_normal(subkey, shape, part), dtype) for subkey in subkeys(packed, 2))
    return (real + dtype.type(1j) * imaginary) / dtype.type(math.sqrt(2))


def normal(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Normal numbers of mean 0 and variance 1, by inversion: sqrt(2) * erfinv(u) for u uniform in (-1, 1).

    Args:
        key: a key.
        shape: the shape of the samples.
        dtype: a float dtype, float64 if None; or a complex one, for which real and imaginary part have variance 1/2.

    >>> from gradxform.random import key
    >>> mean, deviation = 10.0, 2.0
    >>> mean + deviation * normal(key(0), (2,))
    array([9.58831572, 8.43046845])
    """
    found = sample_dtype("normal", dtype, np.dtype(np.float64), "fc")
    return _normal(checked_key("normal", key), extents("normal", shape), found)


@compiled(static=2)
def _exponential(key: Any, shape: Shape, dtype: DType) -> Any:
    return exponential_of(unit(pack(key), shape, dtype))


def exponential_of(fractions: Any) -> Any:
    """Exponential numbers from uniform ones in [0, 1)."""
    return -gnp.log1p(-fractions)


def exponential(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Exponential numbers of mean 1, density exp(-x) for x >= 0."""
    return _exponential(*_arguments("exponential", key, shape, dtype))


@compiled(static=2)
def _laplace(key: Any, shape: Shape, dtype: DType) -> Any:
    centred = _from(pack(key), -1 + np.finfo(dtype).epsneg, shape, dtype)
    return gnp.sign(centred) * gnp.log1p(-gnp.abs(centred))


def laplace(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Laplace numbers, density exp(-abs(x)) / 2."""
    return _laplace(*_arguments("laplace", key, shape, dtype))


@compiled(static=2)
def _cauchy(key: Any, shape: Shape, dtype: DType) -> Any:
    fractions = _from(pack(key), np.finfo(dtype).eps, shape, dtype)
    return gnp.tan(dtype.type(math.pi) * (fractions - dtype.type(0.5)))


def cauchy(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Cauchy numbers, density 1 / (pi * (1 + x * x))."""
    return _cauchy(*_arguments("cauchy", key, shape, dtype))


@compiled(static=2)
def _logistic(key: Any, shape: Shape, dtype: DType) -> Any:
    fractions = _from(pack(key), np.finfo(dtype).tiny, shape, dtype)
    return gnp.log(fractions) - gnp.log1p(-fractions)


def logistic(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Logistic numbers: their distribution function is 1 / (1 + exp(-x))."""
    return _logistic(*_arguments("logistic", key, shape, dtype))


def gumbel_numbers(key: Any, shape: Shape, dtype: DType, mode: str) -> Any:
    """Gumbel numbers of a packed key."""
    if mode == "low":
        return -gnp.log(-gnp.log(_from(key, np.finfo(dtype).tiny, shape, dtype)))
    upper, lower = unit(key, (2, *shape), dtype)
    info = np.finfo(dtype)
    fine = upper + lower * dtype.type(2.0**-info.nmant) + info.tiny
    return -gnp.log(-gnp.log1p(-gnp.where(upper >= 0.5, upper, fine)))


@compiled(static=3)
def _gumbel(key: Any, shape: Shape, dtype: DType, mode: str) -> Any:
    return gumbel_numbers(pack(key), shape, dtype, mode)


def gumbel_mode(name: str, mode: Any) -> str:
    """'low' or 'high'; 'low' for None."""
    return choice_of(name, "mode", "low" if mode is None else mode, "low", "high")


def gumbel(key: Any, shape: Any = (), dtype: Any = None, mode: str | None = None) -> Any:
    """Gumbel numbers: their distribution function is exp(-exp(-x)).

    Args:
        key: a key.
        shape: the shape of the samples.
        dtype: a float dtype; float64 if None.
        mode: 'low', which None means, or 'high': twice as many bits, so that what is rarer than 2**-52 (float32: 2**-23)
            appears too.
    """
    return _gumbel(*_arguments("gumbel", key, shape, dtype), gumbel_mode("gumbel", mode))


@compiled(static=2)
def _maxwell(key: Any, shape: Shape, dtype: DType) -> Any:
    numbers = standard_normal(pack(key), (*shape, 3), dtype)
    return gnp.sqrt(gnp.sum(numbers * numbers, axis=-1))


def maxwell(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Maxwell numbers: the length of a vector of three normal numbers."""
    return _maxwell(*_arguments("maxwell", key, shape, dtype))


# -------------------------------------------------------------------------------------- distributions with parameters


@compiled(static=2)
def _truncated_normal(key: Any, lower: Any, upper: Any, shape: Shape, dtype: DType) -> Any:
    lower, upper = cast(lower, dtype), cast(upper, dtype)
    root = dtype.type(math.sqrt(2))
    low, high = (erf(x / root) for x in (lower, upper))
    found = root * erfinv(between(unit(pack(key), shape, dtype), low, high))
    # Rounding may leave the open interval, and the first of all uniform numbers is its end.
    least, most = _above(stop_gradient(lower)), -_above(-stop_gradient(upper))
    return gnp.minimum(gnp.maximum(found, least), most)


def _above(x: Any) -> Any:
    """The next number above x: a little more than half of a unit in the last place is added."""
    info = np.finfo(dtype_of(x))
    step = gnp.maximum(gnp.abs(x) * info.dtype.type(info.epsneg * 1.001), info.smallest_subnormal)
    return gnp.where(x == -np.inf, -info.max, x + step)


def truncated_normal(key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Normal numbers on the condition that they lie between ``lower`` and ``upper``.

    By inversion of the distribution function, differentiable in both limits. More than some eight deviations from 0 there is
    nothing left of it: the samples then lie at the limit.

    Args:
        key: a key.
        lower, upper: the limits, which may be infinite.
        shape: the shape of the samples; that to which the limits broadcast if None.
        dtype: a float dtype; float64 if None.

    >>> from gradxform.random import key
    >>> truncated_normal(key(0), 0.0, 1.0, (3,))
    array([0.36605541, 0.18613695, 0.95222047])
    """
    found = float_dtype("truncated_normal", dtype)
    wanted, limits = parameters("truncated_normal", shape, lower, upper)
    return _truncated_normal(checked_key("truncated_normal", key), *limits, wanted, found)


@compiled(static=2)
def _pareto(key: Any, b: Any, shape: Shape, dtype: DType) -> Any:
    return gnp.exp(exponential_of(unit(pack(key), shape, dtype)) / cast(b, dtype))


def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Pareto numbers, density b / x**(b + 1) for x >= 1."""
    found, (wanted, (power,)) = float_dtype("pareto", dtype), parameters("pareto", shape, b)
    return _pareto(checked_key("pareto", key), power, wanted, found)


@compiled(static=2)
def _rayleigh(key: Any, scale: Any, shape: Shape, dtype: DType) -> Any:
    return cast(scale, dtype) * gnp.sqrt(gnp.log(unit(pack(key), shape, dtype)) * dtype.type(-2))


def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Rayleigh numbers: ``scale`` times the length of a vector of two normal numbers."""
    found, (wanted, (scale,)) = float_dtype("rayleigh", dtype), parameters("rayleigh", shape, scale)
    return _rayleigh(checked_key("rayleigh", key), scale, wanted, found)


@compiled(static=2)
def _weibull_min(key: Any, scale: Any, concentration: Any, shape: Shape, dtype: DType) -> Any:
    scale, concentration = cast(scale, dtype), cast(concentration, dtype)
    return exponential_of(unit(pack(key), shape, dtype)) ** (dtype.type(1) / concentration) * scale


def weibull_min(key: Any, scale: Any, concentration: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Weibull numbers: ``scale`` times an exponential number to the power 1/``concentration``."""
    found = float_dtype("weibull_min", dtype)
    wanted, values = parameters("weibull_min", shape, scale, concentration)
    return _weibull_min(checked_key("weibull_min", key), *values, wanted, found)


@compiled(static=2)
def _lognormal(key: Any, sigma: Any, shape: Shape, dtype: DType) -> Any:
    return gnp.exp(standard_normal(pack(key), shape, dtype) * cast(sigma, dtype))


def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = None) -> Any:
    """exp(sigma * x) for a standard normal x."""
    found, (wanted, (sigma,)) = float_dtype("lognormal", dtype), parameters("lognormal", shape, sigma)
    return _lognormal(checked_key("lognormal", key), sigma, wanted, found)


@compiled(static=2)
def _triangular(key: Any, left: Any, mode: Any, right: Any, shape: Shape, dtype: DType) -> Any:
    left, mode, right = (cast(x, dtype) for x in (left, mode, right))
    fractions = unit(pack(key), shape, dtype)
    rising = fractions < (mode - left) / (right - left)
    one = dtype.type(1)
    # One of the roots is that of 0 where it is not wanted: its slope is infinite there.
    below = left + gnp.sqrt(gnp.where(rising, fractions, one) * (right - left) * gnp.where(rising, mode - left, one))
    above = right - gnp.sqrt(gnp.where(rising, one, one - fractions) * (right - left) * gnp.where(rising, one, right - mode))
    return gnp.where(rising, below, above)


def triangular(key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers whose density rises from 0 at ``left`` to ``mode`` and falls to 0 at ``right``."""
    found = float_dtype("triangular", dtype)
    wanted, values = parameters("triangular", shape, left, mode, right)
    return _triangular(checked_key("triangular", key), *values, wanted, found)


@compiled(static=2)
def _wald(key: Any, mean: Any, shape: Shape, dtype: DType) -> Any:
    first, second = subkeys(pack(key), 2)
    mean = cast(mean, dtype)
    number, fractions = standard_normal(first, shape, dtype), unit(second, shape, dtype)
    y = number * number
    square = mean * mean
    x = mean + square * y / dtype.type(2) - mean / dtype.type(2) * gnp.sqrt(dtype.type(4) * mean * y + square * (y * y))
    return gnp.where(fractions <= mean / (mean + x), x, square / x)


def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Inverse Gaussian numbers of the given mean and of scale 1, by the method of Michael, Schucany and Haas (1976).

    The choice between the two roots is not differentiated: a derivative in ``mean`` is that of the root which was chosen.
    """
    found, (wanted, (mean,)) = float_dtype("wald", dtype), parameters("wald", shape, mean)
    return _wald(checked_key("wald", key), mean, wanted, found)


@compiled(static=2)
def _double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Shape, dtype: DType) -> Any:
    first, second = subkeys(pack(key), 2)
    numbers = standard_normal(first, (*shape, 3), dtype)
    signs = gnp.where(unit(second, shape, np.dtype(np.float64)) < 0.5, dtype.type(1), dtype.type(-1))
    return signs * gnp.sqrt(gnp.sum(numbers * numbers, axis=-1)) * cast(scale, dtype) + cast(loc, dtype)


def double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Any = (), dtype: Any = None) -> Any:
    """``loc`` plus ``scale`` times a Maxwell number of either sign.

    The result has the shape ``shape`` followed by that to which the parameters broadcast, which also stands for ().
    """
    found = float_dtype("double_sided_maxwell", dtype)
    own, values = parameters("double_sided_maxwell", None, loc, scale)
    wanted = (*(extents("double_sided_maxwell", shape) or own), *own)
    return _double_sided_maxwell(checked_key("double_sided_maxwell", key), *values, wanted, found)
