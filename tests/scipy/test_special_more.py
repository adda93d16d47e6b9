"""gradxform.scipy.special: what does not fit the table: tuples, edges, float32, vmap, orders of Bessel functions, refusals."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from scipy import special

import gradxform as gx
from gradxform.backend.special_calls import evaluate
from gradxform.errors import ArgumentError, NotDifferentiableError
from gradxform.ir.special_names import OWN_FUNCTIONS, SPECIAL_FUNCTIONS
from gradxform.loopir.operations import evaluate_operation
from gradxform.loopir.scalar import PROGRAMS
from gradxform.primitives import ROSTER
from gradxform.scipy import special as gsp

X = np.array([0.2, 0.7, 1.9, 6.0])

TUPLES = {
    "sici": [lambda x: mp.si(x), lambda x: mp.ci(x)],
    "shichi": [lambda x: mp.shi(x), lambda x: mp.chi(x)],
    "fresnel": [lambda x: mp.fresnels(x), lambda x: mp.fresnelc(x)],
    "airy": [mp.airyai, lambda x: mp.airyai(x, derivative=1), mp.airybi, lambda x: mp.airybi(x, derivative=1)],
}


@pytest.mark.parametrize("name", TUPLES)
def test_functions_of_several_results(name):
    def parts(x):
        return gx.numpy.stack(getattr(gsp, name)(x))

    values, slopes = gx.jit(lambda x: (parts(x), gx.jvp(parts, (x,), (np.ones(4),))[1]))(X)
    np.testing.assert_allclose(values, special.__dict__[name](X), rtol=1e-12)
    expected = [[float(mp.diff(reference, x)) for x in X] for reference in TUPLES[name]]
    np.testing.assert_allclose(slopes, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("branch, points", [
    (0, [-0.36787944117144, -0.3, -1e-9, 0.0, 1e-9, 0.25, 0.35, 1.0, 50.0, 1e300, np.inf]),
    (-1, [-0.36787944117144, -0.3, -0.01, -1e-300]),
])
def test_lambertw(branch, points):
    z = np.array(points)
    found = gx.jit(lambda z: gsp.lambertw(z, branch))(z)
    expected = [float(mp.lambertw(mp.mpf(x), branch).real) if np.isfinite(x) else x for x in points]
    np.testing.assert_allclose(found, expected, rtol=3e-15)
    np.testing.assert_array_equal(gsp.lambertw(z, branch), found)
    inner = np.array([-0.3, -0.01] + ([0.0, 2.0] if branch == 0 else []))
    slopes = gx.vmap(gx.grad(lambda z: gsp.lambertw(z, branch)))(inner)
    np.testing.assert_allclose(slopes, [float(mp.diff(lambda t: mp.lambertw(t, branch).real, x)) for x in inner], rtol=1e-12)


def test_lambertw_where_there_is_no_real_solution():
    assert np.isnan(gsp.lambertw(-0.5)) and np.isnan(gsp.lambertw(0.5, -1)) and gsp.lambertw(0.0, -1) == -np.inf
    with pytest.raises(ArgumentError, match="lambertw"):
        gsp.lambertw(1.0, 2)


def test_zeta_of_negative_numbers():
    x = np.array([-3.5, -2.0, -0.5, 0.0, 0.5, 1.5])
    np.testing.assert_allclose(gx.jit(gsp.zeta)(x), [float(mp.zeta(a)) for a in x], rtol=2e-14, atol=1e-17)
    np.testing.assert_allclose(gx.vmap(gx.grad(gsp.zeta))(x), [float(mp.zeta(a, derivative=1)) for a in x], rtol=1e-12)
    assert gx.jit(gsp.zeta)(1.0) == np.inf and np.isnan(gx.jit(gsp.zeta)(0.5, 2.0))


def test_multigammaln_and_gammasgn():
    np.testing.assert_allclose(gx.jit(lambda a: gsp.multigammaln(a, 3))(X + 1), special.multigammaln(X + 1, 3), rtol=1e-14)
    expected = sum(special.digamma(4.0 - 0.5 * j) for j in range(3))
    np.testing.assert_allclose(gx.grad(lambda a: gsp.multigammaln(a, 3))(4.0), expected, rtol=1e-14)
    x = np.array([-2.5, -1.5, 3.0])
    np.testing.assert_array_equal(gx.jit(gsp.gammasgn)(x), special.gammasgn(x))
    assert gx.grad(gsp.gammasgn)(-1.5) == 0


def test_spherical_functions_and_their_derivatives():
    for n in (0, 1, 4):
        for name in ("spherical_jn", "spherical_yn"):
            for derivative in (False, True):
                found = gx.jit(lambda x, n=n, name=name, d=derivative: getattr(gsp, name)(n, x, d))(X)
                np.testing.assert_allclose(found, getattr(special, name)(n, X, derivative), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(gx.vmap(gx.grad(lambda x: gsp.spherical_jn(1, x)))(np.array([0.0])), [1 / 3])


def test_numpys_ufuncs_on_traced_arrays_are_ours():
    a = np.array([0.4, 2.0])
    found = gx.grad(lambda a: special.gammainc(a, 1.5).sum() + special.kv(a, 2.0).sum())(a)
    expected = [float(mp.diff(lambda t: mp.gammainc(t, 0, 1.5, regularized=True) + mp.besselk(t, 2), x)) for x in a]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_orders_without_a_derivative_are_refused():
    for name in ("jv", "yv", "iv", "ive", "struve"):
        with pytest.raises(NotDifferentiableError, match=f"{name}: no derivative in argument 0"):
            gx.grad(getattr(gsp, name))(1.5, 2.0)
    with pytest.raises(NotDifferentiableError, match="hyp2f1"):
        gx.grad(gsp.hyp2f1)(1.0, 2.0, 3.0, 0.5)
    with pytest.raises(NotDifferentiableError, match="third derivatives"):
        gx.grad(gx.grad(gx.grad(gsp.gammainc)))(1.5, 2.0)


def test_incomplete_functions_at_their_ends():
    for argument in (0, 1):
        slopes = gx.vmap(gx.grad(gsp.gammainc, argnums=argument), in_axes=(None, 0))(2.0, np.array([0.0, np.inf]))
        np.testing.assert_array_equal(slopes, [0.0, 0.0])
    for argument in (0, 1, 2):
        slopes = gx.vmap(gx.grad(gsp.betainc, argnums=argument), in_axes=(None, None, 0))(2.0, 3.0, np.array([0.0, 1.0]))
        np.testing.assert_array_equal(slopes, [0.0, 0.0])
    assert np.isnan(gx.grad(gsp.gammainc)(-1.0, 2.0)) and np.isnan(gx.grad(gsp.betainc)(1.0, 2.0, 1.5))
    np.testing.assert_array_equal(gx.grad(gsp.gammainc, argnums=1)(1.0, 0.0), 1.0)


@pytest.mark.parametrize("a", [20.0, 1e3, 1e4, 1e6])
def test_large_shapes(a):
    """P(a + 1, x) - P(a, x) = -density(a + 1, x), exactly; the left is the integral of the derivative in between."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    for x in a + np.sqrt(a) * np.array([-4.0, -1.0, 0.0, 1.0, 4.0]):
        slopes = evaluate("gammainc_a", a + 0.5 + 0.5 * nodes, np.array(x))
        np.testing.assert_allclose(0.5 * weights @ slopes, -evaluate("gamma_density", a + 1, x), rtol=1e-12)


@pytest.mark.parametrize("a, b", [(20.0, 30.0), (1e3, 5.0), (0.4, 1e4), (1e5, 1e5)])
def test_large_shapes_of_the_beta_function(a, b):
    """I(a, b, x) - I(a + 1, b, x) = x (1 - x) density(a + 1, b, x) / ((a + b) x), DLMF 8.17.20."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    mean = a / (a + b)
    for x in mean + np.sqrt(mean * (1 - mean) / (a + b)) * np.array([-0.5, 0.0, 1.0, 3.0]):
        for name, (p, q), point in (("betainc_a", (a, b), x), ("betainc_b", (b, a), 1 - x)):
            shape = p + 0.5 + 0.5 * nodes
            fixed, at = np.array(q), np.array(x)
            difference = 0.5 * weights @ evaluate(name, *((shape, fixed, at) if name == "betainc_a" else (fixed, shape, at)))
            expected = evaluate("beta_density", p, q, point) * point * (1 - point) / p
            np.testing.assert_allclose(difference, -expected if name == "betainc_a" else expected, rtol=1e-11)


def test_compositions_by_scipys_names():
    x, y = np.array([-2.0, 0.5, 1.0, 3.0]), np.array([2.0, 1e-9, 0.7, -1.5])
    np.testing.assert_allclose(gx.jit(gsp.powm1)(x, y), special.powm1(x, y), rtol=1e-14)
    np.testing.assert_allclose(gx.grad(gsp.powm1, argnums=(0, 1))(3.0, -1.5), (-1.5 * 3**-2.5, np.log(3) * 3**-1.5), rtol=1e-14)
    for name in ("sinc", "exp10", "exp2", "expm1", "log1p", "cbrt"):
        np.testing.assert_allclose(gx.jit(getattr(gsp, name))(x[1:]), getattr(special, name)(x[1:]), rtol=1e-14)
    np.testing.assert_allclose(gx.jit(gsp.chdtri)(3.3, 0.2), special.chdtri(3.3, 0.2), rtol=1e-13)
    np.testing.assert_allclose(gx.jit(gsp.fdtri)(3.3, 1.2, 0.4), special.fdtri(3.3, 1.2, 0.4), rtol=1e-12)


def test_float32():
    x = np.float32([0.3, 1.7])
    functions = (gsp.gamma, gsp.j1, gsp.k0e, gsp.erfcx, gsp.log_ndtr, gsp.expi, lambda x: gsp.kv(0.5, x),
                 lambda x: gsp.gammainc(np.float32(2), x), lambda x: gsp.betainc(2.0, 3.0, x / 2))
    for function in functions:
        for transformed in (function, gx.grad(lambda x: function(x).sum())):  # noqa: B023
            single, double = gx.jit(transformed)(x), gx.jit(transformed)(x.astype(np.float64))
            assert single.dtype == np.float32
            np.testing.assert_allclose(single, double, rtol=2e-6)


def test_vmap_and_broadcasting():
    a, x = np.array([0.5, 2.0, 7.0]), np.array([[0.3], [4.0]])
    np.testing.assert_allclose(gx.jit(gsp.gammainc)(a, x), special.gammainc(a, x), rtol=1e-14)
    over = gx.vmap(gx.vmap(gsp.gammainc, in_axes=(0, None)), in_axes=(None, 0))
    np.testing.assert_allclose(over(a, x[:, 0]), special.gammainc(a, x), rtol=1e-14)


SAMPLES = {1: [(0.3,), (2.5,), (-0.4,), (60.0,)], 2: [(0.3, 0.2), (2.0, 3.5), (12.0, 60.0), (1.0, 0.0)],
           3: [(0.3, 0.2, 0.4), (2.0, 3.5, 0.0), (15.0, 40.0, 0.3)]}


@pytest.mark.parametrize("name", OWN_FUNCTIONS)
def test_compiled_programs_are_the_python_functions(name):
    points = SAMPLES[OWN_FUNCTIONS[name]]
    if name in ("kve_order", "hurwitz_zeta"):
        points = [(0.3, 0.2, 0.0), (2.5, 3.5, 1.0), (15.0, 40.0, 2.0)]
    if name in ("erfcx_derivative", "dawsn_derivative", "exprel_derivative", "log1prel_derivative", "spherical_jn"):
        points = [(2.0, 1.0), (0.3, 2.0), (40.0, 0.0)]
    if name == "lambertw_real":
        points = [(0.3, 0.0), (-0.3, -1.0), (-0.367879, 0.0), (9.0, 0.0)]
    with np.errstate(all="ignore"):
        compiled = evaluate(name, *map(np.array, zip(*points, strict=True)))
        interpreted = [PROGRAMS[name](*point) for point in points]
    # C's exponential and NumPy's differ in the last place, and a program may raise that to a large power.
    np.testing.assert_allclose(compiled, interpreted, rtol=1e-13)


def test_every_name_is_a_primitive_and_an_operation():
    for name, count in SPECIAL_FUNCTIONS.items():
        assert name in ROSTER
        arguments = [np.float64(0.5)] * count
        found = evaluate_operation(name, arguments, np.dtype(np.float64))
        np.testing.assert_allclose(found, evaluate(name, *arguments), rtol=1e-14, err_msg=name)


def test_runs_and_numbers_of_threads_give_the_same_bits():
    generator = np.random.default_rng(0)
    a, x = generator.uniform(0.1, 9, 20000), generator.uniform(0.1, 9, 20000)
    function = gx.jit(gx.grad(lambda a: gsp.gammainc(a, x).sum()))
    np.testing.assert_array_equal(function(a), evaluate("gammainc_a", a, x))
