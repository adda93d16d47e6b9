"""Primitives of linear algebra against NumPy and SciPy, real and complex: one row an operation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from support.linalg_checks import check

from gradxform.primitives import linalg, linalg_equations, linalg_pseudo, linalg_qr, linalg_solve, linalg_spectral

RANDOM = np.random.default_rng(11)


def normal(*shape, complex_=False):
    found = RANDOM.standard_normal(shape)
    return found + 1j * RANDOM.standard_normal(shape) if complex_ else found


def regular(n, *stack, complex_=False):
    return normal(*stack, n, n, complex_=complex_) + 3 * np.eye(n)


def definite(n, *stack, complex_=False):
    a = normal(*stack, n, n, complex_=complex_)
    return a @ np.swapaxes(a, -1, -2).conj() / n + np.eye(n)


def each(function):
    """A function of matrices, applied to each of a stack."""
    def stacked(*operands):
        operands = [np.asarray(x) for x in operands]
        stack = operands[0].shape[:-2]
        if not stack:
            return function(*operands)
        found = [function(*[x[place] for x in operands]) for place in np.ndindex(stack)]
        rows = [x if isinstance(x, tuple) else (x,) for x in found]
        joined = tuple(np.stack(column).reshape(*stack, *np.shape(column[0])) for column in zip(*rows, strict=True))
        return joined if isinstance(found[0], tuple) else joined[0]

    return stacked


def triangular(lower, mode, unit):
    return each(lambda a, b: scipy.linalg.solve_triangular(a, b, trans=mode, lower=lower, unit_diagonal=unit))


def solving(mode):
    def function(a, b):
        factors, _, rows = linalg_solve.lu(a)
        return linalg_solve.solve_factored(a, factors, rows, b, mode)

    turned = {"N": lambda a: a, "T": lambda a: np.swapaxes(a, -1, -2), "C": lambda a: np.swapaxes(a, -1, -2).conj()}[mode]
    return function, lambda a, b: np.linalg.solve(turned(a), b)


def factors_of(a):
    from scipy.linalg import lu_factor

    return lu_factor(a)[0]


def with_factors(function, *which):
    def applied(a):
        found = linalg_solve.lu(a)
        return function(a, *[found[k] for k in which])

    return applied


def pseudo(a, *b):
    """By the factors of a matrix that has full rank."""
    u, s, vh = linalg_spectral.svd(a)
    inverted = linalg_spectral.reciprocal(s)
    if b:
        return linalg_pseudo.pseudo_solve(a, u, inverted, vh, *b)
    return linalg_pseudo.pseudo_inverse(a, u, inverted, vh)


def upper_cholesky(a):
    return linalg.cholesky(a, upper=True)


ROWS = {
    "cholesky": (linalg.cholesky, [definite(3, 2)], np.linalg.cholesky, {"single": True}),
    "cholesky of one": (linalg.cholesky, [definite(1)], np.linalg.cholesky, {}),
    "cholesky, two blocks": (linalg.cholesky, [definite(67)], np.linalg.cholesky, {"second": False, "lanes": False}),
    "cholesky, upper": (upper_cholesky, [definite(4)], lambda a: np.linalg.cholesky(a, upper=True), {}),
    "cholesky, complex": (linalg.cholesky, [definite(3, complex_=True)], np.linalg.cholesky, {"single": True}),
    "cholesky, upper, complex": (upper_cholesky, [definite(3, complex_=True)], lambda a: np.linalg.cholesky(a, upper=True), {}),
    "lu factors": (lambda a: linalg_solve.lu(a)[0], [regular(4, 2)], each(factors_of), {"single": True}),
    "lu factors, tall": (lambda a: linalg_solve.lu(a)[0], [normal(5, 3)], factors_of, {}),
    "lu factors, wide": (lambda a: linalg_solve.lu(a)[0], [normal(3, 5)], factors_of, {}),
    "lu factors, complex": (lambda a: linalg_solve.lu(a)[0], [regular(3, complex_=True)], factors_of, {}),
    "solve, one column": (solving("N")[0], [regular(9), normal(9, 1)], solving("N")[1], {}),
    "solve": (solving("N")[0], [regular(4, 2), normal(2, 4, 3)], solving("N")[1], {"single": True}),
    "solve, transposed": (solving("T")[0], [regular(4), normal(4, 3)], solving("T")[1], {}),
    "solve, adjoint, complex": (solving("C")[0], [regular(3, complex_=True), normal(3, 2, complex_=True)], solving("C")[1], {}),
    "solve, transposed, complex": (
        solving("T")[0], [regular(3, complex_=True), normal(3, 1, complex_=True)], solving("T")[1], {}),
    "inverse": (linalg_solve.inverse, [regular(4, 2)], np.linalg.inv, {"single": True}),
    "inverse, complex": (linalg_solve.inverse, [regular(3, complex_=True)], np.linalg.inv, {}),
    "determinant of 3 by 3": (with_factors(linalg_solve.determinant, 0, 1), [regular(3, 2)], np.linalg.det, {}),
    "determinant of 5 by 5": (with_factors(linalg_solve.determinant, 0, 1), [regular(5)], np.linalg.det, {}),
    "determinant, complex": (with_factors(linalg_solve.determinant, 0, 1), [regular(4, complex_=True)], np.linalg.det, {}),
    "sign, complex": (with_factors(linalg_solve.determinant_sign, 0, 1), [regular(3, complex_=True)],
                      lambda a: np.linalg.slogdet(a)[0], {}),
    "log determinant": (with_factors(linalg_solve.log_determinant, 0), [regular(4, 2)], lambda a: np.linalg.slogdet(a)[1], {}),
    "log determinant, complex": (with_factors(linalg_solve.log_determinant, 0), [regular(3, complex_=True)],
                                 lambda a: np.linalg.slogdet(a)[1], {}),
    "qr": (linalg_qr.qr, [normal(2, 4, 3)], lambda a: tuple(np.linalg.qr(a)), {"single": True}),
    "qr, wide": (linalg_qr.qr, [normal(3, 5)], lambda a: tuple(np.linalg.qr(a)), {}),
    "qr, complete": (lambda a: linalg_qr.qr(a, "complete"), [normal(3, 4)], lambda a: tuple(np.linalg.qr(a, "complete")), {}),
    "qr, R alone": (lambda a: linalg_qr.qr(a, "r"), [normal(4, 3)], lambda a: np.linalg.qr(a, "r"), {}),
    "qr, complex": (linalg_qr.qr, [normal(4, 3, complex_=True)], lambda a: tuple(np.linalg.qr(a)), {}),
    "eigh": (linalg_spectral.eigh, [definite(4, 2)], lambda a: tuple(np.linalg.eigh(a)), {"single": True}),
    "eigh, upper": (lambda a: linalg_spectral.eigh(a, True), [definite(3)], lambda a: tuple(np.linalg.eigh(a, "U")), {}),
    "eigvalsh": (lambda a: linalg_spectral.eigh(a, vectors=False), [definite(4)], np.linalg.eigvalsh, {}),
    "eigvalsh, complex": (
        lambda a: linalg_spectral.eigh(a, vectors=False), [definite(3, complex_=True)], np.linalg.eigvalsh, {}),
    "svd": (linalg_spectral.svd, [normal(2, 4, 3)], lambda a: tuple(np.linalg.svd(a, full_matrices=False)), {"single": True}),
    "svd, square": (lambda a: linalg_spectral.svd(a, full=True), [normal(3, 3)], lambda a: tuple(np.linalg.svd(a)), {}),
    "svd, wide": (linalg_spectral.svd, [normal(3, 4)], lambda a: tuple(np.linalg.svd(a, full_matrices=False)), {}),
    "svdvals": (
        lambda a: linalg_spectral.svd(a, vectors=False), [normal(4, 3)], lambda a: np.linalg.svd(a, compute_uv=False), {}),
    "svdvals, complex": (lambda a: linalg_spectral.svd(a, vectors=False), [normal(3, 4, complex_=True)],
                         lambda a: np.linalg.svd(a, compute_uv=False), {}),
    "eig": (linalg_spectral.eig, [np.array([[1.0, -2.0, 0.3], [2.0, 1.0, 0.2], [0.1, 0.4, 3.0]])],
            lambda a: tuple(np.linalg.eig(a)), {"single": True}),
    "eig, complex": (linalg_spectral.eig, [normal(3, 3, complex_=True)], lambda a: tuple(np.linalg.eig(a)), {}),
    "eigvals": (lambda a: linalg_spectral.eig(a, False), [np.array([[1.0, -2.0], [2.0, 1.5]])], np.linalg.eigvals, {}),
    "pseudo-inverse": (pseudo, [normal(2, 4, 3)], np.linalg.pinv, {}),
    "pseudo-inverse, wide": (pseudo, [normal(3, 4)], np.linalg.pinv, {}),
    "pseudo-inverse, complex": (pseudo, [normal(4, 3, complex_=True)], np.linalg.pinv, {}),
    "least squares": (pseudo, [normal(4, 3), normal(4, 2)], lambda a, b: np.linalg.pinv(a) @ b, {}),
    "least squares, wide, complex": (
        pseudo, [normal(3, 4, complex_=True), normal(3, 1, complex_=True)], lambda a, b: np.linalg.pinv(a) @ b, {}),
    "sylvester": (
        linalg_equations.sylvester, [definite(3), definite(2), normal(3, 2)], each(scipy.linalg.solve_sylvester),
        {"single": True}),
    "sylvester, pairs of eigenvalues": (
        linalg_equations.sylvester, [np.array([[3.0, -2.0], [2.0, 3.0]]), definite(2), normal(2, 2)],
        each(scipy.linalg.solve_sylvester), {}),
    "sylvester, complex": (
        linalg_equations.sylvester, [definite(3, complex_=True), definite(2, complex_=True), normal(3, 2, complex_=True)],
        each(scipy.linalg.solve_sylvester), {}),
    "square root": (linalg_equations.square_root, [definite(3, complex_=True)], each(scipy.linalg.sqrtm), {"single": True}),
    **{f"triangular, {'lower' if lower else 'upper'}, {mode}{', unit' if unit else ''}": (
        lambda a, b, lower=lower, mode=mode, unit=unit: linalg.triangular_solve(a, b, lower, mode, unit),
        [regular(4, 2), normal(2, 4, 3)], triangular(lower, mode, unit), {"second": lower and not unit})
       for lower in (True, False) for mode in "NT" for unit in (False, True)},
    **{f"triangular, complex, {mode}": (
        lambda a, b, mode=mode: linalg.triangular_solve(a, b, True, mode),
        [regular(3, complex_=True), normal(3, 2, complex_=True)], triangular(True, mode, False), {}) for mode in "NTC"},
    "triangular, one column": (
        linalg.triangular_solve, [regular(10), normal(10, 1)], triangular(True, "N", False), {"single": True}),
    "triangular, by BLAS": (
        lambda a, b: linalg.triangular_solve(a, b, False, "T"), [regular(50) + 20 * np.eye(50), normal(50, 9)],
        triangular(False, "T", False), {"second": False, "lanes": False}),
}


@pytest.mark.parametrize("name", ROWS)
def test_values_and_derivatives(name):
    function, operands, reference, options = ROWS[name]
    check(function, operands, reference, **options)
