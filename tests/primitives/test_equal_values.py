"""Eigenvalues and singular values that are equal: what is computed from them has the derivatives that it has as a function.

Expected values are closed forms in the matrix itself, which know of no eigenvalues.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.programs import trace

import gradxform as gx
from gradxform.backend.generation import kernel_of
from gradxform.errors import LinAlgError
from gradxform.passes import optimise
from gradxform.primitives import ROSTER, linalg, linalg_spectral

RANDOM = np.random.default_rng(5)
EYE = np.eye(3)
#: One quotient of differences keeps half of the digits, two keep a third: see `linalg_spectral.set_apart`.
ONE_QUOTIENT, TWO_QUOTIENTS = 1e-6, 5e-4
WEIGHT = RANDOM.standard_normal((3, 3))


def rotation(seed, complex_too=False):
    random = np.random.default_rng(seed)
    a = random.standard_normal((3, 3)) + (1j * random.standard_normal((3, 3)) if complex_too else 0)
    return np.linalg.qr(a)[0]


def rotated(values, seed=3, complex_too=False):
    """A Hermitian matrix with these eigenvalues."""
    q = rotation(seed, complex_too)
    a = (q * values) @ q.conj().T
    return (a + a.conj().T) / 2


DIRECTION = rotated(np.array([0.5, -1.0, 2.0]), seed=9)
EQUAL = [[2.0, 2.0, 2.0], [1.0, 3.0, 3.0], [0.0, 1.0, 1.0], [2.0, 2.0 + 1e-13, 3.0], [0.0, 0.0, 0.0]]


def along(function, a, e):
    """The first and the second derivatives of t -> function(a + t e) at 0, in every way."""
    def at(t):
        return function(a + t * e)

    first = gx.jit(lambda t: (gx.grad(at)(t), gx.jacfwd(at)(t)))(0.0)
    second = gx.jit(lambda t: (gx.grad(gx.grad(at))(t), gx.jacfwd(gx.grad(at))(t), gx.grad(gx.jacfwd(at))(t),
                               gx.jacfwd(gx.jacfwd(at))(t)))(0.0)
    return np.array(first), np.array(second)


# --------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("values", EQUAL)
@pytest.mark.parametrize("complex_too", [False, True])
def test_sums_of_functions_of_eigenvalues(values, complex_too):
    """Of tr A^3: 3 tr A^2 E and 6 tr A E^2. The first derivatives of values alone are exact."""
    a, e = (rotated(np.array(x), seed, complex_too) for x, seed in ((values, 3), ([0.5, -1.0, 2.0], 9)))
    first, second = along(lambda x: np.sum(np.linalg.eigvalsh(x) ** 3), a, e)
    np.testing.assert_allclose(first, 3 * np.trace(a @ a @ e).real, atol=1e-12)
    np.testing.assert_allclose(second, 6 * np.trace(a @ e @ e).real, rtol=ONE_QUOTIENT, atol=ONE_QUOTIENT)


def test_hessians_of_traces_of_exponentials_and_logarithms():
    """At 2 I the second derivative of tr f(A) in the direction E is f''(2) tr E^2."""
    for function, curvature in ((np.exp, np.exp(2.0)), (np.log, -0.25)):
        _, second = along(lambda x, f=function: np.sum(f(np.linalg.eigvalsh(x))), 2 * EYE, DIRECTION)
        np.testing.assert_allclose(second, curvature * np.trace(DIRECTION @ DIRECTION), rtol=ONE_QUOTIENT)


def test_a_single_eigenvalue_beside_equal_ones():
    """2 sum over j of (v^T E v_j)^2 / (w - w_j), whether or not the others are equal."""
    a = rotated(np.array([1.0, 3.0, 3.0]))
    v = np.linalg.eigh(a)[1]
    _, second = along(lambda x: np.linalg.eigvalsh(x)[0], a, DIRECTION)
    np.testing.assert_allclose(second, 2 * np.sum((v[:, 0] @ DIRECTION @ v[:, 1:]) ** 2) / (1.0 - 3.0), rtol=ONE_QUOTIENT)


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [3.0, 3.0, 1.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("complex_too", [False, True])
def test_sums_of_squares_of_singular_values(values, complex_too):
    a = rotation(1, complex_too) * values @ rotation(2, complex_too)
    e = WEIGHT + (1j * WEIGHT[::-1] if complex_too else 0)
    for columns in (3, 2):
        x, t = a[:, :columns], e[:, :columns]
        if complex_too and min(np.linalg.svd(x, compute_uv=False)) < 1e-12 and np.any(x):
            continue
        first, second = along(lambda x: np.sum(np.linalg.svd(x, compute_uv=False) ** 2), x, t)
        np.testing.assert_allclose(first, 2 * np.sum(x * t.conj()).real, atol=1e-12)
        np.testing.assert_allclose(second, 2 * np.sum(abs(t) ** 2), rtol=ONE_QUOTIENT)


def test_the_nuclear_norm():
    """At 2 Q, Q orthogonal, it is tr (A^T A)^(1/2): the derivative is Q, the second that of rotations, |skew(Q^T E)|^2 / 2."""
    q = rotation(4)
    first, second = along(lambda x: np.linalg.norm(x, "nuc"), 2 * q, WEIGHT)
    np.testing.assert_allclose(first, np.sum(q * WEIGHT), rtol=1e-12)
    inner = q.T @ WEIGHT
    np.testing.assert_allclose(second, np.sum(((inner - inner.T) / 2) ** 2) / 2, rtol=ONE_QUOTIENT)
    assert np.isfinite(gx.grad(lambda x: np.linalg.norm(x, "nuc"))(np.zeros((4, 3)))).all()


# -------------------------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [1.0, 3.0, 3.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
def test_functions_of_hermitian_matrices_by_vectors(values):
    """Of <W, A^3>: <W, AAE + AEA + EAA> and 2 <W, AEE + EAE + EEA>."""
    a, e = rotated(np.array(values)), DIRECTION

    def cube(x):
        w, v = np.linalg.eigh(x)
        return np.sum(WEIGHT * ((v * w ** 3) @ v.T))

    first, second = along(cube, a, e)
    np.testing.assert_allclose(first, np.sum(WEIGHT * (a @ a @ e + a @ e @ a + e @ a @ a)), rtol=ONE_QUOTIENT,
                               atol=ONE_QUOTIENT)
    np.testing.assert_allclose(second, 2 * np.sum(WEIGHT * (a @ e @ e + e @ a @ e + e @ e @ a)), rtol=TWO_QUOTIENTS,
                               atol=TWO_QUOTIENTS)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
def test_functions_of_matrices_by_singular_vectors(shape):
    """Of <W, A A^T A>, where A^T A is 4 I or A A^T is."""
    q, _ = np.linalg.qr(RANDOM.standard_normal((max(shape), min(shape))))
    a = 2 * (q if shape[0] >= shape[1] else q.T)
    e, weight = RANDOM.standard_normal(shape), RANDOM.standard_normal(shape)

    def cube(x):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        return np.sum(weight * ((u * s ** 3) @ vh))

    first, second = along(cube, a, e)
    np.testing.assert_allclose(first, np.sum(weight * (e @ a.T @ a + a @ e.T @ a + a @ a.T @ e)), rtol=ONE_QUOTIENT)
    np.testing.assert_allclose(second, 2 * np.sum(weight * (e @ e.T @ a + e @ a.T @ e + a @ e.T @ e)), rtol=TWO_QUOTIENTS)


def test_functions_of_general_matrices_by_vectors():
    """Of <W, A^2> at a matrix that has two equal eigenvalues and all of its vectors."""
    q = RANDOM.standard_normal((3, 3))
    a = q @ np.diag([2.0, 2.0, 1.0]) @ np.linalg.inv(q)

    def square(x):
        w, v = np.linalg.eig(x)
        return np.sum(WEIGHT * ((v * w ** 2) @ np.linalg.inv(v)).real)

    first = gx.jit(lambda t: (gx.jvp(square, (a,), (t,))[1], np.sum(gx.grad(square)(a) * t)))(DIRECTION)
    np.testing.assert_allclose(first, np.sum(WEIGHT * (a @ DIRECTION + DIRECTION @ a)), rtol=1e-6)


def test_projectors_on_eigenspaces():
    """On the space of the equal eigenvalues of (1, 3, 3): dP = sum over i in, j out of v_i v_i^T dA v_j v_j^T / (w_i - w_j),
    and the transpose (Kato, Perturbation theory for linear operators, II.2)."""
    a = rotated(np.array([1.0, 3.0, 3.0]))

    def projector(x):
        v = linalg_spectral.eigh(x)[1][:, 1:]
        return v @ v.T

    found = gx.jit(lambda x, t: gx.jvp(projector, (x,), (t,))[1])(a, DIRECTION)
    _, v = np.linalg.eigh(a)
    inside, outside = v[:, 1:] @ v[:, 1:].T, v[:, :1] @ v[:, :1].T
    half = inside @ DIRECTION @ outside / (3.0 - 1.0)
    np.testing.assert_allclose(found, half + half.T, atol=ONE_QUOTIENT)


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [1.0, 3.0, 3.0], [0.0, 0.0, 1.0]])
def test_derivatives_of_vectors_are_finite(values):
    a = rotated(np.array(values))
    for function in (lambda x: linalg_spectral.eigh(x)[1], lambda x: linalg_spectral.svd(x)[0],
                     lambda x: linalg_spectral.svd(x)[2]):
        assert np.isfinite(gx.jit(lambda x, t, f=function: gx.jvp(f, (x,), (t,))[1])(a, WEIGHT)).all()


def test_values_for_derivatives_of_derivatives_are_not_computed_twice():
    program = trace(lambda a, t: gx.jvp(lambda x: linalg_spectral.eigh(x)[1], (a,), (t,)), [EYE, EYE])
    assert str(kernel_of(optimise(program, ROSTER))).count("lapack.eigh") == 1


# ---------------------------------------------------------------------------------------------------- vanishing values


def test_what_is_cut_off_stays_cut_off():
    """By hand, the pseudo-inverse of a matrix of rank 1: at constant rank, dA+ = -A+ dA A+."""
    u, v = rotation(1)[:, 0], rotation(2)[:, 0]
    a = np.outer(u, v)

    def inverse(x):
        left, s, right = np.linalg.svd(x, full_matrices=False)
        large = s > 1e-10
        return np.sum(WEIGHT * ((right.T * np.where(large, 1 / np.where(large, s, 1), 0.0)) @ left.T))

    value, gradient = gx.jit(gx.value_and_grad(inverse))(a)
    np.testing.assert_allclose(value, np.sum(WEIGHT * np.outer(v, u)), rtol=1e-12)
    t = 0.7 * a
    np.testing.assert_allclose(np.sum(gradient * t), -np.sum(WEIGHT * (np.outer(v, u) @ t @ np.outer(v, u))), rtol=1e-12)


@pytest.mark.parametrize("function", [
    lambda x: np.sum(np.linalg.eigvalsh(x) ** 3), lambda x: np.sum(np.linalg.svd(x, compute_uv=False) ** 2),
    lambda x: np.sum(np.linalg.svd(x[:, :2], compute_uv=False) ** 2),
    lambda x: np.sum(np.linalg.svd(x[:, :2] * (1 + 0.5j), compute_uv=False) ** 2)])
def test_second_derivatives_at_vanishing_values_are_an_error(function):
    """Never NaN, never silently without a part."""
    a = rotated(np.array([0.0, 0.0, 1.0]))
    for derivative in (gx.hessian(function), gx.jit(gx.hessian(function)), gx.jit(gx.jacrev(gx.grad(function)))):
        with pytest.raises(LinAlgError, match="not determined by the first ones: take the eigenvalues"):
            derivative(a)
    assert np.isfinite(gx.jit(gx.hessian(function))(a + 2 * EYE)).all()
    assert np.isfinite(gx.jit(gx.grad(function))(a)).all()


def test_the_way_out_that_the_error_names():
    """Of tr A^3 at eigenvalues 0, 0, 1: those of A + 2 I, less 2."""
    a = rotated(np.array([0.0, 0.0, 1.0]))
    _, second = along(lambda x: np.sum((np.linalg.eigvalsh(x + 2 * EYE) - 2) ** 3), a, DIRECTION)
    np.testing.assert_allclose(second, 6 * np.trace(a @ DIRECTION @ DIRECTION), rtol=ONE_QUOTIENT, atol=ONE_QUOTIENT)


def test_lanes_and_branches_that_do_not_count_raise_nothing():
    def guarded(holds, a):
        return gx.lax.cond(holds, lambda x: np.sum(np.linalg.eigvalsh(x) ** 3), np.sum, a)

    bad, good = rotated(np.array([0.0, 0.0, 1.0])), rotated(np.array([2.0, 2.0, 1.0]))
    second = gx.hessian(guarded, argnums=1)
    assert np.isfinite(gx.jit(second)(False, bad)).all()
    assert np.isfinite(gx.jit(gx.vmap(second))(np.array([True, False]), np.stack([good, bad]))).all()
    with pytest.raises(LinAlgError):
        gx.jit(gx.vmap(second))(np.array([True, True]), np.stack([good, bad]))
    found = gx.jit(gx.hessian(lambda a: np.sum(gx.lax.linalg.eigh(a)[1] ** 3)))(bad)
    assert np.isnan(found).any()


# ------------------------------------------------------------------------------------------------------------ set_apart


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("differences", [1, 2, 3])
def test_what_is_set_apart(dtype, singular, differences):
    values = np.array([[3, 2, 2, 1], [2, 2, 2, 2], [1, 0, 0, 0], [0, 0, 0, 0], [1e6, 1, 1, 0.5], [4, 3, 2, 1],
                       [np.nan, 1, 1, 0]]).astype(dtype)
    if singular and dtype is np.complex128:
        return

    def apart(x):
        return linalg_spectral.set_apart(x, differences, singular)

    evaluated, compiled = apart(values), gx.jit(apart)(values)
    unit = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(compiled, evaluated, rtol=4 * unit)
    np.testing.assert_allclose(gx.jit(gx.vmap(apart))(values), evaluated, rtol=4 * unit)
    step = unit ** (1 / (1 + differences))
    inner = np.array([0.5, -0.5]) if singular else np.array([-0.5, 0.5])
    np.testing.assert_array_equal(evaluated[0, [0, 3]], values[0, [0, 3]])
    np.testing.assert_allclose(evaluated[0, 1:3], 2 + 2 * step * inner, rtol=2 * unit)
    np.testing.assert_array_equal(evaluated[[2, 5]], values[[2, 5]])
    if step * 1e-6 > 100 * unit:
        np.testing.assert_allclose(evaluated[4, 1:3], 1 + step * inner, rtol=2 * unit)
    zero = step * (np.array([4, 3, 2, 1]) if singular else np.array([-1.5, -0.5, 0.5, 1.5]))
    np.testing.assert_allclose(evaluated[3], zero, rtol=4 * unit)
    np.testing.assert_array_equal(apart(evaluated[:6]), evaluated[:6])
    assert apart(np.zeros((2, 0), dtype)).shape == (2, 0)
    tangent = gx.jvp(apart, (values,), (np.ones_like(values),))[1]
    np.testing.assert_array_equal(tangent, np.ones_like(values))


def test_triangles_and_symmetrised_matrices_agree():
    a = rotated(np.array([1.0, 3.0, 3.0]))
    lower = gx.jit(gx.grad(lambda x: np.sum(np.linalg.eigvalsh(x) ** 2)))(a)
    whole = gx.jit(gx.grad(lambda x: np.sum(linalg_spectral.eigh(linalg.symmetrised(x), vectors=False)[0] ** 2)))(a)
    np.testing.assert_allclose((lower + lower.T) / 2, whole, atol=1e-12)
    np.testing.assert_allclose(whole, 2 * a, atol=1e-12)
