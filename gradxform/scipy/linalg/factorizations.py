"""scipy.linalg: factorisations, eigenvalues and singular values."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentError
from gradxform.linear import select
from gradxform.numpy import linalg as numpy_linalg
from gradxform.numpy.linalg.decompositions import lifted, real_dtype_of
from gradxform.numpy.linalg.operands import as_matrices, as_matrix
from gradxform.operands import lift
from gradxform.primitives import linalg, linalg_qr, linalg_solve, linalg_spectral
from gradxform.primitives.matrices import (
    adjoint,
    identity,
    lower_triangle,
    matmul,
    on_diagonal,
    upper_triangle,
)
from gradxform.primitives.shape import slice_along
from gradxform.scipy.linalg.calls import refuse, traced


@traced
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The upper factor U of positive definite matrices U^H U, or the ``lower`` one; only the triangle of the factor is read."""
    return lift("cholesky", linalg.cholesky(as_matrix("cholesky", a, square=True), not lower))


@traced
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The factor of positive definite matrices, and ``lower``, for `cho_solve`; the other triangle is zero."""
    return cholesky(a, lower), bool(lower)


@traced
def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True, p_indices: bool = False) -> Any:
    """Matrices as P L U; P L and U if ``permute_l``; rows in place of P, with A = L[rows] U, if ``p_indices``."""
    x = as_matrix("lu", a)
    factors, _, rows = linalg_solve.lu(x)
    *stack, m, n = shape_of(x)
    k, rank = min(m, n), len(shape_of(x))
    left = lower_triangle(slice_along(factors, rank - 1, 0, k), strict=True)
    left = lift("lu", select(on_diagonal(shape_of(left)), dtype_of(left).type(1), left))
    right = lift("lu", upper_triangle(slice_along(factors, rank - 2, 0, k)))
    order = np.argsort(lift("lu", rows), axis=-1)
    if permute_l:
        return lift("lu", linalg_solve.permuted_rows(left, order)), right
    if p_indices:
        return order.astype(np.int32), left, right
    ones = identity(np.zeros((*stack, m, m), real_dtype_of(x)))
    return lift("lu", linalg_solve.permuted_rows(ones, order)), left, right


@traced
def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """L and U with pivoted rows in one matrix, and the pivots, for `lu_solve`; singular matrices have factors, too."""
    factors, pivots, _ = linalg_solve.lu(as_matrix("lu_factor", a))
    return lift("lu_factor", factors), lift("lu_factor", pivots)


@traced
def qr(a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
       check_finite: bool = True) -> Any:
    """Matrices as Q R; ``mode``: full, r or economic. The derivative of Q is that of mode economic, or of wide matrices."""
    refuse("qr", pivoting=(pivoting, False))
    modes = {"full": "complete", "economic": "reduced", "r": "r"}
    if mode not in modes:
        raise ArgumentError(f"qr: Mode argument should be one of {list(modes)} on traced arrays, got {mode!r}{user_line()}")
    x = as_matrix("qr", a)
    if mode == "r":
        *stack, m, n = x.shape
        r = lift("qr", linalg_qr.qr(x, "r")[0])
        missing = m - min(m, n)
        return (np.concatenate([r, lift("qr", np.zeros((*stack, missing, n), x.dtype))], axis=-2) if missing else r,)
    return tuple(lifted("qr", *linalg_qr.qr(x, modes[mode])))


def _whitened(name: str, a: Any, b: Any, lower: bool, kind: int) -> tuple[Any, Any]:
    """The Hermitian matrix of an ordinary problem in place of A x = w B x (or A B x, B A x), and the factor of B."""
    matrix, weight = as_matrices(name, a, b, square=True)
    if not lower:
        matrix, weight = adjoint(matrix), adjoint(weight)
    factor = linalg.cholesky(weight)
    whole = linalg.hermitian(matrix)
    if kind == 1:
        inner = linalg.solve_triangle(factor, adjoint(linalg.solve_triangle(factor, whole)))
    else:
        inner = matmul(adjoint(factor), matmul(whole, factor))
    return inner, factor


def _subset(name: str, found: Any, bounds: Any) -> Any:
    if bounds is None:
        return found
    first, last = (int(bound) for bound in bounds)
    return found[..., first:last + 1]


@traced
def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False,
         overwrite_b: bool = False, type: int = 1, check_finite: bool = True, subset_by_index: Any = None,
         subset_by_value: Any = None, driver: Any = None) -> Any:
    """Eigenvalues and vectors of Hermitian matrices, or of pairs of them of which B is positive definite.

    One triangle is read. See `gradxform.numpy.linalg.eigh` for derivatives at equal eigenvalues.
    """
    refuse("eigh", subset_by_value=(subset_by_value, None))
    if b is None:
        x = as_matrix("eigh", a, square=True)
        found = lifted("eigh", *linalg_spectral.eigh(x, not lower, not eigvals_only))
    else:
        if type not in (1, 2, 3):
            raise ArgumentError(f"eigh: type is 1, 2 or 3, got {type!r}{user_line()}")
        inner, factor = _whitened("eigh", a, b, lower, type)
        found = lifted("eigh", *linalg_spectral.eigh(inner, False, not eigvals_only))
        if not eigvals_only:
            v = found[1]
            vectors = matmul(factor, v) if type == 3 else linalg.triangular_solve(factor, v, mode="C")
            found[1] = lift("eigh", vectors)
    found = [_subset("eigh", x, subset_by_index) for x in found]
    return found[0] if eigvals_only else tuple(found)


@traced
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, overwrite_a: bool = False, overwrite_b: bool = False,
             type: int = 1, check_finite: bool = True, subset_by_index: Any = None,
             subset_by_value: Any = None, driver: Any = None) -> Any:
    """Eigenvalues of Hermitian matrices, or of pairs of them of which B is positive definite."""
    return eigh(a, b, lower=lower, eigvals_only=True, type=type, subset_by_index=subset_by_index,
                subset_by_value=subset_by_value)


def _general(name: str, a: Any, b: Any) -> Any:
    """The matrix whose eigenvalues are wanted: A, or B^-1 A."""
    if b is None:
        return as_matrix(name, a, square=True)
    return numpy_linalg.solve(b, a)


@traced
def eig(a: Any, b: Any = None, left: bool = False, right: bool = True, overwrite_a: bool = False, overwrite_b: bool = False,
        check_finite: bool = True, homogeneous_eigvals: bool = False) -> Any:
    """Eigenvalues, and left and right eigenvectors of length 1 as asked for, of matrices, or of pairs with regular B."""
    refuse("eig", homogeneous_eigvals=(homogeneous_eigvals, False))
    x = _general("eig", a, b)
    if not (left or right):
        return lift("eig", linalg_spectral.eig(x, False)[0])
    w, v = lifted("eig", *linalg_spectral.eig(x))
    if not left:
        return w, v
    refuse("eig", b=(b, None))
    # Rows of V^-1 are left vectors. They are given the length 1 and, as LAPACK does, a largest component that is real.
    columns = lift("eig", adjoint(linalg_solve.inverse(v)))
    largest = np.take_along_axis(columns, abs(columns).argmax(axis=-2, keepdims=True), axis=-2)
    columns = columns * (largest.conj() / abs(largest))
    columns = columns / numpy_linalg.norm(columns, axis=-2, keepdims=True)
    return (w, columns, v) if right else (w, columns)


@traced
def eigvals(a: Any, b: Any = None, overwrite_a: bool = False, check_finite: bool = True,
            homogeneous_eigvals: bool = False) -> Any:
    """Eigenvalues of square matrices, which are complex, or of pairs of them with regular B."""
    refuse("eigvals", homogeneous_eigvals=(homogeneous_eigvals, False))
    return lift("eigvals", linalg_spectral.eig(_general("eigvals", a, b), False)[0])


@traced
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False, check_finite: bool = True,
        lapack_driver: str = "gesdd") -> Any:
    """Singular values, in decreasing order, between the vectors U and V^H; see `gradxform.numpy.linalg.svd`."""
    found = numpy_linalg.svd(lift("svd", a), full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


@traced
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Singular values, in decreasing order."""
    return numpy_linalg.svdvals(lift("svdvals", a))
