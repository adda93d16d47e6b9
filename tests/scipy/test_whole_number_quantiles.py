"""Quantiles of whole numbers against SciPy's and their definition; sums of the beta-binomial; Von Mises against mpmath."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import stats

import gradxform as gx
from gradxform.errors import ArgumentError
from gradxform.scipy import stats as gst

QUANTILES = np.array([0.0, 1e-300, 1e-6, 0.01, 0.3, 0.5, 0.8, 0.99, 1 - 1e-9, 1.0, 1.2, -0.1, np.nan])
PARAMETERS: dict[str, tuple[tuple[float, ...], ...]] = {
    "bernoulli": ((0.3,), (0.0,), (1.0,), (1.5,)),
    "binom": ((7.0, 0.3), (0.0, 0.5), (100000.0, 0.001), (12.0, 1.0), (2.5, 0.5)),
    "poisson": ((2.5,), (0.0,), (1e-3,), (4000.0,), (-1.0,)),
    "nbinom": ((3.5, 0.3), (0.2, 0.01), (50.0, 0.9), (3.0, 1.0), (0.0, 0.5)),
    "geom": ((0.3,), (1e-3,), (0.0,)),
    "betabinom": ((7.0, 2.3, 0.7), (60.0, 0.4, 0.5), (0.0, 1.0, 1.0), (5.0, -1.0, 1.0)),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", PARAMETERS)
def test_quantiles_are_scipys(name: str) -> None:
    found, reference = getattr(gst, name), getattr(stats, name)
    columns = [np.array(column)[:, None] for column in zip(*PARAMETERS[name], strict=True)]
    compiled = gx.jit(lambda q, *shapes: (found.ppf(q, *shapes), found.isf(q, *shapes)))(QUANTILES, *columns)
    for method, values in zip(("ppf", "isf"), compiled, strict=True):
        # The survival function is as accurate as the distribution function, so a quantile of 1e-300 is not the end.
        kept = QUANTILES != 1e-300 if method == "isf" else np.ones(QUANTILES.shape, bool)
        expected = getattr(reference, method)(QUANTILES, *columns)
        np.testing.assert_array_equal(values[:, kept], expected[:, kept], err_msg=method)
        np.testing.assert_array_equal(getattr(found, method)(QUANTILES, *columns)[:, kept], expected[:, kept], err_msg=method)
    shapes = PARAMETERS[name][0]
    assert found(*shapes, loc=3).ppf(0.4) == reference(*shapes, loc=3).ppf(0.4)


@pytest.mark.parametrize("name", PARAMETERS)
def test_quantiles_invert_the_functions_bit_for_bit(name: str) -> None:
    shapes, found = PARAMETERS[name][0], getattr(gst, name)
    numbers = np.arange(1.0, 7.0) if name != "bernoulli" else np.array([0.0])

    def there_and_back(k: Any) -> Any:
        return found.ppf(found.cdf(k, *shapes), *shapes), found.isf(found.sf(k, *shapes), *shapes)

    for found_numbers in gx.jit(there_and_back)(numbers):
        np.testing.assert_array_equal(found_numbers, numbers)


def test_large_quantiles_are_the_least_numbers() -> None:
    q = np.array([1e-12, 0.3, 1 - 1e-6, 1 - 1e-12])
    for name, shapes in (("poisson", (8.5e7,)), ("geom", (4.6e-6,)), ("nbinom", (1e5, 1e-3)), ("binom", (1e9, 0.5))):
        reference, number = getattr(stats, name), gx.jit(getattr(gst, name).ppf)(q, *shapes)
        assert (reference.cdf(number, *shapes) >= q).all() and (reference.cdf(number - 1, *shapes) < q).all(), name
    # Far in the upper tail 1 - q is 1, but the number can be told.
    assert gst.poisson.isf(1e-40, 2.5) == 45 and stats.poisson.sf(45, 2.5) <= 1e-40 < stats.poisson.sf(44, 2.5)
    assert gst.geom.ppf(0.3, 1.0) == 1  # SciPy's is 0, which is below the support


def test_quantiles_have_a_derivative_in_the_location_alone() -> None:
    found = gx.jit(gx.grad(lambda q, mu, loc: gst.poisson.ppf(q, mu, loc), argnums=(0, 1, 2)))(0.3, 2.5, 1.0)
    assert found == (0.0, 0.0, 1.0)
    batched = gx.vmap(gst.binom.ppf, in_axes=(0, None, 0))(np.array([0.1, 0.9]), 10.0, np.array([0.5, 0.2]))
    np.testing.assert_array_equal(batched, stats.binom.ppf([0.1, 0.9], 10, [0.5, 0.2]))


def test_sums_of_the_beta_binomial() -> None:
    n, a, b = 40.0, np.array([0.4, 2.3, 30.0])[:, None], np.array([7.5, 0.7, 30.0])[:, None]
    k = np.array([-1.0, 0.0, 3.0, 20.5, 39.0, 40.0, 41.0])

    def exact(number: float, a: float, b: float, above: bool) -> float:
        chosen = [j for j in range(41) if (j > number) == above]
        terms = (mpmath.binomial(40, j) * mpmath.beta(j + a, 40 - j + b) for j in chosen)
        return float(sum(terms, mpmath.mpf(0)) / mpmath.beta(a, b))

    with mpmath.workdps(30):
        for method, above in (("cdf", False), ("sf", True)):
            expected = [[exact(x, *p, above) for x in k] for p in zip(a[:, 0], b[:, 0], strict=True)]
            np.testing.assert_allclose(gx.jit(getattr(gst.betabinom, method))(k, n, a, b), expected, rtol=2e-13, atol=1e-300)
    # In both modes, whether the number of trials is known or not.
    step = 1e-6
    expected = (stats.betabinom.cdf(3, 40, 2.3 + step, 0.7) - stats.betabinom.cdf(3, 40, 2.3 - step, 0.7)) / (2 * step)

    def with_traced_trials(a: Any, n: Any) -> Any:
        return gst.betabinom.cdf(3.0, n, a, 0.7)

    def with_known_trials(a: Any, n: Any) -> Any:
        return gst.betabinom.cdf(3.0, 40.0, a, 0.7)

    for slope in (gx.jit(gx.grad(with_traced_trials)), gx.jit(gx.jacfwd(with_traced_trials)), gx.grad(with_known_trials)):
        np.testing.assert_allclose(slope(2.3, 40.0), expected, rtol=1e-7)


def von_mises(x: float, kappa: float) -> Any:
    """The probability of angles from x >= 0 to pi."""
    x, kappa = mpmath.mpf(x), mpmath.mpf(kappa)
    least = mpmath.sin(x / 2) ** 2
    ends = [x] + [x + (mpmath.pi - x) * mpmath.mpf(2) ** -j for j in range(24, -1, -1)]
    integral = mpmath.quad(lambda t: mpmath.exp(-2 * kappa * (mpmath.sin(t / 2) ** 2 - least)), ends)
    return mpmath.exp(-2 * kappa * least) * integral / (2 * mpmath.pi * mpmath.besseli(0, kappa) * mpmath.exp(-kappa))


@pytest.mark.parametrize("kappa", [0.0, 1e-3, 0.5, 15.0, 18.0, 18.5, 60.0, 1e4])
def test_von_mises_in_both_tails(kappa: float) -> None:
    x = np.array([0.0, 1e-3, 0.1, 0.5, 1.0, 2.5, 3.1])
    with mpmath.workdps(30):
        tails = [von_mises(one, kappa) for one in x]
        tails = np.array([float(tail) for tail in tails])
    kept = tails > 1e-250
    # The tail itself changes by this factor where x or pi is off by a rounding error.
    tolerance = 1e-15 * (20 + 4 * kappa * x * np.sin(x))[kept]
    below, above = gx.jit(lambda x, kappa: (gst.vonmises.cdf(-x, kappa), gst.vonmises.sf(x, kappa)))(x, kappa)
    for found in (below, above):
        assert (np.abs(found[kept] - tails[kept]) <= tolerance * tails[kept]).all()
    np.testing.assert_allclose(gst.vonmises.cdf(x, kappa), 1 - tails, rtol=4e-15)
    turned = gst.vonmises.cdf(x + 6 * np.pi, kappa)
    np.testing.assert_allclose(turned, 4 - tails, rtol=1e-13 * (1 + kappa))


def test_von_mises_has_derivatives_in_angle_and_concentration() -> None:
    for kappa in (0.5, 25.0):
        for x in (-0.4, 0.0, 0.7):
            in_x, in_kappa = gx.jit(gx.grad(gst.vonmises.cdf, argnums=(0, 1)))(x, kappa)
            np.testing.assert_allclose(in_x, stats.vonmises.pdf(x, kappa), rtol=1e-13)
            step = 1e-4 * kappa
            slope = (gst.vonmises.cdf(x, kappa + step) - gst.vonmises.cdf(x, kappa - step)) / (2 * step)
            np.testing.assert_allclose(in_kappa, slope, rtol=1e-6, atol=1e-11)
    second = gx.jit(gx.grad(gx.grad(gst.vonmises.cdf)))(0.7, 25.0)
    np.testing.assert_allclose(second, -25 * np.sin(0.7) * stats.vonmises.pdf(0.7, 25.0), rtol=1e-11)
    with pytest.raises(ArgumentError, match=r"vonmises\.ppf is not available"):
        gst.vonmises.ppf(0.5, 2.0)
