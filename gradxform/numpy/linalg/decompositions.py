"""numpy.linalg: decompositions, eigenvalues and singular values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from gradxform.core import dtype_of
from gradxform.core.source import user_line
from gradxform.dtypes import is_complex
from gradxform.errors import ArgumentError
from gradxform.numpy.dispatch import refuse_unless, traced
from gradxform.numpy.indexing import take_along_axis
from gradxform.numpy.linalg.operands import as_matrix
from gradxform.numpy.sorting import argsort
from gradxform.operands import lift
from gradxform.primitives import linalg, linalg_qr, linalg_spectral
from gradxform.primitives.matrices import adjoint

#: NumPy's classes of results, so that compiled and plain functions return the same.
EigResult, EighResult, QRResult, SVDResult = (
    cast(Callable[..., Any], type(function(np.eye(1))))
    for function in (np.linalg.eig, np.linalg.eigh, np.linalg.qr, np.linalg.svd))


def lifted(name: str, *values: Any) -> list[Any]:
    return [lift(name, value) for value in values]


@traced(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The lower factor L of positive definite matrices L L^H, or the upper one of U^H U.

    Args:
        a: (..., n, n), Hermitian; one triangle is read, the one of the factor.
        upper: return the upper factor, and read the upper triangle.

    Raises:
        LinAlgError: a matrix is not square, or not positive definite.

    The derivative is that of the function as it reads its argument: with respect to the other triangle it is zero. For matrices
    that parameters make symmetric it is what one expects; `gradxform.lax.linalg.cholesky` has the symmetric derivative.

    >>> import gradxform as gx
    >>> gx.jit(gx.numpy.linalg.cholesky)(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 0.],
           [1., 2.]])
    """
    return lift("cholesky", linalg.cholesky(as_matrix("cholesky", a, square=True), bool(upper)))


@traced(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """Matrices as products of orthonormal columns Q and an upper triangle R.

    ``mode``: reduced, complete or r; raw is not supported on traced arrays. The derivative needs leading columns of full rank,
    else it is a LinAlgError; that of mode complete exists for matrices that are not taller than wide.
    """
    refuse_unless("qr", "mode", mode, "reduced", "complete", "r")
    x = as_matrix("qr", a)
    found = lifted("qr", *linalg_qr.qr(x, mode))
    return found[0] if mode == "r" else QRResult(*found)


def _upper(name: str, triangle: str) -> bool:
    if triangle.upper() not in ("L", "U"):
        raise ArgumentError(f"{name}: UPLO argument must be 'L' or 'U', got {triangle!r}{user_line()}")
    return triangle.upper() == "U"


@traced(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues, in increasing order, and eigenvectors, as columns, of Hermitian matrices of which one triangle is read.

    The derivative with respect to the other triangle is zero. Programs of derivatives through vectors take eigenvalues that are
    equal, but for rounding, as if they were apart by eps^(1/2) of their size (eps^(1/3) in second derivatives): what is
    a smooth function of the matrix, as V f(w) V^H is, has its derivative to half of the digits (a third of them), and what is
    none, as a single vector, a large one. Several eigenvalues that vanish beside the largest stay: there first derivatives
    leave out how their vectors turn into each other, and second ones are a LinAlgError. `gradxform.scipy.linalg.funm_hermitian`
    is exact everywhere.
    """
    return EighResult(*lifted("eigh", *linalg_spectral.eigh(as_matrix("eigh", a, square=True), _upper("eigh", UPLO))))


@traced(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues, in increasing order, of Hermitian matrices of which one triangle is read.

    First derivatives are exact, at equal eigenvalues too, for what is symmetric in these; second ones are right to half of the
    digits there, see `eigh`.
    """
    x = as_matrix("eigvalsh", a, square=True)
    return lift("eigvalsh", linalg_spectral.eigh(x, _upper("eigvalsh", UPLO), vectors=False)[0])


@traced(np.linalg.eig)
def eig(a: Any) -> Any:
    """Eigenvalues and right eigenvectors, as columns of length 1, of square matrices.

    Traced results are complex also where NumPy, which looks at the values, returns real ones. For derivatives at equal
    eigenvalues see `eigh`; where a matrix has too few eigenvectors it is a LinAlgError, or large numbers.
    """
    return EigResult(*lifted("eig", *linalg_spectral.eig(as_matrix("eig", a, square=True))))


@traced(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """Eigenvalues of square matrices; traced ones are complex also where NumPy returns real ones."""
    return lift("eigvals", linalg_spectral.eig(as_matrix("eigvals", a, square=True), vectors=False)[0])


@traced(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular values, in decreasing order, between the vectors U and V^H.

    The derivative of vectors needs ``full_matrices=False`` unless matrices are square. For
    derivatives at equal and vanishing singular values see `eigh`.
    """
    if not hermitian:
        x = as_matrix("svd", a)
        square = x.shape[-1] == x.shape[-2]
        found = lifted("svd", *linalg_spectral.svd(x, bool(compute_uv), bool(full_matrices) and not square))
        return SVDResult(*found) if compute_uv else found[0]
    x = as_matrix("svd", a, square=True)
    if not compute_uv:
        values = abs(lift("svd", linalg_spectral.eigh(x, vectors=False)[0]))
        return lift("svd", -_sorted(-values))
    w, v = lifted("svd", *linalg_spectral.eigh(x))
    order = argsort(-abs(w), axis=-1)
    w = take_along_axis(w, order, axis=-1)
    u = take_along_axis(v, order[..., None, :], axis=-1)
    signs = np.sign(w)
    return SVDResult(u, abs(w), lift("svd", adjoint(u * signs[..., None, :])))


def _sorted(x: Any) -> Any:
    from gradxform.numpy.sorting import sort

    return sort(x, axis=-1)


@traced(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """Singular values, in decreasing order."""
    return lift("svdvals", linalg_spectral.svd(as_matrix("svdvals", x), vectors=False)[0])


def real_dtype_of(x: Any) -> Any:
    return np.dtype(dtype_of(x).type(0).real.dtype) if is_complex(dtype_of(x)) else dtype_of(x)
