"""Linear algebra where it fails, where values are equal, in lanes that do not count, on one and on two threads."""

from __future__ import annotations

import numpy as np
import pytest
from support.programs import trace

import gradxform as gx
from gradxform.backend.generation import kernel_of
from gradxform.errors import DTypeError, GradxformError, LinAlgError, NotDifferentiableError, ShapeError
from gradxform.loopir.interpreter import interpret
from gradxform.passes import optimise
from gradxform.primitives import ROSTER, linalg, linalg_equations, linalg_qr, linalg_solve, linalg_spectral

RANDOM = np.random.default_rng(5)
EYE = np.eye(3)
NAN = np.where(EYE == 1, 1.0, 0.1) + np.array([[0, 0, 0], [np.nan, 0, 0], [0, 0, 0]])
INFINITE = np.where(np.isnan(NAN), np.inf, NAN)
SINGULAR = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])


def rotated(values, seed=3):
    """A symmetric matrix with these eigenvalues."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))
    a = (q * values) @ q.T
    return (a + a.T) / 2


# ------------------------------------------------------------------------------------------------------------- failure

FAILING = {
    "cholesky": (linalg.cholesky, (-EYE,), "Matrix is not positive definite"),
    "inverse": (linalg_solve.inverse, (SINGULAR,), "Singular matrix"),
    "solve": (linalg_solve.solve, (SINGULAR, EYE), "Singular matrix"),
    "triangular_solve": (linalg.triangular_solve, (np.tril(np.ones((3, 3)), -1), EYE), "Singular matrix"),
    "eig, NaN": (lambda a: linalg_spectral.eig(a)[0], (NAN,), "Array must not contain infs or NaNs"),
    "eig, infinity": (lambda a: linalg_spectral.eig(a, False)[0], (INFINITE,), "Array must not contain infs or NaNs"),
    "eigh, NaN": (lambda a: linalg_spectral.eigh(a)[0], (NAN,), "Eigenvalues did not converge"),
    "svd, NaN": (lambda a: linalg_spectral.svd(a)[0], (NAN,), "SVD did not converge"),
    "svdvals, NaN": (lambda a: linalg_spectral.svd(a, False)[0], (NAN,), "SVD did not converge"),
    "square_root, NaN": (linalg_equations.square_root, (NAN + 0j,), "Array must not contain infs or NaNs"),
    "sylvester": (linalg_equations.sylvester, (EYE, -EYE, SINGULAR), "Sylvester equation is singular"),
}


@pytest.mark.parametrize("name", FAILING)
def test_failure_is_numpys_error(name):
    function, operands, message = FAILING[name]
    compiled = gx.jit(function)
    for _ in range(2):
        with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
            compiled(*operands)
        assert isinstance(caught.value, GradxformError) and isinstance(caught.value, ValueError)
    good = [np.eye(3, dtype=x.dtype) for x in operands]
    assert np.isfinite(compiled(*good)).all()


@pytest.mark.parametrize("name", ["cholesky", "solve"])
def test_the_oracles_fail_too(name):
    function, operands, message = FAILING[name]
    program = trace(function, operands)
    with pytest.raises(np.linalg.LinAlgError, match=message):
        interpret(kernel_of(optimise(program, ROSTER)), operands)


def test_one_bad_matrix_of_a_stack_is_an_error_for_all_or_nan_for_itself():
    stack = np.stack([4 * EYE, -EYE, 9 * EYE])
    with pytest.raises(LinAlgError, match="positive definite"):
        gx.jit(linalg.cholesky)(stack)
    found = gx.jit(gx.lax.linalg.cholesky)(stack)
    np.testing.assert_array_equal(found[[0, 2]], np.stack([2 * EYE, 3 * EYE]))
    assert np.isnan(np.diagonal(found[1])).all()
    v, w = gx.jit(gx.lax.linalg.eigh)(np.stack([EYE, NAN]))
    assert np.isfinite(w[0]).all() and np.isnan(w[1]).all() and np.isnan(v[1]).all()


def test_nothing_else_is_lost_in_an_error():
    seen = []
    compiled = gx.jit(lambda a, x: (gx.pure_callback(seen.append, None, x), linalg.cholesky(a), x + 1)[1:])
    with pytest.raises(LinAlgError):
        compiled(-EYE, np.ones(2))
    assert compiled(EYE, np.ones(2))[1].tolist() == [2.0, 2.0]


def test_nan_passes_through_what_numpy_lets_pass():
    for function, reference in ((linalg_solve.inverse, np.linalg.inv), (lambda a: linalg_qr.qr(a, "r")[0], None)):
        found = gx.jit(function)(NAN)
        assert np.isnan(found).any()
        if reference is not None:
            assert np.isnan(reference(NAN)).any()


# --------------------------------------------------------------------------------------------- lanes that do not count


def test_branches_that_are_not_taken_cannot_fail():
    def guarded(holds, a):
        return gx.lax.cond(holds, lambda x: linalg.cholesky(linalg_solve.inverse(x)), lambda x: 0 * x, a)

    stack, holds = np.stack([4 * EYE, -EYE]), np.array([True, False])
    expected = np.stack([0.5 * EYE, 0 * EYE])
    np.testing.assert_array_equal(gx.jit(guarded)(False, stack[1]), expected[1])
    np.testing.assert_array_equal(gx.jit(gx.vmap(guarded))(holds, stack), expected)
    with pytest.raises(LinAlgError):
        gx.jit(gx.vmap(guarded))(~holds, stack)


def test_lanes_that_have_finished_cannot_fail():
    def halve(a):
        return gx.lax.while_loop(lambda x: x[0, 0] > 1, lambda x: linalg.cholesky(x), a)

    # The first has finished before the first step, and has no factor; roots of the second come to 1.
    stack = np.stack([np.diag([0.5, -1.0, 1.0]), 256 * EYE])
    found = gx.jit(gx.vmap(halve))(stack)
    np.testing.assert_array_equal(found[0], stack[0])
    np.testing.assert_array_equal(found[1], EYE)


# -------------------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("function", [
    linalg.cholesky, linalg_solve.inverse, lambda a: linalg_spectral.eigh(a)[1], lambda a: linalg_spectral.svd(a)[0],
    lambda a: linalg_solve.solve(a, a[..., :2]), lambda a: linalg_qr.qr(a)[0],
])
def test_bits_do_not_depend_on_threads(function):
    a = RANDOM.standard_normal((400, 6, 6))
    a = a @ np.swapaxes(a, -1, -2) + np.eye(6)
    found = []
    for threads in (1, 2):
        with gx.config.override(num_threads=threads, parallel_threshold=1):
            found.append(np.array(gx.jit(function)(a)))
    np.testing.assert_array_equal(found[0], found[1])


def test_a_stack_is_cut_into_chunks_and_a_large_matrix_is_not():
    small, large = (str(kernel_of(optimise(trace(linalg.cholesky, [np.zeros(shape)]), ROSTER)))
                    for shape in ((5000, 8, 8), (3, 300, 300)))
    assert "5000 x lapack.cholesky[float64, 8, 0]" in small and "chunks" in small
    assert "3 x lapack.cholesky[float64, 300, 0]" in large and "chunks" not in large


# ------------------------------------------------------------------------------------------------------ singular matrices


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_determinant_has_its_derivative_at_singular_matrices(rank):
    """Of 4 by 4 matrices of lower rank: the transposed cofactors, by minors."""
    a = RANDOM.standard_normal((4, rank)) @ RANDOM.standard_normal((rank, 4))
    a[3] = a[0]

    def determinant(x):
        factors, pivots, _ = linalg_solve.lu(x)
        return linalg_solve.determinant(x, factors, pivots)

    minors = np.array([[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(4)]
                       for i in range(4)])
    np.testing.assert_allclose(gx.jit(gx.grad(determinant))(a), minors, atol=1e-11)
    np.testing.assert_allclose(gx.grad(determinant)(a), minors, atol=1e-11)


# ------------------------------------------------------------------------------------------------------------- refusals


def test_derivatives_that_do_not_exist_are_refused():
    tall = RANDOM.standard_normal((4, 3))
    with pytest.raises(NotDifferentiableError, match=r"svd: full_matrices=True .*full_matrices=False"):
        gx.jvp(lambda a: linalg_spectral.svd(a, full=True)[0], (tall,), (tall,))
    with pytest.raises(NotDifferentiableError, match=r"qr: mode='complete' .*mode='reduced'"):
        gx.jvp(lambda a: linalg_qr.qr(a, "complete")[0], (tall,), (tall,))
    with pytest.raises(LinAlgError):
        gx.jit(lambda a: gx.jvp(lambda x: linalg_qr.qr(x)[0], (a,), (a,))[1])(np.zeros((3, 3)))
    assert np.isfinite(gx.jvp(lambda a: linalg_spectral.svd(a, False, True)[0], (tall,), (tall,))[1]).all()


def test_types_are_checked():
    for function in (linalg.cholesky, linalg_solve.inverse, lambda a: linalg_spectral.eigh(a)[0]):
        with pytest.raises(np.linalg.LinAlgError, match="Last 2 dimensions of the array must be square"):
            trace(function, [np.zeros((2, 3))])
        with pytest.raises(np.linalg.LinAlgError, match="at least two-dimensional"):
            trace(function, [np.zeros(3)])
        with pytest.raises(DTypeError, match="float or complex"):
            trace(function, [np.zeros((2, 2), np.int64)])
    with pytest.raises(LinAlgError, match="right-hand sides"):
        trace(linalg.triangular_solve, [np.zeros((2, 2)), np.zeros((3, 1))])
    with pytest.raises(ShapeError, match="stacks of one shape"):
        trace(linalg_solve.solve, [np.zeros((2, 2, 2)), np.zeros((2, 1))])
    with pytest.raises(DTypeError, match="complex"):
        trace(linalg_equations.square_root, [np.zeros((2, 2))])


def test_only_one_triangle_is_read():
    a = np.array([[4.0, np.nan], [2.0, 5.0]])
    np.testing.assert_array_equal(gx.jit(linalg.cholesky)(a), [[2.0, 0.0], [1.0, 2.0]])
    assert np.isfinite(gx.jit(lambda x: linalg_spectral.eigh(x)[0])(a)).all()
    gradient = gx.jit(gx.grad(lambda x: gx.numpy.sum(linalg.cholesky(x))))(np.array([[4.0, 2.0], [2.0, 5.0]]))
    assert gradient[0, 1] == 0.0 and gradient[1, 0] != 0.0
    symmetric = gx.jit(gx.grad(lambda x: gx.numpy.sum(gx.lax.linalg.cholesky(x))))(np.array([[4.0, 2.0], [2.0, 5.0]]))
    np.testing.assert_allclose(symmetric, (gradient + gradient.T) / 2, rtol=1e-14)


def test_empty_matrices_and_stacks():
    for function in (linalg.cholesky, linalg_solve.inverse, lambda a: linalg_spectral.eigh(a)[1], lambda a: linalg_qr.qr(a)[0],
                     lambda a: linalg_spectral.svd(a)[2], lambda a: linalg_solve.solve(a, a), lambda a: linalg_solve.lu(a)[0]):
        for shape in ((0, 0), (0, 3, 3), (2, 0, 0)):
            assert gx.jit(function)(np.zeros(shape)).shape == shape
