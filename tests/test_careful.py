"""Arguments beyond the range of the fast elementary functions, in loops: the careful twin of the nest computes them."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import gradxform as gx
from gradxform.config import config

HUGE = [2.0**33, 1e15, 1e22, 1e100, 1.7e308, -1e300, 8.0e9]


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("count", [16, 40_000])
def test_huge_arguments_among_ordinary_ones(name: str, count: int) -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=count)
    places = random.choice(count, len(HUGE), replace=False)
    x[places] = HUGE
    with config.override(parallel_threshold=1000):
        found = gx.jit(lambda x: getattr(np, name)(x) + 0.0)(x)
    np.testing.assert_allclose(np.delete(found, places), np.delete(getattr(np, name)(x), places), rtol=4e-16)
    with mpmath.workprec(2200):
        for place, argument in zip(places, HUGE, strict=True):
            expected = float(getattr(mpmath, name)(mpmath.mpf(argument)))
            np.testing.assert_allclose(found[place], expected, rtol=4e-16)


def test_infinities_and_nan() -> None:
    found = gx.jit(lambda x: np.sin(x) * 1.0)(np.array([np.inf, -np.inf, np.nan, 0.5]))
    np.testing.assert_array_equal(np.isnan(found), [True, True, True, False])


def test_derivative_and_reduction_at_huge_arguments() -> None:
    x = np.array([1e22, 0.25, -3.0, 1e300])
    with mpmath.workprec(2200):
        expected = [float(mpmath.cos(mpmath.mpf(v))) for v in x]
        total = float(mpmath.fsum(mpmath.sin(mpmath.mpf(v)) for v in x))
    value, gradient = gx.jit(gx.value_and_grad(lambda x: np.sum(np.sin(x))))(x)
    np.testing.assert_allclose(gradient, expected, rtol=4e-16)
    np.testing.assert_allclose(value, total, rtol=1e-15)


def test_lgamma_left_of_zero() -> None:
    from gradxform.scipy.special import gammaln

    x = np.array([-0.5, -1.5, -7.25, 2.5, 1e3])
    with mpmath.workprec(200):
        expected = [float(mpmath.log(abs(mpmath.gamma(mpmath.mpf(v))))) for v in x]
    np.testing.assert_allclose(gx.jit(lambda x: gammaln(x))(x), expected, rtol=1e-14, atol=2e-15)
