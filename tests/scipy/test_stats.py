"""gradxform.scipy.stats against SciPy: values, derivatives in every argument against differences of SciPy's, edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import gradxform as gx
from gradxform.errors import ArgumentError
from gradxform.scipy import stats as gst

METHODS = ("logpdf", "pdf", "cdf", "logcdf", "sf", "logsf", "ppf", "isf")
CONTINUOUS = {
    "norm": (), "halfnorm": (), "uniform": (), "expon": (), "gamma": (2.3,), "invgamma": (2.3,), "chi2": (3.4,),
    "beta": (2.3, 0.7), "t": (3.4,), "f": (3.4, 5.2), "lognorm": (0.7,), "laplace": (), "logistic": (), "cauchy": (),
    "gumbel_r": (), "gumbel_l": (),
    "weibull_min": (1.7,), "pareto": (2.5,), "truncnorm": (-0.5, 2.0), "vonmises": (2.5,), "gennorm": (1.7,), "rayleigh": (),
    "skewnorm": (1.5,),
}
DISCRETE = {"bernoulli": (0.3,), "binom": (7.0, 0.3), "poisson": (2.5,), "nbinom": (3.5, 0.3), "geom": (0.3,),
            "betabinom": (7.0, 2.3, 0.7)}
ABSENT = {"vonmises": ("ppf", "isf"), "skewnorm": ("logcdf", "logsf", "ppf", "isf")}
PLACE = (0.4, 1.3)
POINTS = np.array([-50.0, -5.0, -0.6, 0.4, 0.45, 1.1, 1.65, 2.5, 9.0, 30.0, np.nan])
PROBABILITIES = np.array([0.0, 1e-6, 0.01, 0.3, 0.5, 0.8, 0.99, 1.0, 1.2, -0.1, np.nan])
COUNTS = np.array([-1.0, 0.0, 1.0, 2.0, 3.5, 7.0, 8.0, np.nan])
#: Where distributions with these parameters are smooth.
SMOOTH, SMOOTH_PROBABILITIES = np.array([0.47, 1.1, 1.63]), np.array([0.01, 0.3, 0.49, 0.8, 0.99])


def cases(table, methods):
    return [(name, [method for method in methods if method not in ABSENT.get(name, ())]) for name in table]


def differences(function, arguments, position):
    """Central differences of fourth order."""
    x = arguments[position]
    step = 1e-3 * np.minimum(1.0, np.maximum(np.abs(x), 1e-2)) * (0.3 if position == 0 else 1)

    def at(k):
        return function(*arguments[:position], x + k * step, *arguments[position + 1:])

    return (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * step)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name, methods", cases(CONTINUOUS, METHODS), ids=lambda c: c if isinstance(c, str) else "")
def test_continuous(name, methods):
    shapes = CONTINUOUS[name]

    def everything(x, q, *parameters):
        return [getattr(getattr(gst, name), method)(q if method in ("ppf", "isf") else x, *parameters) for method in methods]

    found = gx.jit(everything)(POINTS, PROBABILITIES, *shapes, *PLACE)
    plain = everything(POINTS, PROBABILITIES, *shapes, *PLACE)
    for method, compiled, evaluated in zip(methods, found, plain, strict=True):
        at = PROBABILITIES if method in ("ppf", "isf") else POINTS
        expected = getattr(getattr(stats, name), method)(at, *shapes, *PLACE)
        tolerance = 1e-6 if name == "f" and method == "isf" else 1e-12  # SciPy's loses digits at 1e-6
        np.testing.assert_allclose(compiled, expected, rtol=tolerance, atol=1e-15, err_msg=method)
        np.testing.assert_allclose(evaluated, expected, rtol=tolerance, atol=1e-15, err_msg=method)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name, methods", cases(CONTINUOUS, METHODS), ids=lambda c: c if isinstance(c, str) else "")
def test_derivatives_in_every_argument(name, methods):
    parameters = (*CONTINUOUS[name], *PLACE)

    def slopes(method, x):
        function = getattr(getattr(gst, name), method)
        positions = tuple(range(len(parameters) + 1))
        axes = (0,) + (None,) * len(parameters)
        return gx.vmap(gx.grad(lambda *a: function(*a), argnums=positions), in_axes=axes)(x, *parameters)

    def everything(x, q, edges, ends):
        inner = [slopes(method, q if method in ("ppf", "isf") else x) for method in methods]
        outer = [slopes(method, edges) for method in methods if method not in ("ppf", "isf")]
        return inner, outer

    if name == "pareto":
        x = SMOOTH + 1.3
    else:
        x = SMOOTH
    found, outer = gx.jit(everything)(x, SMOOTH_PROBABILITIES, POINTS[:-1], PROBABILITIES)
    for method, columns in zip(methods, found, strict=True):
        at = SMOOTH_PROBABILITIES if method in ("ppf", "isf") else x
        for position, column in enumerate(columns):
            expected = differences(getattr(getattr(stats, name), method), (at, *parameters), position)
            np.testing.assert_allclose(column, expected, rtol=1e-5, atol=1e-8, err_msg=f"{method} in argument {position}")
    # Beyond and at the ends of the support too all derivatives are numbers; where the logarithm of a probability has
    # underflowed to -inf there is none.
    for method, columns in zip(methods, outer, strict=False):
        values = getattr(getattr(stats, name), method)(POINTS[:-1], *parameters)
        known = np.isfinite(values) | (values == getattr(getattr(stats, name), method)(-1e300, *parameters))
        for position, column in enumerate(columns):
            assert not np.isnan(column[known & ~np.isin(POINTS[:-1], 30.0)]).any(), (method, position, column)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name, methods", cases(DISCRETE, ("logpmf", "pmf", "cdf", "logcdf", "sf", "logsf")),
                         ids=lambda c: c if isinstance(c, str) else "")
def test_discrete(name, methods):
    shapes = DISCRETE[name]
    whole = name in ("binom", "betabinom")  # the first parameter is a whole number

    def everything(k, *parameters):
        return [getattr(getattr(gst, name), method)(k, *parameters) for method in methods]

    def slopes(k, *parameters):
        return [gx.jacfwd(lambda *p, m=method: getattr(getattr(gst, name), m)(k, *p), argnums=tuple(range(len(parameters))))(
            *parameters) for method in methods]

    values, derivatives = gx.jit(lambda *a: (everything(*a), slopes(*a)))(COUNTS, *shapes)
    for method, value, columns in zip(methods, values, derivatives, strict=True):
        reference = getattr(getattr(stats, name), method)
        np.testing.assert_allclose(value, reference(COUNTS, *shapes), rtol=1e-12, atol=1e-15, err_msg=method)
        assert not np.isnan(columns[-1][:-1]).any()
        for position in range(int(whole), len(shapes)):
            expected = differences(reference, (COUNTS, *shapes), position + 1)
            inside = np.isfinite(expected)
            np.testing.assert_allclose(columns[position][inside], expected[inside], rtol=1e-6, atol=1e-9, err_msg=method)
    moved = getattr(gst, name)(*shapes, loc=2).pmf(COUNTS + 2)
    np.testing.assert_allclose(moved, getattr(stats, name).pmf(COUNTS, *shapes), rtol=1e-12, atol=1e-15)


def test_second_derivatives_of_a_likelihood():
    x = np.array([0.3, 1.2, 2.5, 0.9])
    for name, parameters in (("gamma", (2.3, 0.0, 1.3)), ("t", (3.4, 0.2, 1.3)), ("beta", (2.3, 1.7, 0.0, 3.0))):
        def likelihood(*p, name=name):
            return getattr(gst, name).logpdf(x, *p).sum()

        found = np.array(gx.jit(gx.hessian(likelihood, argnums=tuple(range(len(parameters)))))(*parameters))
        for position in range(len(parameters)):
            def slope(*p, position=position, likelihood=likelihood):
                return np.array(gx.grad(likelihood, argnums=tuple(range(len(p))))(*p))

            np.testing.assert_allclose(found[position], differences(slope, parameters, position) if position else [
                (slope(parameters[0] + 1e-5, *parameters[1:])[i] - slope(parameters[0] - 1e-5, *parameters[1:])[i]) / 2e-5
                for i in range(len(parameters))], rtol=1e-6, atol=1e-7)


def test_densities_at_the_ends_of_their_supports():
    for distribution, value in ((gst.gamma(0.5), np.inf), (gst.gamma(1.0), 0.0), (gst.gamma(2.0), -np.inf),
                                (gst.chi2(2.0), np.log(0.5)), (gst.weibull_min(1.0), 0.0), (gst.rayleigh(), -np.inf)):
        assert distribution.logpdf(0.0) == value
        assert np.isfinite(gx.grad(distribution.logpdf)(0.0)) and np.isfinite(gx.grad(distribution.pdf)(0.0))
        assert gx.grad(distribution.logpdf)(-1.0) == 0.0 and distribution.pdf(-1.0) == 0.0
    assert gx.grad(gst.gamma(1.0).logpdf)(0.0) == -1.0
    np.testing.assert_allclose(gst.beta(1.0, 0.5).pdf(np.array([0.0, 1.0])), [0.5, np.inf], rtol=1e-15)


def test_parameters_that_are_not_admissible_give_nan():
    for value in (gst.norm.logpdf(1.0, 0.0, -1.0), gst.gamma.pdf(1.0, -2.0), gst.beta.cdf(0.5, 1.0, 0.0),
                  gst.poisson.pmf(1, -1.0), gst.binom.logpmf(1, 2.5, 0.5), gst.truncnorm.ppf(0.5, 2.0, 1.0)):
        assert np.isnan(value)


def test_tails():
    z = np.array([-35.0, -12.0, 12.0, 35.0])
    np.testing.assert_allclose(gx.jit(gst.norm.logcdf)(z), stats.norm.logcdf(z), rtol=1e-13)
    slopes = gx.vmap(gx.grad(gst.norm.logcdf))(z)
    np.testing.assert_allclose(slopes, np.exp(stats.norm.logpdf(z) - stats.norm.logcdf(z)), rtol=1e-12)
    ends = [(5.0, 6.0), (-40.0, -39.0), (30.0, np.inf)]
    for a, b in ends:
        middle = a + 0.02 if b == np.inf else 0.5 * (a + b)
        np.testing.assert_allclose(gx.jit(gst.truncnorm.logpdf)(middle, a, b), stats.truncnorm.logpdf(middle, a, b), rtol=1e-10)
        np.testing.assert_allclose(gx.jit(gst.truncnorm.ppf)(0.3, a, b), stats.truncnorm.ppf(0.3, a, b), rtol=1e-12)


def test_float32():
    x = np.float32([0.3, 0.6])
    for name in ("norm", "gamma", "t", "truncnorm", "beta", "gennorm"):
        for method in METHODS:
            function = getattr(getattr(gst, name)(*CONTINUOUS[name]), method)
            found = gx.jit(function)(x)
            assert found.dtype == np.float32 and function(x).dtype == np.float32, (name, method)
            np.testing.assert_allclose(found, function(x.astype(np.float64)), rtol=1e-5)


def test_errors_name_the_parameter():
    with pytest.raises(TypeError, match=r"gamma\.logpdf: missing a"):
        gst.gamma.logpdf(1.0)
    with pytest.raises(TypeError, match=r"norm\.pdf: expected at most 2 parameters"):
        gst.norm.pdf(1.0, 0.0, 1.0, 2.0)
    with pytest.raises(TypeError, match=r"norm\.pdf: mean is unknown; the parameters are loc, scale"):
        gst.norm.pdf(1.0, mean=0.0)
    with pytest.raises(TypeError, match="loc is given twice"):
        gst.norm(1.0, loc=0.0)
    with pytest.raises(ArgumentError, match=r"skewnorm\.ppf is not available"):
        gst.skewnorm.ppf(0.3, 1.0)


# ------------------------------------------------------------------------------------------------- vectors, samples


def matrix():
    root = np.random.default_rng(0).normal(size=(3, 3))
    return root @ root.T + np.eye(3)


def test_multivariate_normal():
    generator = np.random.default_rng(1)
    mean, cov, x = generator.normal(size=3), matrix(), generator.normal(size=(5, 3))
    for arguments in ((x, mean, cov), (x[0], mean, cov), (x, mean, np.diag(cov)), (x, mean, 2.0),
                      (np.array([0.3, 0.4]), 0.1, 2.0)):
        expected = stats.multivariate_normal.logpdf(*arguments)
        np.testing.assert_allclose(gst.multivariate_normal.logpdf(*arguments), expected, rtol=1e-12)
        np.testing.assert_allclose(gx.jit(gst.multivariate_normal.logpdf)(*arguments), expected, rtol=1e-12)
    inverse, deviation = np.linalg.inv(cov), x[0] - mean
    score = inverse @ deviation
    by_x, by_mean, by_cov = gx.jit(gx.grad(gst.multivariate_normal.logpdf, argnums=(0, 1, 2)))(x[0], mean, cov)
    np.testing.assert_allclose(by_x, -score, rtol=1e-11)
    np.testing.assert_allclose(by_mean, score, rtol=1e-11)
    np.testing.assert_allclose(by_cov, 0.5 * (np.outer(score, score) - inverse), rtol=1e-10)
    np.testing.assert_allclose(gx.hessian(lambda m: gst.multivariate_normal.logpdf(x[0], m, cov))(mean), -inverse, rtol=1e-10)
    with pytest.raises(np.linalg.LinAlgError):
        gst.multivariate_normal.logpdf(x, mean, -cov)
    with pytest.raises(ValueError, match=r"expected cov of shape \(3, 3\)"):
        gst.multivariate_normal.logpdf(x, mean, np.eye(2))


def test_dirichlet_and_multinomial():
    alpha, x = np.array([2.0, 0.7, 3.0]), np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(gx.jit(gst.dirichlet.logpdf)(x, alpha), stats.dirichlet.logpdf(x, alpha), rtol=1e-13)
    np.testing.assert_allclose(gst.dirichlet(alpha).pdf(x[:2]), stats.dirichlet.pdf(x[:2], alpha), rtol=1e-13)
    expected = [differences(lambda a, i=i: stats.dirichlet.logpdf(x, np.where(np.arange(3) == i, a, alpha)), (alpha[i],), 0)
                for i in range(3)]
    np.testing.assert_allclose(gx.grad(gst.dirichlet.logpdf, argnums=1)(x, alpha), expected, rtol=1e-8)
    outside = np.array([0.2, 0.3, 0.6])
    assert gst.dirichlet.logpdf(outside, alpha) == -np.inf
    np.testing.assert_array_equal(gx.grad(gst.dirichlet.logpdf, argnums=1)(outside, alpha), np.zeros(3))

    counts = np.array([[2.0, 0.0, 3.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(gx.jit(gst.multinomial.logpmf)(counts, 5, x), stats.multinomial.logpmf(counts, 5, x), rtol=1e-13)
    np.testing.assert_allclose(gx.grad(lambda p: gst.multinomial.logpmf(counts[0], 5, p))(x), counts[0] / x, rtol=1e-14)
    np.testing.assert_allclose(gst.multinomial(5, x).pmf(counts), stats.multinomial.pmf(counts, 5, x), rtol=1e-13)


def test_kernel_density_estimate():
    generator = np.random.default_rng(2)
    data, points = generator.normal(size=(2, 30)), generator.normal(size=(2, 4))
    reference = stats.gaussian_kde(data)
    np.testing.assert_allclose(gst.gaussian_kde(data)(points), reference(points), rtol=1e-11)
    logpdf = gx.jit(lambda data, points: gst.gaussian_kde(data).logpdf(points))
    np.testing.assert_allclose(logpdf(data, points), reference.logpdf(points), rtol=1e-11)
    line, weights = data[0], np.abs(data[1])
    np.testing.assert_allclose(gst.gaussian_kde(line, "silverman", weights)([0.1, 0.2]),
                               stats.gaussian_kde(line, "silverman", weights)([0.1, 0.2]), rtol=1e-11)
    slope = gx.jit(gx.grad(lambda data: gst.gaussian_kde(data).logpdf(points).sum()))(data)
    moved = data.copy()
    ends = []
    for step in (1e-5, -1e-5):
        moved[1, 3] = data[1, 3] + step
        ends.append(stats.gaussian_kde(moved).logpdf(points).sum())
    np.testing.assert_allclose(slope[1, 3], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
    with pytest.raises(ArgumentError, match="bw_method"):
        gst.gaussian_kde(data, "other")


def test_summaries():
    x = np.array([[1.0, 2.0, 4.0], [0.5, 3.0, 1.0]])
    np.testing.assert_allclose(gx.jit(gst.entropy)(x), stats.entropy(x), rtol=1e-14)
    np.testing.assert_allclose(gst.entropy(x[0], x[1], base=2), stats.entropy(x[0], x[1], base=2), rtol=1e-14)
    np.testing.assert_allclose(gx.jit(lambda x: gst.zscore(x, axis=1))(x), stats.zscore(x, axis=1), rtol=1e-14)
    np.testing.assert_allclose(gx.jit(gst.sem)(x), stats.sem(x), rtol=1e-14)
    np.testing.assert_allclose(gst.sem(x, axis=None), stats.sem(x, axis=None), rtol=1e-14)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_nothing_is_left_at_infinity(name):
    """There the terms of log-densities are infinities of either sign; SciPy gives NaN for some of them."""
    distribution, shapes = getattr(gst, name), CONTINUOUS[name]
    ends = np.array([-np.inf, np.inf])

    def everything(x):
        return distribution.logpdf(x, *shapes), distribution.pdf(x, *shapes), distribution.cdf(x, *shapes)

    logarithm, density, below = gx.jit(everything)(ends)
    if name == "vonmises":  # no angle
        assert np.isnan(logarithm).all() and np.isnan(density).all()
        return
    np.testing.assert_array_equal(logarithm, -np.inf)
    np.testing.assert_array_equal(density, 0.0)
    np.testing.assert_array_equal(below, [0.0, 1.0])


def test_far_out_in_the_tails():
    far = np.array([-1e200, -1e9, 1e7, 1e160])
    np.testing.assert_allclose(gx.jit(gst.cauchy.logpdf)(far), -np.log(np.pi) - 2 * np.log(abs(far)), rtol=1e-14)
    np.testing.assert_allclose(gx.vmap(gx.grad(gst.cauchy.logpdf))(far), -2 / far, rtol=1e-12)
    assert gx.jit(gst.f.cdf)(1e308, 3.0, 7.0) == 1.0
    np.testing.assert_allclose(gx.jit(gst.logistic.logpdf)(np.array([-800.0, 0.0, 800.0])), [-800.0, -np.log(4.0), -800.0])
    assert gx.grad(gx.grad(gst.logistic.logpdf))(0.0) == -0.5
