"""Decompositions under the names of jax.lax.linalg: where one fails, its results are NaN instead of an error.

So one bad matrix of a stack does not lose the others. Arguments, results and their order are JAX's.
"""

from __future__ import annotations

from typing import Any

from gradxform.core import dtype_of, shape_of
from gradxform.core.source import user_line
from gradxform.dtypes import float64, is_differentiable
from gradxform.errors import ArgumentError, ShapeError
from gradxform.operands import as_operand, cast, promote_operands
from gradxform.primitives import linalg as triangular
from gradxform.primitives import linalg_qr, linalg_solve, linalg_spectral
from gradxform.primitives.matrices import conjugate, matrix_transpose

__all__ = ["cholesky", "eig", "eigh", "lu", "lu_pivots_to_permutation", "qr", "svd", "triangular_solve"]


def _matrix(name: str, x: Any) -> Any:
    operand = as_operand(name, x)
    return operand if is_differentiable(dtype_of(operand)) else cast(operand, float64)


def cholesky(x: Any, *, symmetrize_input: bool = True) -> Any:
    """The lower factors L of L L^H; NaN for a matrix that is not positive definite.

    Args:
        x: (..., n, n).
        symmetrize_input: factorise (x + x^H) / 2, so that derivatives are symmetric; otherwise the lower triangle is read.

    >>> import gradxform as gx
    >>> import numpy as np
    >>> gx.lax.linalg.cholesky(np.array([[[4.0]], [[-1.0]]])).ravel()
    array([ 2., nan])
    """
    a = _matrix("cholesky", x)
    return triangular.cholesky(triangular.symmetrised(a) if symmetrize_input else a, checked=False)


def eigh(x: Any, *, lower: bool = True, symmetrize_input: bool = True) -> tuple[Any, Any]:
    """Eigenvectors, as columns, and eigenvalues, in increasing order, of Hermitian matrices; see `numpy.linalg.eigh`."""
    a = _matrix("eigh", x)
    w, v = linalg_spectral.eigh(triangular.symmetrised(a) if symmetrize_input else a, not lower, checked=False)
    return v, w


def eig(x: Any, *, compute_left_eigenvectors: bool = False, compute_right_eigenvectors: bool = True) -> list[Any]:
    """Eigenvalues, and right eigenvectors, as columns, of square matrices; all are complex."""
    if compute_left_eigenvectors:
        raise ArgumentError(f"eig: left eigenvectors are not computed: take those of the adjoint matrix{user_line()}")
    return linalg_spectral.eig(_matrix("eig", x), bool(compute_right_eigenvectors), checked=False)


def lu(x: Any) -> tuple[Any, Any, Any]:
    """L and U in one matrix, the pivots (int32), and the order of rows (int64) with x[order] = L U."""
    factors, pivots, rows = linalg_solve.lu(_matrix("lu", x))
    return factors, pivots, rows


def lu_pivots_to_permutation(pivots: Any, permutation_size: int) -> Any:
    """The order of rows to which the pivots of square matrices lead."""
    operand = as_operand("lu_pivots_to_permutation", pivots)
    if shape_of(operand)[-1:] != (permutation_size,):
        raise ShapeError(f"lu_pivots_to_permutation: expected {permutation_size} pivots, those of a square matrix, got "
                         f"shape {shape_of(operand)}{user_line()}")
    return linalg_solve.rows_of_pivots(operand)


def qr(x: Any, *, full_matrices: bool = True) -> tuple[Any, Any]:
    """Orthonormal columns Q and an upper triangle R; Q is square if ``full_matrices``."""
    q, r = linalg_qr.qr(_matrix("qr", x), "complete" if full_matrices else "reduced")
    return q, r


def svd(x: Any, *, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """U, the singular values in decreasing order, and V^H; the values alone unless ``compute_uv``."""
    a = _matrix("svd", x)
    square = shape_of(a)[-1] == shape_of(a)[-2]
    found = linalg_spectral.svd(a, bool(compute_uv), bool(full_matrices) and not square, checked=False)
    return tuple(found) if compute_uv else found[0]


def triangular_solve(a: Any, b: Any, *, left_side: bool = False, lower: bool = False, transpose_a: bool = False,
                     conjugate_a: bool = False, unit_diagonal: bool = False) -> Any:
    """X with op(a) X = b if ``left_side``, else X op(a) = b, for triangles; op transposes and conjugates as asked for."""
    matrix, right = promote_operands("triangular_solve", _matrix("triangular_solve", a), _matrix("triangular_solve", b))
    if conjugate_a and not transpose_a:
        matrix, conjugate_a = conjugate(matrix), False
    if not left_side:
        # X op(a) = b is op(a)^T X^T = b^T.
        if transpose_a and conjugate_a:
            matrix = conjugate(matrix)
        found = triangular.triangular_solve(matrix, matrix_transpose(right), bool(lower), "N" if transpose_a else "T",
                                            bool(unit_diagonal), checked=False)
        return matrix_transpose(found)
    mode = "N" if not transpose_a else "C" if conjugate_a else "T"
    return triangular.triangular_solve(matrix, right, bool(lower), mode, bool(unit_diagonal), checked=False)
