"""Derivatives of samples in the parameters: those of the quantile function at a fixed probability."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special as special

import gradxform as gx
import gradxform.numpy as gnp
from gradxform import random
from gradxform.random.gamma_derivative import gamma_derivative

KEY = random.key(7)


def exact_gamma_derivative(a: float, x: float) -> float:
    """-(dF/da) / (dF/dx) by the power series of F or the quadrature of its derivative, in 50 digits."""
    with mpmath.workdps(50):
        shape, value = mpmath.mpf(a), mpmath.mpf(x)
        if x < 2 * a + 40 and a < 400:
            # F = x p(x) times the sum of x^n / (a (a + 1) ... (a + n)).
            total, slope, term, term_slope, n = mpmath.mpf(0), mpmath.mpf(0), 1 / shape, -1 / shape**2, 0
            while abs(term) > mpmath.mpf(10) ** -50 * abs(total):
                total, slope, n = total + term, slope + term_slope, n + 1
                term_slope = (term_slope - term / (shape + n)) * value / (shape + n)
                term = term * value / (shape + n)
            return float(-value * (total * (mpmath.log(value) - mpmath.digamma(shape)) + slope))
        density = lambda t: mpmath.exp((shape - 1) * mpmath.log(t / value) - (t - value))  # noqa: E731
        score = lambda t: (mpmath.log(t) - mpmath.digamma(shape)) * density(t)  # noqa: E731
        width = mpmath.sqrt(shape)
        if x <= a:
            return float(-mpmath.quad(score, [value - k * width for k in (30, 20, 12, 8, 5, 3, 2, 1, 0) if k * width < value]))
        return float(mpmath.quad(score, [value + k * width for k in (0, 1, 2, 3, 5, 8, 12, 20, 30)]))


def gamma_points() -> tuple[np.ndarray, np.ndarray]:
    points = [(a, special.gammaincinv(a, q)) for a in (0.05, 0.5, 0.9, 1.0, 1.5, 3.0, 30.0, 300.0, 1e4, 1e6)
              for q in (1e-6, 0.03, 0.5, 0.9, 1 - 1e-7)]
    points += [(a, x) for a in (1e-3, 0.5, 1.0, 5.0) for x in (0.5, 0.999, 1.0, 1.001, 3.0, 20.0)]
    a, x = np.array(points).T
    return a, x


def test_the_derivative_of_the_gamma_quantile() -> None:
    a, x = gamma_points()
    expected = np.array([exact_gamma_derivative(*point) for point in zip(a, x, strict=True)])
    np.testing.assert_allclose(gx.jit(gamma_derivative)(a, x), expected, rtol=1e-12)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(gamma_derivative(a, x), expected, rtol=1e-12)
    logarithmic = gx.jit(lambda a, x: gamma_derivative(a, x, logarithmic=True))
    np.testing.assert_allclose(logarithmic(a, np.log(x)), expected / x, rtol=1e-10)


def test_the_derivative_where_samples_underflow() -> None:
    assert gamma_derivative(np.array([1e-3]), np.array([0.0]))[0] == pytest.approx(0.0, abs=1e-290)
    # log x = log(u Gamma(a + 1)) / a to first order in x, so that a dlog x/da = -log x + digamma(a + 1).
    a, log_x = 1e-3, -5000.0
    found = gx.jit(lambda a, x: gamma_derivative(a, x, logarithmic=True))(np.array([a]), np.array([log_x]))
    np.testing.assert_allclose(found, (special.digamma(1 + a) - log_x) / a, rtol=1e-13)
    # And d2 log x / da2 is polygamma(1, 1 + a) / a - 2 / a dlog x/da, now that dlog x/da follows with a.
    draw = lambda a: random.loggamma(KEY, a, (4,))  # noqa: E731
    first, second = gx.jit(lambda a: (gx.jacfwd(draw)(a), gx.jacfwd(gx.jacfwd(draw))(a)))(a)
    np.testing.assert_allclose(first, (special.digamma(1 + a) - draw(a)) / a, rtol=1e-12)
    np.testing.assert_allclose(second, special.polygamma(1, 1 + a) / a - 2 * first / a, rtol=1e-12)


def quantile_slope(quantile: Any, probability: Any, a: float, order: int = 1) -> Any:
    """A derivative of quantile(a, probability) in a, by central differences of fourth order."""
    h = 2e-3 * a
    at = lambda k: quantile(a + k * h, probability)  # noqa: E731
    if order == 1:
        return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
    return (16 * (at(1) + at(-1)) - (at(2) + at(-2)) - 30 * at(0)) / (12 * h * h)


def test_gamma() -> None:
    draw = lambda a: random.gamma(KEY, a, (12,))  # noqa: E731
    logarithm = lambda a: random.loggamma(KEY, a, (12,))  # noqa: E731
    compiled = gx.jit(lambda a: (gx.jacrev(draw)(a), gx.jacfwd(gx.jacfwd(draw))(a), gx.jacfwd(logarithm)(a)))
    for a in (0.4, 2.5, 40.0):
        samples = draw(a)
        probability = special.gammainc(a, samples)
        expected = quantile_slope(special.gammaincinv, probability, a)
        np.testing.assert_allclose(gx.jacfwd(draw)(a), expected, rtol=1e-7)
        first, second, logarithmic = compiled(a)
        np.testing.assert_allclose(first, expected, rtol=1e-7)
        np.testing.assert_allclose(logarithmic, expected / samples, rtol=1e-7)
        curvature = quantile_slope(special.gammaincinv, probability, a, order=2)
        np.testing.assert_allclose(second, curvature, rtol=1e-4, atol=1e-7)


def test_gamma_in_float32() -> None:
    draw = lambda a: random.gamma(KEY, a, (12,), np.float32)  # noqa: E731
    found = gx.jit(gx.jacfwd(draw))(np.float32(2.5))
    assert found.dtype == np.float32
    expected = [exact_gamma_derivative(2.5, float(x)) for x in draw(np.float32(2.5))]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_each_sample_moves_with_its_own_parameter() -> None:
    a = np.array([[0.5, 2.0, 30.0], [1.0, 1.5, 4.0]])
    jacobian = gx.jit(gx.jacrev(lambda a: random.gamma(KEY, a)))(a).reshape(6, 6)
    samples = random.gamma(KEY, a).ravel()
    expected = [exact_gamma_derivative(*point) for point in zip(a.ravel(), samples, strict=True)]
    np.testing.assert_allclose(jacobian, np.diag(expected), rtol=1e-11)


def test_lanes_have_derivatives_of_their_own() -> None:
    keys, a = random.split(KEY, 4), np.array([0.3, 1.0, 2.5, 40.0])
    expected = [exact_gamma_derivative(*point) for point in zip(a, map(random.gamma, keys, a), strict=True)]
    together = lambda a: gnp.sum(gx.vmap(random.gamma)(keys, a))  # noqa: E731
    np.testing.assert_allclose(gx.jit(gx.vmap(gx.grad(random.gamma, argnums=1)))(keys, a), expected, rtol=1e-11)
    np.testing.assert_allclose(gx.grad(together)(a), expected, rtol=1e-11)
    walk = gx.jit(gx.grad(lambda a: gx.lax.scan(lambda total, key: (total + random.gamma(key, a), None), 0.0, keys)[0]))
    expected = [exact_gamma_derivative(1.7, random.gamma(key, 1.7)) for key in keys]
    np.testing.assert_allclose(walk(1.7), sum(expected), rtol=1e-11)


def test_distributions_made_of_gamma_numbers() -> None:
    first, second = random.split(KEY)
    a, b = 1.7, 0.6
    slope_a = gx.jacfwd(lambda a: random.loggamma(first, a, (9,)))(a)
    slope_b = gx.jacfwd(lambda b: random.loggamma(second, b, (9,)))(b)
    found = random.beta(KEY, a, b, (9,))
    of_a, of_b = gx.jit(gx.jacfwd(lambda a, b: random.beta(KEY, a, b, (9,)), argnums=(0, 1)))(a, b)
    np.testing.assert_allclose(of_a, found * (1 - found) * slope_a, rtol=1e-12)
    np.testing.assert_allclose(of_b, -found * (1 - found) * slope_b, rtol=1e-12)

    df = 4.5
    numbers, size = random.normal(first, (9,)), random.gamma(second, df / 2, (9,))
    rate = np.array([exact_gamma_derivative(df / 2, x) for x in size]) / 2
    expected = numbers * 0.5 * np.sqrt(size / (df / 2)) * (0.5 / size - df / 2 * rate / size**2)
    np.testing.assert_allclose(gx.jit(gx.jacfwd(lambda df: random.t(KEY, df, (9,))))(df), expected, rtol=1e-11)

    squares = random.chisquare(KEY, df, (9,))
    expected = [exact_gamma_derivative(df / 2, x / 2) for x in squares]
    np.testing.assert_allclose(gx.jit(gx.jacfwd(lambda df: random.chisquare(KEY, df, (9,))))(df), expected, rtol=1e-11)

    alpha = np.array([0.5, 1.0, 3.0])
    slopes = gx.jacfwd(lambda alpha: random.loggamma(KEY, alpha))(alpha)
    shares = random.dirichlet(KEY, alpha)
    expected = (np.diag(shares) - np.outer(shares, shares)) @ slopes
    np.testing.assert_allclose(gx.jit(gx.jacrev(lambda alpha: random.dirichlet(KEY, alpha)))(alpha), expected, rtol=1e-11)


def test_the_gradient_of_an_expectation() -> None:
    # E[x^2] = a (a + 1), E[log x] = digamma(a).
    mean = lambda f: gx.jit(gx.grad(lambda a: gnp.mean(f(random.gamma(KEY, a, (100_000,))))))  # noqa: E731
    assert mean(lambda x: x * x)(1.5) == pytest.approx(4.0, rel=0.02)
    assert mean(gnp.log)(1.5) == pytest.approx(float(special.polygamma(1, 1.5)), rel=0.02)


#: Samplers whose samples are an explicit function of the parameters, which finite differences follow.
EXPLICIT = {
    "uniform": (lambda low, high: random.uniform(KEY, (7,), minval=low, maxval=high), (-1.0, 2.0)),
    "truncated_normal": (lambda low, high: random.truncated_normal(KEY, low, high, (7,)), (-1.0, 2.0)),
    "pareto": (lambda b: random.pareto(KEY, b, (7,)), (2.5,)),
    "rayleigh": (lambda scale: random.rayleigh(KEY, scale, (7,)), (2.5,)),
    "weibull_min": (lambda scale, c: random.weibull_min(KEY, scale, c, (7,)), (2.0, 1.5)),
    "lognormal": (lambda sigma: random.lognormal(KEY, sigma, (7,)), (0.7,)),
    "triangular": (lambda *limits: random.triangular(KEY, *limits, (7,)), (-1.0, 0.3, 2.0)),
    "double_sided_maxwell": (lambda loc, scale: random.double_sided_maxwell(KEY, loc, scale, (7,)), (1.0, 2.0)),
    "multivariate_normal": (
        lambda mean, r: random.multivariate_normal(
            KEY, mean * np.ones(2), np.array([[1.0, 0.0], [0.0, 1.0]]) + r * np.array([[0.0, 1.0], [1.0, 0.0]])), (1.0, 0.3)),
}


@pytest.mark.parametrize("name", EXPLICIT)
def test_explicit_functions_of_their_parameters(name: str) -> None:
    draw, parameters = EXPLICIT[name]
    found = gx.jit(gx.jacfwd(draw, argnums=tuple(range(len(parameters)))))(*parameters)
    for position, slope in enumerate(found):
        shifted = [[p + sign * 1e-5 * (i == position) for i, p in enumerate(parameters)] for sign in (1, -1)]
        expected = (draw(*shifted[0]) - draw(*shifted[1])) / 2e-5
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("draw", [
    lambda p: random.poisson(KEY, 10 * p, (5,)).astype(float),
    lambda p: random.binomial(KEY, 100, p, (5,)),
    lambda p: random.geometric(KEY, p, (5,)).astype(float),
    lambda p: random.bernoulli(KEY, p, (5,)).astype(float),
    lambda p: random.categorical(KEY, gnp.stack([p, 1 - p]), shape=(5,)).astype(float),
    lambda p: random.choice(KEY, np.arange(2.0), (5,), p=gnp.stack([p, 1 - p])),
], ids=["poisson", "binomial", "geometric", "bernoulli", "categorical", "choice"])
def test_counts_do_not_move(draw: Any) -> None:
    np.testing.assert_array_equal(gx.jit(gx.jacfwd(draw))(0.3), np.zeros(5))
    assert gx.jit(gx.grad(lambda p: gnp.sum(draw(p))))(0.3) == 0.0


def test_elements_that_are_chosen_have_the_derivative() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0])
    for draw in (lambda a: random.choice(KEY, a, (3,)), lambda a: random.choice(KEY, a, (3,), replace=False),
                 lambda a: random.permutation(KEY, a)):
        np.testing.assert_array_equal(gx.jit(gx.jacrev(draw))(a) @ a, draw(a))
