"""gradxform.scipy.special against SciPy, and its derivatives against closed forms and mpmath."""

import mpmath
import numpy as np
import pytest
from scipy import special

import gradxform as gx
from gradxform.scipy import special as gsp

INF, NAN = np.inf, np.nan
ROWS = np.array([[0.5, -1.0, 2.0], [1000.0, 999.0, -1000.0], [-INF, -INF, -INF], [-INF, 1.0, 0.0]])

CASES = [
    ("erf", (np.array([-2.0, 0.0, 0.3, 5.0]),)), ("erfc", (np.array([-2.0, 0.3, 5.0]),)),
    ("erfinv", (np.array([-0.9, 0.0, 0.5]),)), ("gammaln", (np.array([0.5, 2.0, 30.0]),)),
    ("digamma", (np.array([0.5, 2.0, 30.0]),)), ("psi", (np.array([0.5, 2.0]),)),
    ("expit", (np.array([-40.0, 0.0, 3.0]),)), ("log_expit", (np.array([-800.0, 0.0, 40.0]),)),
    ("logit", (np.array([0.0, 0.25, 1.0, 2.0]),)),
    ("xlogy", (np.array([0.0, 0.0, 0.0, 2.0, 0.0, 0.0]), np.array([0.0, 3.0, -1.0, 0.5, NAN, INF]))),
    ("xlog1py", (np.array([0.0, 0.0, 2.0, 0.0]), np.array([-1.0, 3.0, 0.5, NAN]))),
    ("entr", (np.array([0.0, 0.5, 2.0, -1.0, NAN]),)),
    ("rel_entr", (np.array([0.0, 0.5, 0.0, 1.0, NAN]), np.array([1.0, 0.25, -1.0, 0.0, 1.0]))),
    ("logsumexp", (ROWS[0],)), ("logsumexp", (ROWS, 1)), ("logsumexp", (ROWS, 0)), ("logsumexp", (ROWS,)),
    ("logsumexp", (np.array([INF, 1.0]),)), ("logsumexp", (np.array([NAN, 1.0]),)),
    ("softmax", (ROWS, 1)), ("softmax", (ROWS[:2],)), ("log_softmax", (ROWS, 1)), ("log_softmax", (ROWS[:2],)),
    ("softmax", (np.array([1, 2, 3]),)), ("logsumexp", (np.float32([1.0, 2.0]),)),
]


@pytest.mark.parametrize("name, arguments", CASES, ids=lambda c: c if isinstance(c, str) else "")
def test_values_are_scipys(name, arguments):
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    static = [a for a in arguments if not isinstance(a, np.ndarray)]
    with np.errstate(all="ignore"):
        expected = getattr(special, name)(*arguments)
        plain = getattr(gsp, name)(*arguments)
    compiled = gx.jit(lambda *arrays: getattr(gsp, name)(*arrays, *static))(*arrays)
    np.testing.assert_array_equal(plain, expected)
    assert np.asarray(compiled).dtype == np.asarray(expected).dtype
    tolerance = 4 * np.finfo(np.asarray(expected).dtype).eps
    np.testing.assert_allclose(compiled, expected, rtol=16 * tolerance, atol=tolerance)


def test_logsumexp_of_complex_numbers():
    a, b = np.array([[1 + 1j, 2 - 3j, -0.5 + 2j], [700, 710 + 1j, -3j]]), np.array([1.0, -2.0, 0.5])
    for options in ({}, {"axis": 1}, {"b": b, "axis": 0}, {"b": 1j * b}, {"b": b, "return_sign": True, "keepdims": True}):
        expected = special.logsumexp(a, **options)
        found = gx.jit(lambda a, options=options: gsp.logsumexp(a, **options))(a)
        for one, other in zip(gx.tree.leaves(found), gx.tree.leaves(expected), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-14)
    real = np.array([1.0, 2.0, 3.0])
    found = gx.jit(lambda a: gsp.logsumexp(a, b=1j * b))(real)
    np.testing.assert_allclose(found, special.logsumexp(real, b=1j * b), rtol=1e-14)
    slope = gx.grad(gsp.logsumexp, holomorphic=True)(a[0])
    np.testing.assert_allclose(slope, np.exp(a[0]) / np.exp(a[0]).sum(), rtol=1e-14)
    assert gx.jit(gsp.logsumexp)(np.full(2, -np.inf + 0j)) == -np.inf


def test_logsumexp_with_weights_and_signs():
    a, b = np.array([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]]), np.array([1.0, -2.0, 0.5])
    for options in ({}, {"keepdims": True}, {"return_sign": True}, {"return_sign": True, "keepdims": True}):
        expected = special.logsumexp(a, axis=1, b=b, **options)
        found = gx.jit(lambda a, b, options=options: gsp.logsumexp(a, axis=1, b=b, **options))(a, b)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    with_zero = gx.jit(lambda a: gsp.logsumexp(a, b=np.array([0.0, 1.0])))(np.array([INF, 2.0]))
    np.testing.assert_allclose(with_zero, special.logsumexp([INF, 2.0], b=[0.0, 1.0]))


def test_logsumexps_derivative_is_softmax_also_at_infinities():
    derivative = gx.jit(gx.vmap(gx.grad(gsp.logsumexp)))
    expected = special.softmax(ROWS[[0, 1, 3]], axis=1)
    np.testing.assert_allclose(derivative(ROWS[[0, 1, 3]]), expected, rtol=1e-14, atol=1e-300)
    rows = np.array([[-INF, -INF], [INF, 0.0], [INF, INF]])
    np.testing.assert_array_equal(derivative(rows), [[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]])


def test_logsumexps_second_derivative():
    x = np.array([0.3, -1.0, 2.0])
    p = special.softmax(x)
    np.testing.assert_allclose(gx.hessian(gsp.logsumexp)(x), np.diag(p) - np.outer(p, p), rtol=1e-13, atol=1e-16)


def test_softmaxs_jacobian():
    x = np.array([800.0, -1.0, 802.0])
    p = special.softmax(x)
    expected = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(gx.jacfwd(gsp.softmax)(x), expected, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(gx.jacrev(gsp.softmax)(x), expected, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(gx.jacrev(gsp.log_softmax)(x), np.eye(3) - p, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name, point", [
    ("erf", 0.3), ("erfc", 2.5), ("erfinv", 0.4), ("gammaln", 3.7), ("digamma", 3.7), ("expit", -2.0),
    ("log_expit", 3.0), ("logit", 0.3), ("entr", 0.4),
])
def test_three_derivatives_against_mpmath(name, point):
    with mpmath.workdps(40):
        reference = {
            "erf": mpmath.erf, "erfc": mpmath.erfc, "erfinv": mpmath.erfinv, "gammaln": mpmath.loggamma,
            "digamma": mpmath.digamma, "expit": lambda x: 1 / (1 + mpmath.exp(-x)),
            "log_expit": lambda x: -mpmath.log(1 + mpmath.exp(-x)), "logit": lambda x: mpmath.log(x / (1 - x)),
            "entr": lambda x: -x * mpmath.log(x),
        }[name]
        expected = [float(mpmath.diff(reference, mpmath.mpf(point), order)) for order in (1, 2, 3)]
    function = getattr(gsp, name)
    for value in expected:
        function = gx.grad(function)
        np.testing.assert_allclose(function(point), value, rtol=1e-12)


def test_derivatives_at_the_edges():
    assert gx.grad(gsp.entr)(0.0) == INF
    by_x, by_y = gx.grad(gsp.xlogy, argnums=(0, 1))(0.0, 3.0)
    np.testing.assert_allclose([by_x, by_y], [np.log(3.0), 0.0])
    np.testing.assert_array_equal(gx.grad(gsp.xlogy, argnums=(0, 1))(0.0, 0.0), [0.0, 0.0])


def test_polygamma():
    x = np.array([0.5, 3.0])
    for order in (0, 1, 2):
        np.testing.assert_allclose(gx.jit(lambda x, order=order: gsp.polygamma(order, x))(x),
                                   special.polygamma(order, x), rtol=1e-13)
